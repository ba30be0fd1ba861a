//! Where an image lies on the ground, by its GMLJP2 box (OGC 05-047r3): an association box (T.801, `asoc`) with XML in
//! it.

use super::Header;

/// Where a grid of pixels lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    /// The EPSG code of its coordinate reference system.
    pub(crate) epsg: u16,
    /// The centre of the first pixel.
    pub(crate) origin: [f64; 2],
    /// The steps to the next column and to the next row.
    pub(crate) steps: [[f64; 2]; 2],
}

impl Grid {
    /// The affine transform of its pixels, `scale` times as large, from the same corner: of columns and rows, counted from
    /// that corner, x = a·column + b·row + c and y = d·column + e·row + f, in this order.
    pub(crate) fn transform(&self, scale: [f64; 2]) -> [f64; 6] {
        let Self { origin: [x, y], steps: [[cx, cy], [rx, ry]], .. } = self;
        let [sx, sy] = scale;
        [cx * sx, rx * sy, x - (cx + rx) / 2.0, cy * sx, ry * sy, y - (cy + ry) / 2.0]
    }
}

/// The grid of the image of a file that begins with `header`; `None` where it has no GMLJP2 box, or one that is not
/// understood.
pub(crate) fn grid_of(header: &Header) -> Option<Grid> {
    parse_gml(header.boxes().filter(|found| found.kind == *b"asoc").find_map(|found| gml_of(found.contents))?)
}

/// The XML in an association box of GMLJP2, which is kept in an XML box inside.
fn gml_of(asoc: &[u8]) -> Option<&str> {
    let start = asoc.windows(4).position(|kind| kind == b"xml ")? + 4;
    let text = asoc.get(start..)?;
    let end = text.iter().rposition(|byte| *byte == b'>')? + 1;
    std::str::from_utf8(text.get(..end)?).ok()
}

/// The first rectified grid of a GML coverage, if its axes are easting and northing for certain: those of UTM on WGS 84.
fn parse_gml(text: &str) -> Option<Grid> {
    let document = roxmltree::Document::parse(text).ok()?;
    let named = |node: roxmltree::Node<'_, '_>, name: &str| node.tag_name().name() == name;
    let grid = document.descendants().find(|node| named(*node, "RectifiedGrid"))?;
    let origin = grid.descendants().find(|node| named(*node, "Point"))?;
    let pair = |node: roxmltree::Node<'_, '_>| {
        let mut numbers =
            node.text()?.split_whitespace().map(|word| word.parse::<f64>().ok().filter(|v| v.is_finite()));
        Some([numbers.next()??, numbers.next()??])
    };
    let position = origin.descendants().find(|node| named(*node, "pos")).and_then(pair)?;
    let mut steps = grid.descendants().filter(|node| named(*node, "offsetVector")).map(pair);
    let srs = origin.attribute("srsName").or_else(|| grid.attribute("srsName"))?;
    let epsg = srs.rsplit([':', '#', '/']).next()?.parse().ok()?;
    let is_utm = srs.contains("EPSG") && matches!(epsg, 32_601..=32_660 | 32_701..=32_760);
    let grid = Grid { epsg, origin: position, steps: [steps.next()??, steps.next()??] };
    is_utm.then_some(grid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GML: &str = r#"<?xml version='1.0'?><gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml">
        <gml:RectifiedGrid dimension="2"><gml:origin><gml:Point srsName="urn:ogc:def:crs:EPSG::32629">
        <gml:pos>500010 5900010</gml:pos></gml:Point></gml:origin><gml:offsetVector>60 0</gml:offsetVector>
        <gml:offsetVector>0 -60</gml:offsetVector></gml:RectifiedGrid></gml:FeatureCollection>"#;

    #[test]
    fn a_grid_is_parsed() {
        let grid = Grid { epsg: 32629, origin: [500010., 5900010.], steps: [[60., 0.], [0., -60.]] };
        assert_eq!(parse_gml(GML), Some(grid));
    }

    #[test]
    fn other_reference_systems_are_left_alone() {
        assert_eq!(parse_gml(&GML.replace("32629", "4326")), None, "latitude comes first there");
        assert_eq!(parse_gml(&GML.replace("500010 ", "NaN ")), None);
        assert_eq!(parse_gml("<a>"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
            let _ = gml_of(&bytes);
        }
    }
}
