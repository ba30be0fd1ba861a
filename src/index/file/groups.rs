//! The row groups of an index, as far as look-ups need to know them: what the parquet footer says of a million rows
//! takes 40 MB in memory, this 2 MB of them. It comes from the footer, or from a [`super::directory`].
//!
//! An index is untrusted: what it claims is checked here against the file's size and fixed bounds, before anything is read
//! or allocated by it.

use std::ops::Range;

use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use crate::index::format::columns::{COLUMNS, COUNT, Column, Paged, fits};

/// The most rows of a row group: other writers make them of some hundred thousands.
const MOST_ROWS: u32 = 4 << 20;
/// The largest column chunk, as stored.
const MOST_CHUNK: u64 = 64 << 20;

/// The columns of a file, by [`Column`].
pub(super) type Columns = [Option<ColumnDescPtr>; COUNT];

/// Where a column chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// In bytes from the start of the file.
    pub(super) start: u64,
    /// In bytes, as stored; at most [`MOST_CHUNK`].
    pub(super) length: u32,
    /// One of those that cannot grow to whatever they like ([`check_codec`]).
    pub(super) compression: Compression,
}

impl Chunk {
    /// A chunk of a file of `size` bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(start: u64, length: u64, compression: Compression, size: u64) -> Result<Self, String> {
        let inside = length <= MOST_CHUNK && start.checked_add(length).is_some_and(|end| end <= size);
        let length = u32::try_from(length).ok().filter(|_| inside);
        let length = length.ok_or_else(|| format!("a column chunk at {start} of a file of {size}, or too long"))?;
        check_codec(compression)?;
        Ok(Self { start, length, compression })
    }

    /// Its bytes in the file.
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start + u64::from(self.length)
    }
}

/// `length` bytes from `offset` on, where that is possible.
pub(super) fn span(offset: i64, length: i64) -> Option<Range<u64>> {
    let (start, length) = (u64::try_from(offset).ok()?, u64::try_from(length).ok()?);
    Some(start..start.checked_add(length)?)
}

/// Where a column chunk lies, as the footer describes it: it may lie outside the file.
pub(super) fn chunk_span(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    span(start, chunk.compressed_size())
}

/// What a codec makes of a page has to be bounded by what the page's header says.
///
/// # Errors
/// That it is not.
pub(super) fn check_codec(compression: Compression) -> Result<(), String> {
    use Compression::{LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
    if matches!(compression, UNCOMPRESSED | SNAPPY | ZSTD(_) | LZ4_RAW) {
        return Ok(());
    }
    let codec = compression.to_string();
    Err(format!("it is compressed with {}: use zstd or snappy", codec.split('(').next().unwrap_or_default()))
}

/// A least and a greatest value.
pub(super) type Bounds = (Box<[u8]>, Box<[u8]>);

/// A row group.
#[derive(Debug, PartialEq)]
pub(super) struct RowGroup {
    /// Its rows, as they are claimed to be ([`rows`]).
    pub(super) rows: u32,
    /// The least and the greatest product_id, where they are known.
    pub(super) products: Option<Bounds>,
    /// The chunks of the look-up columns that the file has, in the order of [`Column`].
    pub(super) chunks: Box<[Chunk]>,
}

/// The row groups of a file.
#[derive(Debug)]
pub(super) struct Groups {
    columns: Columns,
    groups: Vec<RowGroup>,
    /// The chunks of each of [`Paged`], by row group; nothing of them has been checked. Empty where there are none.
    paged: [Vec<ColumnChunkMetaData>; Paged::ALL.len()],
}

impl Groups {
    /// Groups that have been checked.
    pub(super) fn new(columns: Columns, groups: Vec<RowGroup>) -> Self {
        Self { columns, groups, paged: Default::default() }
    }

    /// What a footer says of a file of `size` bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_footer(schema: &SchemaDescriptor, groups: &[RowGroupMetaData], size: u64) -> Result<Self, String> {
        let places = places(schema)?;
        let columns = places.map(|place| place.map(|place| schema.column(place)));
        let (mut out, mut paged) = (Vec::new(), <[Vec<_>; Paged::ALL.len()]>::default());
        for (number, group) in groups.iter().enumerate() {
            let wrong = |what: String| format!("row group {number}: {what}");
            if group.num_columns() != schema.num_columns() {
                return Err(wrong("it does not have the columns of the schema".to_owned()));
            }
            let rows = rows(group.num_rows() as u64).map_err(wrong)?;
            let mut chunks = Vec::new();
            for place in places.into_iter().flatten() {
                let chunk = group.column(place);
                let at = chunk_span(chunk).ok_or_else(|| wrong("a column that lies nowhere".to_owned()))?;
                let chunk_at = Chunk::new(at.start, at.end - at.start, chunk.compression(), size);
                chunks.push(chunk_at.map_err(wrong)?);
                if chunk.column_type() != schema.column(place).physical_type() {
                    return Err(wrong("a column of another type than the schema".to_owned()));
                }
            }
            for (chunks, column) in paged.iter_mut().zip(Paged::ALL) {
                chunks.extend(group.columns().iter().find(|chunk| is_paged(column, chunk)).cloned());
            }
            let products = places[Column::ProductId as usize].and_then(|place| bounds(group.column(place)));
            out.push(RowGroup { rows, products, chunks: chunks.into() });
        }
        // All row groups have the columns of the schema, so either all have some or none has.
        Ok(Self { columns, groups: out, paged })
    }

    /// The columns there are.
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What the schema says of a column.
    pub(super) fn column(&self, column: Column) -> Option<&ColumnDescPtr> {
        self.columns[column as usize].as_ref()
    }

    /// The number of rows of a row group.
    pub(super) fn rows(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.rows as usize)
    }

    /// The row groups, in the order of the file.
    pub(super) fn groups(&self) -> &[RowGroup] {
        &self.groups
    }

    /// The chunk of a column in a row group.
    pub(super) fn chunk(&self, group: usize, column: Column) -> Option<&Chunk> {
        self.columns[column as usize].as_ref()?;
        let place = self.columns[..column as usize].iter().flatten().count();
        self.groups.get(group)?.chunks.get(place)
    }

    /// The chunk of a column that look-ups do not read in a row group: nothing of it has been checked.
    pub(super) fn paged(&self, group: usize, column: Paged) -> Option<&ColumnChunkMetaData> {
        self.paged[column as usize].get(group)
    }

    /// About what it takes in memory, in bytes.
    pub(super) fn memory(&self) -> usize {
        let products = |group: &RowGroup| group.products.as_ref().map_or(0, |(min, max)| min.len() + max.len() + 32);
        let groups = self
            .groups
            .iter()
            .map(|group| size_of::<RowGroup>() + products(group) + group.chunks.len() * size_of::<Chunk>() + 16);
        groups.sum::<usize>() + self.paged.iter().map(Vec::len).sum::<usize>() * size_of::<ColumnChunkMetaData>() + 4096
    }
}

/// How many rows a row group has that claims so many.
///
/// # Errors
/// Where nobody would make it so large.
pub(super) fn rows(claimed: u64) -> Result<u32, String> {
    let rows = u32::try_from(claimed).ok().filter(|rows| *rows <= MOST_ROWS);
    rows.ok_or_else(|| format!("it is said to have {claimed} rows, more than {MOST_ROWS}"))
}

/// Where the look-up columns stand in a schema.
fn places(schema: &SchemaDescriptor) -> Result<[Option<usize>; COUNT], String> {
    let mut places = [None; COUNT];
    for (slot, (known, name, required)) in places.iter_mut().zip(COLUMNS) {
        let found = schema.columns().iter().position(|column| column.path().parts() == [name]);
        let fits = |place: &usize| {
            let column = schema.column(*place);
            fits(known, column.physical_type()) && column.max_def_level() <= 1 && column.max_rep_level() == 0
        };
        *slot = found.filter(fits);
        if required && slot.is_none() {
            let columns: Vec<_> = schema.columns().iter().take(20).map(|column| column.path().string()).collect();
            return Err(format!("it has no column {name} of the right type, but {}", columns.join(", ")));
        }
    }
    Ok(places)
}

/// The least and the greatest value of a string column, as its statistics bound them.
fn bounds(chunk: &ColumnChunkMetaData) -> Option<Bounds> {
    // Statistics of old writers compare bytes as signed: no use for text.
    let statistics = chunk.statistics().filter(|statistics| !statistics.is_min_max_deprecated())?;
    Some((statistics.min_bytes_opt()?.into(), statistics.max_bytes_opt()?.into()))
}

/// Whether a chunk is of one of the columns that a look-up never reads.
fn is_paged(paged: Paged, chunk: &ColumnChunkMetaData) -> bool {
    let column = chunk.column_descr();
    let flat = column.max_def_level() <= 1 && column.max_rep_level() == 0;
    flat && column.physical_type() == Type::BYTE_ARRAY && column.path().parts() == [paged.name()]
}
