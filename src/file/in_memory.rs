//! Decoding of what a program has in memory: a file, or one of its tiles by itself.
//!
//! A tile by itself stays where it lies on the reference grid. Moved to the origin, its code-blocks and precincts would be cut
//! at other places (T.800 B.6, B.7), and give wrong samples without an error.

use std::ops::Range;

use super::samples::{Samples, Types, Wanted, decode_codestream, decode_window, placed};
use crate::decode::Codestream;
use crate::error::Result;
use crate::jp2::Area;
use crate::path::Window;

fn wanted(bands: Option<&[u16]>, k: u8, threads: usize) -> Wanted<'_> {
    Wanted { bands, types: Types::Own, k, threads, kept: None, may_be_empty: false }
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
    let wanted = Wanted { may_be_empty: true, ..wanted(bands.or(Some(&[1])), k, threads) };
    decode_codestream(&codestream, &wanted, |codestream| {
        let of_tile = codestream.main().siz.tile_area(tile, 0, k)?;
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
