//! Where images lie on the ground, as the boxes of their files have it.
//!
//! GDAL takes the first of these that it understands: GeoJP2 boxes, a GMLJP2 box, an MSIG box (`GDALJP2Metadata`). A JP2
//! that is made anew has all that the file has, changed for its pixels, so that GDAL chooses as it does for the file. What
//! says itself where it lies (a GeoTIFF) says what GDAL chooses, or there is none: no view lies where its file does not.

mod affine;
mod boxes;
mod footprint;
mod geojp2;
mod geotiff;
mod gml;
mod metadata;
mod utm;

pub(crate) use footprint::{Footprint, footprint};
pub(crate) use geojp2::GeoTags;
pub(crate) use gml::grid_of;
pub(crate) use metadata::{Item, metadata};

use crate::error::{Error, Result};
use crate::jp2::Header;
use affine::Affine;
use boxes::{Boxes, MSIG};

/// Where an image lies on the ground.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Georeference {
    /// The EPSG code of its coordinate reference system.
    pub(crate) epsg: u16,
    /// The affine transform of its pixels: x = a·column + b·row + c and y = d·column + e·row + f, in this order. x is
    /// easting or longitude, whatever the order of the reference system's axes.
    pub(crate) transform: [f64; 6],
}

impl Georeference {
    /// That of pixels which are as many times as wide and as high, from the same corner.
    pub(crate) fn scaled(self, scale: [f64; 2]) -> Self {
        Self { transform: Affine(self.transform).scaled(scale).0, ..self }
    }

    /// That of the image that begins with this column and row.
    pub(crate) fn moved(self, origin: (u32, u32)) -> Self {
        Self { transform: Affine(self.transform).moved(origin).0, ..self }
    }

    /// Whether the reference system is a geographic one, and not a projected one; `None` where its code does not tell. The
    /// registry has ranges for each, but for newer codes.
    pub(crate) fn is_geographic(&self) -> Option<bool> {
        match self.epsg {
            // NAD83 / BLM 59N stands among the geographic ones.
            4217 => Some(false),
            4120..=4326 => Some(true),
            2000..=3799 | 3857 | 20_000..=32_766 => Some(false),
            _ => None,
        }
    }
}

/// How many times as large the pixels of an image of `size` are as those of the whole image.
fn scale(header: &Header, size: (u32, u32)) -> [f64; 2] {
    let full = header.main.siz.size();
    [f64::from(full.0) / f64::from(size.0), f64::from(full.1) / f64::from(size.1)]
}

fn unclear(what: &str) -> Error {
    Error::NoOverview { what: format!("its georeferencing is understood by GDAL alone: {what}") }
}

/// The boxes that georeference the whole image of a file at `size` in pixels, from the same corner; none where the file has
/// none. The file begins with `header`, and `trailing` follows its codestream.
///
/// # Errors
/// [`Error::NoOverview`] where they cannot be changed.
pub(crate) fn build_boxes(header: &Header, trailing: &[u8], size: (u32, u32)) -> Result<Vec<u8>> {
    let (boxes, scale) = (Boxes::of(header, trailing), scale(header, size));
    let mut out = Vec::new();
    for geotiff in boxes.geotiffs {
        out.extend(geojp2::build_scaled(geotiff, scale).ok_or_else(|| unclear("its GeoJP2 box"))?);
    }
    out.extend(gml::build_scaled(&boxes.documents, scale).map_err(unclear)?);
    if let Some(msig) = boxes.msig {
        out.extend(affine::build_scaled_msig(&MSIG, msig, scale).ok_or_else(|| unclear("its MSIG box"))?);
    }
    Ok(out)
}

/// Where the image of a file lies at `size` in pixels, from its pixel `origin` on; `None` where the file does not say. The
/// file begins with `header`, and `trailing` follows its codestream.
///
/// # Errors
/// [`Error::NoOverview`] where it is not certain what GDAL makes of it.
pub(crate) fn georeference(
    header: &Header,
    trailing: &[u8],
    size: (u32, u32),
    origin: (u32, u32),
) -> Result<Option<Georeference>> {
    let boxes = Boxes::of(header, trailing);
    let (epsg, affine) = match boxes.geotiffs.as_slice() {
        [] => match gml::place(&boxes.documents).map_err(unclear)? {
            Some(place) => place,
            None if boxes.msig.is_some() => return Err(unclear("an MSIG box")),
            None => return Ok(None),
        },
        [geotiff] => geojp2::place(geotiff).ok_or_else(|| unclear("its GeoJP2 box"))?,
        several => return Err(unclear(&format!("{} GeoJP2 boxes", several.len()))),
    };
    Ok(Some(Georeference { epsg, transform: affine.scaled(scale(header, size)).moved(origin).0 }))
}

/// Where a GeoTIFF lies on the ground; `None` where it does not say, or GDAL may make something else of what it says.
pub(crate) fn georeference_of_tags(tags: &GeoTags) -> Option<Georeference> {
    geojp2::place_of(tags).map(|(epsg, affine)| Georeference { epsg, transform: affine.0 })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
