//! One row of the index.

use bytes::Bytes;

use crate::error::Result;
use crate::jp2::{Structure, TilePart};
use crate::source::Meta;

/// The full key of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordKey {
    /// The product's name without `.SAFE`.
    pub(crate) product_id: String,
    /// `31UDQ`; empty where unknown.
    pub(crate) mgrs_tile: String,
    /// The v1 spelling: `B02` at the band's best resolution, else `B02_20m`.
    pub(crate) band_id: String,
    /// The resolution in metres; 0 where unknown.
    pub(crate) resolution: u32,
}

/// One row: what a JP2 is called, what it was when it was scanned, and where its tile-parts lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// What the index calls the file.
    pub(crate) key: RecordKey,
    /// The object's key in its archive, without scheme and bucket.
    pub(crate) path: String,
    /// The size of the file in bytes; `None` in v1 rows of files that have a TLM of their own (their blob is empty).
    pub(crate) file_size: Option<u64>,
    /// Where the first SOT marker stands; `None` as above.
    pub(crate) first_sot: Option<u64>,
    /// The file up to the end of the first SOT marker segment ([`Structure::header`]); v1 rows have none.
    pub(crate) header: Option<Bytes>,
    /// The tile-parts in source order, not yet checked against the header; empty in v1 rows of files with a TLM.
    pub(crate) parts: Vec<TilePart>,
    /// Whether the file has a TLM marker of its own.
    pub(crate) has_tlm: bool,
    /// Where the row was made from ([`crate::source::Source::origin`]); v1 rows do not tell.
    pub(crate) origin: Option<String>,
    /// The file's ETag when the row was made.
    pub(crate) etag: Option<String>,
    /// When the file had last been modified, in seconds since 1970-01-01 UTC.
    pub(crate) last_modified: Option<i64>,
}
