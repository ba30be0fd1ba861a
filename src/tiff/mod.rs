//! TIFFs: headers of real ones, and virtual ones.
//!
//! `read` parses what a file says of itself, `place` finds where that lies on the ground, `pages` describes it.
//!
//! A virtual GeoTIFF is an image in tiles, uncompressed, and its overviews, of which only what describes it is made.
//!
//! ```text
//! header ─► directories ─► their values ─► offsets and byte counts of the tiles ─► tiles
//!                 made at open                    made as they are read           samples, decoded as they are read
//! ```
//!
//! TIFF 6.0; BigTIFF where the file has 4 GB or more; GeoTIFF (OGC 19-008r4) for where it lies. All tiles have
//! the same size in bytes, so the arrays of their offsets are sums, and nothing of them is kept.
//!
//! And a real TIFF, which is read the other way round: `read` has its directories, `stored` its images and where their tiles
//! lie, `pixels` the samples of a window, by `unpack`; `alone` those of a tile by itself.

mod alone;
mod directory;
mod image;
#[cfg(test)]
pub(crate) mod made;
mod pages;
mod pixels;
mod place;
mod read;
mod stored;
mod tags;
mod tiles;
mod unpack;

use std::ops::Range;

pub(crate) use alone::TileCoding;
use directory::{Array, Form};
pub(crate) use image::{Image, Level, SampleType};
pub(crate) use pages::Page;
pub(crate) use read::{Head, Parsed, Pieces, form_of, parse};
pub(crate) use stored::{Numeric, StoredImage, StoredLevel};
use tags::directory_of;

/// The numbers of tiles of a level, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tiles {
    pub(crate) level: usize,
    pub(crate) numbers: Range<u64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Tiff {
    /// The header, the directories and their values.
    head: Vec<u8>,
    arrays: Vec<Array>,
    levels: Vec<Level>,
    tile_bytes: u64,
    size: u64,
}

/// The most bytes of a tile: one is read as a whole, whatever of it is asked for.
const LARGEST_TILE: u64 = 4 << 20;

/// Tiles begin at a multiple of this.
const ALIGNMENT: u64 = 4096;

impl Tiff {
    /// `None` for an image of no pixels or bands, of more tiles than can be numbered, or of tiles of more than
    /// [`LARGEST_TILE`] bytes.
    pub(crate) fn new(image: &Image) -> Option<Self> {
        let bands = u64::try_from(image.colours.len()).ok().filter(|bands| *bands > 0)?;
        let side = u64::from(image.tile);
        let tile_bytes = (side * side).checked_mul(bands)?.checked_mul(u64::from(image.sample.bits / 8))?;
        if tile_bytes > LARGEST_TILE {
            return None;
        }
        let level = |size: &(u32, u32)| Level {
            size: *size,
            across: size.0.div_ceil(image.tile),
            down: size.1.div_ceil(image.tile),
            start: 0,
        };
        let mut levels: Vec<Level> = image.levels.iter().map(level).collect();
        if levels.is_empty() || levels.iter().any(|level| level.tiles() == 0) {
            return None;
        }
        let tiles = levels.iter().map(Level::tiles).try_fold(0u64, u64::checked_add)?;
        let data = tiles.checked_mul(tile_bytes)?;
        // Offsets and counts of eight bytes each, and room for the directories.
        let form = if data.checked_add(tiles * 16)? < (1 << 32) - (1 << 20) { Form::Classic } else { Form::Big };
        // A first time, to learn how long it all is: the values are of the same number whatever they are.
        let (head, arrays) = describe(image, &levels, tile_bytes, form);
        let end = arrays.last().map_or(head.len() as u64, Array::end);
        let mut start = end.next_multiple_of(ALIGNMENT);
        for level in &mut levels {
            level.start = start;
            start += level.tiles() * tile_bytes;
        }
        let (head, arrays) = describe(image, &levels, tile_bytes, form);
        Some(Self { head, arrays, levels, tile_bytes, size: start })
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// What it weighs in memory, roughly, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        (self.head.len() + size_of_val(self.arrays.as_slice()) + size_of_val(self.levels.as_slice())) as u64
    }

    /// The bytes of a tile.
    pub(crate) fn tile_bytes(&self) -> u64 {
        self.tile_bytes
    }

    /// The levels, the whole image first.
    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Where the tiles begin.
    fn data(&self) -> u64 {
        self.levels.first().map_or(self.size, |level| level.start)
    }

    /// Fills `out` from `offset` on up to the tiles, and gives how many bytes that are.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let length = self.data().saturating_sub(offset).min(out.len() as u64) as usize;
        let out = out.get_mut(..length).unwrap_or_default();
        out.fill(0);
        let mut copy = |start: u64, end: u64, read: &dyn Fn(u64, &mut [u8])| {
            let (from, to) = (start.max(offset), end.min(offset + length as u64));
            if from < to
                && let Some(part) = out.get_mut((from - offset) as usize..(to - offset) as usize)
            {
                read(from, part);
            }
        };
        copy(0, self.head.len() as u64, &|from, part| {
            let head = self.head.get(from as usize..).unwrap_or_default();
            part.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        });
        for array in &self.arrays {
            copy(array.start, array.end(), &|from, part| array.read(from, part));
        }
        length
    }

    /// The tiles that `range` of the file touches, level by level.
    pub(crate) fn tiles(&self, range: &Range<u64>) -> Vec<Tiles> {
        let mut touched = Vec::new();
        for (number, level) in self.levels.iter().enumerate() {
            let end = level.start + level.tiles() * self.tile_bytes;
            let (from, to) = (range.start.max(level.start), range.end.min(end));
            if from < to {
                let place = |offset: u64| (offset - level.start) / self.tile_bytes;
                touched.push(Tiles { level: number, numbers: place(from)..place(to - 1) + 1 });
            }
        }
        touched
    }

    /// Where a tile begins in the file.
    pub(crate) fn tile_start(&self, level: usize, number: u64) -> u64 {
        self.levels.get(level).map_or(self.size, |level| level.start + number * self.tile_bytes)
    }
}

/// The header with its directories and values, and the arrays that follow them.
fn describe(image: &Image, levels: &[Level], tile_bytes: u64, form: Form) -> (Vec<u8>, Vec<Array>) {
    let directory = |(number, level)| directory_of(image, number, level, tile_bytes);
    directory::build(&levels.iter().enumerate().map(directory).collect::<Vec<_>>(), form)
}

#[cfg(test)]
mod tests;
