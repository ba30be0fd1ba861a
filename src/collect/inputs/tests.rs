//! Folders and products made here.

use std::path::{Path, PathBuf};

use super::{Input, Selection, expand, safe};
use crate::error::Error;
use crate::path::{Key, ProductName};
use crate::source::Caller;

const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
const GRANULE: &str = "GRANULE/L2A_T31UDQ_A048668_20241016T105303";

fn expanded(paths: &[&Path], selection: &Selection) -> (Vec<Input>, Vec<(String, Error)>) {
    let arguments: Vec<String> = paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    expand(&arguments, &b""[..], None, selection, &Caller::of_environment())
}

fn bands(inputs: &[Input]) -> Vec<String> {
    let band = |key: &Key| match key.resolution {
        Some(metres) => format!("{}_{metres}m", key.band),
        None => key.band.clone(),
    };
    inputs.iter().map(|input| band(input.key.as_ref().unwrap())).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The files of a product, relative to its folder.
fn files() -> Vec<String> {
    let image = |folder: &str, band: &str| format!("{GRANULE}/IMG_DATA/{folder}/T31UDQ_20241016T105031_{band}.jp2");
    vec![
        image("R10m", "B02_10m"),
        image("R20m", "B02_20m"),
        image("R20m", "SCL_20m"),
        image("R60m", "B01_60m"),
        image("R60m", "SCL_60m"),
        format!("{GRANULE}/QI_DATA/MSK_CLDPRB_20m.jp2"),
        format!("{GRANULE}/QI_DATA/MSK_CLDPRB_60m.jp2"),
        format!("{GRANULE}/QI_DATA/MSK_DETFOO_B02.jp2"),
        format!("{GRANULE}/QI_DATA/T31UDQ_20241016T105031_PVI.jp2"),
    ]
}

/// A product below `folder`, each of its files of four bytes, with a manifest that says so.
fn product(folder: &Path, with_manifest: bool) -> PathBuf {
    let safe = folder.join(format!("{PRODUCT}.SAFE"));
    let mut manifest = String::from("<x>");
    for file in files() {
        write(&safe.join(&file), b"good");
        manifest += &format!(
            "<byteStream size=\"4\"><fileLocation href=\"./{file}\"/><checksum \
             checksumName=\"MD5\">755f85c2723bb39381c7379a604160d8</checksum></byteStream>"
        );
    }
    manifest += "<byteStream size=\"4\"><fileLocation href=\"./MTD_MSIL2A.xml\"/></byteStream></x>";
    if with_manifest {
        write(&safe.join(safe::MANIFEST), manifest.as_bytes());
    }
    safe
}

#[test]
fn of_a_product_the_bands_are_wanted_at_their_best_resolution() {
    for with_manifest in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let safe = product(folder.path(), with_manifest);
        let wanted = |masks, all_resolutions| {
            let (inputs, failures) = expanded(&[&safe], &Selection { masks, all_resolutions, ..Selection::default() });
            assert!(failures.is_empty(), "{failures:?}");
            assert!(inputs.iter().all(|input| input.checksum.is_some() == with_manifest));
            assert!(inputs.iter().all(|input| input.path.starts_with(PRODUCT)));
            assert!(inputs.iter().all(|input| input.seen.as_ref().unwrap().size == 4));
            bands(&inputs)
        };
        // This product has no B01 at 20 m.
        assert_eq!(wanted(false, false), ["B02_10m", "SCL_20m", "B01_60m"]);
        assert_eq!(wanted(false, true), ["B02_10m", "B02_20m", "SCL_20m", "B01_60m", "SCL_60m"]);
        assert_eq!(wanted(true, false)[3..], ["MSK_CLDPRB_20m", "MSK_DETFOO_B02", "PVI"]);
        assert_eq!(wanted(true, true).len(), 9);
    }
}

#[test]
fn what_a_product_lacks_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let safe = product(folder.path(), true);
    std::fs::remove_file(safe.join(&files()[0])).unwrap();
    std::fs::write(safe.join(&files()[2]), b"cut").unwrap();
    let (inputs, failures) = expanded(&[&safe], &Selection::default());
    assert_eq!(bands(&inputs), ["B01_60m"]);
    assert!(failures[0].0.ends_with("B02_10m.jp2") && failures[0].1.to_string().contains("not found"), "{failures:?}");
    assert!(failures[1].0.ends_with("SCL_20m.jp2"));
    assert!(failures[1].1.to_string().contains("3 bytes, 4 by manifest.safe"), "{failures:?}");
    std::fs::write(safe.join(safe::MANIFEST), b"<html>").unwrap();
    let (inputs, failures) = expanded(&[&safe], &Selection::default());
    assert!(inputs.is_empty() && failures[0].1.chain().contains("not a manifest"), "{failures:?}");
}

#[test]
fn a_folder_has_products_and_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let safe = product(&folder.path().join("deep/er"), true);
    write(&folder.path().join("b/preview/any.jp2"), b"");
    write(&folder.path().join("b/text.xml"), b"");
    for name in ["loop", "another loop"] {
        std::os::unix::fs::symlink("..", folder.path().join("b").join(name)).unwrap();
    }
    let aws = folder.path().join("tiles/31/U/DQ/2024/10/16/0");
    for file in ["B03.jp2", "preview.jp2", "preview/B03.jp2", "qi/MSK_DETFOO_B03.jp2"] {
        write(&aws.join(file), b"");
    }
    let (inputs, failures) = expanded(&[folder.path(), &safe.join(&files()[8])], &Selection::default());
    assert!(failures.is_empty(), "{failures:?}");
    // What is named by itself is taken, whatever it is.
    assert_eq!(bands(&inputs), ["B02_10m", "SCL_20m", "B01_60m", "any", "B03", "PVI"]);
    let (inputs, _) = expanded(&[&aws], &Selection { masks: true, ..Selection::default() });
    assert_eq!(bands(&inputs), ["B03", "PVI", "MSK_DETFOO_B03"]);
    let (_, failures) = expanded(&[&aws.join("qi"), &folder.path().join("none")], &Selection::default());
    assert!(failures[0].1.to_string().contains("--masks"), "{failures:?}");
    assert_eq!(failures.len(), 1, "a file that is not there is for the scan to tell");
}

#[test]
fn tiffs_are_taken_where_jp2s_are() {
    let folder = tempfile::tempdir().unwrap();
    let landsat = "LC09_L2SP_199026_20240601_20240602_02_T1";
    for name in ["SR_B4.TIF", "QA_PIXEL.TIF", "thumb_small.jpeg", "MTL.xml"] {
        write(&folder.path().join(format!("{landsat}/{landsat}_{name}")), b"");
    }
    for name in ["B03.tif", "CLD_20m.tif", "L2A_PVI.tif", "thumbnail.tif", "preview.tif", "x.jpg"] {
        write(&folder.path().join("S2A_31UDQ_20240601_0_L2A").join(name), b"");
    }
    write(&folder.path().join("any.tiff"), b"");
    let (inputs, failures) = expanded(&[folder.path()], &Selection::default());
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(bands(&inputs), ["QA_PIXEL", "SR_B4", "B03", "any"]);
    assert_eq!(inputs[0].path, format!("{landsat}/{landsat}_QA_PIXEL.TIF"));
    let (inputs, _) = expanded(&[folder.path()], &Selection { masks: true, ..Selection::default() });
    assert_eq!(bands(&inputs), ["QA_PIXEL", "SR_B4", "B03", "CLD_20m", "PVI", "any"]);
    let urls = ["https://h/a.tif?sig=1", "s3://b/a.TIFF", "/vsicurl/https://h/b.tif"].map(str::to_owned);
    let (inputs, failures) = expand(&urls, &b""[..], None, &Selection::default(), &Caller::of_environment());
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(bands(&inputs), ["a", "a", "b"]);
    let (_, failures) =
        expand(&["https://h/a.png".to_owned()], &b""[..], None, &Selection::default(), &Caller::of_environment());
    assert!(failures[0].1.to_string().contains("a TIFF (.tif, .tiff)"), "{failures:?}");
    let empty = tempfile::tempdir().unwrap();
    let (_, failures) = expanded(&[empty.path()], &Selection::default());
    assert!(failures[0].1.to_string().contains("no JP2 or TIFF"), "{failures:?}");
}

#[test]
fn a_product_of_cogs_may_have_the_manifest_of_its_jp2s() {
    let folder = tempfile::tempdir().unwrap();
    let safe = product(folder.path(), true);
    for file in files() {
        let jp2 = safe.join(file);
        std::fs::rename(&jp2, jp2.with_extension("tif")).unwrap();
        std::fs::write(jp2.with_extension("tif"), b"another size").unwrap();
    }
    let (inputs, failures) = expanded(&[&safe], &Selection::default());
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(bands(&inputs), ["B02_10m", "SCL_20m", "B01_60m"]);
    for input in &inputs {
        assert!(input.path.ends_with(".tif") && input.checksum.is_none(), "{input:?}");
        assert_eq!(input.seen.as_ref().unwrap().size, 12);
    }
}

#[test]
fn a_file_beside_the_bands_names_the_product() {
    let folder = tempfile::tempdir().unwrap();
    let of = |file: &str, json: &str| {
        let aws = folder.path().join(format!("tiles/31/U/DQ/2024/10/16/{}", json.len()));
        write(&aws.join("R10m/B03.jp2"), b"");
        write(&aws.join("qi/CLD_20m.jp2"), b"");
        write(&aws.join(file), json.as_bytes());
        let (inputs, failures) = expanded(&[&aws], &Selection { masks: true, ..Selection::default() });
        assert!(failures.is_empty(), "{failures:?}");
        let keys: Vec<Key> = inputs.into_iter().filter_map(|input| input.key).collect();
        let is_full = |key: &Key| matches!(key.product, ProductName::Full(_));
        assert_eq!((is_full(&keys[0]), keys[1].band.as_str()), (is_full(&keys[1]), "MSK_CLDPRB"));
        keys[0].clone()
    };
    let full = ProductName::Full(PRODUCT.to_owned());
    let named = of("productInfo.json", &format!(r#"{{"name": "{PRODUCT}"}}"#));
    assert_eq!((&named.product, named.band.as_str(), named.resolution), (&full, "B03", Some(10)));
    assert_eq!(of("tileInfo.json", &format!(r#"{{"productName": "{PRODUCT}"}}"#)).product, full);
    for other in [PRODUCT.replace("31UDQ", "31UDP"), PRODUCT.replace("MSIL2A", "MSIL1C") + ".", "x".repeat(200)] {
        let key = of("productInfo.json", &format!(r#"{{"name": "{other}"}}"#));
        assert!(matches!(key.product, ProductName::Sensed { .. }), "{other}");
    }
}

#[test]
fn a_product_is_found_in_its_archive_by_name() {
    let folder = tempfile::tempdir().unwrap();
    // A mirror that is called and laid out as CDSE is, and one as AWS.
    let cdse = folder.path().join("eodata");
    product(&cdse.join("Sentinel-2/MSI/L2A/2024/10/16"), true);
    let aws = folder.path().join("sentinel-s2-l2a");
    let day = aws.join("tiles/31/U/DQ/2024/10/16");
    for (sequence, name) in [("0", PRODUCT.replace("151206", "151207")), ("1", PRODUCT.to_owned())] {
        write(&day.join(sequence).join("R10m/B03.jp2"), b"");
        write(&day.join(sequence).join("tileInfo.json"), format!(r#"{{"productName": "{name}"}}"#).as_bytes());
    }
    let found = |base: &Path, name: &str| {
        let store = crate::path::Store::parse(base.to_str().unwrap());
        let selection = Selection { store, ..Selection::default() };
        expand(&[name.to_owned()], &b""[..], None, &selection, &Caller::of_environment())
    };
    for name in [PRODUCT.to_owned(), format!("{PRODUCT}.SAFE")] {
        let (inputs, failures) = found(&cdse, &name);
        assert!(failures.is_empty(), "{failures:?}");
        assert_eq!(bands(&inputs), ["B02_10m", "SCL_20m", "B01_60m"]);
    }
    let (inputs, failures) = found(&aws, PRODUCT);
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(bands(&inputs), ["B03_10m"]);
    assert!(inputs[0].location.display().contains("/16/1/R10m/"), "{inputs:?}");
    for (base, name, why) in [
        (&cdse, PRODUCT.replace("20241016T1", "20241017T1"), "--store"),
        (&aws, PRODUCT.replace("N0511", "N0510"), "--store"),
        (&folder.path().join("other"), PRODUCT.to_owned(), "cdse, gcs or aws"),
    ] {
        let (inputs, failures) = found(base, &name);
        assert!(inputs.is_empty() && failures[0].1.to_string().contains(why), "{failures:?}");
    }
    let (_, failures) = expand(&[PRODUCT.to_owned()], &b""[..], None, &Selection::default(), &Caller::of_environment());
    assert!(failures[0].1.to_string().contains("--store"), "{failures:?}");
}

#[test]
fn arguments_keep_their_order() {
    let many: Vec<String> = (0..500).map(|number| format!("https://h/{number}.jp2")).collect();
    let (inputs, failures) = expand(&many, &b""[..], None, &Selection::default(), &Caller::of_environment());
    assert!(failures.is_empty());
    let paths: Vec<_> = inputs.iter().map(|input| input.location.display()).collect();
    assert_eq!(paths, many);
    for text in ["https://u:sesame@h/x?sesame", "https://h/", "s3://b/x", "gopher://u:sesame@h/"] {
        let (inputs, failures) =
            expand(&[text.to_owned()], &b""[..], None, &Selection::default(), &Caller::of_environment());
        assert!(inputs.is_empty() && failures.len() == 1 && !format!("{failures:?}").contains("sesame"), "{text}");
    }
}

#[test]
fn a_real_manifest_names_a_real_product() {
    let name = "S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454.SAFE";
    let safe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !safe.is_dir() {
        eprintln!("skipped: no {}", safe.display());
        return;
    }
    // Of 36 bands and 15 masks only some are there; the manifest says how large all of them are.
    let all = Selection { masks: true, all_resolutions: true, store: None };
    let (inputs, failures) = expanded(&[&safe], &all);
    assert!(inputs.len() >= 10 && inputs.len() + failures.len() > 36, "{} {}", inputs.len(), failures.len());
    assert!(failures.iter().all(|(_, error)| error.to_string().contains("not found")));
    for input in inputs.iter().take(3) {
        let source = Caller::of_environment().source(&input.location).unwrap();
        input.checksum.as_ref().unwrap().check(&*source).unwrap();
    }
    let (best, missing) = expanded(&[&safe], &Selection::default());
    assert_eq!(best.len() + missing.len(), 16, "{:?}", bands(&best));
}

#[test]
fn a_list_names_files_one_a_line() {
    let list = "# comment\n\nhttps://h/a.jp2?sig=1\n  s3://b/c/d.jp2 \nhttps://h/folder/\n";
    let (inputs, failures) = expand(
        &["-".to_owned(), "-".to_owned()],
        list.as_bytes(),
        None,
        &Selection::default(),
        &Caller::of_environment(),
    );
    let paths: Vec<_> = inputs.iter().map(|input| input.path.as_str()).collect();
    assert_eq!(paths, ["a.jp2", "c/d.jp2"]);
    assert_eq!(failures.len(), 1);
}
