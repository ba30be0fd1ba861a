//! JPEG 2000 Part 1 (ITU-T T.800 | ISO/IEC 15444-1) as far as this program needs it: the boxes of Annex I, the
//! markers of Annex A, the pointer segments TLM and PLT of A.7. Parsing and building stand side by side.
//!
//! No IO and no unsafe code: bytes in, values out. Offsets in errors are bytes from the start of the file.

mod boxes;
mod cursor;
mod markers;
mod pointers;
mod table;

pub(crate) use boxes::{LBox, raise_lbox};
pub(crate) use markers::{MainHeader, Need, Sot, TilePartHead, parse_main_header, parse_tile_part_head};
pub(crate) use pointers::{build_tlm, parse_tlm};
pub(crate) use table::{Structure, TilePart, TilePartTable};
