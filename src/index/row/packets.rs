//! The lengths of all packets, carried in the index: views smaller than a tile then know which bytes they need.
//!
//! Two columns, which an index has only where a row of it has packets:
//!
//! - `packet_count`: how many packets the row has the lengths of, null where it has none. A look-up reads it.
//! - `packets`: their lengths in bytes ([`crate::index::format::packets`]). A look-up never reads it: see
//!   [`crate::index::file::pages`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::index::file::pages::PagedValue;
use crate::index::file::read::IndexFile;
use crate::index::format::columns::Paged;
use crate::index::format::packets::{MOST_PACKETS, build_packets, parse_packets};
use crate::jp2::TilePart;

/// Where the lengths of a row's packets lie. Cheap: nothing of them has been read.
#[derive(Clone, PartialEq)]
pub(crate) struct PacketLengths {
    count: u32,
    value: PagedValue,
}

impl fmt::Debug for PacketLengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lengths of {} packets: {:?}", self.count, self.value)
    }
}

impl PacketLengths {
    /// Those that the headers of a file's tile-parts record: of each of `parts`, which have their heads, every packet's
    /// length in bytes, or none.
    ///
    /// # Errors
    /// Why a row cannot have them.
    pub(crate) fn new(parts: &[TilePart], lengths: &[Vec<u32>]) -> Result<Self, String> {
        let (count, value) = build_packets(parts, lengths)?;
        Ok(Self::of_bytes(count, value.into()))
    }

    /// The value of a row that waits to be written.
    pub(crate) fn of_bytes(count: u32, value: Bytes) -> Self {
        Self { count, value: PagedValue::of_bytes(Paged::Packets, value) }
    }

    /// Those of a row of an index, by its `packet_count`.
    pub(crate) fn of_row(file: &Arc<IndexFile>, group: usize, row: usize, count: i64) -> Result<Self> {
        let known = u32::try_from(count).ok().filter(|count| (1..=MOST_PACKETS).contains(&(*count as usize)));
        let count =
            known.ok_or_else(|| file.bad(format!("row {row} of row group {group}: packet_count is {count}")))?;
        Ok(Self { count, value: PagedValue::of_row(Paged::Packets, file, group, row) })
    }

    /// How many packets they are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Every packet's length in bytes, of each of the row's tile-parts in their order; empty where it is not known. They
    /// add up to the bytes from the tile-part's first packet to its end, and to its `resolution_ends`. Reads them: see
    /// [`PagedValue::read`].
    ///
    /// # Errors
    /// [`crate::error::Error::Index`] where they are corrupt or not those of `parts`; whatever reading them fails with.
    pub(crate) fn lengths(&self, parts: &[TilePart]) -> Result<Vec<Vec<u32>>> {
        parse_packets(&self.value.read()?, self.count, parts).map_err(|what| self.value.bad(what))
    }

    /// The value as the column has it.
    pub(crate) fn value(&self) -> Result<Bytes> {
        self.value.read()
    }
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
