//! Where a file's tile-parts lie, checked as a whole.

use super::packets::TilePartHead;
use crate::error::{Error, Result};

/// One tile-part of a codestream (T.800 A.4.2), as it lies in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TilePart {
    /// Isot: the tile's index, row by row.
    pub(crate) tile: u16,
    /// Where its SOT marker begins, in bytes from the start of the source.
    pub(crate) offset: u64,
    /// Psot, resolved where the file writes 0: bytes from the SOT marker's first byte, end exclusive.
    pub(crate) length: u32,
    /// What stands before its packets; `None` where nobody has read it (rows of v1).
    pub(crate) head: Option<TilePartHead>,
}

impl TilePart {
    /// Tile, offset and length: what it is, without what has been read of it.
    pub(crate) fn place(&self) -> (u16, u64, u32) {
        (self.tile, self.offset, self.length)
    }

    /// Where the tile-part ends, in bytes from the start of the source, exclusive.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// The tile-parts of one codestream in the order in which they lie in the source.
///
/// Invariants, checked by [`TilePartTable::new`]: every tile-part holds at least an SOT segment and an SOD marker
/// (14 bytes), lies between the first SOT and the end of the file, begins where the one before it ends
/// (T.800 A.4.2: Psot leads to the next SOT), and every tile below `tiles` has at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TilePartTable {
    parts: Vec<TilePart>,
    tiles: u32,
}

/// The shortest tile-part: an SOT segment (12 bytes) and an SOD marker (2 bytes).
const SHORTEST: u32 = 14;

impl TilePartTable {
    /// Checks `parts`, which lie in a file of `file_size` bytes and make up `tiles` tiles.
    pub(crate) fn new(parts: Vec<TilePart>, tiles: u32, file_size: u64) -> Result<Self> {
        let row = |what: String| Err(Error::Row { what });
        let mut seen = vec![false; usize::from(u16::MAX) + 1];
        let mut distinct = 0u32;
        let mut expected = None;
        for (number, part) in parts.iter().enumerate() {
            if part.length < SHORTEST {
                return row(format!(
                    "tile-part {number} has {} bytes, fewer than an SOT and an SOD marker",
                    part.length
                ));
            }
            if expected.is_some_and(|at| at != part.offset) {
                return row(format!(
                    "tile-part {number} begins at {}, the one before it ends at {}",
                    part.offset,
                    expected.unwrap_or(0)
                ));
            }
            match part.offset.checked_add(u64::from(part.length)) {
                Some(end) if end <= file_size => expected = Some(end),
                _ => {
                    return row(format!(
                        "tile-part {number} ({} bytes at {}) runs past the end of the file at {file_size}",
                        part.length, part.offset
                    ));
                }
            }
            if u32::from(part.tile) >= tiles {
                return row(format!("tile-part {number} is of tile {}, the image has {tiles} tiles", part.tile));
            }
            if let Some(slot) = seen.get_mut(usize::from(part.tile))
                && !std::mem::replace(slot, true)
            {
                distinct += 1;
            }
        }
        if distinct != tiles {
            return row(format!("{distinct} of the image's {tiles} tiles have tile-parts"));
        }
        Ok(Self { parts, tiles })
    }

    /// The tile-parts in source order.
    pub(crate) fn parts(&self) -> &[TilePart] {
        &self.parts
    }

    /// The number of tiles of the image.
    pub(crate) fn tiles(&self) -> u32 {
        self.tiles
    }

    /// Where the last tile-part ends: the place of the EOC marker (T.800 A.4.4).
    pub(crate) fn end(&self) -> u64 {
        self.parts.last().map_or(0, TilePart::end)
    }
}
