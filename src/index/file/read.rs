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
use parquet::file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaDataReader};

use super::chunks::Chunks;
use super::directory;
use super::groups::Groups;
use super::guard::guarded;
use crate::error::{Error, Result, ResultExt};
use crate::index::cache::Cache;
use crate::index::format::bytes::slice;
use crate::index::format::columns::{Column, Paged};
use crate::index::format::thrift::{check_pages, footer_is_sound};
use crate::process::lock;
use crate::source::{Source, SourceOffset};
use crate::trace;

/// What is read of the end of a file, in bytes: a footer of some thousand rows, or where the directory of more lies.
const TAIL: u64 = 64 << 10;
/// The longest footer: that of several million rows.
const MOST_FOOTER: u64 = 16 << 20;
/// What is read of the end of a shard of the partition layout: all of a small one.
const SHARD_TAIL: u64 = 512 << 10;
/// A shard that is no larger is read whole, by a second request for its beginning. Beyond that, the end and a row group of
/// 256 rows of 2.5 kB are less.
const SHARD: u64 = 1_200_000;
/// Row groups whose needed columns have no more bytes together than this are read in one step.
const ONE_STEP: u64 = 1 << 20;
/// Ranges of a row group that are no further apart than this are read as one.
const GAP: u64 = 32 << 10;

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
    /// What messages call it.
    name: String,
    id: u64,
    /// Where it is read from; `None` for a file in memory.
    source: Option<Arc<dyn Source>>,
    groups: Groups,
    /// The file's size in bytes.
    size: u64,
    /// The last bytes of the file: all of a small shard and of a file in memory, none of a large file.
    end: Bytes,
    /// One fetch at a time for a row group; different ones side by side.
    fetching: [Mutex<()>; 16],
    /// Whether it may have been replaced since it was opened.
    doubtful: AtomicBool,
}

impl IndexFile {
    /// Opens the index behind `source`, which is read from its end. `shard` says that it is probably small.
    pub(crate) fn open(name: &str, source: Arc<dyn Source>, shard: bool) -> Result<Self> {
        let (mut end, size) = source.read_tail(if shard { SHARD_TAIL } else { TAIL }).in_file(name)?;
        if shard && size <= SHARD && (end.len() as u64) < size {
            let start = SourceOffset(0)..SourceOffset(size - end.len() as u64);
            let start = source.read_ranges(&[start]).in_file(name)?;
            end = start.into_iter().chain([end]).collect::<Vec<_>>().concat().into();
        }
        let groups = read_groups(name, Some(&source), &end, size)?;
        let end = if shard { end } else { Bytes::new() };
        Ok(Self::new(name, Some(source), groups, end, size))
    }

    /// Opens an index that is in memory.
    pub(crate) fn from_bytes(name: &str, bytes: Bytes) -> Result<Self> {
        let size = bytes.len() as u64;
        let groups = read_groups(name, None, &bytes, size)?;
        Ok(Self::new(name, None, groups, bytes, size))
    }

    fn new(name: &str, source: Option<Arc<dyn Source>>, groups: Groups, end: Bytes, size: u64) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (name, fetching, doubtful) = (name.to_owned(), Default::default(), AtomicBool::new(false));
        Self { name, id, source, groups, size, end, fetching, doubtful }
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
        self.size
    }

    /// The chunk of a column that look-ups do not read, as the footer describes it: nothing of that has been checked.
    pub(crate) fn paged(&self, group: usize, column: Paged) -> Option<&ColumnChunkMetaData> {
        self.groups.paged(group, column)
    }

    /// Some bytes of the file, where they are in memory.
    fn in_memory(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = self.size - self.end.len() as u64;
        let at = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let part = self.end.get(at(range.start)?..at(range.end)?)?;
        Some(self.end.slice_ref(part))
    }

    /// Some bytes of the file, inside it. They are not kept, and nothing is locked.
    pub(crate) fn read_at(&self, range: Range<u64>) -> Result<Bytes> {
        self.read_all(&[range])?.pop().ok_or_else(|| self.bad("it could not be read whole".into()))
    }

    /// The same for several ranges, those that are not in memory with one call of the source.
    fn read_all(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let known: Vec<_> = ranges.iter().map(|range| self.in_memory(range)).collect();
        let missing = ranges.iter().zip(&known).filter(|(_, known)| known.is_none());
        let missing: Vec<_> = missing.map(|(range, _)| SourceOffset(range.start)..SourceOffset(range.end)).collect();
        let read = match &self.source {
            Some(source) if !missing.is_empty() => source.read_ranges(&missing).in_file(&self.name)?,
            _ => Vec::new(),
        };
        let mut read = read.into_iter();
        let all: Option<Vec<_>> = known.into_iter().map(|known| known.or_else(|| read.next())).collect();
        all.ok_or_else(|| self.bad("it could not be read whole".into()))
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
            None => self.read_at(range),
        }
    }

    fn read_kept(&self, id: CacheKey, range: Range<u64>) -> Result<Bytes> {
        let kept = CHUNKS.get(&id);
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let bytes = self.read_at(range)?;
        self.keep(id, &bytes);
        Ok(bytes)
    }

    /// Keeps what was read, unless it is part of what is kept with the file.
    fn keep(&self, id: CacheKey, bytes: &Bytes) {
        if !self.end.as_ptr_range().contains(&bytes.as_ptr()) {
            CHUNKS.put(id, bytes.clone(), bytes.len() as u64 + 128);
        }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The bytes that keeping this open costs.
    pub(crate) fn memory(&self) -> u64 {
        (self.groups.memory() + self.end.len() + 1024) as u64
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
        missing.sort_by_key(|(range, _, _)| range.start);
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (range, _, _) in &missing {
            match runs.last_mut() {
                Some(run) if range.start <= run.end.saturating_add(GAP) => run.end = run.end.max(range.end),
                _ => runs.push(range.clone()),
            }
        }
        let read = self.read_all(&runs)?;
        for (range, group, column) in missing {
            let found = runs.iter().zip(&read).find(|(run, _)| run.start <= range.start && range.end <= run.end);
            let bytes = found.and_then(|(run, bytes)| {
                let (start, end) = ((range.start - run.start) as usize, (range.end - run.start) as usize);
                (end <= bytes.len()).then(|| bytes.slice(start..end))
            });
            let bytes = bytes.ok_or_else(|| self.bad("it could not be read whole".into()))?;
            check_pages(&bytes)
                .map_err(|what| self.bad(format!("row group {group}, column {}: {what}", column.name())))?;
            self.keep((self.id, group, CachedPart::Chunk(column)), &bytes);
            chunks.insert((group, column), bytes);
        }
        Ok(Chunks::new(&self.name, &self.groups, chunks))
    }

    /// An error that names the index.
    pub(crate) fn bad(&self, what: String) -> Error {
        Error::Index { index: self.name.clone(), what }
    }
}

/// The row groups of a file of `size` bytes that ends in `end`: by the footer where that is there already, else by the
/// directory where there is one, else by the footer after all.
fn read_groups(name: &str, source: Option<&Arc<dyn Source>>, end: &Bytes, size: u64) -> Result<Groups> {
    let bad = |what: String| Error::Index { index: name.to_owned(), what };
    if size < 12 {
        return Err(bad(format!("it has {size} bytes: no parquet file")));
    }
    let last = end.last_chunk::<8>().ok_or_else(|| bad("its end cannot be read".into()))?;
    let tail = FooterTail::try_new(last).map_err(|_| bad("no parquet file: it does not end in PAR1".into()))?;
    if tail.is_encrypted_footer() {
        return Err(bad("it is encrypted".into()));
    }
    let length = tail.metadata_length() as u64;
    if length > size - 12 {
        return Err(bad(format!("a footer of {length} bytes in a file of {size}")));
    }
    let read = |range: Range<u64>| -> Result<Bytes> {
        let before = size - end.len() as u64;
        if let Some(at) = range.start.checked_sub(before) {
            return Ok(end.slice(at as usize..(range.end - before) as usize));
        }
        let range = SourceOffset(range.start)..SourceOffset(range.end);
        let read = source.map(|source| source.read_ranges(&[range])).transpose().in_file(name)?;
        read.and_then(|mut read| read.pop()).ok_or_else(|| bad("it could not be read whole".into()))
    };
    if length + 8 > end.len() as u64
        && let Some(place) = directory::place(end, size)
    {
        let start = place.start;
        if let Some(groups) = directory::parse(&read(place)?, start, size) {
            return Ok(groups);
        }
        trace::debug(|| format!("index {name}: its directory does not fit, so its footer is read"));
    }
    if length > MOST_FOOTER {
        return Err(bad(format!("a footer of {length} bytes, and no directory: split it")));
    }
    let footer = read(size - 8 - length..size - 8)?;
    if !footer_is_sound(&footer) {
        return Err(bad("its footer is corrupt".into()));
    }
    let decoded = guarded(name, || {
        ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| bad(format!("its footer is corrupt: {error}")))
    })?;
    guarded(name, || Groups::of_footer(decoded.file_metadata().schema_descr(), decoded.row_groups(), size).map_err(bad))
}
