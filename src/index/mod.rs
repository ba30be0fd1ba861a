//! The parquet index: where the tile-parts of a JP2 lie, by the name of the product.
//!
//! ```text
//! find ─► wanted ─► read ─► blob ─► Record ─► Record::structure      learned_get, learned_put
//! scan ─► Scanned ─► Record::from_scan ─► write_index
//! ```
//!
//! Nothing here makes a request by itself: JP2s and indexes are read through [`crate::source::Source`].

#[cfg(test)]
mod archives_tests;
mod blob;
mod check;
mod chunks;
mod directory;
mod find;
mod groups;
mod heads;
mod learned;
mod list;
mod overviews;
mod packets;
mod pages;
mod partition;
mod planes;
mod read;
mod recent;
mod record;
mod row;
mod rows;
mod scan;
mod stac;
mod stage;
mod table;
mod thrift;
mod wanted;
mod write;

pub(crate) use blob::build_index_blob;
#[cfg(fuzzing)]
pub(crate) use blob::build_resolution_ends;
pub(crate) use check::{Checked, Described, check_index, describe_index};
pub(crate) use find::{Found, find};
pub(crate) use heads::{header_range, parse_packets, read_heads, read_lengths, read_tiles};
pub(crate) use learned::{learned_forget, learned_get, learned_put};
pub(crate) use list::bands_of;
pub(crate) use overviews::{EmbeddedOverviews, build_overviews, parse_factor};
pub(crate) use packets::PacketLengths;
pub(crate) use partition::{SHARD, is_index_name, partition_of};
pub(crate) use read::IndexFile;
pub(crate) use record::{Record, RecordKey};
pub(crate) use row::Row;
pub(crate) use rows::{Known, Partition, Rows, Wins, hash, read_group};
pub(crate) use scan::{Effort, Scanned, Strategy, scan, scan_by, scan_without_tlm};
pub(crate) use stage::Stage;
pub(crate) use table::Table;
#[cfg(test)]
pub(crate) use table::made as made_table;
#[cfg(fuzzing)]
pub(crate) use write::build_index;
pub(crate) use write::{build_index_of, write_index, write_whole};
