//! The bytes of a parquet file: its end is at hand, and the rest is read through a [`Source`].

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};

use super::guard::guarded;
use crate::error::{Error, Result, ResultExt};
use crate::index::format::bytes::slice;
use crate::index::format::thrift::schema_nodes;
use crate::source::{Source, SourceOffset};

/// The longest footer: that of several million rows.
const MOST_FOOTER: u64 = 16 << 20;
/// Ranges that are no further apart than this, in bytes, are read as one.
const GAP: u64 = 32 << 10;

/// Nodes of an index's schema, at most: more of them nested in each other than about 1,500 overflow a thread's 2 MB.
pub(super) const MOST_NODES: u64 = 400;

/// See the module.
pub(super) struct RawFile {
    /// What messages call it.
    pub(super) name: String,
    /// Where it is read from; `None` for a file in memory.
    source: Option<Arc<dyn Source>>,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its last bytes.
    pub(super) end: Bytes,
}

impl RawFile {
    /// The file behind `source`, of which the last `tail` bytes are read.
    pub(super) fn open(name: &str, source: Arc<dyn Source>, tail: u64) -> Result<Self> {
        let (end, size) = source.read_tail(tail).in_file(name)?;
        Ok(Self { name: name.to_owned(), source: Some(source), size, end })
    }

    /// A file in memory.
    pub(super) fn from_bytes(name: &str, bytes: Bytes) -> Self {
        Self { name: name.to_owned(), source: None, size: bytes.len() as u64, end: bytes }
    }

    /// Reads what is before the end, too.
    pub(super) fn read_whole(&mut self) -> Result<()> {
        self.end = self.read(0..self.size)?;
        Ok(())
    }

    /// Some bytes of the file, where they are at hand.
    fn at_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = self.size - self.end.len() as u64;
        slice(&self.end, range.start.checked_sub(start)?..range.end.checked_sub(start)?)
    }

    /// Some bytes of the file, inside it. They are not kept, and nothing is locked.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let before = self.size - self.end.len() as u64;
        if range.start < before && before < range.end {
            let start = self.read(range.start..before);
            let end = self.at_hand(&(before..range.end));
            return Ok([start?, end.unwrap_or_default()].concat().into());
        }
        self.read_all(&[range])?.pop().ok_or_else(|| self.cut())
    }

    /// The same for several ranges, those that are not at hand with one call of the source.
    fn read_all(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let known: Vec<_> = ranges.iter().map(|range| self.at_hand(range)).collect();
        let missing = ranges.iter().zip(&known).filter(|(_, known)| known.is_none());
        let missing: Vec<_> = missing.map(|(range, _)| SourceOffset(range.start)..SourceOffset(range.end)).collect();
        let read = match &self.source {
            Some(source) if !missing.is_empty() => source.read_ranges(&missing).in_file(&self.name)?,
            _ => Vec::new(),
        };
        let mut read = read.into_iter();
        let all: Option<Vec<_>> = known.into_iter().map(|known| known.or_else(|| read.next())).collect();
        all.ok_or_else(|| self.cut())
    }

    /// The same, where ranges that lie close together are read as one.
    pub(super) fn read_merged(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut sorted = ranges.to_vec();
        sorted.sort_by_key(|range| range.start);
        let mut runs: Vec<Range<u64>> = Vec::new();
        for range in sorted {
            match runs.last_mut() {
                Some(run) if range.start <= run.end.saturating_add(GAP) => run.end = run.end.max(range.end),
                _ => runs.push(range),
            }
        }
        let read = self.read_all(&runs)?;
        let find = |range: &Range<u64>| {
            let mut runs = runs.iter().zip(&read);
            let (run, bytes) = runs.find(|(run, _)| run.start <= range.start && range.end <= run.end)?;
            slice(bytes, range.start - run.start..range.end - run.start)
        };
        ranges.iter().map(|range| find(range).ok_or_else(|| self.cut())).collect()
    }

    /// Where the footer lies.
    pub(super) fn footer_range(&self) -> Result<Range<u64>> {
        let size = self.size;
        if size < 12 {
            return Err(self.bad(format!("it has {size} bytes, too few for a parquet file")));
        }
        let last = self.end.last_chunk::<8>().ok_or_else(|| self.bad("its end cannot be read".into()))?;
        let tail = FooterTail::try_new(last);
        let tail = tail.map_err(|_| self.bad("it is not a parquet file: it does not end in PAR1".into()))?;
        if tail.is_encrypted_footer() {
            return Err(self.bad("it is encrypted".into()));
        }
        let length = tail.metadata_length() as u64;
        if length > size - 12 {
            return Err(self.bad(format!("a footer of {length} bytes in a file of {size}")));
        }
        Ok(size - 8 - length..size - 8)
    }

    /// What the footer says: nothing of it has been checked but that it can be read.
    ///
    /// # Errors
    /// [`Error::Index`] where it cannot be read, or its schema has more than `nodes` columns and groups of them: the crate
    /// reads it by recursion.
    pub(super) fn footer(&self, nodes: u64) -> Result<ParquetMetaData> {
        let range = self.footer_range()?;
        let length = range.end - range.start;
        if length > MOST_FOOTER {
            return Err(self.bad(format!("a footer of {length} bytes, and no directory: split it")));
        }
        let footer = self.read(range)?;
        if schema_nodes(&footer).is_none_or(|found| found > nodes) {
            return Err(self.bad(format!("its footer is corrupt, or its schema has more than {nodes} nodes")));
        }
        let corrupt = |error| self.bad(format!("its footer is corrupt: {error}"));
        guarded(&self.name, || ParquetMetaDataReader::decode_metadata(&footer).map_err(corrupt))
    }

    fn cut(&self) -> Error {
        self.bad("it could not be read whole".into())
    }

    /// An error that names the file.
    pub(super) fn bad(&self, what: String) -> Error {
        Error::Index { index: self.name.clone(), what }
    }
}
