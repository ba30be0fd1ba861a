//! Documents that name files.

use crate::error::{Error, Result, ResultExt};
use crate::path::Location;
use crate::source::{Caller, read_whole};

/// File systems of GDAL's that read over a network, but for those whose paths are understood as locations of their own.
const NETWORKS: [&str; 4] = ["/vsioss/", "/vsiswift/", "/vsiadls/", "/vsiwebhdfs/"];

/// The bytes of a document of at most `most` bytes.
pub(super) fn read(location: &Location, most: u64, caller: &Caller<'_>) -> Result<bytes::Bytes> {
    caller.source(location).and_then(|source| read_whole(&*source, most)).in_file(&location.display())
}

/// What `reference` names in the document that lies at `document`. One of this machine may name files anywhere; one that
/// was read over a network names files on networks alone, or whoever wrote it could have files of this machine read.
///
/// # Errors
/// [`Error::Path`] for what names nothing, and for what the document may not name.
pub(super) fn named_in(document: &Location, reference: &str) -> Result<Location> {
    let location = document.join(reference)?;
    if matches!(document, Location::Local(_)) || is_on_network(&location) {
        return Ok(location);
    }
    let what = "a document that was read over a network may not name files of this machine: download the document, or \
                name the file itself";
    Err(Error::Path { path: location.display(), what: what.to_owned() })
}

fn is_on_network(location: &Location) -> bool {
    match location {
        Location::Http { .. }
        | Location::Curl { .. }
        | Location::S3 { .. }
        | Location::Gs { .. }
        | Location::Azure { .. } => true,
        Location::Host(path) => NETWORKS.iter().any(|network| path.starts_with(network)),
        Location::Local(_) | Location::Product { .. } => false,
    }
}
