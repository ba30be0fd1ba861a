//! Documents that name files.

use crate::error::{Result, ResultExt};
use crate::path::Location;
use crate::source::{Caller, read_whole};

/// The bytes of a document of at most `most` bytes.
pub(super) fn read(location: &Location, most: u64, caller: &Caller<'_>) -> Result<bytes::Bytes> {
    caller.source(location).and_then(|source| read_whole(&*source, most)).in_file(&location.display())
}
