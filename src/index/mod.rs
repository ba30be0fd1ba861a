//! The parquet index: where the tile-parts of a JP2 lie, by the name of the product.
//!
//! ```text
//! find ─► wanted ─► read ─► blob ─► Record ─► Record::structure      learned_get, learned_put
//! scan ─► Scanned ─► Record::from_scan ─► write_index
//! ```
//!
//! Nothing here makes a request by itself: JP2s and indexes are read through [`crate::source::Source`].

mod blob;
mod chunks;
mod find;
mod heads;
mod learned;
mod overviews;
mod read;
mod recent;
mod record;
mod scan;
mod thrift;
mod wanted;
mod write;

pub(crate) use blob::build_index_blob;
#[cfg(fuzzing)]
pub(crate) use blob::build_resolution_ends;
#[cfg(fuzzing)]
pub(crate) use find::complete;
pub(crate) use find::{Found, find};
pub(crate) use heads::{parse_packets, read_heads};
pub(crate) use learned::{learned_forget, learned_get, learned_put};
pub(crate) use overviews::{EmbeddedOverviews, build_overviews, parse_factor};
pub(crate) use record::{Record, RecordKey};
pub(crate) use scan::{Effort, Scanned, Strategy, scan, scan_by};
#[cfg(fuzzing)]
pub(crate) use write::build_index;
pub(crate) use write::{write_index, write_whole};
