//! What a virtual file is made of: inline bytes and ranges of the source, in order.
//!
//! ```text
//! boxes + main header + TLM | SOT 0 | rest of tile-part 0 | SOT 1 | rest of tile-part 1 | … | EOC | boxes that follow
//! inline                      inline  source                inline  source                    inline source
//! ```
//!
//! The TLM and every SOT are generated from one checked table, because OpenJPEG up to 2.5.4 writes past a heap buffer
//! when they disagree, and an index is untrusted input. No IO.

mod bands;
mod compose;
mod reduced;
mod view;
mod vrt;
mod window;

use std::ops::Range;

use bytes::Bytes;

pub(crate) use bands::{DataType, colours, data_type, palette};
pub(crate) use compose::{compose, compose_to_keep, pass, pass_with, text};
pub(crate) use reduced::{Level, check_palette, levels, listed_by_gdal, needed_parts, reduce};
pub(crate) use vrt::build_overviews;
pub(crate) use window::{Place, place, size_at, tile_at};

use crate::error::{Error, Result};
use crate::jp2::{SOD, Sot};
use crate::source::{SourceOffset, SourceRange};

/// The bytes that a decoder reads to look at a header or at the next SOT marker, wherever it stands.
pub(crate) const LOOK: u64 = 1024;

/// An offset in a virtual file, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VirtualOffset(pub(crate) u64);

/// What a stretch of a virtual file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// These bytes.
    Inline(Bytes),
    /// Bytes of the source.
    Source(SourceRange),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Source(range) => range.end.0 - range.start.0,
        }
    }
}

/// What is fetched at once, since a decoder that reads a byte of it reads all of it: a tile-part of the source, or the
/// stretch of one that a view needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Where it lies.
    pub(crate) range: SourceRange,
    /// What the SOT marker segment that it begins with must say for the table to be true; `None` where it begins with
    /// none.
    pub(crate) sot: Option<ExpectedSot>,
    /// The tile of the virtual file that it is of, by the tile's place there: a decoder needs all units of a tile.
    pub(crate) tile: u32,
}

impl Unit {
    /// Checks the file's bytes from the unit's start on against the table: a row of another file of the same size is found
    /// here.
    ///
    /// # Errors
    /// [`Error::Row`] where the SOT marker segment is not what the table promises.
    pub(crate) fn check_sot(&self, bytes: &[u8]) -> Result<()> {
        let Some(expected) = &self.sot else { return Ok(()) };
        let (tile, length) = expected.tile_part;
        let row = |what: String| Error::Row { what };
        let sot = Sot::parse(bytes, self.range.start.0).map_err(|error| row(error.to_string()))?;
        let built = Sot { tile, length, part: 0, parts: 1 };
        if !sot.is_of(tile, length) || (expected.as_built && sot != built) {
            return Err(row(format!("it promises {built} at byte {}, the file has {sot}", self.range.start.0)));
        }
        let sod = expected.packets.and_then(|packets| bytes.get((packets as usize).checked_sub(2)?..packets as usize));
        match sod {
            Some(sod) if sod != SOD => Err(row(format!(
                "the packets of the tile-part at byte {} do not begin where it promises",
                self.range.start.0
            ))),
            _ => Ok(()),
        }
    }
}

/// What a tile-part's SOT marker segment must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpectedSot {
    /// The tile and the length by the table.
    pub(crate) tile_part: (u16, u32),
    /// Whether the virtual file shows the segment as built from the table, and the file must have just that.
    pub(crate) as_built: bool,
    /// Where its packets begin, just behind an SOD marker, in bytes from the SOT marker's first byte, if the virtual file
    /// shows the header as the table has it.
    pub(crate) packets: Option<u32>,
}

/// The tiles of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ViewTiles {
    /// How many there are in a row.
    pub(crate) across: u32,
    /// Whether it is a window's: its units are the requests that are worth making.
    pub(crate) is_window: bool,
}

/// A virtual file.
///
/// Invariants: segments are not empty, follow each other without gaps, and no two inline segments are neighbours, so
/// the end of an inline segment is where bytes of the source begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Each segment with where it starts in the virtual file.
    segments: Vec<(u64, Content)>,
    size: u64,
    units: Vec<Unit>,
    /// Where the units are those of a view, which do not touch each other.
    view: Option<ViewTiles>,
}

impl Layout {
    /// The bytes that it begins with, if these are inline.
    pub(crate) fn first_inline(&self) -> Option<Bytes> {
        match self.segments_from(VirtualOffset(0)).next() {
            Some((_, Content::Inline(bytes))) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The size of the virtual file in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The segments from `offset` on: where each begins and what it holds. The first one holds `offset`.
    pub(crate) fn segments_from(&self, offset: VirtualOffset) -> impl Iterator<Item = (VirtualOffset, &Content)> {
        let first = self.segments.partition_point(|(start, content)| start + content.len() <= offset.0);
        self.segments.get(first..).unwrap_or_default().iter().map(|(start, content)| (VirtualOffset(*start), content))
    }

    /// The units in source order; those of a file itself begin each where the one before it ends. Empty where the file's
    /// structure is unknown, and where nothing is fetched.
    pub(crate) fn units(&self) -> &[Unit] {
        &self.units
    }

    /// What it weighs in memory, roughly, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let inline = |(_, content): &(u64, Content)| match content {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Source(_) => 0,
        };
        let entries = size_of_val(self.segments.as_slice()) + size_of_val(self.units.as_slice());
        entries as u64 + self.segments.iter().map(inline).sum::<u64>()
    }

    /// The bytes of all units together.
    pub(crate) fn unit_bytes(&self) -> u64 {
        self.units.iter().map(|unit| unit.range.end.0 - unit.range.start.0).sum()
    }

    /// For a view, what its tiles are.
    pub(crate) fn view(&self) -> Option<ViewTiles> {
        self.view
    }

    /// Where the inline bytes that hold `offset` end and bytes of the source begin; `None` where `offset` is in no
    /// inline segment or no source follows it.
    pub(crate) fn body_after(&self, offset: VirtualOffset) -> Option<VirtualOffset> {
        let mut segments = self.segments_from(offset);
        let Some((_, Content::Inline(_))) = segments.next() else { return None };
        segments.next().map(|(start, _)| start)
    }

    /// Whether `offset` lies in the first inline segment: the boxes and the main header.
    pub(crate) fn in_header(&self, offset: VirtualOffset) -> bool {
        matches!(self.segments.first(), Some((_, header @ Content::Inline(_))) if offset.0 < header.len())
    }
}

/// A layout in the making.
#[derive(Default)]
struct Builder {
    segments: Vec<(u64, Content)>,
    size: u64,
    /// The inline segment that is being written, which ends at `size`.
    inline: Vec<u8>,
}

impl Builder {
    fn push_inline(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
    }

    fn push_source(&mut self, range: Range<u64>) {
        if range.start < range.end {
            self.end_inline();
            self.segments.push((self.size, Content::Source(SourceOffset(range.start)..SourceOffset(range.end))));
            self.size += range.end - range.start;
        }
    }

    fn end_inline(&mut self) {
        if !self.inline.is_empty() {
            let bytes = std::mem::take(&mut self.inline);
            self.segments.push((self.size - bytes.len() as u64, Content::Inline(bytes.into())));
        }
    }

    fn build(mut self, units: Vec<Unit>) -> Layout {
        self.end_inline();
        Layout { segments: self.segments, size: self.size, units, view: None }
    }
}
