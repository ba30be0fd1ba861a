//! What a file is made of: its main header, parsed once, and where its tile-parts lie.

use std::sync::Arc;

use bytes::Bytes;

use super::boxes::{WholeBox, box_of, walk_boxes};
use super::markers::{MainHeader, SOT_LENGTH};
use super::table::{TilePart, TilePartTable};
use crate::error::{Error, Result};

/// What a file begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The file from its first byte to its first tile-part or further.
    pub(crate) bytes: Bytes,
    /// The boxes and the main header among them, parsed.
    pub(crate) main: MainHeader,
}

impl Header {
    /// The boxes that stand before the codestream.
    pub(crate) fn boxes(&self) -> impl Iterator<Item = WholeBox<'_>> {
        let boxes = if self.main.jp2c.is_some() { &self.bytes[..] } else { &[] };
        walk_boxes(boxes).take(self.main.boxes.len())
    }

    /// The contents of the box of this kind in the JP2 header box (I.5.3).
    pub(crate) fn of_jp2h(&self, kind: [u8; 4]) -> Option<&[u8]> {
        let jp2h = self.boxes().find(|found| found.kind == *b"jp2h")?;
        box_of(jp2h.contents, kind).map(|found| found.contents)
    }

    /// Whether samples are indexes into a palette (I.5.3.4).
    pub(crate) fn has_palette(&self) -> bool {
        self.of_jp2h(*b"pclr").is_some()
    }

    /// The TLM marker segments, markers included, one after the other.
    pub(crate) fn tlm(&self) -> Vec<u8> {
        self.main.tlm(&self.bytes).concat()
    }
}

/// All that a layout is made of.
///
/// Invariants, checked by [`Structure::new`]: the header ends with the first tile-part's SOT marker segment, the
/// tile-parts begin there, follow each other in the codestream and make up the tiles of the main header. After the last one
/// comes the EOC marker, or nothing, and then whatever the file was padded with: the header and the table do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Structure {
    /// The size of the file in bytes.
    pub(crate) file_size: u64,
    /// What stands before the tile-parts, and the first SOT marker segment: its 12 bytes show whether the file writes its
    /// SOTs as this program does.
    pub(crate) header: Arc<Header>,
    /// Where the tile-parts lie.
    pub(crate) tile_parts: TilePartTable,
    /// Where the codestream ends, in bytes from the start of the file, exclusive.
    pub(crate) codestream_end: u64,
}

impl Structure {
    /// The structure of a file of `file_size` bytes that begins with `header`.
    ///
    /// # Errors
    /// [`Error::Row`] where header and tile-parts contradict each other, both values named.
    pub(crate) fn new(file_size: u64, header: Header, parts: Vec<TilePart>) -> Result<Self> {
        let Header { bytes, main } = &header;
        let row = |what: String| Err(Error::Row { what });
        if main.end + SOT_LENGTH != bytes.len() as u64 {
            return row(format!("a header of {} bytes, the main header ends at {}", bytes.len(), main.end));
        }
        if let Some(first) = parts.first().filter(|part| part.offset != main.end) {
            return row(format!(
                "the first tile-part begins at {}, the main header ends at {}",
                first.offset, main.end
            ));
        }
        let codestream_end = main.codestream_end_in(file_size);
        let tile_parts = TilePartTable::new(parts, main.siz.tiles(), codestream_end)?;
        Ok(Self { file_size, header: Arc::new(header), tile_parts, codestream_end })
    }

    /// The main header.
    pub(crate) fn main(&self) -> &MainHeader {
        &self.header.main
    }
}
