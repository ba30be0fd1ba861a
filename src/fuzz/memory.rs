//! A machine of one JP2 and one index, both in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::source::{HostFiles, Identity, Meta, Source, SourceOffset, SourceRange};

/// What stands in for GDAL's file systems.
pub(super) struct Host {
    /// What every JP2 is.
    pub(super) jp2: Bytes,
    /// What every index is.
    pub(super) index: Option<Bytes>,
    /// Whether the JP2 is read as a file of this machine is, without a cache.
    pub(super) is_cheap: bool,
}

impl HostFiles for Host {
    fn open(&self, path: &str, _: &Identity) -> Result<Arc<dyn Source>> {
        let is_index = path.ends_with(".parquet");
        let bytes = if is_index { self.index.clone().ok_or_else(Error::not_found)? } else { self.jp2.clone() };
        let is_cheap = self.is_cheap && !is_index;
        Ok(Arc::new(Memory { origin: path.to_owned(), bytes, is_cheap, was_read: AtomicBool::new(false) }))
    }
}

/// A file in memory.
struct Memory {
    origin: String,
    bytes: Bytes,
    is_cheap: bool,
    was_read: AtomicBool,
}

impl Memory {
    fn meta(&self) -> Meta {
        Meta { size: self.bytes.len() as u64, etag: Some("\"e\"".into()), last_modified: Some(1_700_000_000) }
    }

    /// Ranges that leave the file, and those that end before they begin, are a bug of whoever asks for them.
    fn range(&self, start: u64, end: u64) -> Bytes {
        self.was_read.store(true, Ordering::Relaxed);
        assert!(start <= end && end <= self.bytes.len() as u64, "{start}..{end} of {} bytes", self.bytes.len());
        self.bytes.slice(start as usize..end as usize)
    }
}

impl Source for Memory {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn is_cheap(&self) -> bool {
        self.is_cheap
    }

    fn lanes(&self) -> usize {
        4
    }

    fn head(&self) -> Result<Meta> {
        self.was_read.store(true, Ordering::Relaxed);
        Ok(self.meta())
    }

    fn seen(&self) -> Option<Meta> {
        self.was_read.load(Ordering::Relaxed).then(|| self.meta())
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        buffer.copy_from_slice(&self.range(offset.0, offset.0 + buffer.len() as u64));
        Ok(())
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        Ok(ranges.iter().map(|range| self.range(range.start.0, range.end.0)).collect())
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        let end = offset.0.saturating_add(length).min(self.bytes.len() as u64);
        Ok(self.range(offset.0.min(end), end))
    }
}
