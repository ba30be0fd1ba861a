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
        "cog": asset("https://h/B04.tif", "image/tiff; application=geotiff"),
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

#[test]
fn what_is_wrong_with_an_item_is_its_failure_alone() {
    let good = item("good", json!({}), json!({"a": asset("https://h/a.jp2", "image/jp2")}));
    let none = item("none", json!({}), json!({"a": asset("https://h/a.tif", "image/tiff")}));
    let wrong = item("wrong", json!({}), json!({"a": asset("gopher://u:sesame@h/a.jp2", "image/jp2")}));
    let document = json!({"features": [none, 5, good, wrong, {"id": "bare"}]});
    let (found, failures) = named("x.json", document.to_string().as_bytes(), &Selection::default());
    assert_eq!(found.len(), 1);
    let told: Vec<_> = failures.iter().map(|(name, _)| name.rsplit(": ").next().unwrap()).collect();
    assert_eq!(told, ["none", "an item without an id", "wrong", "bare"]);
    assert!(failures[0].1.to_string().contains("image/jp2"));
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
