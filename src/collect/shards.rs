//! The index files that the user names: one, or all below a folder or prefix.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::locate;
use crate::error::{Error, Result, ResultExt};
use crate::index::{IndexFile, is_index_name};
use crate::path::Location;
use crate::source::{self, Caller};

/// Deeper folders are no index but a loop.
const MOST_DEPTH: u32 = 8;
/// Smaller files of this machine are kept in memory: thousands of learned rows would need as many open files.
const SMALL: u64 = 1 << 20;

/// Where the index files lie that `text` names, in the order of their names.
///
/// # Errors
/// Where nothing lies there, or it cannot be listed.
pub(crate) fn shards(text: &str, caller: &Caller<'_>) -> Result<Vec<Location>> {
    let location = locate(text)?;
    let mut found = Vec::new();
    match &location {
        Location::Local(path) if path.is_dir() => walk(path, 0, &mut found),
        _ if is_index_name(text.split('?').next().unwrap_or_default()) => return Ok(vec![location]),
        Location::Local(path) if path.is_file() => return Ok(vec![location]),
        Location::Local(_) => return Err(Error::not_found()).in_file(&location.display()),
        _ => {
            let prefix = locate(&format!("{}/", text.trim_end_matches('/')))?;
            source::list(&prefix, &caller.access(&prefix)?, &mut |page| {
                let shards = page.into_iter().map(|listed| listed.location);
                found.extend(shards.filter(|location| is_index_name(&location.display())));
            })
            .in_file(&location.display())?;
        }
    }
    if found.is_empty() {
        return Err(Error::Index { index: location.display(), what: "no .parquet file lies below it".to_owned() });
    }
    found.sort_by_key(Location::display);
    Ok(found)
}

fn walk(folder: &Path, depth: u32, found: &mut Vec<Location>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    found.extend(files.into_iter().filter(|path| is_index_name(&path.to_string_lossy())).map(Location::Local));
    if depth < MOST_DEPTH {
        folders.iter().for_each(|folder| walk(folder, depth + 1, found));
    }
}

/// Opens an index file.
///
/// # Errors
/// [`Error::Index`] where it cannot be used; whatever reading it fails with. Each names the file.
pub(super) fn open_index(location: &Location, caller: &Caller<'_>) -> Result<Arc<IndexFile>> {
    let name = location.display();
    if let Location::Local(path) = location
        && std::fs::metadata(path).is_ok_and(|meta| meta.len() <= SMALL)
        && let Ok(bytes) = std::fs::read(path)
    {
        return IndexFile::from_bytes(&name, bytes.into()).map(Arc::new);
    }
    let source = caller.source(location)?;
    IndexFile::open(&name, source, false).map(Arc::new)
}
