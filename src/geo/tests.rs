//! Boxes made in code, changed, and read again.

use super::*;
use crate::jp2::walk_boxes;
use crate::jp2::{LBox, Progress, build_box, made, parse_main_header};

const GML: &str = r#"<?xml version='1.0'?><gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml">
    <!-- a comment --><gml:RectifiedGrid dimension="2"><gml:axisName>x</gml:axisName><gml:axisName>y</gml:axisName>
    <gml:origin><gml:Point srsName="urn:ogc:def:crs:EPSG::32629"><gml:pos>500010 5900010</gml:pos></gml:Point></gml:origin>
    <gml:offsetVector>60 0</gml:offsetVector><gml:offsetVector>0 -60</gml:offsetVector>
    </gml:RectifiedGrid></gml:FeatureCollection>"#;

fn a_box(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    build_box(*kind, contents).unwrap()
}

fn gmljp2(xml: &str) -> Vec<u8> {
    let document = |label: &[u8], xml: &[u8]| a_box(b"asoc", &[a_box(b"lbl ", label), a_box(b"xml ", xml)].concat());
    let documents = [document(b"crs.gml", b"<Dictionary/>"), document(b"gml.root-instance", xml.as_bytes())].concat();
    a_box(b"asoc", &[a_box(b"lbl ", b"gml.data"), documents].concat())
}

/// A GeoJP2 box of these doubles and keys.
fn geojp2(doubles: &[(u16, &[f64])], keys: &[(u16, u16)]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut values = Vec::new();
    let at = 8 + 2 + 12 * (doubles.len() + 1) + 4;
    for (tag, doubles) in doubles {
        entries.push((*tag, 12u16, doubles.len(), at + values.len()));
        doubles.iter().for_each(|value| values.extend_from_slice(&value.to_le_bytes()));
    }
    entries.push((34_735, 3, 4 + 4 * keys.len(), at + values.len()));
    let head = [1, 1, 0, keys.len() as u16];
    let keys = keys.iter().flat_map(|(key, value)| [*key, 0, 1, *value]);
    head.into_iter().chain(keys).for_each(|value| values.extend_from_slice(&value.to_le_bytes()));
    let mut tiff = b"II\x2A\0\x08\0\0\0".to_vec();
    tiff.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    for (tag, kind, count, at) in entries {
        tiff.extend_from_slice(&tag.to_le_bytes());
        tiff.extend_from_slice(&kind.to_le_bytes());
        [count, at].iter().for_each(|value| tiff.extend_from_slice(&(*value as u32).to_le_bytes()));
    }
    a_box(b"uuid", &[&geojp2::UUID[..], &tiff, &[0; 4], &values].concat())
}

const SCALE: &[f64] = &[10., 20., 0.];
const TIE: &[f64] = &[0., 0., 0., 400_000., 5_000_000., 0.];
const UTM: [(u16, u16); 3] = [(1024, 1), (1025, 1), (3072, 32_631)];

fn by_tie_point() -> Vec<u8> {
    geojp2(&[(33_550, SCALE), (33_922, TIE)], &UTM)
}

fn header(boxes: &[u8]) -> Header {
    let file = made::File { boxes: boxes.to_vec(), jp2c: Some(LBox::ToEnd), ..made::File::default() }.bytes();
    let Progress::Done(main) = parse_main_header(&file, file.len() as u64).unwrap() else { panic!("whole") };
    Header { bytes: file.into(), main }
}

fn size() -> (u32, u32) {
    header(&[]).main.siz.size()
}

fn place(boxes: &[u8]) -> Result<Option<Georeference>> {
    georeference(&header(boxes), &[], size(), (0, 0))
}

fn transform(boxes: &[u8]) -> (u16, [f64; 6]) {
    let found = place(boxes).unwrap().unwrap();
    (found.epsg, found.transform)
}

#[test]
fn a_window_lies_where_its_file_does() {
    let header = header(&gmljp2(GML));
    let found = georeference(&header, &[], size(), (2, 3)).unwrap().unwrap();
    assert_eq!(found, Georeference { epsg: 32_629, transform: [60., 0., 500_100., 0., -60., 5_899_860.] });
    let grid = gml::Grid { epsg: 32_629, origin: [500_010., 5_900_010.], steps: [[60., 0.], [0., -60.]] };
    assert_eq!(grid_of(&header), Some(grid));
    assert_eq!(place(&[]).unwrap(), None);
    assert_eq!(build_boxes(&super::tests::header(&[]), &[], size()).unwrap(), Vec::<u8>::new());
}

#[test]
fn geojp2_comes_before_gmljp2_wherever_they_stand() {
    let expected = (32_631, [10., 0., 400_000., 0., -20., 5_000_000.]);
    assert_eq!(transform(&[gmljp2(GML), by_tie_point()].concat()), expected);
    let in_jumb = a_box(b"jumb", &by_tie_point());
    assert_eq!(transform(&in_jumb), expected);
    let behind = georeference(&header(&gmljp2(GML)), &by_tie_point(), size(), (0, 0)).unwrap().unwrap();
    assert_eq!((behind.epsg, behind.transform), expected);
}

#[test]
fn all_boxes_are_changed_for_larger_pixels() {
    let boxes = [gmljp2(GML), by_tie_point()].concat();
    let (width, height) = size();
    let half = (width.div_ceil(2), height.div_ceil(4));
    let [sx, sy] = [f64::from(width) / f64::from(half.0), f64::from(height) / f64::from(half.1)];
    for (before, behind) in [(boxes.clone(), Vec::new()), (Vec::new(), boxes)] {
        let built = build_boxes(&header(&before), &behind, half).unwrap();
        let kinds: Vec<_> = walk_boxes(&built).map(|found| found.kind).collect();
        assert_eq!(kinds, [*b"uuid", *b"asoc"]);
        let [uuid, asoc] = [0, 1].map(|index| walk_boxes(&built).nth(index).unwrap().bytes.to_vec());
        assert_eq!(transform(&uuid), (32_631, [10. * sx, 0., 400_000., 0., -20. * sy, 5_000_000.]));
        let (epsg, [a, _, c, _, e, f]) = transform(&asoc);
        assert_eq!((epsg, a, e), (32_629, 60. * sx, -60. * sy));
        assert!((c - 499_980.).abs() < 1e-6 && (f - 5_900_040.).abs() < 1e-6);
        let text = String::from_utf8_lossy(&asoc);
        assert!(text.contains("<!-- a comment -->") && text.contains("<Dictionary/>"), "the rest is as it was");
    }
}

#[test]
fn axes_are_in_the_order_that_gdal_takes_them_in() {
    let of = |srs: &str, axes: &str| {
        let xml = GML.replace("urn:ogc:def:crs:EPSG::32629", srs).replace("<gml:axisName>x</gml:axisName>", axes);
        place(&gmljp2(&xml)).map(|found| found.unwrap().transform[2])
    };
    let (easting, northing) = (499_980., 5_900_040.);
    assert_eq!(of("urn:ogc:def:crs:EPSG::3035", "").unwrap(), northing);
    assert_eq!(of("http://www.opengis.net/def/crs/EPSG/0/4326", "").unwrap(), northing);
    assert_eq!(of("EPSG:4326", "").unwrap(), easting);
    assert_eq!(of("urn:ogc:def:crs:EPSG::2056", "").unwrap(), easting);
    let named = "<gml:axisName>Easting</gml:axisName><gml:axisName>Northing</gml:axisName>";
    assert_eq!(of("urn:ogc:def:crs:EPSG::3035", named).unwrap(), easting);
    for unclear in ["urn:ogc:def:crs:EPSG::2180", "urn:ogc:def:crs:OGC::CRS84", "gmljp2://xml/crs.gml#a", "é"] {
        let error = of(unclear, "").unwrap_err().to_string();
        assert!(error.contains("georeferencing") && error.contains("GMLJP2"), "{error}");
    }
}

#[test]
fn what_is_unclear_is_refused() {
    let refused = |boxes: &[u8]| assert!(place(boxes).is_err());
    refused(&gmljp2(&GML.replace("500010 ", "NaN ")));
    refused(&gmljp2("<a>"));
    refused(&[by_tie_point(), by_tie_point()].concat());
    refused(&geojp2(&[(33_550, SCALE), (33_922, TIE)], &[(1024, 1), (3072, 32_767)]));
    refused(&geojp2(&[(33_550, SCALE), (33_922, TIE)], &[(1024, 1), (3072, 32_631), (4096, 5773)]));
    refused(&geojp2(&[(33_550, SCALE), (33_922, &[TIE, TIE].concat())], &UTM));
    refused(&geojp2(&[], &UTM));
    refused(&geojp2(&[(33_922, TIE), (33_550, SCALE)], &UTM));
    let rpc = geojp2(&[(33_550, SCALE), (33_922, TIE), (50_844, TIE)], &UTM);
    refused(&rpc);
    assert!(build_boxes(&header(&gmljp2("<a>")), &[], (1, 1)).is_err());
    assert_eq!(place(&gmljp2("<a/>")).unwrap(), None, "no grid for GDAL either");
    assert_eq!(build_boxes(&header(&gmljp2("<a/>")), &[], (1, 1)).unwrap(), Vec::<u8>::new());
}

#[test]
fn a_point_in_the_middle_of_a_pixel_leaves_the_corner_where_it_is() {
    let matrix = [10., 1., 0., 400_000., 2., -20., 0., 5_000_000., 0., 0., 0., 0., 0., 0., 0., 1.];
    let point = [(1024, 2), (1025, 2), (2048, 4326)];
    let [tie, full] = [geojp2(&[(33_550, SCALE), (33_922, TIE)], &point), geojp2(&[(34_264, &matrix)], &point)];
    assert_eq!(transform(&tie), (4326, [10., 0., 399_995., 0., -20., 5_000_010.]));
    assert_eq!(transform(&full), (4326, [10., 1., 399_994.5, 2., -20., 5_000_009.]));
    for (boxes, steps) in [(tie, [20., 0., 0., -80.]), (full, [20., 4., 4., -80.])] {
        let scaled = geojp2::build_scaled(&walk_boxes(&boxes).next().unwrap().contents[16..], [2., 4.]).unwrap();
        let (_, [_, _, c, _, _, f]) = transform(&boxes);
        let (_, [a, b, x, d, e, y]) = transform(&scaled);
        assert_eq!([a, b, d, e], steps);
        assert!((x - c).abs() < 1e-6 && (y - f).abs() < 1e-6, "{x} {y}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), at in 0usize..700, byte: u8,
    ) {
        let header = header(&[]);
        let each = |bytes: &[u8]| {
            for kind in [b"asoc", b"uuid", b"jumb"] {
                let _ = georeference(&header, &a_box(kind, bytes), (3, 4), (0, 0));
                let _ = build_boxes(&header, &a_box(kind, bytes), (3, 4));
            }
            let _ = (geojp2::place(bytes), geojp2::build_scaled(bytes, [2., 2.]));
        };
        each(&bytes);
        bytes.splice(0..0, *b"II\x2A\0\x08\0\0\0");
        each(&bytes);
        for mut boxes in [gmljp2(GML), by_tie_point()] {
            if let Some(place) = boxes.get_mut(at) { *place = byte; }
            let _ = georeference(&header, &boxes, (3, 4), (0, 0));
            let _ = build_boxes(&header, &boxes, (3, 4));
        }
    }
}
