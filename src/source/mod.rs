//! Ranges of bytes from wherever a file lies. Nothing here knows what a JP2 is.
//!
//! ```text
//! fetch_units ─► cache ─► single-flight ─► coalesce ─► Source::read_ranges ─► limiter ─► transport
//! ```

mod cache;
mod engine;
mod local;
mod remote;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use cache::fetch_units;
pub(crate) use engine::statistics;

use crate::error::Result;
use crate::options::Options;
use crate::path::Location;

/// A half-open range of bytes of a source file. The virtual file's offsets are another type
/// ([`crate::layout::VirtualOffset`]): mixing them is this program's typical bug.
pub(crate) type SourceRange = Range<SourceOffset>;

/// An offset in a source file, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceOffset(pub(crate) u64);

/// What is known of a source file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its ETag, quotes included, where the source has one.
    pub(crate) etag: Option<String>,
    /// When it was last modified, in seconds since 1970-01-01 UTC, where the source says so.
    pub(crate) last_modified: Option<i64>,
}

/// One file somewhere: on a disk, behind HTTP, in an object store, or behind one of GDAL's own file systems.
///
/// The trait is blocking: GDAL's callbacks are. Implementations retry, limit and time out by themselves; an error
/// that comes out is final. They are used by many threads at once.
pub(crate) trait Source: Send + Sync {
    /// The canonical location: scheme, host, bucket and key, without query string, user info or credentials.
    /// It is what messages name, what the index stores as `origin`, and what the cache is keyed by.
    fn origin(&self) -> &str;

    /// Whether a read costs about as much as a read of a local file, so that caching it would waste memory.
    fn is_cheap(&self) -> bool;

    /// Size, ETag and date, by a request (HEAD, or a stat) where nothing has told them yet.
    fn head(&self) -> Result<Meta>;

    /// What responses so far have told, without a request.
    fn seen(&self) -> Option<Meta>;

    /// Fills `buffer` from `offset` on. Running past the end of the file is an error.
    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()>;

    /// Reads every range whole, all of them at the same time where that helps.
    /// The answers are in the order of `ranges` and have exactly their lengths.
    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>>;

    /// Reads at most `length` bytes from `offset` on: fewer only where the file ends there. One request, which
    /// also tells [`Source::seen`]; so a file of unknown size is opened without a HEAD.
    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes>;
}

/// GDAL's own file systems, as `vsi` hands them down: for what the native transport cannot read.
pub(crate) trait HostFiles: Send + Sync {
    /// Opens `path`, a path of GDAL's without the `/vsitlm/` prefix.
    fn open(&self, path: &str) -> Result<Arc<dyn Source>>;
}

/// Opens `location` for reading. No request is made yet where the location is remote.
pub(crate) fn open(location: &Location, options: &Options, host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    let _ = (location, options, host);
    unimplemented!()
}
