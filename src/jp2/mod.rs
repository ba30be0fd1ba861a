//! JPEG 2000 Part 1 (ITU-T T.800 | ISO/IEC 15444-1) as far as this program needs it: the boxes of Annex I, the
//! markers of Annex A, the pointer segments TLM and PLT of A.7, and the packets of Annex B: which there are, in which order,
//! and how long they are. Parsing and building stand side by side.
//!
//! No IO and no unsafe code: bytes in, values out. Offsets in errors are bytes from the start of the file.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(any(test, fuzzing), allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod area;
mod bits;
mod boxes;
mod cells;
mod codes;
mod coding;
mod cursor;
#[cfg(any(test, fuzzing))]
pub(crate) mod made;
mod markers;
mod packet_headers;
mod packets;
mod pointers;
mod precincts;
mod progression;
mod quantization;
mod reduce;
mod runs;
mod structure;
mod support;
mod table;
mod tag_tree;

pub(crate) use area::{Area, overlap};
pub(crate) use boxes::{LBox, WholeBox, box_of, build_box, build_jp2c_header, walk_boxes};
pub(crate) use codes::PROGRESSIONS;
pub(crate) use coding::{BYPASS, KNOWN_STYLES, TileCoding};
pub(crate) use markers::{Component, LONGEST_HEADER, MainHeader, SOD_LENGTH, SOT_LENGTH, Siz, Sot, parse_main_header};
pub(crate) use packet_headers::{PacketReader, packet_lengths};
pub(crate) use packets::{TilePartHead, TilePartHeader, empty_packet, parse_tile_part_header};
pub(crate) use pointers::{build_tlm, parse_tlm_segments};
pub(crate) use precincts::Resolution;
pub(crate) use progression::{Packet, Packets};
pub(crate) use quantization::{Quantization, Quantizations};
pub(crate) use reduce::{ReducedGrid, build_reduced_header, no_factor, reduce_tile_segments};
pub(crate) use runs::{PartLengths, PartPackets, Run, TilePackets, by_tile, divide, resolution_ends, trim_padding};
pub(crate) use structure::{Header, Structure};
pub(crate) use support::{Support, areas};
pub(crate) use table::{TilePart, TilePartTable};

/// The SOD marker (T.800 A.4.3).
pub(crate) const SOD: [u8; 2] = [0xFF, 0x93];

/// The EOC marker (T.800 A.4.4).
pub(crate) const EOC: [u8; 2] = [0xFF, 0xD9];

/// What parsing a prefix of something gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress<T> {
    /// The value.
    Done(T),
    /// The prefix must reach this offset of the file, exclusive, and perhaps further.
    Need(u64),
}
