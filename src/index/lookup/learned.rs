//! What was learned by scanning: one small index file for each origin in the user's cache folder, and the latest in
//! memory, so that scanning helps without a disk too.
//!
//! Everything here is best effort: a disk that is full or read-only costs a debug message, a file that cannot be read
//! is removed and the JP2 is scanned again. Processes share the folder: files appear whole, by rename.

use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::find::first_row;
use crate::error::{Error, Result};
use crate::index::cache::Cache;
use crate::index::file::read::IndexFile;
use crate::index::file::write::write_atomically;
use crate::index::row::record::Record;
use crate::index::row::write::build_index;
use crate::source::{Access, Identity};
use crate::trace;

/// A larger file was not written here: they hold one row.
const MOST_FILE: u64 = 32 << 20;

/// A learned row: its folder, its file's origin, and what it was obtained with.
type Id = (Option<PathBuf>, String, Identity);
/// The records in memory.
static MEMORY: Cache<Id, Arc<Record>, { 16 << 20 }> = Cache::new();

fn id(access: &Access, origin: &str) -> Id {
    (access.options.learned.clone(), origin.to_owned(), access.identity.clone())
}

/// Where the record of `origin` lies for callers with this identity: spread over 256 folders, named by a salted digest of
/// both, so that a name shows no credentials and none can be tried against it. `None` where there is no salt.
fn file(folder: &Path, origin: &str, identity: &Identity) -> Option<PathBuf> {
    let folder = folder.join("learned");
    let digest = identity.digest(&salt(&folder)?, origin);
    let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(folder.join(&name[..2]).join(name + ".parquet"))
}

/// Random bytes that stay with a folder, which its user alone may read. The first process to come makes them.
fn salt(folder: &Path) -> Option<[u8; 32]> {
    let path = folder.join("salt");
    let read = || <[u8; 32]>::try_from(std::fs::read(&path).ok()?).ok();
    read().or_else(|| {
        let mut salt = [0; 32];
        std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut salt)).ok()?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).ok()?;
        let mut made = tempfile::NamedTempFile::new_in(folder).ok()?;
        made.write_all(&salt).ok()?;
        // Another process may have been faster: its salt is the one.
        let _ = made.persist_noclobber(&path);
        read()
    })
}

fn weight(record: &Record) -> u64 {
    let parts: usize =
        record.parts.iter().map(|part| 64 + part.head.as_ref().map_or(0, |h| h.resolution_ends.len() * 4)).sum();
    (parts + record.header.as_ref().map_or(0, Bytes::len) + 512) as u64
}

/// The record learned of `origin`, if any. It is checked in itself, not against the file.
pub(crate) fn learned_get(access: &Access, origin: &str) -> Option<Arc<Record>> {
    let id = id(access, origin);
    if let Some(record) = MEMORY.get(&id) {
        return Some(record);
    }
    let path = file(access.options.learned.as_deref()?, origin, &access.identity)?;
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
pub(crate) fn learned_put(access: &Access, record: &Record) {
    let Some(origin) = record.origin.as_deref() else { return };
    let kept = Arc::new(record.clone());
    MEMORY.put(id(access, origin), kept, weight(record));
    let Some(folder) = access.options.learned.as_deref() else { return };
    let Some(path) = file(folder, origin, &access.identity) else {
        return trace::debug(|| {
            format!("learned record of {origin}: not kept on disk, {} cannot be used", folder.display())
        });
    };
    let written = build_index(std::slice::from_ref(record)).map_err(std::io::Error::other).and_then(|bytes| {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        write_atomically(&path, &bytes)
    });
    if let Err(error) = written {
        trace::debug(|| format!("learned record {}: not kept on disk, {error}", path.display()));
    }
}

/// Forgets what was learned of `origin`: the file is no longer what it was.
pub(crate) fn learned_forget(access: &Access, origin: &str) {
    MEMORY.remove(&id(access, origin));
    let folder = access.options.learned.as_deref();
    if let Some(path) = folder.and_then(|folder| file(folder, origin, &access.identity)) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::lookup::find::tests::record;
    use crate::path::Location;
    use crate::source::Caller;

    /// How a caller with this password reaches a URL.
    fn access_as(user: &str, folder: Option<&Path>) -> Access {
        let folder = folder.map(|folder| folder.display().to_string());
        let get = |_: &str, name: &str| match name {
            "VSITLM_CACHE_DIR" => Some(folder.clone().unwrap_or_else(|| "NO".into())),
            "GDAL_HTTP_USERPWD" => Some(user.to_owned()),
            _ => None,
        };
        Caller::new(&get).access(&Location::Http { url: "https://h/x".into() }).unwrap()
    }

    fn access(folder: Option<&Path>) -> Access {
        access_as("", folder)
    }

    fn forget_memory(access: &Access, origin: &str) {
        MEMORY.remove(&id(access, origin));
    }

    #[test]
    fn a_record_is_learned_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (access, origin) = (access(Some(folder.path())), "https://h/learned.jp2");
        let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
        assert_eq!(learned_get(&access, origin), None);
        learned_put(&access, &record);
        assert_eq!(*learned_get(&access, origin).unwrap(), record);
        forget_memory(&access, origin);
        assert_eq!(*learned_get(&access, origin).unwrap(), record, "from the disk");
        learned_forget(&access, origin);
        assert_eq!(learned_get(&access, origin), None);
    }

    #[test]
    fn without_a_disk_memory_helps() {
        for (folder, origin) in
            [(None, "https://h/memory-a.jp2"), (Some(Path::new("/dev/null/x")), "https://h/memory-b.jp2")]
        {
            let access = access(folder);
            let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
            learned_put(&access, &record);
            assert_eq!(*learned_get(&access, origin).unwrap(), record);
            learned_forget(&access, origin);
            assert_eq!(learned_get(&access, origin), None);
        }
    }

    #[test]
    fn a_corrupt_file_is_removed_and_anothers_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let (access, origin) = (access(Some(folder.path())), "https://h/corrupt.jp2");
        let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
        learned_put(&access, &record);
        let path = file(folder.path(), origin, &access.identity).unwrap();
        let good = std::fs::read(&path).unwrap();
        let other = file(folder.path(), "https://h/other.jp2", &access.identity).unwrap();
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(&other, &good).unwrap();
        assert_eq!(learned_get(&access, "https://h/other.jp2"), None, "another origin's");
        for length in [0, 3, 100, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            forget_memory(&access, origin);
            assert_eq!(learned_get(&access, origin), None, "{length} bytes");
            assert!(!path.exists());
        }
    }

    #[test]
    fn callers_with_other_credentials_learn_for_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let origin = "https://h/apart.jp2";
        let record = Record { origin: Some(origin.into()), ..record("S2A_X", "B02", 10) };
        let [right, wrong] = ["u:right", "u:wrong"].map(|user| access_as(user, Some(folder.path())));
        learned_put(&right, &record);
        for _ in 0..2 {
            assert_eq!(learned_get(&wrong, origin), None);
            assert_eq!(*learned_get(&right, origin).unwrap(), record);
            forget_memory(&right, origin);
        }
        learned_forget(&wrong, origin);
        assert!(learned_get(&right, origin).is_some());
    }
}
