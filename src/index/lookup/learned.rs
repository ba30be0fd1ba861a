//! What was learned by scanning: one small index file for each origin in the user's cache folder, and the latest in
//! memory, so that scanning helps without a disk too.
//!
//! Everything here is best effort: a disk that is full or read-only costs a debug message, a file that cannot be read
//! is removed and the JP2 is scanned again. Processes share the folder: files appear whole, by rename.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::find::first_row;
use crate::error::{Error, Result};
use crate::index::cache::Cache;
use crate::index::file::read::IndexFile;
use crate::index::file::write::write_atomically;
use crate::index::format::bytes::hash;
use crate::index::row::record::Record;
use crate::index::row::write::build_index;
use crate::options::Options;
use crate::trace;

/// A larger file was not written here: they hold one row.
const MOST_FILE: u64 = 32 << 20;

/// The store's folder and the origin.
type Id = (Option<PathBuf>, String);

/// The records in memory.
static MEMORY: Cache<Id, Arc<Record>, { 16 << 20 }> = Cache::new();

fn id(options: &Options, origin: &str) -> Id {
    (options.learned.clone(), origin.to_owned())
}

/// Where the record of `origin` lies: spread over 256 folders, named by a hash that stays the same (XXH64).
fn file(folder: &Path, origin: &str) -> PathBuf {
    let name = format!("{:016x}.parquet", hash(origin));
    folder.join("learned").join(&name[..2]).join(name)
}

fn weight(record: &Record) -> u64 {
    let parts: usize =
        record.parts.iter().map(|part| 64 + part.head.as_ref().map_or(0, |h| h.resolution_ends.len() * 4)).sum();
    (parts + record.header.as_ref().map_or(0, Bytes::len) + 512) as u64
}

/// The record learned of `origin`, if any. It is checked in itself, not against the file.
pub(crate) fn learned_get(options: &Options, origin: &str) -> Option<Arc<Record>> {
    let id = id(options, origin);
    if let Some(record) = MEMORY.get(&id) {
        return Some(record);
    }
    let path = file(options.learned.as_deref()?, origin);
    let record = match read(&path) {
        Ok(Some(record)) if record.origin.as_deref() == Some(origin) => Arc::new(record),
        Ok(_) => return None, // nothing, or another origin with the same hash
        Err(error) => {
            trace::debug(|| format!("learned record {}: removed, {}", path.display(), error.chain()));
            let _ = std::fs::remove_file(&path);
            return None;
        }
    };
    MEMORY.put(id, record.clone(), weight(&record));
    Some(record)
}

fn read(path: &Path) -> Result<Option<Record>> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
    let name = path.display().to_string();
    let bad = |what: String| Error::Index { index: name.clone(), what };
    if meta.len() > MOST_FILE {
        return Err(bad(format!("{} bytes for one row", meta.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    first_row(&IndexFile::from_bytes(&name, bytes.into())?.into())
}

/// Keeps `record` for its origin.
pub(crate) fn learned_put(options: &Options, record: &Record) {
    let Some(origin) = record.origin.as_deref() else { return };
    let kept = Arc::new(record.clone());
    MEMORY.put(id(options, origin), kept, weight(record));
    let Some(folder) = options.learned.as_deref() else { return };
    let path = file(folder, origin);
    let written = build_index(std::slice::from_ref(record)).map_err(std::io::Error::other).and_then(|bytes| {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        write_atomically(&path, &bytes)
    });
    if let Err(error) = written {
        trace::debug(|| format!("learned record {}: not kept on disk, {error}", path.display()));
    }
}

/// Forgets what was learned of `origin`: the file is no longer what it was.
pub(crate) fn learned_forget(options: &Options, origin: &str) {
    MEMORY.remove(&id(options, origin));
    if let Some(folder) = options.learned.as_deref() {
        let _ = std::fs::remove_file(file(folder, origin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::lookup::find::tests::record;

    fn options(folder: Option<&Path>) -> Options {
        let folder = folder.map(|folder| folder.display().to_string());
        Options::resolve(&|name| match name {
            "VSITLM_CACHE_DIR" => Some(folder.clone().unwrap_or_else(|| "NO".into())),
            _ => None,
        })
        .unwrap()
    }

    fn forget_memory(options: &Options, origin: &str) {
        MEMORY.remove(&id(options, origin));
    }

    #[test]
    fn a_record_is_learned_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (options, origin) = (options(Some(folder.path())), "https://h/learned.jp2");
        let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
        assert_eq!(learned_get(&options, origin), None);
        learned_put(&options, &record);
        assert_eq!(*learned_get(&options, origin).unwrap(), record);
        forget_memory(&options, origin);
        assert_eq!(*learned_get(&options, origin).unwrap(), record, "from the disk");
        learned_forget(&options, origin);
        assert_eq!(learned_get(&options, origin), None);
    }

    #[test]
    fn without_a_disk_memory_helps() {
        for (folder, origin) in
            [(None, "https://h/memory-a.jp2"), (Some(Path::new("/dev/null/x")), "https://h/memory-b.jp2")]
        {
            let options = options(folder);
            let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
            learned_put(&options, &record);
            assert_eq!(*learned_get(&options, origin).unwrap(), record);
            learned_forget(&options, origin);
            assert_eq!(learned_get(&options, origin), None);
        }
    }

    #[test]
    fn a_corrupt_file_is_removed_and_anothers_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let (options, origin) = (options(Some(folder.path())), "https://h/corrupt.jp2");
        let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
        learned_put(&options, &record);
        let path = file(folder.path(), origin);
        let good = std::fs::read(&path).unwrap();
        let other = file(folder.path(), "https://h/other.jp2");
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(&other, &good).unwrap();
        assert_eq!(learned_get(&options, "https://h/other.jp2"), None, "another origin's");
        for length in [0, 3, 100, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            forget_memory(&options, origin);
            assert_eq!(learned_get(&options, origin), None, "{length} bytes");
            assert!(!path.exists());
        }
    }
}
