//! What is known of a TIFF as it lies in its archive.

use crate::error::{Error, Result};
use crate::tiff::{Head, StoredImage, StoredLevel};

/// A TIFF as its header has it.
pub(super) struct Stored {
    pub(super) head: Head,
    /// As far as its tiles are unpacked here.
    image: Result<StoredImage>,
}

impl Stored {
    /// By the header of a file of `size` bytes.
    pub(super) fn new(head: Head, size: u64) -> Self {
        Self { image: StoredImage::of(&head, size), head }
    }

    /// What it weighs in memory, roughly, in bytes.
    pub(super) fn weight(&self) -> u64 {
        // The offsets and byte counts of tiles, which stand in both.
        self.head.ranges.iter().map(|range| range.end - range.start).sum::<u64>() * 4
    }

    /// The image at 1/factor.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where there is none; [`Error::Undecoded`] where GDAL is to be asked.
    pub(super) fn level(&self, factor: u32) -> Result<&StoredLevel> {
        let levels = &self.image.as_ref().map_err(Clone::clone)?.levels;
        let width = levels.first().map_or(0, |whole| whole.size.0);
        let of = |level: &StoredLevel| factor_of(width.into(), level.size.0.into());
        levels.iter().find(|level| of(level) == factor.max(1)).ok_or_else(|| no_overview(levels.iter().map(of)))
    }
}

/// How many times as wide the whole image is as a level: what GDAL lists as an overview's factor.
pub(super) fn factor_of(whole: u64, level: u64) -> u32 {
    let level = level.max(1);
    u32::try_from((whole + level / 2) / level).unwrap_or(u32::MAX)
}

/// That a TIFF has not the overview that is asked for, with those that it has.
pub(super) fn no_overview(factors: impl Iterator<Item = u32>) -> Error {
    let factors: Vec<String> = factors.filter(|factor| *factor > 1).map(|factor| factor.to_string()).collect();
    let what = match factors.is_empty() {
        true => "the TIFF has no overviews".to_owned(),
        false => format!("the TIFF has overviews of the factors {}", factors.join(", ")),
    };
    Error::NoOverview { what }
}
