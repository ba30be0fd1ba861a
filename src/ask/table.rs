//! Indexes as tables: the rows of all files that are named, as a stream of Arrow's record batches.

use std::sync::Arc;

use super::Asker;
use crate::cli::index_files;
use crate::error::{Error, Result, ResultExt};
use crate::file::Get;
use crate::index::RowStream;
use crate::options::Options;
use crate::path::Location;
use crate::source::{self, HostFiles, Source};

/// The rows of the indexes that `entries` names: files, or folders and prefixes of them, separated by `;`. What the stream
/// reads later it reads as `asker`, on whatever thread.
///
/// # Errors
/// Whatever finding or opening an index fails with.
pub(crate) fn table(entries: &str, asker: Arc<dyn Asker>) -> Result<RowStream> {
    let mut files = Vec::new();
    for entry in entries.split(';').filter(|entry| !entry.is_empty()) {
        files.extend(with(&*asker, |get, _| index_files(entry, &Options::resolve(&|name| get(entry, name))?))?);
    }
    if files.is_empty() {
        return Err(Error::Path { path: entries.to_owned(), what: "it names no index".to_owned() });
    }
    let count = files.len();
    let open = move |file: usize| {
        let location: &Location = &files[file];
        let source = with(&*asker, |get, host| open(location, get, host));
        Ok((location.display(), source.in_file(&location.display())?))
    };
    RowStream::new(count, Box::new(open))
}

fn open(location: &Location, get: &Get<'_>, host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    let path = location.gdal_path();
    let options = Options::resolve(&|name| location.option(name, &|name| get(&path, name)))?;
    source::open(location, &options, host)
}

/// Runs `work` with the options of `asker`, and gives what comes of it.
fn with<T>(asker: &dyn Asker, mut work: impl FnMut(&Get<'_>, Option<&dyn HostFiles>) -> Result<T>) -> Result<T> {
    let mut outcome = Err(Error::read("nobody asks"));
    asker.with(&[], &mut |get, host| outcome = work(get, host));
    outcome
}
