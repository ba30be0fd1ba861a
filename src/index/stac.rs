//! What a row tells of its image besides where its bytes lie, so that other tools filter an index by place and time: names
//! and values as STAC has them, the footprint as GeoParquet 1.1 has it.
//!
//! All of it follows from the product's name and the file's header, so it is made when a row is written, and kept nowhere
//! else.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::NaiveDateTime;
use proj4rs::Proj;
use proj4rs::transform::transform;

use super::record::RecordKey;
use crate::geo::{Grid, grid_of};
use crate::jp2::{Header, Progress, parse_main_header};

/// The columns, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stac {
    /// When it was sensed (the datatake's start, as the product's name has it), in microseconds since 1970-01-01 UTC.
    pub(super) datetime: Option<i64>,
    /// `sentinel-2a`.
    pub(super) platform: Option<String>,
    /// `05.11`.
    pub(super) processing_baseline: Option<String>,
    /// 1 to 143.
    pub(super) relative_orbit: Option<i32>,
    /// The EPSG code of the image's coordinate reference system.
    pub(super) epsg: Option<i32>,
    /// Rows and columns of pixels.
    pub(super) shape: Option<[i32; 2]>,
    /// From pixels to coordinates, as `proj:transform` has it: a, b, c, d, e, f.
    pub(super) transform: Option<[f64; 6]>,
    /// The image's outline.
    pub(super) footprint: Option<Footprint>,
}

/// An outline in longitude and latitude on WGS 84.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Footprint {
    /// xmin, ymin, xmax, ymax in degrees; where it crosses the antimeridian, xmin is greater than xmax (GeoParquet 1.1,
    /// RFC 7946 5.2).
    pub(super) bbox: [f64; 4],
    /// A polygon in WKB; two, as a multipolygon, where it crosses the antimeridian.
    pub(super) wkb: Vec<u8>,
}

/// Makes the columns. Images of a tile share their outline, so those made last are remembered.
#[derive(Default)]
pub(super) struct Describer(HashMap<[u64; 9], Option<Footprint>>);

/// Outlines remembered: more than a tile has at all its resolutions.
const REMEMBERED: usize = 64;

impl Describer {
    /// What is known of an image with this key, whose file begins with `header`.
    pub(super) fn describe(&mut self, key: &RecordKey, header: Option<&Bytes>) -> Stac {
        let mut stac = of_name(&key.product_id);
        let parsed = header.and_then(|header| Some((header, parse_main_header(header, header.len() as u64).ok()?)));
        if let Some((bytes, Progress::Done(main))) = parsed {
            let header = Header { bytes: bytes.clone(), main };
            let size = header.main.siz.size();
            stac.shape =
                i32::try_from(size.1).ok().zip(i32::try_from(size.0).ok()).map(|(rows, columns)| [rows, columns]);
            if let Some(grid) = grid_of(&header) {
                let affine = affine(&grid);
                stac.epsg = Some(grid.epsg.into());
                stac.transform = Some(affine);
                stac.footprint = self.footprint(grid.epsg, &affine, size);
            }
        }
        stac
    }

    fn footprint(&mut self, epsg: u16, affine: &[f64; 6], size: (u32, u32)) -> Option<Footprint> {
        let [a, b, c, d, e, f] = affine.map(f64::to_bits);
        let place = [epsg.into(), a, b, c, d, e, f, size.0.into(), size.1.into()];
        if self.0.len() > REMEMBERED {
            self.0.clear();
        }
        self.0.entry(place).or_insert_with(|| footprint(epsg, affine, size)).clone()
    }
}

/// What a product's name tells: `S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206`, the long names of before
/// December 2016, and the names of rows whose path tells no product, `L2A_T31UDQ_20241016T105031`.
fn of_name(product: &str) -> Stac {
    let parts = || product.split('_');
    let time = parts().find_map(|part| {
        let time = part.strip_prefix('V').unwrap_or(part);
        // The long names have the time of their making first, and mark that of sensing with a V.
        let is_sensing = part.starts_with('V') || !product.contains("_PRD_");
        NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S").ok().filter(|_| is_sensing && time.len() == 15)
    });
    let digits = |prefix: char, count: usize| {
        parts().find_map(|part| {
            let rest = part.strip_prefix(prefix)?;
            (rest.len() == count && rest.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
        })
    };
    let unit = parts().next().and_then(|mission| mission.strip_prefix("S2")).filter(|unit| unit.len() == 1);
    Stac {
        datetime: time.map(|time| time.and_utc().timestamp_micros()),
        platform: unit.map(|unit| format!("sentinel-2{}", unit.to_ascii_lowercase())),
        processing_baseline: digits('N', 4).map(|digits| format!("{}.{}", &digits[..2], &digits[2..])),
        relative_orbit: digits('R', 3).and_then(|digits| digits.parse().ok()),
        ..Stac::default()
    }
}

/// From the corner of a pixel to its place. The grid's origin is the centre of the first pixel.
fn affine(grid: &Grid) -> [f64; 6] {
    let Grid { origin: [x, y], steps: [[column_x, column_y], [row_x, row_y]], .. } = grid;
    let corner = |centre: f64, column: f64, row: f64| centre - (column + row) / 2.0;
    [*column_x, *row_x, corner(*x, *column_x, *row_x), *column_y, *row_y, corner(*y, *column_y, *row_y)]
}

/// Points on each edge: a straight line in UTM is a curve in degrees, off by 20 m in the middle of 110 km.
const POINTS_AN_EDGE: u32 = 4;

fn footprint(epsg: u16, affine: &[f64; 6], (width, height): (u32, u32)) -> Option<Footprint> {
    // EPSG: 326zz are the zones of the northern hemisphere, 327zz those of the southern.
    let (zone, south) = (epsg % 100, if epsg >= 32_700 { " +south" } else { "" });
    let utm = Proj::from_proj_string(&format!("+proj=utm +zone={zone}{south} +datum=WGS84 +units=m +no_defs")).ok()?;
    let degrees = Proj::from_proj_string("+proj=longlat +datum=WGS84 +no_defs").ok()?;
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
            let [a, b, c, d, e, f] = affine;
            let mut point = (a * column + b * row + c, d * column + e * row + f, 0.0);
            transform(&utm, &degrees, &mut point).ok()?;
            let (longitude, latitude) = (point.0.to_degrees(), point.1.to_degrees());
            if !longitude.is_finite() || !latitude.is_finite() {
                return None;
            }
            ring.push((longitude, latitude));
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

    #[test]
    fn names_tell_of_the_product() {
        let stac = of_name("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206");
        assert_eq!(stac.datetime, Some(1_729_075_831_000_000));
        assert_eq!(stac.platform.as_deref(), Some("sentinel-2a"));
        assert_eq!(stac.processing_baseline.as_deref(), Some("05.11"));
        assert_eq!(stac.relative_orbit, Some(51));
        let old = of_name("S2A_OPER_PRD_MSIL1C_PDMC_20160930T123456_R065_V20160929T101022_20160929T101643");
        assert_eq!((old.datetime, old.relative_orbit), (Some(1_475_143_822_000_000), Some(65)));
        assert_eq!(old.processing_baseline, None);
        let bare = of_name("L2A_T31UDQ_20241016T105031");
        assert_eq!((bare.datetime, bare.platform), (Some(1_729_075_831_000_000), None));
        assert_eq!(of_name("L1C_T31UDQ_20241016"), Stac::default(), "a day is no time");
        assert_eq!(of_name(""), Stac::default());
    }

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
