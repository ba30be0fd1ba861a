//! The parquet index: where the tile-parts of a JP2 lie, and what a TIFF's header is, by the name of the product.
//!
//! ```text
//! lookup ─► file ─► row ─► Record ─► Record::structure      learned_get, learned_put
//! scan ─► Scanned ─► Record::from_scan ─► batch ─► write_index
//! ```
//!
//! | room | what | may import |
//! |---|---|---|
//! | `format` | what the bytes of a column mean | nothing of the index |
//! | `scan` | the tile-parts of a JP2 and the header of a TIFF, found by reading it | `format` |
//! | `file` | parquet files: their row groups, columns and pages | `format` |
//! | `row` | one file's row: from a scan, to a file and back | `scan`, `file` |
//! | `lookup` | the rows that a path can mean, and those learned at a miss | `row` |
//! | `batch` | many rows: merged, kept until they are written, checked | `row` |
//!
//! Nothing here makes a request by itself: JP2s and indexes are read through [`crate::source::Source`].

mod batch;
mod cache;
mod file;
mod format;
mod lookup;
mod row;
mod scan;

pub(crate) use batch::check::{Checked, Described, check_index, describe_index};
pub(crate) use batch::journal::Journal;
pub(crate) use batch::rows::{KnownFile, Partition, Rows, Wins};
pub(crate) use file::read::IndexFile;
pub(crate) use file::stream::RowStream;
pub(crate) use file::table::Table;
#[cfg(test)]
pub(crate) use file::table::made as made_table;
pub(crate) use file::write::write_whole;
pub(crate) use format::blob::build_index_blob;
#[cfg(fuzzing)]
pub(crate) use format::blob::build_resolution_ends;
pub(crate) use format::bytes::hash;
pub(crate) use format::overviews::parse_factor;
pub(crate) use lookup::find::{FoundRows, find};
pub(crate) use lookup::learned::{learned_forget, learned_get, learned_put};
pub(crate) use lookup::list::bands_of;
pub(crate) use row::overviews::{EmbeddedOverviews, build_overviews};
pub(crate) use row::packets::PacketLengths;
pub(crate) use row::partition::{SHARD, is_index_name, partition_of};
pub(crate) use row::record::{Record, RecordKey};
pub(crate) use row::stored::{StoredRow, read_group};
pub(crate) use row::tiff::head_of_columns;
#[cfg(fuzzing)]
pub(crate) use row::write::build_index;
pub(crate) use row::write::{build_index_of, write_index};
pub(crate) use scan::heads::{header_range, parse_packets, read_heads, read_lengths, read_tiles};
pub(crate) use scan::tiff::scan_tiff;
pub(crate) use scan::{Effort, Scanned, Strategy, scan, scan_by, scan_without_tlm};
