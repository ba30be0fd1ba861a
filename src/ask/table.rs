//! Indexes as tables: the rows of all files that are named, as a stream of Arrow's record batches.

use std::sync::Arc;

use super::Asker;
use super::question::parse_options;
use crate::collect::shards;
use crate::error::{Error, Result};
use crate::index::RowStream;
use crate::source::Caller;
use crate::trace;

/// The rows of the indexes that `entries` names: files, or folders and prefixes of them, separated by `;`. What the stream
/// reads later it reads as `asker`, on whatever thread. `options`, a JSON object or nothing, go before those that hold
/// otherwise.
///
/// # Errors
/// Whatever finding or opening an index fails with; [`Error::Question`] for options that are none.
pub(crate) fn table(entries: &str, options: &str, asker: Arc<dyn Asker>) -> Result<RowStream> {
    let options = match options {
        "" => Vec::new(),
        text => parse_options(text)?,
    };
    let mut files = Vec::new();
    for entry in entries.split(';').filter(|entry| !entry.is_empty()) {
        files.extend(for_caller(&*asker, &options, |caller| shards(entry, caller))?);
    }
    if files.is_empty() {
        return Err(Error::Path { path: entries.to_owned(), what: "it names no index".to_owned() });
    }
    let count = files.len();
    let open = move |number: usize| {
        let location = files.get(number).ok_or_else(Error::not_found)?;
        Ok((location.display(), for_caller(&*asker, &options, |caller| caller.source(location))?))
    };
    RowStream::new(count, Box::new(open))
}

/// What `work` gives for the caller that `asker` is, with `options`.
fn for_caller<T>(
    asker: &dyn Asker,
    options: &[(String, String)],
    mut work: impl FnMut(&Caller<'_>) -> Result<T>,
) -> Result<T> {
    let mut outcome = Err(Error::read("nothing was done for the caller"));
    let warn = |message: &str| trace::debug(|| message.to_owned());
    asker.with(options, &warn, &mut |caller| outcome = work(caller));
    outcome
}
