//! Reading one index file through a [`Source`], no more of it than a look-up needs.
//!
//! A file is read from its end, by a request that gives its size too. That end has the footer of a shard or a small file;
//! of a large one it shows where the [`super::directory`] lies. Either becomes the [`Groups`]. A look-up then reads all
//! columns of the row group that can hold its product, at once; where several can, first their products. What was read
//! stays in memory (compressed, 24 MB for the process), so that the other bands of a product cost no
//! request; shards of up to [`SHARD`] bytes come whole.
//!
//! An index is untrusted: what it claims is checked against the file's size and fixed bounds before anything is read or
//! allocated by it (see [`super::groups`] and [`crate::index::format::thrift`]), and a panic in the parquet crate is an
//! error like any other ([`super::guard`]).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::file::metadata::ColumnChunkMetaData;

use super::chunks::Chunks;
use super::directory;
use super::groups::Groups;
use super::guard::guarded;
use super::raw::{MOST_NODES, RawFile};
use crate::error::{Error, Result};
use crate::index::cache::Cache;
use crate::index::format::bytes::slice;
use crate::index::format::columns::{Column, Paged};
use crate::index::format::thrift::check_pages;
use crate::process::lock;
use crate::source::Source;
use crate::trace;

/// What is read of the end of a file, in bytes: a footer of some thousand rows, or where the directory of more lies.
const TAIL: u64 = 64 << 10;
/// What is read of the end of a shard of the partition layout: all of a small one.
const SHARD_TAIL: u64 = 512 << 10;
/// A shard that is no larger is read whole, by a second request for its beginning. Beyond that, the end and a row group of
/// 256 rows of 2.5 kB are less.
const SHARD: u64 = 1_200_000;
/// Row groups whose needed columns have no more bytes together than this are read in one step.
const ONE_STEP: u64 = 1 << 20;

/// The file, the row group, and what of it.
type CacheKey = (u64, usize, CachedPart);

/// What is kept of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CachedPart {
    Chunk(Column),
    OffsetIndex(Paged),
    Pages(Paged),
}

/// Column chunks read by this process.
static CHUNKS: Cache<CacheKey, Bytes, { 24 << 20 }> = Cache::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// An open index file.
pub(crate) struct IndexFile {
    id: u64,
    /// Its bytes: all of a small shard and of a file in memory are at hand, none of a large file.
    raw: RawFile,
    groups: Groups,
    /// One fetch at a time for a row group; different ones side by side.
    fetching: [Mutex<()>; 16],
    /// Whether it may have been replaced since it was opened.
    doubtful: AtomicBool,
}

impl IndexFile {
    /// Opens the index behind `source`, which is read from its end. `shard` says that it is probably small.
    pub(crate) fn open(name: &str, source: Arc<dyn Source>, shard: bool) -> Result<Self> {
        let mut raw = RawFile::open(name, source, if shard { SHARD_TAIL } else { TAIL })?;
        if shard && raw.size <= SHARD {
            raw.read_whole()?;
        }
        let groups = read_groups(&raw)?;
        if !shard {
            raw.end = Bytes::new();
        }
        Ok(Self::new(raw, groups))
    }

    /// Opens an index that is in memory.
    pub(crate) fn from_bytes(name: &str, bytes: Bytes) -> Result<Self> {
        let raw = RawFile::from_bytes(name, bytes);
        let groups = read_groups(&raw)?;
        Ok(Self::new(raw, groups))
    }

    fn new(raw: RawFile, groups: Groups) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self { id, raw, groups, fetching: Default::default(), doubtful: AtomicBool::new(false) }
    }

    /// Lets the next look-up open it anew: a read has failed, maybe since the file is another by now.
    pub(crate) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::doubt`] was called.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.raw.size
    }

    /// The chunk of a column that look-ups do not read, as the footer describes it: nothing of that has been checked.
    pub(crate) fn paged(&self, group: usize, column: Paged) -> Option<&ColumnChunkMetaData> {
        self.groups.paged(group, column)
    }

    /// The offset index of such a column in a row group, which lies in `range`: from memory where it was read before.
    pub(super) fn read_offset_index(&self, group: usize, column: Paged, range: Range<u64>) -> Result<Bytes> {
        self.read_kept((self.id, group, CachedPart::OffsetIndex(column)), range)
    }

    /// All pages of such a column in a row group, which lie in `range`: they are in memory then, for a while.
    pub(super) fn read_pages(&self, group: usize, column: Paged, range: Range<u64>) -> Result<Bytes> {
        self.read_kept((self.id, group, CachedPart::Pages(column)), range)
    }

    /// One of these pages, which lies in `range`. Where it is not in memory it is read, and not kept.
    pub(super) fn read_page(
        &self,
        group: usize,
        column: Paged,
        pages: &Range<u64>,
        range: Range<u64>,
    ) -> Result<Bytes> {
        let kept = CHUNKS.get(&(self.id, group, CachedPart::Pages(column)));
        match kept.and_then(|kept| slice(&kept, range.start - pages.start..range.end - pages.start)) {
            Some(page) => Ok(page),
            None => self.raw.read(range),
        }
    }

    fn read_kept(&self, id: CacheKey, range: Range<u64>) -> Result<Bytes> {
        let kept = CHUNKS.get(&id);
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let bytes = self.raw.read(range)?;
        self.keep(id, &bytes);
        Ok(bytes)
    }

    /// Keeps what was read, unless it is part of what is kept with the file.
    fn keep(&self, id: CacheKey, bytes: &Bytes) {
        if !self.raw.end.as_ptr_range().contains(&bytes.as_ptr()) {
            CHUNKS.put(id, bytes.clone(), bytes.len() as u64 + 128);
        }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.raw.name
    }

    /// The bytes that keeping this open costs.
    pub(crate) fn memory(&self) -> u64 {
        (self.groups.memory() + self.raw.end.len() + 1024) as u64
    }

    /// The number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.groups.groups().len()
    }

    /// The number of rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        self.groups.rows(group)
    }

    /// Whether the index has this column.
    pub(crate) fn has(&self, column: Column) -> bool {
        self.groups.column(column).is_some()
    }

    /// The least and the greatest product_id of a row group, where they are known.
    pub(crate) fn products(&self, group: usize) -> Option<(&[u8], &[u8])> {
        let (least, greatest) = self.groups.groups().get(group)?.products.as_ref()?;
        Some((least, greatest))
    }

    /// Whether the look-up columns of these row groups are little enough to be read in one step.
    pub(crate) fn are_small(&self, groups: &[usize]) -> bool {
        let chunks = groups.iter().filter_map(|group| self.groups.groups().get(*group)).flat_map(|group| &group.chunks);
        chunks.map(|chunk| u64::from(chunk.length)).fold(0, u64::saturating_add) <= ONE_STEP
    }

    /// The column chunks of some row groups, from memory or with one call of the source.
    pub(crate) fn fetch(&self, groups: &[usize], columns: &[Column]) -> Result<Chunks<'_>> {
        let _one = groups.first().map(|group| lock(&self.fetching[group % self.fetching.len()]));
        let mut chunks = HashMap::new();
        let mut missing: Vec<(Range<u64>, usize, Column)> = Vec::new();
        for group in groups {
            for column in columns {
                let Some(chunk) = self.groups.chunk(*group, *column) else { continue };
                let kept = CHUNKS.get(&(self.id, *group, CachedPart::Chunk(*column)));
                match kept {
                    Some(bytes) => drop(chunks.insert((*group, *column), bytes)),
                    None => missing.push((chunk.range(), *group, *column)),
                }
            }
        }
        let ranges: Vec<_> = missing.iter().map(|(range, ..)| range.clone()).collect();
        for ((_, group, column), bytes) in missing.into_iter().zip(self.raw.read_merged(&ranges)?) {
            check_pages(&bytes)
                .map_err(|what| self.bad(format!("row group {group}, column {}: {what}", column.name())))?;
            self.keep((self.id, group, CachedPart::Chunk(column)), &bytes);
            chunks.insert((group, column), bytes);
        }
        Ok(Chunks::new(self.name(), &self.groups, chunks))
    }

    /// An error that names the index.
    pub(crate) fn bad(&self, what: String) -> Error {
        self.raw.bad(what)
    }
}

/// The row groups of a file: by the footer where that is at hand, else by the directory where there is one, else by the
/// footer after all.
fn read_groups(raw: &RawFile) -> Result<Groups> {
    if raw.size - raw.footer_range()?.start > raw.end.len() as u64
        && let Some(place) = directory::place(&raw.end, raw.size)
    {
        let start = place.start;
        if let Some(groups) = directory::parse(&raw.read(place)?, start, raw.size) {
            return Ok(groups);
        }
        trace::debug(|| format!("index {}: its directory does not fit, so its footer is read", raw.name));
    }
    let footer = raw.footer(MOST_NODES)?;
    let (schema, groups) = (footer.file_metadata().schema_descr(), footer.row_groups());
    guarded(&raw.name, || Groups::of_footer(schema, groups, raw.size).map_err(|what| raw.bad(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::file::table::nested;

    #[test]
    fn a_deep_schema_ends_no_process() {
        for groups in [300, 1_000, 16_000] {
            let error = IndexFile::from_bytes("x", nested(groups).into()).err().unwrap().chain();
            assert_eq!(error.contains("nodes"), groups > 400, "{error}");
        }
    }
}
