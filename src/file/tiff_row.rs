//! What the row of a TIFF tells of it, and its tiles by themselves: for programs that have them in memory.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::tiff::factor_of;
use crate::decode::Samples;
use crate::error::{Error, Result};
use crate::index::head_of_columns;
use crate::tiff::{Page, StoredImage, TileCoding};

/// What the row of a TIFF tells of it.
#[derive(Debug)]
pub(crate) struct TiffRow {
    pub(crate) bands: u64,
    /// numpy's name for the type of its samples, where it has one.
    pub(crate) dtype: Option<&'static str>,
    /// GDAL's text for the value of pixels that there are none of.
    pub(crate) nodata: Option<String>,
    /// The image, then its overviews in the order of the file.
    pub(crate) levels: Vec<TiffLevel>,
    /// Why its tiles are not unpacked here.
    pub(crate) refused: Option<Error>,
}

/// An image of a TIFF.
#[derive(Debug)]
pub(crate) struct TiffLevel {
    /// As [`factor_of`] has it: by which it is read.
    pub(crate) factor: u32,
    /// Columns and rows.
    pub(crate) size: (u64, u64),
    /// Columns and rows of a tile or strip.
    pub(crate) tile: [u64; 2],
    /// How its tiles are packed, where each of them can be decoded by itself.
    pub(crate) coding: Option<TiffTile>,
}

/// How a tile of a TIFF is packed, as programs have it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TiffTile(TileCoding);

impl TiffTile {
    /// Decodes a tile that is packed so.
    ///
    /// # Errors
    /// As [`TileCoding::decode`].
    pub(crate) fn decode(&self, packed: &[u8]) -> Result<Samples> {
        self.0.decode(packed)
    }
}

/// What a TIFF is by the columns `index` and `header` of its row, without the file.
///
/// # Errors
/// [`Error::Row`] and [`Error::Malformed`] where they are not those of a TIFF's row.
pub(crate) fn tiff_of_row(index: &[u8], header: &Bytes) -> Result<TiffRow> {
    let (pieces, head) = head_of_columns(index, header)?;
    let pages: Vec<Page> = head.levels();
    let first = pages.first().ok_or_else(|| Error::read("a TIFF without an image"))?;
    let image = StoredImage::of(&head, pieces.size());
    let coding = |place: usize| TileCoding::of(image.as_ref().ok()?.levels.get(place)?).map(TiffTile);
    let level = |(place, page): (usize, &Page)| TiffLevel {
        factor: factor_of(first.width, page.width),
        size: (page.width, page.height),
        tile: page.tile,
        coding: coding(place),
    };
    let levels = pages.iter().enumerate().map(level).collect();
    Ok(TiffRow {
        bands: first.bands,
        dtype: first.dtype(),
        nodata: image.as_ref().ok().and_then(|image| image.levels.first()?.nodata.clone()),
        levels,
        refused: image.err(),
    })
}
