//! The tags of an image: TIFF 6.0, GeoTIFF's (OGC 19-008r4), and GDAL's for what these do not say.

use std::fmt::Write;

use super::directory::{Directory, Values};
use super::image::{Image, Level};
use crate::geo::{Georeference, Item};

pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
pub(super) const IMAGE_WIDTH: u16 = 256;
pub(super) const IMAGE_LENGTH: u16 = 257;
pub(super) const BITS_PER_SAMPLE: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const FILL_ORDER: u16 = 266;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
pub(super) const ROWS_PER_STRIP: u16 = 278;
pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
pub(super) const PLANAR_CONFIGURATION: u16 = 284;
pub(super) const PREDICTOR: u16 = 317;
const COLOR_MAP: u16 = 320;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const TILE_LENGTH: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTE_COUNTS: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
pub(super) const SAMPLE_FORMAT: u16 = 339;
pub(super) const MODEL_PIXEL_SCALE: u16 = 33_550;
pub(super) const MODEL_TIEPOINT: u16 = 33_922;
pub(super) const MODEL_TRANSFORMATION: u16 = 34_264;
pub(super) const GEO_KEY_DIRECTORY: u16 = 34_735;
const GDAL_METADATA: u16 = 42_112;
pub(super) const GDAL_NODATA: u16 = 42_113;

/// Bits of NewSubfileType (TIFF 6.0, section 8): an image of a lower resolution, a mask.
pub(super) const REDUCED: u64 = 1;
pub(super) const MASK: u64 = 4;

/// Photometric interpretations.
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
const PALETTE: u16 = 3;

/// GeoTIFF's keys (7.4): GTModelTypeGeoKey, GeodeticCRSGeoKey, ProjectedCRSGeoKey.
const MODEL_TYPE: u16 = 1024;
const GEODETIC_CRS: u16 = 2048;
const PROJECTED_CRS: u16 = 3072;

/// The directory of level `number`, whose tiles have `tile_bytes` each.
pub(super) fn directory_of(image: &Image, number: usize, level: &Level, tile_bytes: u64) -> Directory {
    let bands = image.colours.len();
    let all = |value: u16| Values::Shorts(vec![value; bands]);
    let one = |value: u16| Values::Shorts(vec![value]);
    let photometric = photometric(image);
    // How many bands the photometric interpretation takes, and what GDAL names them.
    let shown: &[&str] = match photometric {
        RGB => &["Red", "Green", "Blue"],
        PALETTE => &["Palette"],
        _ => &["Gray"],
    };
    let extra: Vec<u16> =
        image.colours.iter().skip(shown.len()).map(|colour| 2 * u16::from(*colour == Some("Alpha"))).collect();
    let count = level.tiles();
    let mut directory = vec![
        (NEW_SUBFILE_TYPE, Values::Longs(vec![u32::from(number > 0)])),
        (IMAGE_WIDTH, Values::Longs(vec![level.size.0])),
        (IMAGE_LENGTH, Values::Longs(vec![level.size.1])),
        (BITS_PER_SAMPLE, all(image.sample.bits)),
        (COMPRESSION, one(1)),
        (PHOTOMETRIC, one(photometric)),
        (SAMPLES_PER_PIXEL, one(u16::try_from(bands).unwrap_or(u16::MAX))),
        (PLANAR_CONFIGURATION, one(1)),
    ];
    if let Some(colours) = &image.palette {
        // All reds, all greens, all blues, each of as many as a byte has values, in 16 bits.
        let of = |place: usize| {
            (0..256).map(move |index| colours.get(index).map_or(0, |colour| u16::from(colour[place]) * 257))
        };
        directory.push((COLOR_MAP, Values::Shorts((0..3).flat_map(of).collect())));
    }
    directory.extend([
        (TILE_WIDTH, Values::Longs(vec![image.tile])),
        (TILE_LENGTH, Values::Longs(vec![image.tile])),
        (TILE_OFFSETS, Values::Offsets { first: level.start, step: tile_bytes, count }),
        (TILE_BYTE_COUNTS, Values::Counts { value: tile_bytes, count }),
    ]);
    if !extra.is_empty() {
        directory.push((EXTRA_SAMPLES, Values::Shorts(extra)));
    }
    directory.push((SAMPLE_FORMAT, all(if image.sample.signed { 2 } else { 1 })));
    if number > 0 {
        return directory;
    }
    if let Some(georeference) = &image.georeference {
        directory.extend(place(georeference));
    }
    if let Some(text) = metadata(image, shown) {
        directory.push((GDAL_METADATA, Values::Text(text)));
    }
    directory
}

fn photometric(image: &Image) -> u16 {
    if image.palette.is_some() {
        PALETTE
    } else if image.colours.starts_with(&[Some("Red"), Some("Green"), Some("Blue")]) {
        RGB
    } else {
        BLACK_IS_ZERO
    }
}

/// Where an image lies. GTRasterTypeGeoKey is left out: with it GDAL tells of AREA_OR_POINT, which it does of no JP2.
fn place(georeference: &Georeference) -> Vec<(u16, Values)> {
    let [a, b, c, d, e, f] = georeference.transform;
    let mut tags = if b == 0.0 && d == 0.0 && a > 0.0 && e < 0.0 {
        vec![
            (MODEL_PIXEL_SCALE, Values::Doubles(vec![a, -e, 0.0])),
            (MODEL_TIEPOINT, Values::Doubles(vec![0.0, 0.0, 0.0, c, f, 0.0])),
        ]
    } else {
        let matrix = vec![a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        vec![(MODEL_TRANSFORMATION, Values::Doubles(matrix))]
    };
    let (model, key) = if georeference.is_geographic() == Some(true) { (2, GEODETIC_CRS) } else { (1, PROJECTED_CRS) };
    // Version 1.1.0, and two keys whose values stand in themselves.
    let keys = vec![1, 1, 0, 2, MODEL_TYPE, 0, 1, model, key, 0, 1, georeference.epsg];
    tags.push((GEO_KEY_DIRECTORY, Values::Shorts(keys)));
    tags
}

/// GDAL's own tag: what bands show, where that is not what GDAL takes from the other tags, and items of metadata.
fn metadata(image: &Image, shown: &[&str]) -> Option<String> {
    let told = shown
        .iter()
        .map(|colour| Some(*colour))
        .chain(image.colours.iter().skip(shown.len()).map(|colour| colour.filter(|colour| *colour == "Alpha")));
    let mut text = String::new();
    let differ = told.zip(&image.colours).enumerate().filter(|(_, (told, is))| told != *is && image.palette.is_none());
    for (band, (_, is)) in differ {
        let name = is.unwrap_or("Undefined");
        let _ = write!(text, "<Item name=\"COLORINTERP\" sample=\"{band}\" role=\"colorinterp\">{name}</Item>");
    }
    for Item { domain, name, value } in &image.metadata {
        let domain = match domain.as_str() {
            "" => String::new(),
            domain => format!(" domain=\"{}\"", escaped(domain)),
        };
        // GDAL takes the text of the element, and undoes escapes in it once more.
        let value = escaped(&escaped(value));
        let _ = write!(text, "<Item name=\"{}\"{domain}>{value}</Item>", escaped(name));
    }
    (!text.is_empty()).then(|| format!("<GDALMetadata>{text}</GDALMetadata>"))
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
