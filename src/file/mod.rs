//! The virtual file: a layout, read through a source, shared by every handle on its path.

mod at_place;
mod decoded;
mod describe;
mod embedded;
mod empty;
mod fetch;
mod in_memory;
mod kept;
mod known;
mod open;
mod overviews;
mod product;
mod read;
mod registry;
mod rows;
mod samples;
mod squares;
mod stored;
mod tiff;
mod tiff_row;
mod trailing;
mod view;
mod virtual_file;
mod window;

pub(crate) use describe::{Description, describe};
pub(crate) use empty::EmptyTile;
pub(crate) use in_memory::{WholeTile, decode_bytes, decode_tile};
pub(crate) use open::{at_hand, file_id, open, open_served, served_at_hand, unfolded, wants_side_cars, wants_tiff};
pub(crate) use product::{bands, size};
pub(crate) use read::Ahead;
pub(crate) use registry::{FileId, Lease};
pub(crate) use rows::{rows, source_of};
pub(crate) use samples::{Selection, left_out};
pub(crate) use squares::Squares;
pub(crate) use tiff_row::{TiffLevel, TiffRow, TiffTile, tiff_of_row};
pub(crate) use virtual_file::VirtualFile;

#[cfg(test)]
mod fetch_tests;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod view_tests;

#[cfg(test)]
mod window_tests;
