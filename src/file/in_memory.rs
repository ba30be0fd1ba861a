//! Decoding of what a program has in memory: a file, or one of its tiles by itself.
//!
//! A tile by itself stays where it lies on the reference grid. Moved to the origin, its code-blocks and precincts would be cut
//! at other places (T.800 B.6, B.7), and give wrong samples without an error.

use std::ops::Range;

use super::samples::{Selection, Types, Wanted, decode_codestream, decode_window, placed};
use crate::decode::Codestream;
use crate::decode::Samples;
use crate::error::Result;
use crate::jp2::{Area, Siz, no_factor};
use crate::layout::data_type;
use crate::path::Window;

fn wanted(bands: Option<&[u16]>, k: u8, threads: usize) -> Wanted<'_> {
    Wanted { of: Selection { bands, squares: None }, types: Types::Own, k, threads, kept: None, may_be_empty: false }
}

/// Decodes a file in memory, a JP2 or a bare codestream: a window of the image at 1/2^k, or all of it, in pixels of that.
/// `bands` are numbered from 1; all of them where there are none.
///
/// # Errors
/// As [`Codestream::decode`].
pub(crate) fn decode_bytes(
    bytes: &[u8],
    window: Option<&Window>,
    k: u8,
    bands: Option<&[u16]>,
    threads: usize,
) -> Result<Samples> {
    decode_window(bytes, &wanted(bands, k, threads), |codestream| {
        let image = codestream.area(0, k)?;
        Some(window.map_or(image.clone(), |window| placed(window, &image)))
    })
}

/// Decodes a tile by itself, see [`Codestream::of_tile`]: what it has of a window of the whole tile at 1/2^k, or all of it. A
/// tile at the image's edge ends there. `bands` are numbered from 1; the first where there are none.
///
/// # Errors
/// As [`Codestream::of_tile`] and [`Codestream::decode`].
pub(crate) fn decode_tile(
    bytes: &[u8],
    window: Option<&Window>,
    k: u8,
    bands: Option<&[u16]>,
    threads: usize,
) -> Result<Samples> {
    let (codestream, tile) = Codestream::of_tile(bytes)?;
    samples_of_tile(&codestream, tile, window, &wanted(bands.or(Some(&[1])), k, threads))
}

/// A tile by itself at 1/2^k, as chunks of an array have it: with as many rows and columns as every tile, whose grid it may
/// leave at the image's edge, and of its first band alone.
pub(crate) struct WholeTile<'a> {
    codestream: Codestream<'a>,
    tile: u32,
    k: u8,
    /// Columns and rows.
    size: (u32, u32),
}

impl<'a> WholeTile<'a> {
    /// See [`Codestream::of_tile`].
    ///
    /// # Errors
    /// As that; [`crate::error::Error::NoOverview`] where the image is not halved so often.
    pub(crate) fn new(bytes: &'a [u8], k: u8) -> Result<Self> {
        let (codestream, tile) = Codestream::of_tile(bytes)?;
        let Siz { tile_width, tile_height, .. } = codestream.main().siz;
        let levels = codestream.main().coding.default.levels;
        if k > levels {
            return Err(no_factor(levels));
        }
        let halved = |side: u32| u32::try_from(u64::from(side).div_ceil(1 << k)).unwrap_or(u32::MAX);
        Ok(Self { codestream, tile, k, size: (halved(tile_width), halved(tile_height)) })
    }

    /// The bytes of its samples.
    pub(crate) fn bytes(&self) -> u64 {
        let samples = u64::from(self.size.0) * u64::from(self.size.1);
        samples.saturating_mul(u64::from(data_type(self.codestream.main()).bits() / 8))
    }

    /// Decodes it, on up to `threads` threads, to the beginning of `out`: row by row, little-endian, 0 where the image has
    /// ended.
    ///
    /// # Errors
    /// As [`Codestream::decode`].
    pub(crate) fn decode(&self, threads: usize, out: &mut [u8]) -> Result<()> {
        let samples = samples_of_tile(&self.codestream, self.tile, None, &wanted(Some(&[1]), self.k, threads))?;
        out.fill(0);
        samples.copy_rectangle((0, 0), (self.size.0 as usize, self.size.1 as usize), out);
        Ok(())
    }
}

fn samples_of_tile(
    codestream: &Codestream<'_>,
    tile: u32,
    window: Option<&Window>,
    wanted: &Wanted<'_>,
) -> Result<Samples> {
    let wanted = Wanted { may_be_empty: true, ..*wanted };
    decode_codestream(codestream, &wanted, |codestream| {
        let of_tile = codestream.main().siz.tile_area(tile, 0, wanted.k)?;
        Some(window.map_or(of_tile.clone(), |window| clipped(&placed(window, &of_tile), &of_tile)))
    })
}

/// What of a window lies within an image.
fn clipped(window: &Area, image: &Area) -> Area {
    let span = |of: &Range<u32>, has: &Range<u32>| of.start.min(has.end)..of.end.min(has.end);
    (span(&window.0, &image.0), span(&window.1, &image.1))
}

#[cfg(test)]
#[path = "in_memory_tests.rs"]
mod tests;
