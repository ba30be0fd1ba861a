//! Index files as Arrow's record batches, for programs that take tables: all columns, as the files have them.
//!
//! A row group is read and decoded at a time, so that no more than one of them is in memory. What a footer and pages claim
//! is checked as for look-ups ([`super::read`]).

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader, new_null_array};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::groups::{check_codec, chunk_span, rows};
use super::guard::guarded;
use super::raw::{MOST_NODES, RawFile};
use crate::error::{Error, Result};
use crate::index::format::thrift::check_pages;
use crate::source::Source;

/// What is read of the end of a file at once, in bytes.
const TAIL: u64 = 64 << 10;
/// Bytes of a batch, more or less: overviews of one row group can have more than Arrow's offsets reach.
const BATCH: u64 = 256 << 20;

/// Opens an index file by its place in a list.
pub(crate) type OpenNth = dyn Fn(usize) -> Result<(String, Arc<dyn Source>)> + Send;

/// The rows of several index files, one after the other.
pub(crate) struct RowStream {
    schema: SchemaRef,
    open: Box<OpenNth>,
    /// The files that are left.
    files: Range<usize>,
    current: Option<FileStream>,
}

impl RowStream {
    /// The rows of `count` files, which `open` opens. Each is opened here for its schema, and all but the first again when
    /// their rows are wanted: they may be more than a process can have open. Columns that not all have are null in the
    /// others.
    ///
    /// # Errors
    /// Whatever opening a file fails with, and where a column is of one type here and of another there.
    pub(crate) fn new(count: usize, open: Box<OpenNth>) -> Result<Self> {
        let (mut schemas, mut current) = (Vec::new(), None);
        for file in 0..count {
            let (name, source) = open(file)?;
            let stream = FileStream::open(&name, source)?;
            if schemas.last() != Some(&stream.schema) {
                schemas.push(stream.schema.clone());
            }
            current.get_or_insert(stream);
        }
        let schema = Arc::new(merged(&schemas)?);
        Ok(Self { schema, open, files: 1..count, current })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(file) = self.files.next() else { return Ok(None) };
                let (name, source) = (self.open)(file)?;
                self.current = Some(FileStream::open(&name, source)?);
                continue;
            };
            match current.next_batch()? {
                Some(batch) => {
                    let bad = |error: ArrowError| current.raw.bad(error.to_string());
                    return fitted(&batch, &self.schema).map(Some).map_err(bad);
                }
                None => self.current = None,
            }
        }
    }
}

impl Iterator for RowStream {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        // It is called by Arrow's C interface, which a panic must not cross.
        let name =
            self.current.as_ref().map_or_else(|| "rows of an index".to_owned(), |current| current.raw.name.clone());
        guarded(&name, || self.next_batch()).transpose().map(|batch| {
            batch.map_err(|error| {
                // After an error there is nothing more.
                (self.files, self.current) = (0..0, None);
                ArrowError::IoError(error.chain().replace('\0', ""), std::io::Error::other("index"))
            })
        })
    }
}

impl RecordBatchReader for RowStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The columns that any of these schemas has.
fn merged(schemas: &[SchemaRef]) -> Result<Schema> {
    let all = Schema::try_merge(schemas.iter().map(|schema| schema.as_ref().clone()));
    let all = all.map_err(|error| Error::read(format!("the indexes are not of one kind: {error}")))?;
    let everywhere = |field: &Field| schemas.iter().all(|schema| schema.column_with_name(field.name()).is_some());
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(field.is_nullable() || !everywhere(field));
    Ok(Schema::new(all.fields().iter().map(nullable).collect::<Vec<_>>()))
}

/// The columns of `schema` in `batch`, null where it has none.
fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> std::result::Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| {
        let own = batch.column_by_name(field.name()).cloned();
        own.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect())
}

/// The rows of one index file.
struct FileStream {
    raw: RawFile,
    metadata: ArrowReaderMetadata,
    schema: SchemaRef,
    /// The next row group.
    group: usize,
    /// The rest of the one before it.
    batches: Option<ParquetRecordBatchReader>,
}

impl FileStream {
    fn open(name: &str, source: Arc<dyn Source>) -> Result<Self> {
        let raw = RawFile::open(name, source, TAIL)?;
        let footer = Arc::new(raw.footer(MOST_NODES)?);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let bad = |error: ParquetError| raw.bad(error.to_string());
        let metadata = guarded(name, || ArrowReaderMetadata::try_new(footer, options).map_err(bad))?;
        let schema = metadata.schema().clone();
        Ok(Self { raw, metadata, schema, group: 0, batches: None })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batches) = &mut self.batches
                && let Some(batch) = batches.next().transpose().map_err(|error| self.raw.bad(error.to_string()))?
            {
                return Ok(Some(batch));
            }
            if self.group == self.metadata.metadata().num_row_groups() {
                return Ok(None);
            }
            self.batches = Some(self.read_group(self.group)?);
            self.group += 1;
        }
    }

    /// Reads a row group.
    fn read_group(&self, number: usize) -> Result<ParquetRecordBatchReader> {
        let bad = |what: String| self.raw.bad(format!("row group {number}: {what}"));
        let group = self.metadata.metadata().row_group(number);
        if group.num_columns() != self.metadata.parquet_schema().num_columns() {
            return Err(bad("it does not have the columns of the schema".to_owned()));
        }
        let rows = u64::from(rows(group.num_rows() as u64).map_err(bad)?);
        let mut ranges = Vec::new();
        for chunk in group.columns() {
            let range = chunk_span(chunk).filter(|range| range.end <= self.raw.size);
            ranges.push(range.ok_or_else(|| bad("a column lies outside the file".to_owned()))?);
            check_codec(chunk.compression()).map_err(bad)?;
        }
        let chunks = self.raw.read_merged(&ranges)?;
        for (chunk, column) in chunks.iter().zip(group.columns()) {
            check_pages(chunk).map_err(|what| bad(format!("column {}: {what}", column.column_path().string())))?;
        }
        let bytes = u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX);
        let rows_a_batch = (BATCH / (bytes / rows.max(1)).max(1)).clamp(1, rows.max(1));
        let read = ReadGroup(ranges.iter().map(|range| range.start).zip(chunks).collect());
        ParquetRecordBatchReaderBuilder::new_with_metadata(read, self.metadata.clone())
            .with_row_groups(vec![number])
            .with_batch_size(usize::try_from(rows_a_batch).unwrap_or(usize::MAX))
            .build()
            .map_err(|error| bad(error.to_string()))
    }
}

/// The column chunks of a row group, each with its place in the file.
struct ReadGroup(Vec<(u64, Bytes)>);

impl ReadGroup {
    /// What was read from `start` on.
    fn from(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let rest = |(at, bytes): &(u64, Bytes)| {
            let from = usize::try_from(start.checked_sub(*at)?).ok().filter(|from| *from < bytes.len())?;
            Some(bytes.slice(from..))
        };
        let outside = || ParquetError::EOF(format!("a read at {start}, outside the columns"));
        self.0.iter().find_map(rest).ok_or_else(outside)
    }
}

impl Length for ReadGroup {
    fn len(&self) -> u64 {
        self.0.iter().map(|(at, bytes)| at + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for ReadGroup {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let rest = self.from(start)?;
        let outside = || ParquetError::EOF(format!("{length} bytes at {start}, outside the columns"));
        if length <= rest.len() { Ok(rest.slice(..length)) } else { Err(outside()) }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
