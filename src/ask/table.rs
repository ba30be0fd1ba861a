//! Indexes as tables: the rows of all files that are named, as a stream of Arrow's record batches.

use std::sync::Arc;

use super::Asker;
use crate::collect::shards;
use crate::error::{Error, Result};
use crate::index::RowStream;
use crate::source::Caller;
use crate::trace;

/// The rows of the indexes that `entries` names: files, or folders and prefixes of them, separated by `;`. What the stream
/// reads later it reads as `asker`, on whatever thread.
///
/// # Errors
/// Whatever finding or opening an index fails with.
pub(crate) fn table(entries: &str, asker: Arc<dyn Asker>) -> Result<RowStream> {
    let mut files = Vec::new();
    for entry in entries.split(';').filter(|entry| !entry.is_empty()) {
        files.extend(for_caller(&*asker, |caller| shards(entry, caller))?);
    }
    if files.is_empty() {
        return Err(Error::Path { path: entries.to_owned(), what: "it names no index".to_owned() });
    }
    let count = files.len();
    let open = move |number: usize| {
        let location = files.get(number).ok_or_else(Error::not_found)?;
        Ok((location.display(), for_caller(&*asker, |caller| caller.source(location))?))
    };
    RowStream::new(count, Box::new(open))
}

/// What `work` gives for the caller that `asker` is.
fn for_caller<T>(asker: &dyn Asker, mut work: impl FnMut(&Caller<'_>) -> Result<T>) -> Result<T> {
    let mut outcome = Err(Error::read("nothing was done for the caller"));
    let warn = |message: &str| trace::debug(|| message.to_owned());
    asker.with(&[], &warn, &mut |caller| outcome = work(caller));
    outcome
}
