//! Where a view lies on the ground: a GeoJP2 box for a reduced view's coarser grid, and what a VRT says.
//!
//! The corners stay where they are, so a pixel is W / ceil(W / 2^k) times as wide: what GDAL makes of an overview. The
//! full image tells where it lies by a GeoJP2 box, a UUID box (T.800 I.7.2) with a GeoTIFF in it, which is rewritten; or,
//! as Sentinel-2's, by a GMLJP2 box (OGC 05-047r3), from which one is made.

use crate::error::{Error, Result};
use crate::jp2::{Grid, Header, grid_of};

/// The UUID of GeoJP2 boxes.
const GEOJP2: [u8; 16] =
    [0xB1, 0x4B, 0xF8, 0xBD, 0x08, 0x3D, 0x4B, 0x43, 0xA5, 0xAE, 0x8C, 0xD7, 0xD5, 0xA6, 0xCE, 0x03];

/// GeoTIFF's tags (OGC 19-008r4, 7.1): ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory.
const PIXEL_SCALE: u16 = 33_550;
const TIEPOINT: u16 = 33_922;
const TRANSFORMATION: u16 = 34_264;
const KEYS: u16 = 34_735;

/// TIFF's type number of 64-bit floats.
const DOUBLE: u16 = 12;

/// The GeoJP2 box of the image of a file that begins with `header`, at `size` in pixels; `None` where the file has no
/// georeferencing, or none that is understood.
pub(super) fn build_geojp2(header: &Header, size: (u32, u32)) -> Option<Vec<u8>> {
    let full = header.main.siz.size();
    let scale = [f64::from(full.0) / f64::from(size.0), f64::from(full.1) / f64::from(size.1)];
    let geotiff = header
        .boxes()
        .filter(|found| found.kind == *b"uuid")
        .find_map(|found| rescale(found.contents.strip_prefix(&GEOJP2)?, scale))
        .or_else(|| Some(build_geotiff(&grid_of(header)?, scale)))?;
    let length = u32::try_from(8 + GEOJP2.len() + geotiff.len()).ok()?;
    Some([&length.to_be_bytes(), &b"uuid"[..], &GEOJP2, &geotiff].concat())
}

/// Where an image lies on the ground.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Georeference {
    /// The EPSG code of its coordinate reference system.
    pub(crate) epsg: u16,
    /// The affine transform of its pixels, in the order of [`Grid::transform`].
    pub(crate) transform: [f64; 6],
}

/// Where the image of a file that begins with `header` lies at `size` in pixels, from its pixel `origin` on; `None` where
/// the file does not say.
///
/// # Errors
/// [`Error::NoOverview`] where it tells in a way that only GDAL understands.
pub(crate) fn georeference(header: &Header, size: (u32, u32), origin: (u32, u32)) -> Result<Option<Georeference>> {
    let Some(grid) = grid_of(header) else {
        let told = header.boxes().any(|found| found.kind == *b"asoc" || found.contents.starts_with(&GEOJP2));
        let what = "its georeferencing is not that of a GMLJP2 box with UTM coordinates";
        return if told { Err(Error::NoOverview { what: what.to_owned() }) } else { Ok(None) };
    };
    let full = header.main.siz.size();
    let scale = [f64::from(full.0) / f64::from(size.0), f64::from(full.1) / f64::from(size.1)];
    let [a, b, c, d, e, f] = grid.transform(scale);
    let (column, row) = (f64::from(origin.0), f64::from(origin.1));
    let transform = [a, b, c + column * a + row * b, d, e, f + column * d + row * e];
    Ok(Some(Georeference { epsg: grid.epsg, transform }))
}

/// The GeoTIFF of GeoJP2, an image of one pixel that has the tags: those of `grid`, with pixels `scale` times as large.
fn build_geotiff(grid: &Grid, scale: [f64; 2]) -> Vec<u8> {
    let [a, b, c, d, e, f] = grid.transform(scale);
    let matrix = [a, b, 0., c, d, e, 0., f, 0., 0., 0., 0., 0., 0., 0., 1.];
    // GTModelTypeGeoKey = 1 (projected), GTRasterTypeGeoKey = 1 (pixel is area), ProjectedCRSGeoKey.
    let keys: [u16; 16] = [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, grid.epsg];
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    const ENTRIES: u16 = 11;
    let values = 8 + 2 + 12 * u32::from(ENTRIES) + 4;
    let (matrix_at, keys_at) = (values, values + 128);
    let pixel_at = keys_at + 32;
    let entries: [(u16, u16, u32, u32); ENTRIES as usize] = [
        (256, SHORT, 1, 1),
        (257, SHORT, 1, 1),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, 1),
        (262, SHORT, 1, 1),
        (273, LONG, 1, pixel_at),
        (277, SHORT, 1, 1),
        (278, SHORT, 1, 1),
        (279, LONG, 1, 1),
        (TRANSFORMATION, DOUBLE, 16, matrix_at),
        (KEYS, SHORT, 16, keys_at),
    ];
    let mut out = b"II\x2A\0\x08\0\0\0".to_vec();
    out.extend_from_slice(&ENTRIES.to_le_bytes());
    for (tag, kind, count, value) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    matrix.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    keys.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    out.push(0);
    out
}

/// A GeoTIFF whose pixels become `scale` times as large.
fn rescale(geotiff: &[u8], scale: [f64; 2]) -> Option<Vec<u8>> {
    let mut out = geotiff.to_vec();
    let big = match geotiff.get(..4)? {
        b"II\x2A\0" => false,
        b"MM\0\x2A" => true,
        _ => return None,
    };
    let number = |at: usize, length: usize| {
        let bytes = geotiff.get(at..at.checked_add(length)?)?;
        let digit = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if big { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) })
    };
    let directory = usize::try_from(number(4, 4)?).ok()?;
    let (mut found, mut last) = (false, None);
    for entry in 0..usize::try_from(number(directory, 2)?).ok()? {
        let at = directory.checked_add(2 + 12 * entry)?;
        let (tag, kind) = (number(at, 2)?, number(at + 2, 2)?);
        // Ascending (TIFF 6.0, section 2): each tag stands once, and what it claims to hold is walked once.
        if last.replace(tag) >= Some(tag) {
            return None;
        }
        let (count, place) = (number(at + 4, 4)?, usize::try_from(number(at + 8, 4)?).ok()?);
        let [sx, sy] = scale;
        // What each value is multiplied by.
        let factors: &[f64] = match u16::try_from(tag).ok()? {
            PIXEL_SCALE => &[sx, sy],
            TIEPOINT => &[1.0 / sx, 1.0 / sy, 1.0, 1.0, 1.0, 1.0],
            TRANSFORMATION => &[sx, sy, 1.0, 1.0],
            _ => continue,
        };
        if kind != u64::from(DOUBLE) {
            return None;
        }
        let most = if tag == u64::from(PIXEL_SCALE) { 2 } else { count };
        for index in 0..usize::try_from(most.min(count)).ok()? {
            let at = place.checked_add(8 * index)?;
            let value = f64::from_bits(number(at, 8)?) * factors.get(index % factors.len())?;
            let bytes = if big { value.to_be_bytes() } else { value.to_le_bytes() };
            out.get_mut(at..at + 8)?.copy_from_slice(&bytes);
        }
        found = true;
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { epsg: 32629, origin: [500010., 5900010.], steps: [[60., 0.], [0., -60.]] };

    fn doubles(tiff: &[u8], at: usize, count: usize) -> Vec<f64> {
        tiff[at..at + 8 * count].chunks(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect()
    }

    #[test]
    fn a_grid_keeps_its_corner() {
        let tiff = build_geotiff(&GRID, [2.0, 4.0]);
        assert_eq!(doubles(&tiff, 146, 8), [120., 0., 0., 499_980., 0., -240., 0., 5_900_040.]);
        assert_eq!(tiff[tiff.len() - 3..tiff.len() - 1], 32629u16.to_le_bytes());
    }

    #[test]
    fn a_geotiff_is_rescaled_in_place() {
        let tiff = build_geotiff(&GRID, [1.0, 1.0]);
        let twice = rescale(&tiff, [2.0, 4.0]).unwrap();
        assert_eq!(twice, build_geotiff(&GRID, [2.0, 4.0]));
    }

    #[test]
    fn a_tag_that_stands_twice_is_refused() {
        let tiff = build_geotiff(&GRID, [1.0, 1.0]);
        let entry = 10 + 12 * 9;
        assert_eq!(tiff[entry..entry + 2], TRANSFORMATION.to_le_bytes());
        for (tag, understood) in [(280, true), (TIEPOINT, true), (TRANSFORMATION, false), (KEYS, false)] {
            let mut changed = tiff.clone();
            changed.copy_within(entry..entry + 12, entry - 12);
            changed[entry - 12..entry - 10].copy_from_slice(&tag.to_le_bytes());
            assert_eq!(rescale(&changed, [2.0, 2.0]).is_some(), understood, "{tag} before it");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), at in 0usize..300, byte: u8) {
            let _ = rescale(&bytes, [2.0, 2.0]);
            bytes.splice(0..0, *b"II\x2A\0\x08\0\0\0");
            let _ = rescale(&bytes, [2.0, 2.0]);
            let mut tiff = build_geotiff(&GRID, [1.0, 1.0]);
            if let Some(place) = tiff.get_mut(at) { *place = byte; }
            let _ = rescale(&tiff, [2.0, 2.0]);
        }
    }
}
