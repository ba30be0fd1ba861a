//! Where every archive has the same files.

use super::*;

const L2A: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
const L1C: &str = "S2B_MSIL1C_20170105T105432_N0204_R051_T31UDQ_20170105T105428";
const OLD: &str = "S2A_OPER_PRD_MSIL1C_PDMC_20160930T123456_R065_V20160929T101022_20160929T101643";

/// The paths of one file at CDSE, Google and AWS, the last without its sequence number.
fn files() -> Vec<[String; 3]> {
    let l2a = |below: &str, aws: &str| {
        let granule = "GRANULE/L2A_T31UDQ_A048668_20241016T105303";
        [
            format!("Sentinel-2/MSI/L2A/2024/10/16/{L2A}.SAFE/{granule}/{below}"),
            format!("L2/tiles/31/U/DQ/{L2A}.SAFE/{granule}/{below}"),
            format!("tiles/31/U/DQ/2024/10/16/#/{aws}"),
        ]
    };
    let l1c = |below: &str, aws: &str| {
        let granule = "GRANULE/L1C_T31UDQ_A008000_20170105T105428";
        [
            format!("Sentinel-2/MSI/L1C/2017/01/05/{L1C}.SAFE/{granule}/{below}"),
            format!("tiles/31/U/DQ/{L1C}.SAFE/{granule}/{below}"),
            format!("tiles/31/U/DQ/2017/1/5/#/{aws}"),
        ]
    };
    let granule = "GRANULE/S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T02TQM_N02.04/IMG_DATA";
    let file = "S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T02TQM_B03.jp2";
    vec![
        l2a("IMG_DATA/R10m/T31UDQ_20241016T105031_B03_10m.jp2", "R10m/B03.jp2"),
        l2a("IMG_DATA/R60m/T31UDQ_20241016T105031_B03_60m.jp2", "R60m/B03.jp2"),
        l2a("IMG_DATA/R20m/T31UDQ_20241016T105031_SCL_20m.jp2", "R20m/SCL.jp2"),
        l2a("QI_DATA/T31UDQ_20241016T105031_PVI.jp2", "qi/L2A_PVI.jp2"),
        l2a("QI_DATA/MSK_DETFOO_B02.jp2", "qi/DETFOO_B02.jp2"),
        l2a("QI_DATA/MSK_CLDPRB_20m.jp2", "qi/CLD_20m.jp2"),
        l2a("QI_DATA/MSK_CLASSI_B00.jp2", "qi/CLASSI_B00.jp2"),
        l1c("IMG_DATA/T31UDQ_20170105T105432_B8A.jp2", "B8A.jp2"),
        l1c("IMG_DATA/T31UDQ_20170105T105432_TCI.jp2", "TCI.jp2"),
        l1c("QI_DATA/T31UDQ_20170105T105432_PVI.jp2", "preview.jp2"),
        [
            format!("Sentinel-2/MSI/L1C/2016/09/29/{OLD}.SAFE/{granule}/{file}"),
            format!("tiles/02/T/QM/{OLD}.SAFE/{granule}/{file}"),
            "tiles/2/T/QM/2016/9/29/#/B03.jp2".to_owned(),
        ],
    ]
}

/// A key as a product path or a row gives it.
fn key(path: &str) -> Key {
    key_of_names(path).unwrap()
}

fn store(text: &str) -> Store {
    Store::parse(text).unwrap_or_else(|| panic!("{text} is a store"))
}

#[test]
fn a_file_of_one_archive_is_found_in_the_others() {
    let stores = [store("s3://eodata"), store("/vsigs/gcp-public-data-sentinel-2/"), store("aws")];
    for paths in files() {
        let key = key(&paths[0]);
        for from in &paths[..2] {
            // On a disk the row's path begins with the product's folder.
            for from in [from.as_str(), &from[from.find("S2").unwrap()..], &format!("eodata/{from}")] {
                assert_eq!(stores[0].locate(&key, from).unwrap(), [format!("s3://eodata/{}", paths[0])]);
                let google = format!("/vsigs/gcp-public-data-sentinel-2/{}", paths[1]);
                assert_eq!(stores[1].locate(&key, from).unwrap(), [google]);
                let bucket = if key.level() == Some("L1C") { "sentinel-s2-l1c" } else { "sentinel-s2-l2a" };
                let aws = [0, 1, 2].map(|n| format!("s3://{bucket}/{}", paths[2].replace('#', &n.to_string())));
                assert_eq!(stores[2].locate(&key, from).unwrap(), aws);
            }
        }
        let there = paths[2].replace('#', "1");
        assert!(stores[2].locate(&key, &there).unwrap()[0].ends_with(&there) && there.starts_with("tiles"));
        for store in &stores[..2] {
            let error = store.locate(&key, &there).unwrap_err().to_string();
            assert!(error.contains("granule's folder"), "{error}");
        }
    }
}

#[test]
fn the_archives_spell_the_same_band() {
    for paths in files() {
        let [cdse, google, aws] = paths.map(|path| key(&path));
        assert_eq!(cdse, google);
        assert_eq!(cdse.band, aws.band, "{aws:?}");
        let metres = |key: &Key| key.resolution.or(crate::path::best_resolution(&key.band, cdse.level()));
        assert_eq!((metres(&cdse), &cdse.mgrs_tile), (metres(&aws), &aws.mgrs_tile));
        assert!(aws.level().is_none_or(|level| cdse.level() == Some(level)));
    }
}

#[test]
fn a_reprocessed_product_has_a_folder_of_its_own_at_cdse() {
    let folders = |product: &str, row: Option<&str>| {
        let below =
            format!("{product}.SAFE/GRANULE/L2A_T31UDQ_A1_20200101T000000/R10m/T31UDQ_20200101T000000_B03_10m.jp2");
        let path = row.map_or(below.clone(), |collection| {
            format!("Sentinel-2/MSI/{collection}/{}/01/01/{below}", &product[11..15])
        });
        let places = store("cdse").locate(&key(&below), &path).unwrap();
        places.iter().map(|place| place.split('/').nth(5).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let of = |year: u32, baseline: &str| format!("S2A_MSIL2A_{year}0101T000000_{baseline}_R051_T31UDQ_20240101T000000");
    assert_eq!(folders(&of(2020, "N0500"), None), ["L2A_N0500", "L2A"]);
    assert_eq!(folders(&of(2022, "N0510"), None), ["L2A_N0500", "L2A"]);
    assert_eq!(folders(&of(2022, "N0510"), Some("L2A")), ["L2A", "L2A_N0500"]);
    assert_eq!(folders(&of(2022, "N0301"), Some("L2A_NEXT")), ["L2A_NEXT", "L2A"]);
    assert_eq!(folders(&of(2024, "N0510"), None), ["L2A"]);
    assert_eq!(folders(&of(2020, "N0214"), None), ["L2A"]);
}

#[test]
fn a_tile_sensed_after_midnight_has_a_later_day_at_aws() {
    let product = "S2A_MSIL2A_20231231T235951_N0510_R051_T01CCV_20240101T000000";
    let path = format!("{product}.SAFE/GRANULE/L2A_T01CCV_A1_20240101T000003/R10m/T01CCV_20231231T235951_B03_10m.jp2");
    let places = store("aws").locate(&key(&path), &path).unwrap();
    assert_eq!(places[0], "s3://sentinel-s2-l2a/tiles/1/C/CV/2024/1/1/0/R10m/B03.jp2");
    assert_eq!(places[3], "s3://sentinel-s2-l2a/tiles/1/C/CV/2023/12/31/0/R10m/B03.jp2");
}

#[test]
fn a_store_is_an_archive_by_its_bucket() {
    for (text, archive) in [
        ("cdse", Some(Archive::Cdse)),
        (" GCS ", Some(Archive::Gcs)),
        ("aws", Some(Archive::Aws)),
        ("/vsis3/eodata", Some(Archive::Cdse)),
        ("s3://EODATA/", Some(Archive::Cdse)),
        ("/eodata", Some(Archive::Cdse)),
        ("http://127.0.0.1:8000/mirror/DIAS", Some(Archive::Cdse)),
        ("https://storage.googleapis.com/gcp-public-data-sentinel-2", Some(Archive::Gcs)),
        ("vsicurl/https://storage.googleapis.com/gcp-public-data-sentinel-2", Some(Archive::Gcs)),
        ("s3://sentinel-s2-l1c", Some(Archive::Aws)),
        ("https://sentinel-s2-l2a.s3.eu-central-1.amazonaws.com/", Some(Archive::Aws)),
        ("/data/s2", None),
        ("s2", None),
        ("/data/eodata.old", None),
        ("s3://eodata/Sentinel-2", None),
        ("/vsizip/s2.zip", None),
    ] {
        assert_eq!(store(text).archive(), archive, "{text}");
    }
    for text in [
        "",
        "/",
        "https://",
        "https://h/b?sig=x",
        "/vsitlm/data",
        "/vsitlm",
        L2A,
        &format!("x/{L2A}.SAFE"),
        "gopher://h/b",
    ] {
        assert_eq!(Store::parse(text), None, "{text}");
    }
    assert_eq!(
        store("https://sentinel-s2-l2a.s3.amazonaws.com").join("tiles/x.jp2", Some("L1C")),
        "https://sentinel-s2-l1c.s3.amazonaws.com/tiles/x.jp2"
    );
    assert_eq!(
        store("/sentinel-s2-l2a-mirror/sentinel-s2-l1c").join("x.jp2", Some("L2A")),
        "/sentinel-s2-l2a-mirror/sentinel-s2-l2a/x.jp2"
    );
}

#[test]
fn any_other_base_is_a_folder() {
    let path = format!("mirror/{L2A}.SAFE/GRANULE/x/T31UDQ_20241016T105031_B03_10m.jp2");
    assert_eq!(store("/data/s2/").locate(&key(&path), &path).unwrap(), [format!("/data/s2/{path}")]);
}

#[test]
fn a_hostile_path_is_refused() {
    let good = format!("Sentinel-2/MSI/L2A/2024/10/16/{L2A}.SAFE/GRANULE/x/T31UDQ_20241016T105031_B03_10m.jp2");
    let key = key(&good);
    let file = "T31UDQ_20241016T105031_B03_10m.jp2";
    let long = format!("{}{file}", "a/".repeat(600));
    let bad = [
        String::new(),
        format!("/etc/{file}"),
        format!("../{file}"),
        format!("a/../../{file}"),
        format!("a/./{file}"),
        format!("a//{file}"),
        format!("a/{file}/"),
        format!("a/{file}?x"),
        format!("a/x#{file}"),
        format!("%2e%2e/{file}"),
        format!("a\\..\\{file}"),
        format!("a\n/{file}"),
        format!("a\0/{file}"),
        format!("https://evil/{file}"),
        format!("vsicurl/https:/evil/{file}"),
        format!("file:/{file}"),
        format!("{{/vsitlm/x}}/{file}"),
        format!("é/{file}"),
        "etc/passwd".to_owned(),
        good.replace("B03", "B04"),
        good.replace("N0511", "N0500"),
        good.replace(".jp2", ".xml"),
        long,
    ];
    for text in ["cdse", "gcs", "aws", "/data/s2", "https://h/b"] {
        let store = store(text);
        assert!(store.locate(&key, &good).is_ok());
        for path in &bad {
            let error = store.locate(&key, path).expect_err(path);
            assert!(matches!(error, Error::Row { .. }), "{path}: {error}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_path_leads_out_of_the_base(path in "[a-zA-Z0-9_./%:?#\\\\@{},\\x00é -]{0,80}", before in "([a-zA-Z0-9_.-]{0,6}/){0,3}") {
        let good = &files()[0];
        let key = key(&good[0]);
        for path in [&path, &format!("{before}{}", good[0]), &format!("{path}/{}", good[1]), &format!("{before}{}", good[2])] {
            for (text, base) in [("/data/s2", "/data/s2/"), ("cdse", "s3://eodata/"), ("gcs", "https://storage.googleapis.com/gcp-public-data-sentinel-2/"), ("aws", "s3://sentinel-s2-l2a/")] {
                for place in store(text).locate(&key, path).unwrap_or_default() {
                    let below = place.strip_prefix(base).expect("below the base");
                    assert!(below.split('/').all(|part| !["", ".", ".."].contains(&part)), "{place}");
                    assert!(!below.contains([':', '?', '#', '%', '\\', '\0']), "{place}");
                    assert_eq!(parse_file(&place).unwrap().key.unwrap().band, "B03");
                }
            }
        }
    }
}
