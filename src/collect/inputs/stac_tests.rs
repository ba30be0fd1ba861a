//! STAC documents made here.

use parquet::basic::{Compression, ZstdLevel};
use serde_json::json;

use super::super::expand;
use super::*;
use crate::index::made_table;
use crate::path::Key;
use crate::source::mock::Mock;

const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";

fn asset(href: &str, media_type: &str) -> Value {
    json!({"href": href, "type": media_type})
}

/// The files that documents name, and what failed.
fn named(name: &str, document: &[u8], selection: &Selection) -> (Vec<Input>, Vec<(String, Error)>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, document).unwrap();
    expand(&[path.to_str().unwrap().to_owned()], &b""[..], None, selection, &Caller::of_environment())
}

fn full(band: &str, resolution: Option<u32>) -> Option<Key> {
    let product = ProductName::Full(PRODUCT.to_owned());
    Some(Key { product, mgrs_tile: Some("31UDQ".into()), band: band.into(), resolution })
}

fn item(id: &str, properties: Value, assets: Value) -> Value {
    json!({"type": "Feature", "stac_version": "1.0.0", "id": id, "properties": properties, "assets": assets})
}

#[test]
fn the_assets_of_items_are_files_of_their_product() {
    let aws = "https://h/tiles/31/U/DQ/2024/10/16/0";
    let assets = json!({
        "red": asset(&format!("{aws}/R10m/B04.jp2"), "image/jp2"),
        "red-20m": asset(&format!("{aws}/R20m/B04.jp2"), "image/jp2; profile=x"),
        "nir": asset("./bands/B08_10m.jp2?sig=1", "IMAGE/JP2"),
        "untyped": {"href": "bands/TCI.jp2"},
        "png": asset("https://h/B04.png", "image/png"),
        "mask": asset(&format!("{aws}/qi/MSK_CLDPRB_20m.jp2"), "image/jp2"),
        "red-again": asset(&format!("{aws}/R10m/B04.jp2"), "image/jp2"),
        "broken": 7,
    });
    let properties = json!({"s2:product_uri": format!("{PRODUCT}.SAFE"), "s2:product_id": 5});
    let one = item("S2A_31UDQ_20241016_0_L2A", properties, assets);
    for document in [one.clone(), json!([one]), json!({"type": "FeatureCollection", "features": [one]})] {
        let (found, failures) = named("items.json", document.to_string().as_bytes(), &Selection::default());
        assert!(failures.is_empty(), "{failures:?}");
        let keys: Vec<_> = found.iter().map(|input| input.key.clone()).collect();
        assert_eq!(keys, [full("B08", Some(10)), full("B04", Some(10)), full("TCI", None)]);
        assert_eq!(found[1].path, "tiles/31/U/DQ/2024/10/16/0/R10m/B04.jp2");
        let Location::Local(path) = &found[2].location else { panic!("{found:?}") };
        assert!(path.is_absolute() && path.ends_with("bands/TCI.jp2"));
    }
    let all = Selection { masks: true, all_resolutions: true, store: None };
    let (found, _) = named("one.geojson", one.to_string().as_bytes(), &all);
    assert_eq!(found.len(), 5);
}

#[test]
fn the_product_is_named_where_it_can_be() {
    let of = |properties: Value, id: &str, href: &str| {
        let document = item(id, properties, json!({"a": asset(href, "image/jp2")}));
        named("a.json", document.to_string().as_bytes(), &Selection::default()).0.remove(0).key.unwrap().product
    };
    let full = |name: &str| ProductName::Full(name.to_owned());
    let other = PRODUCT.replace("S2A", "S2B");
    let bare = "s3://b/x/B04.jp2";
    assert_eq!(of(json!({"s2:product_id": PRODUCT}), "x", bare), full(PRODUCT));
    assert_eq!(of(json!({"s2:product_uri": "nonsense", "s2:product_id": PRODUCT}), "x", bare), full(PRODUCT));
    assert_eq!(of(json!({}), PRODUCT, bare), full(PRODUCT));
    assert_eq!(of(json!({}), "x", bare), ProductName::Unknown);
    let href = format!("s3://b/{other}.SAFE/GRANULE/x/IMG_DATA/R10m/T31UDQ_20241016T105031_B04_10m.jp2");
    assert_eq!(of(json!({"s2:product_uri": PRODUCT}), "x", &href), full(&other), "look-ups by this path go by it");
}

#[test]
fn the_cloud_cover_of_an_item_is_that_of_its_files() {
    let of = |cover: Value| {
        let document =
            item("x", json!({"eo:cloud_cover": cover}), json!({"a": asset("s3://b/x/B04.jp2", "image/jp2")}));
        named("a.json", document.to_string().as_bytes(), &Selection::default()).0.remove(0).cloud_cover
    };
    assert_eq!([of(json!(12.25)), of(json!(0)), of(json!(100))], [Some(12.25), Some(0.0), Some(100.0)]);
    assert_eq!([of(json!(-1)), of(json!(100.5)), of(json!("7")), of(Value::Null)], [None; 4]);
}

/// The bands that a document names, with where they lie.
fn places(document: &Value, selection: &Selection) -> Vec<(String, String)> {
    let (found, failures) = named("a.json", document.to_string().as_bytes(), selection);
    assert!(failures.is_empty(), "{failures:?}");
    found.into_iter().map(|input| (input.key.unwrap().band, input.location.display())).collect()
}

const COG: &str = "image/tiff; application=geotiff; profile=cloud-optimized";

#[test]
fn an_item_may_have_cogs_and_jp2s() {
    let cogs = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/31/U/DQ/2024/10/S2A_31UDQ_20241016_0_L2A";
    let jp2 = "s3://sentinel-s2-l2a/tiles/31/U/DQ/2024/10/16/0/R10m/B04.jp2";
    let assets = json!({
        "overview": {"href": format!("{cogs}/TCI.tif"), "type": COG, "roles": ["overview"]},
        "preview": {"href": format!("{cogs}/L2A_PVI.tif"), "type": COG, "roles": ["overview"]},
        "red": asset(&format!("{cogs}/B04.tif"), COG),
        "red-jp2": asset(jp2, "image/jp2"),
        "thumbnail": asset(&format!("{cogs}/thumbnail.jpg"), "image/jpeg"),
    });
    let document = item("S2A_31UDQ_20241016_0_L2A", json!({"s2:product_uri": format!("{PRODUCT}.SAFE")}), assets);
    let (found, failures) = named("a.json", document.to_string().as_bytes(), &Selection::default());
    assert!(failures.is_empty(), "{failures:?}");
    let of_cog = |band: &str| {
        let product = ProductName::Full("S2A_31UDQ_20241016_0_L2A".to_owned());
        Some(Key { product, mgrs_tile: Some("31UDQ".into()), band: band.into(), resolution: None })
    };
    let keys: Vec<_> = found.into_iter().map(|input| input.key).collect();
    assert_eq!(keys, [of_cog("TCI"), of_cog("B04"), full("B04", Some(10))]);
    let masks = places(&document, &Selection { masks: true, ..Selection::default() });
    assert_eq!(masks.iter().map(|(band, _)| band.as_str()).collect::<Vec<_>>(), ["TCI", "PVI", "B04", "B04"]);
}

#[test]
fn landsat_is_read_where_no_login_is_needed() {
    let scene = "LC09_L2SP_199026_20240601_20240602_02_T1";
    let key = format!("collection02/level-2/standard/oli-tirs/2024/199/026/{scene}/{scene}");
    let with = |host: &str, band: &str| {
        json!({
            "href": format!("https://{host}/data/{key}_{band}.TIF"),
            "type": "image/vnd.stac.geotiff; cloud-optimized=true",
            "roles": ["data"],
            "alternate": {"s3": {"href": format!("s3://usgs-landsat/{key}_{band}.TIF")}},
        })
    };
    let assets = json!({
        "alone": asset(&format!("https://landsatlook.usgs.gov/data/{key}_SR_B2.TIF"), COG),
        "elsewhere": with("landsatlook.usgs.gov.h", "SR_B3"),
        "qa_pixel": with("landsatlook.usgs.gov", "QA_PIXEL"),
        "red": with("landsatlook.usgs.gov", "SR_B4"),
    });
    let at = |band: &str, place: &str| (band.to_owned(), format!("{place}/{key}_{band}.TIF"));
    let login = "https://landsatlook.usgs.gov/data";
    assert_eq!(
        places(&item(&format!("{scene}_SR"), json!({}), assets), &Selection::default()),
        [
            at("SR_B2", login),
            at("SR_B3", "https://landsatlook.usgs.gov.h/data"),
            at("QA_PIXEL", "s3://usgs-landsat"),
            at("SR_B4", "s3://usgs-landsat"),
        ]
    );
}

#[test]
fn images_are_told_by_media_type_or_name() {
    let types = ["image/tiff", "IMAGE/TIFF ;x", COG, "image/vnd.stac.geotiff; cloud-optimized=true", "image/jp2"];
    assert!(types.iter().all(|media_type| is_image(Some(media_type), "")));
    assert!(
        ["image/png", "image/tif", "", "application/x; image/tiff"].iter().all(|other| !is_image(Some(other), "a.tif"))
    );
    assert!(is_image(None, "a.tif?sig=1") && is_image(None, "a.jp2") && !is_image(None, "a.jpg?b.tif"));
}

#[test]
fn what_shows_an_item_is_none_of_its_images() {
    let with = |role: &str| json!({"href": "https://h/x.tif", "type": COG, "roles": ["data", role]});
    let assets = json!({
        "a": with("thumbnail"), "b": with("overview"), "data": asset("https://h/y.tif", COG),
        "thumbnail": asset("https://h/z.tif", COG),
    });
    let bands = places(&item("x", json!({}), assets), &Selection { masks: true, ..Selection::default() });
    assert_eq!(bands, [("y".to_owned(), "https://h/y.tif".to_owned())]);
    let document = item("x", json!({}), json!({"a": with("thumbnail")})).to_string();
    let (found, failures) = named("a.json", document.as_bytes(), &Selection::default());
    assert!(found.is_empty() && failures[0].1.to_string().contains("no asset"), "{failures:?}");
}

#[test]
fn the_time_of_an_item_is_that_of_its_files() {
    let of = |properties: Value| {
        let document = item("x", properties, json!({"a": asset("s3://b/x/B04.tif", COG)}));
        named("a.json", document.to_string().as_bytes(), &Selection::default()).0.remove(0).datetime
    };
    let time = Some(1_729_075_831_024_000);
    assert_eq!(of(json!({"datetime": "2024-10-16T10:50:31.024Z"})), time);
    assert_eq!(
        of(json!({"datetime": "2024-10-16T12:50:31.024+02:00", "start_datetime": "2020-01-01T00:00:00Z"})),
        time
    );
    assert_eq!(of(json!({"datetime": null, "start_datetime": "2024-10-16T10:50:31.024Z"})), time);
    assert_eq!([of(json!({})), of(json!({"datetime": 7})), of(json!({"datetime": "2024-10-16"}))], [None; 3]);
}

#[test]
fn what_is_wrong_with_an_item_is_its_failure_alone() {
    let good = item("good", json!({}), json!({"a": asset("https://h/a.jp2", "image/jp2")}));
    let none = item("none", json!({}), json!({"a": asset("https://h/a.tif", "image/tif")}));
    let wrong = item("wrong", json!({}), json!({"a": asset("gopher://u:sesame@h/a.jp2", "image/jp2")}));
    let document = json!({"features": [none, 5, good, wrong, {"id": "bare"}]});
    let (found, failures) = named("x.json", document.to_string().as_bytes(), &Selection::default());
    assert_eq!(found.len(), 1);
    let told: Vec<_> = failures.iter().map(|(name, _)| name.rsplit(": ").next().unwrap()).collect();
    assert_eq!(told, ["none", "an item without an id", "wrong", "bare"]);
    assert!(failures[0].1.to_string().contains("image/jp2 or image/tiff"));
    assert!(!format!("{failures:?}").contains("sesame"));
    for document in ["{", "[[[[", "7", "{}", r#"{"features": 1}"#, r#"{"type": "Collection", "id": "c"}"#] {
        let (found, failures) = named("x.json", document.as_bytes(), &Selection::default());
        assert!(found.is_empty() && failures[0].1.chain().contains("not a STAC item"), "{document} {failures:?}");
    }
    let deep = "[".repeat(1 << 20);
    assert_eq!(named("x.json", deep.as_bytes(), &Selection::default()).1.len(), 1);
}

#[test]
fn items_are_read_from_stac_geoparquet() {
    let schema = "message schema {
        required binary id (STRING);
        optional group assets {
            optional group red { optional binary href (STRING); optional binary type (STRING); }
            optional group thumbnail { optional binary href (STRING); optional binary type (STRING); }
        }
        optional binary s2:product_uri (STRING);
        optional double eo:cloud_cover;
    }";
    let (first, last) = ("https://h/tiles/31/U/DQ/2024/10/16/0/R10m/B04.jp2", "https://h/x/B04.jp2");
    let columns = [
        (vec![0, 0, 0], vec!["one", "two", "three"]),
        (vec![3, 1, 3], vec![first, last]),
        (vec![3, 1, 3], vec!["image/jp2", "image/jp2; x"]),
        (vec![3, 3, 3], vec!["https://h/t.jpg"; 3]),
        (vec![3, 3, 3], vec!["image/jpeg"; 3]),
        (vec![1, 1, 0], vec![PRODUCT, PRODUCT]),
        (vec![1, 0, 1], vec!["12.25", "101"]),
    ];
    for codec in [Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())] {
        let table = made_table(schema, &columns, 2, codec);
        let (found, failures) = named("items.parquet", &table, &Selection::default());
        assert_eq!(failures.iter().map(|(name, _)| name.ends_with(": two")).collect::<Vec<_>>(), [true]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].key, full("B04", Some(10)));
        assert_eq!((found[0].cloud_cover, found[1].cloud_cover), (Some(12.25), None));
        assert_eq!(found[1].key.as_ref().unwrap().product, ProductName::Unknown);
    }
    let table = made_table("message x { required binary id (STRING); }", &columns[..1], 2, Compression::SNAPPY);
    let (_, failures) = named("x.parquet", &table, &Selection::default());
    assert!(failures[0].1.chain().contains("no assets"), "{failures:?}");
    let (_, failures) = named("x.parquet", b"PAR1", &Selection::default());
    assert!(failures[0].1.chain().contains("too few for a parquet file"), "{failures:?}");
}

#[test]
fn times_and_other_places_are_read_from_stac_geoparquet() {
    let group = |name: &str| {
        format!(
            "optional group {name} {{ optional group alternate {{ optional group s3 {{ optional binary href (STRING); }} }}
             optional binary href (STRING); optional binary type (STRING); }}"
        )
    };
    let of = |kind: &str, times: Vec<&'static str>, starts: Vec<&'static str>| {
        let schema = format!(
            "message schema {{ required binary id (STRING); optional group assets {{ {} {} }}
             optional {kind}; optional int64 start_datetime (TIMESTAMP(MILLIS,true)); }}",
            group("red"),
            group("thumbnail")
        );
        let here = "https://landsatlook.usgs.gov/data/B4.TIF";
        let columns = [
            (vec![0, 0], vec!["one", "two"]),
            (vec![5, 2], vec!["s3://usgs-landsat/B4.TIF"]),
            (vec![3, 3], vec![here, "https://h/B4.TIF"]),
            (vec![3, 3], vec![COG, "image/vnd.stac.geotiff"]),
            (vec![2, 5], vec!["s3://b/x.tif"]),
            (vec![3, 3], vec!["https://h/x.tif"; 2]),
            (vec![3, 3], vec![COG; 2]),
            (vec![1, 0], times),
            (vec![0, 1], starts),
        ];
        let table = made_table(&schema, &columns, 2, Compression::SNAPPY);
        let (found, failures) = named("items.parquet", &table, &Selection::default());
        assert!(failures.is_empty(), "{failures:?}");
        found.into_iter().map(|input| (input.location.display(), input.datetime)).collect::<Vec<_>>()
    };
    let expected = [
        ("s3://usgs-landsat/B4.TIF".to_owned(), Some(1_729_075_831_024_000)),
        ("https://h/B4.TIF".to_owned(), Some(7000)),
    ];
    for (kind, time) in [
        ("int64 datetime (TIMESTAMP(MICROS,true))", "1729075831024000"),
        ("binary datetime (STRING)", "2024-10-16T10:50:31.024Z"),
    ] {
        assert_eq!(of(kind, vec![time], vec!["7"]), expected, "{kind}");
    }
}

#[test]
fn a_document_of_a_network_names_no_files_of_this_machine() {
    let local = [
        "file:///data/a.jp2",
        "file:/data/a.jp2",
        "FILE:///data/a.jp2",
        "file:data/a.jp2",
        "/vsizip//data/a.zip/a.jp2",
        "/vsisubfile/0_9,/data/a.jp2",
        "/vsimem/a.jp2",
        "/vsicurl/file:///data/a.jp2",
        "/vsicurl?url=file%3A%2F%2F%2Fdata%2Fa.jp2&x=1",
    ];
    let remote = ["https://h/a.jp2", "s3://b/a.jp2", "/vsis3/b/b.jp2", "/vsioss/b/a.jp2", "/data/a.jp2", "../../a.jp2"];
    let items = local.iter().chain(&remote).map(|href| item(href, json!({}), json!({"a": asset(href, "image/jp2")})));
    let document = json!({"features": items.collect::<Vec<_>>()}).to_string();
    let mock = Mock::new(document.as_bytes());
    let expanded = |name: String| expand(&[name], &b""[..], None, &Selection::default(), &Caller::of_environment());
    let (found, failures) = expanded(mock.url("/stac/items.json"));
    assert_eq!(found.len(), remote.len(), "{found:?}");
    assert!(found.iter().all(|input| !matches!(input.location, Location::Local(_))));
    assert!(found[4].location.display().ends_with("/data/a.jp2"), "a path on the document's server");
    assert_eq!(failures.len(), local.len());
    let refused = failures.iter().filter(|(_, error)| error.to_string().contains("read over a network"));
    // What no path can be is refused before.
    assert!(refused.count() >= local.len() - 1, "{failures:?}");
    // A document of this machine may name both.
    let (found, failures) = named("items.json", document.as_bytes(), &Selection::default());
    assert!(found.iter().any(|input| input.location == Location::Local("/data/a.jp2".into())), "{found:?}");
    assert!(failures.len() <= 1, "{failures:?}");
}
