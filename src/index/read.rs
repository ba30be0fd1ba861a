//! Reading one index file through a [`Source`], no more of it than a look-up needs.
//!
//! The footer is read once, with the file's last 64 kB. A look-up then reads the key columns of the row groups whose
//! statistics can hold the key, and the other columns of those that do: at once where a single, small row group comes
//! into question. What was read stays in memory (compressed, [`CHUNKS_KEPT`] bytes for the process), so that the other
//! bands of a product cost no request.
//!
//! An index is untrusted: sizes in its footer are held against the file's size and fixed bounds before anything is read
//! or allocated (see also [`super::thrift`]), and a panic in the parquet crate is an error like any other, since the
//! crate asserts some of what it reads and a panic must not get as far as GDAL's callbacks.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader};

use super::chunks::{Chunks, guarded};
use super::recent::Recent;
use super::thrift::{check_pages, footer_is_sound};
use crate::error::{Error, Result, ResultExt};
use crate::process::{PerProcess, lock};
use crate::source::{Meta, Source, SourceOffset};

/// What is read of the end of a file to get its footer: that of 25,600 rows of a tile fits.
const TAIL: u64 = 64 << 10;
/// The longest footer: that of several million rows.
const MOST_FOOTER: u64 = 16 << 20;
/// The largest column chunk, as stored.
const MOST_CHUNK: u64 = 64 << 20;
/// A shard of the partition layout is about 1 MB: it is read whole with the first request.
const SHARD: u64 = 5 << 18;
/// A row group whose needed columns have no more bytes than this is read in one step.
const ONE_STEP: u64 = 1 << 20;
/// Ranges of a row group that are no further apart than this are read as one.
const GAP: u64 = 32 << 10;
/// Column chunks kept in memory, in bytes, for the whole process.
const CHUNKS_KEPT: usize = 64 << 20;

/// The file, the row group and the column; `usize::MAX` for the offset index of the overviews.
type ChunkId = (u64, usize, usize);
/// Column chunks read by this process.
struct Kept(Mutex<Recent<ChunkId, Bytes>>);

impl Default for Kept {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(CHUNKS_KEPT)))
    }
}

static CHUNKS: PerProcess<Kept> = PerProcess::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The columns that a look-up knows, by the place of each in [`COLUMNS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(super) enum Column {
    ProductId,
    BandId,
    MgrsTile,
    Resolution,
    Origin,
    Path,
    Index,
    FileSize,
    Header,
    ResolutionEnds,
    Etag,
    LastModified,
    OverviewFactor,
}

/// Names in the order of [`Column`], and whether an index must have the column: v1 files have just those.
const COLUMNS: [(&str, bool); 13] = [
    ("product_id", true),
    ("band_id", true),
    ("mgrs_tile", false),
    ("resolution", false),
    ("origin", false),
    ("path", false),
    ("index", true),
    ("file_size", false),
    ("header", false),
    ("resolution_ends", false),
    ("etag", false),
    ("last_modified", false),
    ("overview_factor", false),
];
/// The column that a look-up never reads ([`super::overviews`]).
const OVERVIEWS: &str = "overviews";

/// An open index file.
pub(crate) struct IndexFile {
    /// What messages call it.
    name: String,
    id: u64,
    /// Where it is read from; `None` for a file in memory.
    source: Option<Arc<dyn Source>>,
    metadata: ParquetMetaData,
    /// The file's size in bytes.
    size: u64,
    columns: [Option<usize>; COLUMNS.len()],
    /// The file, where it was read whole.
    whole: Option<Bytes>,
    /// One fetch at a time for a row group; different ones side by side.
    fetching: [Mutex<()>; 16],
    /// Whether it may have been replaced since it was opened.
    doubtful: AtomicBool,
}

impl IndexFile {
    /// Opens the index behind `source`. `shard` tells that it is probably small enough to be read whole.
    pub(crate) fn open(name: &str, source: Arc<dyn Source>, shard: bool) -> Result<Self> {
        let mut whole = None;
        if shard {
            whole = Some(source.read_up_to(SourceOffset(0), SHARD).in_file(name)?);
        }
        let size = match source.seen() {
            Some(Meta { size, .. }) => size,
            None => source.head().in_file(name)?.size,
        };
        let whole = whole.filter(|bytes| bytes.len() as u64 == size);
        Self::build(name, Some(source), whole, size)
    }

    /// Opens an index that is in memory.
    pub(crate) fn from_bytes(name: &str, bytes: Bytes) -> Result<Self> {
        let size = bytes.len() as u64;
        Self::build(name, None, Some(bytes), size)
    }

    fn build(name: &str, source: Option<Arc<dyn Source>>, whole: Option<Bytes>, size: u64) -> Result<Self> {
        let bad = |what: String| Error::Index { index: name.to_owned(), what };
        if size < 12 {
            return Err(bad(format!("it has {size} bytes: no parquet file")));
        }
        let read = |start: u64| match (&whole, &source) {
            (Some(bytes), _) => Ok(bytes.slice(usize::try_from(start).unwrap_or(0)..)),
            (None, Some(source)) => source.read_up_to(SourceOffset(start), size - start).in_file(name),
            (None, None) => Ok(Bytes::new()),
        };
        let mut tail = read(size - TAIL.min(size))?;
        let last = tail.last_chunk::<8>().ok_or_else(|| bad("its end cannot be read".into()))?;
        let footer = FooterTail::try_new(last).map_err(|_| bad("no parquet file: it does not end in PAR1".into()))?;
        if footer.is_encrypted_footer() {
            return Err(bad("it is encrypted".into()));
        }
        let length = footer.metadata_length() as u64;
        if length > (size - 12).min(MOST_FOOTER) {
            return Err(bad(format!("a footer of {length} bytes in a file of {size}")));
        }
        if tail.len() as u64 <= length + 8 {
            tail = read(size - 8 - length)?;
        }
        let end = tail.len().saturating_sub(8);
        let footer = tail.slice(end.saturating_sub(usize::try_from(length).unwrap_or(0))..end);
        if !footer_is_sound(&footer) {
            return Err(bad("its footer is corrupt".into()));
        }
        let metadata = guarded(name, || {
            ParquetMetaDataReader::decode_metadata(&footer)
                .map_err(|error| bad(format!("its footer is corrupt: {error}")))
        })?;
        let columns = guarded(name, || check(&metadata, size).map_err(bad))?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (name, fetching, doubtful) = (name.to_owned(), Default::default(), AtomicBool::new(false));
        Ok(Self { name, id, source, metadata, size, columns, whole, fetching, doubtful })
    }

    /// The place of a column in the file's schema.
    pub(super) fn place(&self, column: Column) -> Option<usize> {
        self.columns[column as usize]
    }

    /// The footer.
    pub(super) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Lets the next look-up open it anew: a read has failed, maybe since the file is another by now.
    pub(super) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::doubt`] was called.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The chunk of embedded overviews of a row group, as the footer tells of it: nothing of that has been checked.
    pub(super) fn overviews(&self, group: usize) -> Option<&ColumnChunkMetaData> {
        let mut columns = self.metadata.row_groups().get(group)?.columns().iter();
        columns.find(|chunk| {
            let column = chunk.column_descr();
            let fits = column.max_def_level() <= 1 && column.max_rep_level() == 0;
            fits && column.physical_type() == Type::BYTE_ARRAY && column.path().parts() == [OVERVIEWS]
        })
    }

    /// Some bytes of the file, inside it. They are not kept, and nothing is locked.
    pub(super) fn read_at(&self, range: Range<u64>) -> Result<Bytes> {
        let wanted = SourceOffset(range.start)..SourceOffset(range.end);
        let read = match (&self.whole, &self.source) {
            (Some(bytes), _) => bytes.get(range.start as usize..range.end as usize).map(|part| bytes.slice_ref(part)),
            (None, Some(source)) => source.read_ranges(&[wanted]).in_file(&self.name)?.pop(),
            (None, None) => None,
        };
        read.ok_or_else(|| self.bad("it could not be read whole".into()))
    }

    /// The offset index of the overviews of a row group, which lies in `range`: from memory where it was read before.
    pub(super) fn read_offset_index(&self, group: usize, range: Range<u64>) -> Result<Bytes> {
        let id = (self.id, group, usize::MAX);
        let kept = lock(&CHUNKS.get().0).get(&id);
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let bytes = self.read_at(range)?;
        if self.whole.is_none() {
            lock(&CHUNKS.get().0).put(id, bytes.clone(), bytes.len() + 128);
        }
        Ok(bytes)
    }

    /// What messages call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The bytes that keeping this open costs.
    pub(super) fn memory(&self) -> usize {
        self.metadata.memory_size() + self.whole.as_ref().map_or(0, Bytes::len) + 1024
    }

    /// The number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// The number of rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or(0)
    }

    /// Whether the index has this column.
    pub(super) fn has(&self, column: Column) -> bool {
        self.columns[column as usize].is_some()
    }

    /// The least and the greatest value of a string column in a row group, as its statistics bound them.
    pub(super) fn bounds(&self, group: usize, column: Column) -> Option<(&[u8], &[u8])> {
        let chunk = self.metadata.row_group(group).column(self.columns[column as usize]?);
        // Statistics of old writers compare bytes as signed: no use for text.
        let statistics = chunk.statistics().filter(|statistics| !statistics.is_min_max_deprecated())?;
        Some((statistics.min_bytes_opt()?, statistics.max_bytes_opt()?))
    }

    /// Whether these columns of a row group are little enough to be read in one step.
    pub(super) fn is_small(&self, group: usize) -> bool {
        let wanted = self.columns.iter().flatten().map(|column| self.metadata.row_group(group).column(*column));
        wanted.map(|chunk| u64::try_from(chunk.compressed_size()).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
            <= ONE_STEP
    }

    /// The column chunks of some row groups, from memory or with one call of the source.
    pub(super) fn fetch(&self, groups: &[usize], columns: &[Column]) -> Result<Chunks<'_>> {
        let _one = groups.first().map(|group| lock(&self.fetching[group % self.fetching.len()]));
        let mut chunks = HashMap::new();
        let mut missing: Vec<(Range<u64>, usize, usize)> = Vec::new();
        for group in groups {
            for place in columns.iter().filter_map(|column| self.columns[*column as usize]) {
                let kept =
                    if self.whole.is_some() { None } else { lock(&CHUNKS.get().0).get(&(self.id, *group, place)) };
                match kept {
                    Some(bytes) => drop(chunks.insert((*group, place), bytes)),
                    None => {
                        let (start, length) = self.metadata.row_group(*group).column(place).byte_range();
                        missing.push((start..start + length, *group, place));
                    }
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
        let wanted: Vec<_> = runs.iter().map(|run| SourceOffset(run.start)..SourceOffset(run.end)).collect();
        let read = match (&self.whole, &self.source) {
            (Some(bytes), _) => runs.iter().map(|run| bytes.slice(run.start as usize..run.end as usize)).collect(),
            (None, Some(source)) if !wanted.is_empty() => source.read_ranges(&wanted).in_file(&self.name)?,
            (None, _) => Vec::new(),
        };
        for (range, group, place) in missing {
            let found = runs.iter().zip(&read).find(|(run, _)| run.start <= range.start && range.end <= run.end);
            let bytes = found.and_then(|(run, bytes)| {
                let (start, end) = ((range.start - run.start) as usize, (range.end - run.start) as usize);
                (end <= bytes.len()).then(|| bytes.slice(start..end))
            });
            let bytes = bytes.ok_or_else(|| self.bad("it could not be read whole".into()))?;
            check_pages(&bytes).map_err(|what| self.bad(format!("row group {group}, column {place}: {what}")))?;
            if self.whole.is_none() {
                lock(&CHUNKS.get().0).put((self.id, group, place), bytes.clone(), bytes.len() + 128);
            }
            chunks.insert((group, place), bytes);
        }
        Ok(Chunks::new(self, chunks))
    }

    /// An error that names the index.
    pub(super) fn bad(&self, what: String) -> Error {
        Error::Index { index: self.name.clone(), what }
    }
}

/// Holds what a footer claims against the file's size, and finds the columns.
fn check(metadata: &ParquetMetaData, size: u64) -> Result<[Option<usize>; COLUMNS.len()], String> {
    let schema = metadata.file_metadata().schema_descr();
    let mut columns = [None; COLUMNS.len()];
    for (slot, (name, required)) in columns.iter_mut().zip(COLUMNS) {
        let found = schema.columns().iter().position(|column| column.path().parts() == [name.to_owned()]);
        let expected: &[Type] = match name {
            "resolution" | "file_size" | "last_modified" | "overview_factor" => &[Type::INT32, Type::INT64],
            _ => &[Type::BYTE_ARRAY],
        };
        let fits = |place: &usize| {
            let column = schema.column(*place);
            expected.contains(&column.physical_type()) && column.max_def_level() <= 1 && column.max_rep_level() == 0
        };
        *slot = found.filter(fits);
        if required && slot.is_none() {
            let columns: Vec<_> = schema.columns().iter().take(20).map(|column| column.path().string()).collect();
            return Err(format!("it has no column {name} of the right type, but {}", columns.join(", ")));
        }
    }
    for (number, group) in metadata.row_groups().iter().enumerate() {
        if group.num_columns() != schema.num_columns() || group.num_rows() < 0 {
            return Err(format!("row group {number} does not have the columns of the schema"));
        }
        for place in columns.iter().flatten() {
            let chunk = group.column(*place);
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
            match range {
                Some((start, length))
                    if length <= MOST_CHUNK && start.checked_add(length).is_some_and(|end| end <= size) => {}
                _ => {
                    return Err(format!(
                        "row group {number} claims {} bytes at {start} of a file of {size}",
                        chunk.compressed_size()
                    ));
                }
            }
            if chunk.column_type() != schema.column(*place).physical_type() {
                return Err(format!("row group {number} has a column of another type than the schema"));
            }
            // The others grow to whatever they like when decompressed.
            use Compression::{LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
            if !matches!(chunk.compression(), UNCOMPRESSED | SNAPPY | ZSTD(_) | LZ4_RAW) {
                let codec = chunk.compression().to_string();
                let codec = codec.split('(').next().unwrap_or_default();
                return Err(format!("it is compressed with {codec}: use zstd or snappy"));
            }
        }
    }
    Ok(columns)
}
