//! The outline of an image in longitude and latitude, as GeoParquet 1.1 has it.

use super::utm::Utm;

/// An outline in longitude and latitude on WGS 84.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Footprint {
    /// xmin, ymin, xmax, ymax in degrees; where it crosses the antimeridian, xmin is greater than xmax (GeoParquet 1.1,
    /// RFC 7946 5.2).
    pub(crate) bbox: [f64; 4],
    /// A polygon in WKB; two, as a multipolygon, where it crosses the antimeridian.
    pub(crate) wkb: Vec<u8>,
}

/// Points on each edge: a straight line in UTM is a curve in degrees, off by 20 m in the middle of 110 km.
const POINTS_AN_EDGE: u32 = 4;

/// The outline of an image of `width` times `height` pixels whose `transform` leads to coordinates of the UTM zone `epsg`.
pub(crate) fn footprint(epsg: u16, transform: &[f64; 6], (width, height): (u32, u32)) -> Option<Footprint> {
    let utm = Utm::new(epsg)?;
    let (w, h) = (f64::from(width), f64::from(height));
    // Counter-clockwise in coordinates whose y grows northwards: down the left edge first.
    let corners = [(0.0, 0.0), (0.0, h), (w, h), (w, 0.0), (0.0, 0.0)];
    let mut ring = Vec::new();
    for edge in corners.windows(2) {
        let [(from_column, from_row), (to_column, to_row)] = edge else { continue };
        for step in 0..POINTS_AN_EDGE {
            let share = f64::from(step) / f64::from(POINTS_AN_EDGE);
            let column = from_column + (to_column - from_column) * share;
            let row = from_row + (to_row - from_row) * share;
            let [a, b, c, d, e, f] = transform;
            ring.push(utm.degrees(a * column + b * row + c, d * column + e * row + f)?);
        }
    }
    ring.extend(ring.first().copied());
    Some(outline(ring))
}

/// The outline of a closed ring.
fn outline(mut ring: Vec<(f64, f64)>) -> Footprint {
    let bounds = |ring: &[(f64, f64)]| {
        ring.iter().fold([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY], |bounds, (x, y)| {
            [bounds[0].min(*x), bounds[1].min(*y), bounds[2].max(*x), bounds[3].max(*y)]
        })
    };
    let [xmin, ymin, xmax, ymax] = bounds(&ring);
    if xmax - xmin < 180.0 {
        return Footprint { bbox: [xmin, ymin, xmax, ymax], wkb: polygon(&ring) };
    }
    // It crosses the antimeridian: unrolled eastwards, then cut there.
    ring.iter_mut().filter(|(x, _)| *x < 0.0).for_each(|(x, _)| *x += 360.0);
    let west = clip(&ring, |x| x <= 180.0);
    let mut east = clip(&ring, |x| x >= 180.0);
    east.iter_mut().for_each(|(x, _)| *x -= 360.0);
    let mut wkb = vec![1];
    wkb.extend_from_slice(&6u32.to_le_bytes());
    wkb.extend_from_slice(&2u32.to_le_bytes());
    wkb.extend(polygon(&west));
    wkb.extend(polygon(&east));
    Footprint { bbox: [bounds(&west)[0], ymin, bounds(&east)[2], ymax], wkb }
}

/// The part of a closed ring on one side of the meridian of 180 degrees (Sutherland and Hodgman).
fn clip(ring: &[(f64, f64)], inside: impl Fn(f64) -> bool) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for pair in ring.windows(2) {
        let [(x, y), (next_x, next_y)] = pair else { continue };
        if inside(*x) {
            out.push((*x, *y));
        }
        if inside(*x) != inside(*next_x) {
            out.push((180.0, y + (next_y - y) * (180.0 - x) / (next_x - x)));
        }
    }
    out.extend(out.first().copied());
    out
}

/// A polygon of one ring in little-endian WKB (OGC 06-103r4, 8.2).
fn polygon(ring: &[(f64, f64)]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&3u32.to_le_bytes());
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&u32::try_from(ring.len()).unwrap_or(0).to_le_bytes());
    for (x, y) in ring {
        out.extend_from_slice(&x.to_le_bytes());
        out.extend_from_slice(&y.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 110 km of 10 m pixels from the upper left corner `x`, `y` on.
    fn tile(epsg: u16, x: f64, y: f64) -> Footprint {
        footprint(epsg, &[10.0, 0.0, x, 0.0, -10.0, y], (10_980, 10_980)).unwrap()
    }

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-7
    }

    #[test]
    fn an_outline_is_that_of_proj() {
        // By PROJ: pyproj's Transformer from EPSG:32631 to OGC:CRS84.
        let bbox = tile(32631, 399_960.0, 5_400_000.0).bbox;
        let wkb = tile(32631, 399_960.0, 5_400_000.0).wkb;
        let first = |at: usize| f64::from_le_bytes(wkb[at..at + 8].try_into().unwrap());
        assert!(near(first(13), 1.639_176_802) && near(first(21), 48.744_977_688), "{} {}", first(13), first(21));
        assert!(bbox[0] < bbox[2] && near(bbox[3], 48.752_936_509), "{bbox:?}");
        assert_eq!(wkb.len(), 13 + 17 * 16);
    }

    #[test]
    fn the_south_lies_below_the_equator() {
        let bbox = tile(32733, 499_980.0, 7_300_000.0).bbox;
        assert!(bbox[1] < -25.0 && bbox[3] < -24.0, "{bbox:?}");
    }

    #[test]
    fn what_crosses_the_antimeridian_is_cut_there() {
        let Footprint { bbox, wkb } = tile(32601, 300_000.0, 7_200_000.0);
        assert!(bbox[0] > 170.0 && bbox[2] < -170.0 && bbox[1] < bbox[3], "{bbox:?}");
        assert_eq!(wkb[..9], [1, 6, 0, 0, 0, 2, 0, 0, 0]);
    }
}
