//! Files of this machine, read by position, so that one open file serves every thread.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::source::contract::{Meta, Source};
use crate::source::range::{SourceOffset, SourceRange};

/// One open file of this machine.
#[derive(Debug)]
pub(crate) struct Local {
    file: File,
    origin: String,
}

impl Local {
    /// Opens `path`, which must name a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Asked before opening: opening a pipe would block.
        let meta = std::fs::metadata(path).map_err(io_error)?;
        if !meta.is_file() {
            let kind = if meta.is_dir() { "it is a folder" } else { "it is not a regular file" };
            return Err(Error::Path { path: path.display().to_string(), what: format!("{kind}: name a file") });
        }
        let file = File::open(path).map_err(io_error)?;
        let absolute = path.canonicalize().map_err(io_error)?;
        Ok(Self { file, origin: format!("file://{}", absolute.display()) })
    }

    fn meta(&self) -> Result<Meta> {
        Ok(meta_of(&self.file.metadata().map_err(io_error)?))
    }

    /// `length` bytes that are known to lie in the file.
    fn read(&self, offset: u64, length: u64) -> Result<Bytes> {
        let size = self.meta()?.size;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(past_end(size));
        }
        // A file larger than memory is no reason to abort.
        let length = usize::try_from(length).map_err(|_| past_end(size))?;
        let mut buffer = Vec::new();
        buffer
            .try_reserve_exact(length)
            .map_err(|_| Error::read(format!("not enough memory to read {length} bytes")))?;
        buffer.resize(length, 0);
        self.file.read_exact_at(&mut buffer, offset).map_err(io_error)?;
        Ok(buffer.into())
    }
}

/// What is known of the file at `path` without opening it, as its source has it.
///
/// # Errors
/// As opening it has them.
pub(crate) fn meta(path: &Path) -> Result<Meta> {
    Ok(meta_of(&std::fs::metadata(path).map_err(io_error)?))
}

fn meta_of(meta: &std::fs::Metadata) -> Meta {
    // Dates in rows are whole seconds; by the rest of it a file differs from one that replaced it within the second.
    let etag = Some(format!("\"{}.{:09}\"", meta.mtime(), meta.mtime_nsec()));
    Meta { size: meta.len(), etag, last_modified: Some(meta.mtime()) }
}

impl Source for Local {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn head(&self) -> Result<Meta> {
        self.meta()
    }

    fn seen(&self) -> Option<Meta> {
        self.meta().ok()
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset.0).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.meta().map_or_else(|error| error, |meta| past_end(meta.size)),
            _ => io_error(error),
        })
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        ranges.iter().map(|range| self.read(range.start.0, range.end.0.saturating_sub(range.start.0))).collect()
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        let there = self.meta()?.size.saturating_sub(offset.0);
        if there == 0 {
            return Ok(Bytes::new());
        }
        self.read(offset.0, length.min(there))
    }
}

fn past_end(size: u64) -> Error {
    Error::read(format!("the file ends at byte {size}, before the bytes asked for: is it complete?"))
}

fn io_error(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::not_found(),
        ErrorKind::PermissionDenied => Error::Denied { detail: String::new(), check: "the file's permissions" },
        ErrorKind::UnexpectedEof => Error::read("the file has become shorter while it was read: open it again"),
        _ => Error::Read { what: "reading the file failed".to_owned(), source: Some(std::sync::Arc::new(error)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = Local::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("folder"), "{error}");
        assert!(matches!(Local::open(&folder.path().join("none")), Err(Error::NotFound { .. })));
        assert!(matches!(Local::open(Path::new("/dev/null")), Err(Error::Path { .. })));
    }

    #[test]
    fn the_origin_is_canonical() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jp2");
        std::fs::write(&path, b"0123").unwrap();
        let source = Local::open(&folder.path().join(".").join("a.jp2")).unwrap();
        assert_eq!(source.origin(), format!("file://{}", path.canonicalize().unwrap().display()));
        assert_eq!(source.head().unwrap().size, 4);
        assert!(source.seen().unwrap().last_modified.is_some());
    }

    #[test]
    fn a_range_that_no_memory_holds_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Local::open(file.path()).unwrap();
        let all = SourceOffset(1)..SourceOffset(u64::MAX);
        assert!(source.read_ranges(&[all]).unwrap_err().to_string().contains("ends at byte 0"));
    }
}
