//! Questions about files of this machine and of a server.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::decode::{Samples, Values};
use crate::jp2::made;
use crate::source::Caller;
use crate::source::mock::{Fault, Mock};

/// Options, without GDAL.
struct Fixed(Vec<(&'static str, String)>);

impl Asker for Fixed {
    fn with(&self, _: &[(String, String)], warn: &(dyn Fn(&str) + Sync), work: &mut dyn FnMut(&Caller<'_>)) {
        let get = |_: &str, name: &str| self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        work(&Caller::new(&get).with_warn(warn));
    }
}

const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
const GML: &str = r#"<?xml version='1.0'?><gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml">
    <gml:RectifiedGrid><gml:origin><gml:Point srsName="urn:ogc:def:crs:EPSG::32631"><gml:pos>500005 5900035</gml:pos>
    </gml:Point></gml:origin><gml:offsetVector>10 0</gml:offsetVector><gml:offsetVector>0 -10</gml:offsetVector>
    </gml:RectifiedGrid></gml:FeatureCollection>"#;

fn box_of(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    [&(contents.len() as u32 + 8).to_be_bytes(), &kind[..], contents].concat()
}

/// 75 by 55 pixels in six tiles.
fn image() -> made::File {
    let root = [box_of(b"lbl ", b"gml.root-instance"), box_of(b"xml ", GML.as_bytes())].concat();
    let boxes = box_of(b"asoc", &[box_of(b"lbl ", b"gml.data"), box_of(b"asoc", &root)].concat());
    made::File { width: 75, height: 55, packet: 3000, plt: true, boxes, ..made::File::default() }
}

/// The question's number, and where its answer comes.
fn begin(kind: &str, path: &str, options: &[(&'static str, &str)]) -> (u64, mpsc::Receiver<Value>) {
    let (sender, answer) = mpsc::channel();
    let fixed = [("VSITLM_CACHE_DIR", "NO"), ("VSITLM_MERGE_GAP", "0"), ("GDAL_HTTP_RETRY_DELAY", "0.001"), ALL];
    let options = fixed.iter().chain(options).map(|(name, value)| (*name, (*value).to_owned())).collect();
    let question = json!({"ask": kind, "path": path}).to_string();
    let told = move |text: String, _| sender.send(serde_json::from_str(&text).unwrap()).unwrap();
    (ask(&question, Arc::new(Fixed(options)), Box::new(told)), answer)
}

/// Images as small as these have no overviews otherwise.
const ALL: (&str, &str) = ("VSITLM_OVERVIEWS", "ALL");

fn answer(kind: &str, path: &str, options: &[(&'static str, &str)]) -> Value {
    begin(kind, path, options).1.recv_timeout(Duration::from_secs(20)).unwrap()
}

/// An index of `path`, which is put in `folder`.
fn index(folder: &Path, path: &str) -> String {
    let index = folder.join("index.parquet").to_str().unwrap().to_owned();
    let arguments = ["vsitlm", "index", path, "-o", &index].map(std::ffi::OsString::from);
    assert_eq!(crate::cli::exit_code(arguments), 0);
    index
}

#[test]
fn an_image_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jp2").to_str().unwrap().to_owned();
    std::fs::write(&path, image().bytes()).unwrap();
    let described = answer("describe", &format!("/vsitlm/{path}"), &[]);
    // A TLM marker segment of six entries, with Ztlm and Stlm, and no PLT of the first tile-part.
    let size = image().bytes().len() + 6 + 6 * 3 - 11;
    let mut expected = json!({
        "width": 75, "height": 55, "count": 1, "dtype": "uint16", "epsg": 32631,
        "transform": [10., 0., 500_000., 0., -10., 5_900_040.], "tile_shape": [32, 32], "overviews": [2, 4],
        "size": size,
    });
    assert_eq!(described, expected);
    let reduced = answer("describe", &format!("/vsitlm?overview=2&url={path}"), &[]);
    let transform: Vec<f64> = serde_json::from_value(reduced["transform"].clone()).unwrap();
    let scaled = [75. / 38. * 10., 0., 500_000., 0., 55. / 28. * -10., 5_900_040.];
    assert!(transform.iter().zip(scaled).all(|(told, is)| (told - is).abs() < 1e-9), "{transform:?}");
    for (member, value) in [
        ("width", json!(38)),
        ("height", json!(28)),
        ("transform", json!(transform)),
        ("tile_shape", json!([16, 16])),
        ("overviews", json!([2])),
        ("size", reduced["size"].clone()),
    ] {
        expected[member] = value;
    }
    assert_eq!(reduced, expected);
    // A file that is served as it is, by its own header.
    std::fs::write(&path, made::File { components: vec![1, 1, 1], ..made::File::default() }.bytes()).unwrap();
    let passed = answer("describe", &format!("/vsitlm?url={path}"), &[("VSITLM_ON_MISS", "pass")]);
    assert_eq!((&passed["count"], &passed["overviews"], &passed["epsg"]), (&json!(3), &json!([]), &Value::Null));
}

#[test]
fn rows_are_found_by_path_and_by_product() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join(format!("{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R10m"));
    std::fs::create_dir_all(&images).unwrap();
    for band in ["B02", "B03"] {
        std::fs::write(images.join(format!("T31UDQ_20241016T105031_{band}_10m.jp2")), image().bytes()).unwrap();
    }
    let index = index(folder.path(), folder.path().join(format!("{PRODUCT}.SAFE")).to_str().unwrap());
    let options = [("VSITLM_INDEX", index.as_str())];
    let path = images.join("T31UDQ_20241016T105031_B03_10m.jp2").display().to_string();
    let told = answer("parts", &format!("/vsitlm/{path}"), &options);
    assert_eq!(told["location"], path);
    let store = [("VSITLM_INDEX", index.as_str()), ("VSITLM_STORE", folder.path().to_str().unwrap())];
    assert_eq!(answer("parts", &format!("/vsitlm/{PRODUCT}/B03"), &store), told);
    let parts = told["parts"].as_array().unwrap().clone();
    assert_eq!(parts.iter().map(|part| part[0].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(parts.windows(2).all(|two| two[0][1].as_u64().unwrap() + two[0][2].as_u64().unwrap() == two[1][1]));
    let by_path = answer("rows", &format!("/vsitlm/{path}"), &options);
    let row = &by_path["rows"][0];
    for (member, value) in [
        ("product_id", json!(PRODUCT)),
        ("mgrs_tile", json!("31UDQ")),
        ("band_id", json!("B03")),
        ("resolution", json!(10)),
        ("file_size", json!(image().bytes().len())),
        ("tile_parts", json!(6)),
        ("has_tlm", json!(false)),
        ("overview_factor", Value::Null),
        ("has_packets", json!(false)),
        ("is_tiff", json!(false)),
    ] {
        assert_eq!(row[member], value, "{member}");
    }
    assert_eq!((row.as_object().unwrap().len(), &by_path["warnings"]), (14, &json!([])));
    assert_eq!(answer("rows", &format!("/vsitlm/{PRODUCT}/B03"), &options), by_path);
    let all = answer("rows", &format!("/vsitlm/{PRODUCT}"), &options);
    assert_eq!((all["rows"].as_array().unwrap().len(), &all["rows"][1]), (2, row));
    assert_eq!(answer("rows", &format!("/vsitlm/{PRODUCT}/B04"), &options)["rows"], json!([]));
    let warned = answer("rows", &format!("/vsitlm/{path}"), &[("VSITLM_INDEX", "/absent.parquet")]);
    assert!(warned["warnings"][0].as_str().unwrap().contains("/absent.parquet"), "{warned}");
}

#[test]
fn the_parts_of_a_level_decode_to_what_whole_tile_parts_decode_to() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in [
        ("parts", &include_bytes!("../../tests/data/packets/lrcp_parts.j2k")[..]),
        ("layers", include_bytes!("../../tests/data/packets/lrcp_layers.j2k")),
        ("offsets", include_bytes!("../../tests/data/packets/rpcl_offsets.j2k")),
        ("styles", include_bytes!("../../tests/data/packets/rlcp_styles.j2k")),
    ] {
        let path = folder.path().join(format!("{name}.j2k")).to_str().unwrap().to_owned();
        std::fs::write(&path, file).unwrap();
        let mock = Mock::new(file);
        let url = mock.url(&format!("/ask/{name}.j2k"));
        let tiles = |view: &str, of: &str| {
            let parts = answer("parts", &format!("/vsitlm?{view}url={of}"), &[])["parts"].clone();
            let parts: Vec<(u16, usize, usize)> = serde_json::from_value(parts).unwrap();
            let header = file[..file.windows(4).position(|four| four == [0xFF, 0x90, 0, 10]).unwrap()].to_vec();
            let mut tiles = std::collections::BTreeMap::new();
            for (tile, offset, length) in parts {
                let bytes = tiles.entry(tile).or_insert_with(|| header.clone());
                bytes.extend_from_slice(&file[offset..offset + length]);
            }
            tiles
        };
        let whole = tiles("", &path);
        let levels = answer("describe", &format!("/vsitlm/{path}"), &[])["overviews"].as_array().unwrap().len();
        assert!(levels > 0, "{name}");
        for k in 1..=levels {
            let view = format!("overview={}&", 1 << k);
            let cut = tiles(&view, &path);
            assert_eq!(cut.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
            assert_eq!(cut, tiles(&view, &url), "{name}: of a server");
            for (bytes, all) in cut.values().zip(whole.values()) {
                assert!(bytes.len() < all.len(), "{name} at 1/2^{k}");
                let decoded = |bytes: &[u8]| {
                    let (told, samples) = decode(bytes, &json!({"tile": true, "reduce": k}).to_string());
                    let Some(samples) = samples else { panic!("{name} at 1/2^{k}: {told}") };
                    samples.rectangle((0, 0), (samples.shape[2], samples.shape[1]))
                };
                assert_eq!(decoded(bytes), decoded(all));
                let (told, _) = decode(&bytes[..bytes.len() - 1], &json!({"tile": true, "reduce": k}).to_string());
                assert!(told.contains("Malformed"), "{told}");
            }
        }
    }
    // Whole tile-parts, where it is not known where packets lie.
    let path = folder.path().join("untold.jp2").to_str().unwrap().to_owned();
    std::fs::write(&path, made::File { plt: false, ..image() }.bytes()).unwrap();
    let parts = |view: &str| answer("parts", &format!("/vsitlm?{view}url={path}"), &[]);
    assert_eq!((parts("overview=2&"), parts("")["parts"].as_array().unwrap().len()), (parts(""), 6));
    assert_eq!(parts("overview=8&")["error"]["kind"], "NoOverview");
}

#[test]
fn the_parts_of_a_level_take_no_more_requests_than_the_level() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::new(&image().bytes());
    let url = mock.url("/ask/level.jp2");
    let index = index(folder.path(), &url);
    let before = mock.count();
    let parts = answer("parts", &format!("/vsitlm?overview=2&url={url}"), &[("VSITLM_INDEX", &index)]);
    assert_eq!((parts["parts"].as_array().unwrap().len(), mock.count()), (6, before), "{parts}");
}

#[test]
fn a_scan_is_what_the_command_line_tells() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jp2").to_str().unwrap().to_owned();
    std::fs::write(&path, image().bytes()).unwrap();
    let scanned = answer("scan", &format!("/vsitlm/{path}"), &[]);
    assert_eq!((&scanned["image"]["width"], &scanned["tile_parts"]["count"]), (&json!(75), &json!(6)));
    assert_eq!(scanned["file"], json!(path));
}

#[test]
fn failures_are_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jp2").to_str().unwrap().to_owned();
    for (kind, expected) in [("describe", "NotFound"), ("fetch", "NotFound"), ("scan", "NotFound"), ("x", "Question")] {
        let told = answer(kind, &format!("/vsitlm/{path}"), &[]);
        assert_eq!(told["error"]["kind"], json!(expected), "{told}");
    }
    std::fs::write(&path, b"<html>").unwrap();
    assert_eq!(answer("describe", &format!("/vsitlm/{path}"), &[])["error"]["kind"], json!("Malformed"));
    assert_eq!(answer("fetch", &format!("/vsitlm?overview=4&url={path}"), &[])["error"]["kind"], json!("NoOverview"));
}

/// The server's file has been indexed before, and is asked for no more than is fetched.
#[test]
fn a_view_is_fetched_once_and_a_changed_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::new(&image().bytes());
    let url = mock.url("/ask/a.jp2");
    let index = index(folder.path(), &url);
    let options = [("VSITLM_INDEX", index.as_str())];
    let before = mock.count();
    let path = format!("/vsitlm?overview=2&url={url}");
    let fetched = answer("fetch", &path, &options);
    assert_eq!(fetched["requests"].as_u64(), Some((mock.count() - before) as u64), "{fetched}");
    assert!(fetched["requests"].as_u64() > Some(0) && fetched["bytes"].as_u64() > Some(0));
    let before = mock.count();
    assert_eq!(answer("fetch", &path, &options), json!({"bytes": 0, "requests": 0}));
    assert_eq!(mock.count(), before);
    mock.replace(&image().bytes(), "\"two\"");
    let changed = answer("fetch", &format!("/vsitlm/{url}"), &options);
    assert_eq!(changed["error"]["kind"], json!("Changed"), "{changed}");
}

#[test]
fn a_windows_packets_are_fetched_once_and_read_without_another_request() {
    let fine = made::File { tile: 64, width: 160, height: 130, precincts: 4, ..image() };
    let mock = Mock::new(&fine.bytes());
    let folder = tempfile::tempdir().unwrap();
    for packets in [false, true] {
        let url = mock.url(&format!("/ask/window-{packets}.jp2"));
        let index = folder.path().join(format!("{packets}.parquet")).to_str().unwrap().to_owned();
        let mut arguments = ["vsitlm", "index", &url, "-o", &index].map(std::ffi::OsString::from).to_vec();
        arguments.extend(packets.then(|| "--packets".into()));
        assert_eq!(crate::cli::exit_code(arguments), 0);
        let options = [("VSITLM_INDEX", index.as_str())];
        let before = mock.count();
        let path = format!("/vsitlm?window=70,70,8,8&url={url}");
        let fetched = answer("fetch", &path, &options);
        let requests = (mock.count() - before) as u64;
        assert_eq!(fetched["requests"], requests, "{fetched}");
        assert!(
            (2..=4 + u64::from(!packets)).contains(&requests),
            "the tile's header only where nothing else tells: {requests}"
        );
        assert_eq!(answer("fetch", &path, &options), json!({"bytes": 0, "requests": 0}));
        // What decodes it asks for nothing more.
        let read = answer("read", &path, &options);
        assert_eq!((&read["requests"], &read["shape"]), (&json!(0), &json!([1, 8, 8])), "{read}");
        assert_eq!(mock.count() - before, requests as usize);
    }
    // Of a file that does not tell its packets the tile-parts are fetched.
    let mock = Mock::new(&made::File { plt: false, ..image() }.bytes());
    let url = mock.url("/ask/untold.jp2");
    let path = format!("/vsitlm?window=1,1,2,2&url={url}");
    assert_eq!(answer("fetch", &path, &[("VSITLM_INDEX", &index(folder.path(), &url))])["requests"], json!(1));
    let outside = answer("fetch", &path.replace("1,1,2,2", "70,0,9,9"), &[]);
    assert_eq!(outside["error"]["kind"], "Window", "{outside}");
    assert!(outside["error"]["message"].as_str().unwrap().contains("9 x 9 pixels"), "{outside}");
    let described = answer("describe", &path, &[]);
    assert_eq!(
        (&described["width"], &described["transform"][2], &described["overviews"]),
        (&json!(2), &json!(500_010.), &json!([]))
    );
}

/// The answer to a question "read", and its samples.
fn read(question: &Value, options: &[(&'static str, &str)]) -> (Value, Vec<u8>) {
    let (sender, answer) = mpsc::channel();
    let fixed = [("VSITLM_CACHE_DIR", "NO"), ("VSITLM_MERGE_GAP", "0"), ALL];
    let options = fixed.iter().chain(options).map(|(name, value)| (*name, (*value).to_owned())).collect();
    let told = move |text: String, samples: Option<Samples>| {
        let Values::U8(values) = samples.unwrap_or_else(|| panic!("{text}")).values else { panic!("{text}") };
        sender.send((serde_json::from_str(&text).unwrap(), values)).unwrap();
    };
    ask(&question.to_string(), Arc::new(Fixed(options)), Box::new(told));
    answer.recv_timeout(Duration::from_secs(20)).unwrap()
}

#[test]
fn squares_are_those_of_their_windows_and_share_requests() {
    let file = include_bytes!("../../tests/data/packets/rpcl_offsets.j2k");
    let mock = Mock::new(file);
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("a.j2k").to_str().unwrap().to_owned();
    std::fs::write(&local, file).unwrap();
    let about = answer("describe", &format!("/vsitlm/{local}"), &[]);
    let bands = about["count"].as_u64().unwrap() as usize;
    let side = |name: &str, factor: u32| about[name].as_u64().unwrap() as u32 / factor;
    for (number, packets) in [false, true].into_iter().enumerate() {
        let url = mock.url(&format!("/ask/squares-{number}.j2k"));
        let index = folder.path().join(format!("{packets}.parquet")).to_str().unwrap().to_owned();
        let mut arguments = ["vsitlm", "index", &url, "-o", &index].map(std::ffi::OsString::from).to_vec();
        arguments.extend(packets.then(|| "--packets".into()));
        assert_eq!(crate::cli::exit_code(arguments), 0);
        let options = [("VSITLM_INDEX", index.as_str()), ("VSITLM_MERGE_GAP", "0")];
        for (factor, square, place) in [1, 2]
            .into_iter()
            .flat_map(|factor| [(1, &local), (1, &url), (5, &url)].map(move |(square, place)| (factor, square, place)))
        {
            let (wide, high) = (side("width", factor), side("height", factor));
            let at: Vec<(u32, u32)> = (0..40)
                .map(|step| (step * 71 % (wide - square + 1), step * 37 % (high - square + 1)))
                .chain([(0, 0), (wide - square, high - square)])
                .collect();
            let of = if factor > 1 { format!("overview={factor}&") } else { String::new() };
            let path = format!("/vsitlm?{of}url={place}");
            let before = mock.count();
            let squares = json!({"side": square, "at": at});
            let (told, samples) = read(&json!({"ask": "read", "path": path, "squares": squares}), &options);
            let asked = mock.count() - before;
            assert_eq!(told["shape"], json!([bands, at.len() * square as usize, square]), "{told}");
            assert!(asked as u64 == told["requests"].as_u64().unwrap() && asked <= 2 * 4 * 16, "{asked} requests");
            let area = (square * square) as usize;
            for (number, (x, y)) in at.iter().enumerate() {
                let view = if factor > 1 { format!("overview={factor}&") } else { String::new() };
                let path = format!("/vsitlm?{view}window={x},{y},{square},{square}&url={local}");
                let (_, right) = read(&json!({"ask": "read", "path": path}), &options);
                for band in 0..bands {
                    let start = (band * at.len() + number) * area;
                    let mine = &samples[start..start + area];
                    assert_eq!(mine, &right[band * area..(band + 1) * area], "{path}, band {band}");
                }
            }
            let outside = json!({"side": square, "at": [[wide - square + 1, 0]]});
            let question = json!({"ask": "read", "path": path, "squares": outside}).to_string();
            let (sender, told) = mpsc::channel();
            let all = Fixed(vec![(ALL.0, ALL.1.to_owned())]);
            ask(&question, Arc::new(all), Box::new(move |text, _| sender.send(text).unwrap()));
            let told = told.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(told.contains("\"Window\""), "{told}");
        }
    }
}

#[test]
fn who_is_cancelled_hears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::new(&image().bytes());
    let url = mock.url("/ask/b.jp2");
    let index = index(folder.path(), &url);
    mock.fault([Fault::Stall]);
    let before = mock.count();
    let (path, options) = (format!("/vsitlm/{url}"), [("VSITLM_INDEX", index.as_str())]);
    let (number, hears) = begin("fetch", &path, &options);
    while mock.count() == before {
        std::thread::yield_now();
    }
    assert!(cancel(number));
    assert!(!cancel(number) && !cancel(0));
    // Whoever would tell is gone.
    assert_eq!(hears.recv_timeout(Duration::from_secs(20)), Err(mpsc::RecvTimeoutError::Disconnected));
    // Its requests have ended: nobody waits for the one that stalls.
    assert!(answer("fetch", &path, &options)["requests"].as_u64() > Some(0));
}

#[test]
fn a_panic_is_an_answer() {
    struct Panics;
    impl Asker for Panics {
        fn with(&self, _: &[(String, String)], _: &(dyn Fn(&str) + Sync), _: &mut dyn FnMut(&Caller<'_>)) {
            panic!("on purpose")
        }
    }
    let (sender, answer) = mpsc::channel();
    let question = json!({"ask": "rows", "path": "/vsitlm/a.jp2"}).to_string();
    ask(&question, Arc::new(Panics), Box::new(move |text, _| sender.send(text).unwrap()));
    assert!(answer.recv_timeout(Duration::from_secs(20)).unwrap().contains("panic"));
}
