//! What a virtual TIFF shows, and how that is divided into tiles.

use crate::geo::{Georeference, Item};

/// The type of all samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleType {
    /// 8, 16 or 32.
    pub(crate) bits: u16,
    pub(crate) signed: bool,
}

/// What a virtual TIFF shows.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Columns and rows of each level: the whole image, then its overviews.
    pub(crate) levels: Vec<(u32, u32)>,
    pub(crate) sample: SampleType,
    /// GDAL's names for what the bands show, where that is known.
    pub(crate) colours: Vec<Option<&'static str>>,
    /// The colours that the samples of a single band of bytes are indexes of.
    pub(crate) palette: Option<Vec<[u8; 3]>>,
    /// Where it lies on the ground.
    pub(crate) georeference: Option<Georeference>,
    /// What else GDAL is to tell of it.
    pub(crate) metadata: Vec<Item>,
    /// Columns and rows of a tile: a multiple of 16 (TIFF 6.0, section 15).
    pub(crate) tile: u32,
}

/// A level's tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    /// Columns and rows of pixels.
    pub(crate) size: (u32, u32),
    /// Columns and rows of tiles.
    pub(crate) across: u32,
    pub(crate) down: u32,
    /// Where the first one begins.
    pub(super) start: u64,
}

impl Level {
    /// How many tiles there are.
    pub(super) fn tiles(&self) -> u64 {
        u64::from(self.across) * u64::from(self.down)
    }
}
