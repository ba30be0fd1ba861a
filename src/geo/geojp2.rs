//! GeoJP2: a UUID box (T.800 I.7.2) with a GeoTIFF in it (OGC 19-008r4), an image of one pixel that has the tags.

use super::affine::Affine;
use super::geotiff::Tiff;
use crate::jp2::build_box;

/// The UUID of GeoJP2 boxes.
pub(super) const UUID: [u8; 16] =
    [0xB1, 0x4B, 0xF8, 0xBD, 0x08, 0x3D, 0x4B, 0x43, 0xA5, 0xAE, 0x8C, 0xD7, 0xD5, 0xA6, 0xCE, 0x03];

/// GeoTIFF's tags (7.1): ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory; and GDAL's RPCCoefficient.
const PIXEL_SCALE: u16 = 33_550;
const TIEPOINT: u16 = 33_922;
const TRANSFORMATION: u16 = 34_264;
const KEYS: u16 = 34_735;
const RPC: u16 = 50_844;

/// GTModelTypeGeoKey, whose values are 1 (projected) and 2 (geographic), GTRasterTypeGeoKey, GeodeticCRSGeoKey,
/// ProjectedCRSGeoKey (7.4).
const MODEL: u16 = 1024;
const RASTER: u16 = 1025;
const GEODETIC: u16 = 2048;
const PROJECTED: u16 = 3072;

/// The keys that say no more than the code of the reference system, if that is there: citations, units of measure and the
/// ellipsoid, as GDAL writes them.
const REPEATED: [u16; 8] = [1026, 2049, 2054, 2057, 2059, 3073, 3076, 2050];

/// "User-defined": the first number that is not an EPSG code.
const USER_DEFINED: u16 = 32_767;

/// GTRasterTypeGeoKey: coordinates are those of a pixel's centre.
const PIXEL_IS_POINT: u16 = 2;

/// The short keys with their values; `None` where the directory is cut.
fn keys(shorts: &[u16]) -> Option<Vec<(u16, Option<u16>)>> {
    let Some((head, entries)) = shorts.split_at_checked(4) else { return Some(Vec::new()) };
    let count = usize::from(*head.get(3)?);
    let of = |entry: &[u16]| match *entry {
        // A location of 0: the value stands in the key itself.
        [key, location, _, value] => (key, (location == 0).then_some(value)),
        _ => (0, None),
    };
    (entries.len() >= 4 * count).then(|| entries.chunks_exact(4).take(count).map(of).collect())
}

/// The pixel of a GeoTIFF's raster space that is the corner of the first pixel, as a fraction of one.
fn half(keys: &[(u16, Option<u16>)]) -> f64 {
    if keys.contains(&(RASTER, Some(PIXEL_IS_POINT))) { 0.5 } else { 0.0 }
}

/// The box of pixels `scale` times as large, from the same corner; `None` where the GeoTIFF is not understood.
pub(super) fn build_scaled(geotiff: &[u8], [sx, sy]: [f64; 2]) -> Option<Vec<u8>> {
    let tiff = Tiff::parse(geotiff)?;
    // Its polynomials are of lines and samples.
    if tiff.has(RPC) {
        return None;
    }
    let half = half(&keys(&tiff.shorts(KEYS)?)?);
    let mut out = geotiff.to_vec();
    let mut pixel = tiff.doubles(PIXEL_SCALE)?;
    pixel.iter_mut().zip([sx, sy]).for_each(|(value, scale)| *value *= scale);
    tiff.put_doubles(&mut out, PIXEL_SCALE, &pixel)?;
    let mut points = tiff.doubles(TIEPOINT)?;
    for point in points.chunks_exact_mut(6) {
        point.iter_mut().zip([sx, sy]).for_each(|(value, scale)| *value = (*value + half) / scale - half);
    }
    tiff.put_doubles(&mut out, TIEPOINT, &points)?;
    let mut matrix = tiff.doubles(TRANSFORMATION)?;
    for row in matrix.chunks_exact_mut(4) {
        if let [column, line, _, origin] = row {
            *origin += half * (*column * (sx - 1.0) + *line * (sy - 1.0));
            (*column, *line) = (*column * sx, *line * sy);
        }
    }
    tiff.put_doubles(&mut out, TRANSFORMATION, &matrix)?;
    build_box(*b"uuid", &[&UUID[..], &out].concat())
}

/// What a GeoTIFF has of its place: the values of its tags, none where there is no such tag.
#[derive(Debug, Clone, Default)]
pub(crate) struct GeoTags {
    pub(crate) pixel_scale: Vec<f64>,
    pub(crate) tiepoints: Vec<f64>,
    pub(crate) transformation: Vec<f64>,
    pub(crate) keys: Vec<u16>,
    /// Whether it has RPCs.
    pub(crate) has_rpc: bool,
}

/// The same of the box.
pub(super) fn place(geotiff: &[u8]) -> Option<(u16, Affine)> {
    let tiff = Tiff::parse(geotiff)?;
    place_of(&GeoTags {
        pixel_scale: tiff.doubles(PIXEL_SCALE)?,
        tiepoints: tiff.doubles(TIEPOINT)?,
        transformation: tiff.doubles(TRANSFORMATION)?,
        keys: tiff.shorts(KEYS)?,
        has_rpc: tiff.has(RPC),
    })
}

/// The EPSG code and the transform; `None` where GDAL may make something else of it.
pub(super) fn place_of(tags: &GeoTags) -> Option<(u16, Affine)> {
    let keys = keys(&tags.keys)?;
    let known = [MODEL, RASTER, GEODETIC, PROJECTED];
    if tags.has_rpc || keys.iter().any(|(key, _)| !known.contains(key) && !REPEATED.contains(key)) {
        return None;
    }
    let value = |wanted: u16| keys.iter().find(|(key, _)| *key == wanted).and_then(|(_, value)| *value);
    let epsg = match value(MODEL)? {
        1 => value(PROJECTED)?,
        2 if value(PROJECTED).is_none() => value(GEODETIC)?,
        _ => return None,
    };
    let half = half(&keys);
    let matrix = tags.transformation.as_slice();
    let [a, b, c, d, e, f] = match (tags.pixel_scale.as_slice(), tags.tiepoints.as_slice(), matrix) {
        // GDAL takes the height of a pixel as downwards, whatever its sign.
        ([width, height, ..], [column, row, _, x, y, _], []) => {
            [*width, 0.0, x - column * width, 0.0, -height.abs(), y + row * height.abs()]
        }
        ([], [], [a, b, _, c, d, e, _, f, ..]) if matrix.len() == 16 => [*a, *b, *c, *d, *e, *f],
        _ => return None,
    };
    let affine = [a, b, c - half * (a + b), d, e, f - half * (d + e)];
    (epsg > 0 && epsg < USER_DEFINED && affine.iter().all(|value| value.is_finite())).then_some((epsg, Affine(affine)))
}
