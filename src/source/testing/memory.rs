//! A file in memory that counts what is read of it, for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::source::contract::{Each, Meta, Source};
use crate::source::range::{SourceOffset, SourceRange};

/// The file.
pub(crate) struct Memory {
    origin: String,
    pub(crate) bytes: Bytes,
    pub(crate) reads: Mutex<Vec<(u64, u64)>>,
    pub(crate) heads: Mutex<usize>,
    rounds: AtomicUsize,
    cheap: bool,
    /// After so many reads it is another file, by its ETag.
    changes_after: AtomicUsize,
    /// What happens before ranges are read.
    pub(crate) before: fn(&Memory) -> Result<()>,
}

impl Memory {
    pub(crate) fn new(origin: &str, bytes: impl Into<Bytes>) -> Self {
        Self {
            origin: origin.into(),
            bytes: bytes.into(),
            reads: Mutex::default(),
            heads: Mutex::default(),
            rounds: AtomicUsize::new(0),
            cheap: false,
            changes_after: AtomicUsize::new(usize::MAX),
            before: |_| Ok(()),
        }
    }

    /// As a file of this machine is, or one elsewhere.
    pub(crate) fn cheap(self, cheap: bool) -> Self {
        Self { cheap, ..self }
    }

    /// From now on it is another file, by its ETag, once so many more reads were made.
    pub(crate) fn changes_after(&self, reads: usize) {
        self.changes_after.store(self.cost().0 + reads, Ordering::Relaxed);
    }

    fn meta(&self) -> Meta {
        let etag = if self.cost().0 > self.changes_after.load(Ordering::Relaxed) { "\"f\"" } else { "\"e\"" };
        Meta { size: self.bytes.len() as u64, etag: Some(etag.into()), last_modified: Some(1_700_000_000) }
    }

    /// How many requests, and how many bytes.
    pub(crate) fn cost(&self) -> (usize, u64) {
        let reads = self.reads.lock().unwrap();
        (reads.len(), reads.iter().map(|(_, length)| length).sum())
    }

    /// How many times several ranges, or one, were asked for at once.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    fn read(&self, start: u64, end: u64) -> Result<Bytes> {
        self.reads.lock().unwrap().push((start, end - start));
        if end > self.bytes.len() as u64 {
            return Err(Error::read("past the end"));
        }
        Ok(self.bytes.slice(start as usize..end as usize))
    }
}

impl Source for Memory {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn is_cheap(&self) -> bool {
        self.cheap
    }

    fn lanes(&self) -> usize {
        32
    }

    fn read_each(&self, ranges: &[SourceRange], each: &mut dyn FnMut(usize, Bytes)) -> Result<()> {
        self.read_ranges(ranges)?.into_iter().enumerate().for_each(|(number, bytes)| each(number, bytes));
        Ok(())
    }

    fn read_later(self: Arc<Self>, ranges: Vec<SourceRange>, mut each: Each) {
        std::thread::spawn(move || self.read_each(&ranges, &mut |number, bytes| drop(each(number, bytes))));
    }

    fn head(&self) -> Result<Meta> {
        *self.heads.lock().unwrap() += 1;
        Ok(self.meta())
    }

    fn seen(&self) -> Option<Meta> {
        let untouched = self.reads.lock().unwrap().is_empty() && *self.heads.lock().unwrap() == 0;
        (!untouched).then(|| self.meta())
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        buffer.copy_from_slice(&self.read(offset.0, offset.0 + buffer.len() as u64)?);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        (self.before)(self)?;
        ranges.iter().map(|range| self.read(range.start.0, range.end.0)).collect()
    }

    fn read_tail(&self, length: u64) -> Result<(Bytes, u64)> {
        let size = self.bytes.len() as u64;
        Ok((self.read(size - length.min(size), size)?, size))
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        let end = (offset.0 + length).min(self.bytes.len() as u64);
        self.read(offset.0.min(end), end)
    }
}
