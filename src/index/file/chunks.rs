//! Decoding the values of column chunks in memory, by the parquet crate, with its panics turned into errors.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::{LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::groups::Column;
use super::read::IndexFile;
use crate::error::{Error, Result};

/// Rows decoded at a time when a key is looked for.
const BATCH: usize = 1024;

/// Runs the parquet crate on untrusted bytes.
pub(super) fn guarded<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Index { index: name.to_owned(), what: format!("it is corrupt ({})", text.unwrap_or("panic")) })
    })
}

/// Column chunks in memory.
pub(crate) struct Chunks<'a> {
    file: &'a IndexFile,
    chunks: HashMap<(usize, Column), Bytes>,
}

/// One column chunk, at its place in the file.
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Piece {
    fn tail(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(parquet::errors::ParquetError::EOF(format!("a read at {start}, outside its column"))),
        }
    }
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Piece {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.tail(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let tail = self.tail(start)?;
        if length > tail.len() {
            return Err(parquet::errors::ParquetError::EOF(format!("{length} bytes at {start}, outside the column")));
        }
        Ok(tail.slice(..length))
    }
}

impl<'a> Chunks<'a> {
    /// Chunks of `file`, by row group and column.
    pub(crate) fn new(file: &'a IndexFile, chunks: HashMap<(usize, Column), Bytes>) -> Self {
        Self { file, chunks }
    }

    /// Calls `each` with the number and the value of every row of a string column; nulls are empty.
    pub(crate) fn each(&self, group: usize, column: Column, mut each: impl FnMut(usize, &[u8])) -> Result<()> {
        guarded(self.file.name(), || {
            let Some(mut values) = Values::<ByteArrayType>::new(self, group, column)? else { return Ok(()) };
            let mut row = 0;
            loop {
                let batch = values.next(BATCH)?;
                if batch.is_empty() {
                    return Ok(());
                }
                for value in batch {
                    each(row, value.as_ref().map_or(&[], |value| value.data()));
                    row += 1;
                }
            }
        })
    }

    /// The values of a binary or string column in these rows, which are in order.
    pub(crate) fn bytes(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<Bytes>>> {
        let values = guarded(self.file.name(), || Values::<ByteArrayType>::at(self, group, column, rows))?;
        Ok(values.into_iter().map(|value| value.map(|value| Bytes::copy_from_slice(value.data()))).collect())
    }

    /// The values of a string column.
    pub(crate) fn text(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<String>>> {
        let values = self.bytes(group, column, rows)?;
        Ok(values.into_iter().map(|value| value.map(|value| String::from_utf8_lossy(&value).into_owned())).collect())
    }

    /// The values of a column of numbers.
    pub(crate) fn numbers(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<i64>>> {
        let Some(described) = self.file.column(column) else { return Ok(vec![None; rows.len()]) };
        guarded(self.file.name(), || {
            Ok(match described.physical_type() {
                Type::INT32 => {
                    let values = Values::<Int32Type>::at(self, group, column, rows)?;
                    values.into_iter().map(|value| value.map(i64::from)).collect()
                }
                _ => Values::<Int64Type>::at(self, group, column, rows)?,
            })
        })
    }

    /// A column of times, in seconds.
    pub(crate) fn seconds(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<i64>>> {
        let Some(described) = self.file.column(column) else { return Ok(vec![None; rows.len()]) };
        let unit = match described.logical_type_ref() {
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::MILLIS => 1_000,
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS => 1_000_000_000,
            _ => 1_000_000,
        };
        let values = self.numbers(group, column, rows)?;
        Ok(values.into_iter().map(|value| value.map(|value: i64| value.div_euclid(unit))).collect())
    }
}

/// The values of one column chunk, in their order.
struct Values<'a, T: DataType> {
    name: &'a str,
    reader: ColumnReaderImpl<T>,
    nullable: bool,
}

impl<'a, T: DataType> Values<'a, T> {
    fn new(chunks: &Chunks<'a>, group: usize, column: Column) -> Result<Option<Self>> {
        let file = chunks.file;
        let Some(described) = file.column(column) else { return Ok(None) };
        let bytes = chunks.chunks.get(&(group, column)).zip(file.chunk(group, column));
        let (bytes, chunk) = bytes.ok_or_else(|| file.bad("a column was not read".into()))?;
        let piece = Piece { start: chunk.start, bytes: bytes.clone() };
        // What the footer says of a chunk, as far as reading its pages takes it. Both numbers are less than 2^63.
        let told = ColumnChunkMetaData::builder(described.clone())
            .set_compression(chunk.compression)
            .set_data_page_offset(chunk.start as i64)
            .set_total_compressed_size(chunk.length.into())
            .build();
        let pages = told.and_then(|told| SerializedPageReader::new(Arc::new(piece), &told, file.rows(group), None));
        let pages = pages.map_err(|error| file.bad(error.to_string()))?;
        let reader = get_typed_column_reader(get_column_reader(described.clone(), Box::new(pages)));
        Ok(Some(Self { name: file.name(), reader, nullable: described.max_def_level() > 0 }))
    }

    fn bad(&self, error: impl std::fmt::Display) -> Error {
        Error::Index { index: self.name.to_owned(), what: format!("it is corrupt: {error}") }
    }

    /// At most `count` values; none at the end.
    fn next(&mut self, count: usize) -> Result<Vec<Option<T::T>>> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let levels_wanted = self.nullable.then_some(&mut levels);
        let read = self.reader.read_records(count, levels_wanted, None, &mut values);
        read.map_err(|error| self.bad(error))?;
        if !self.nullable {
            return Ok(values.into_iter().map(Some).collect());
        }
        let mut values = values.into_iter();
        Ok(levels.into_iter().map(|level| if level > 0 { values.next() } else { None }).collect())
    }

    /// The values in `rows`, which are in order; all null where there is no such column.
    fn at(chunks: &Chunks<'a>, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<T::T>>> {
        let Some(mut values) = Self::new(chunks, group, column)? else { return Ok(vec![None; rows.len()]) };
        let mut next = 0;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let skip = row - next;
            let skipped = values.reader.skip_records(skip).map_err(|error| values.bad(error))?;
            let mut one = values.next(1)?;
            match (skipped == skip, one.pop()) {
                (true, Some(value)) => out.push(value),
                _ => return Err(values.bad(format!("a column ends before row {row}"))),
            }
            next = row + 1;
        }
        Ok(out)
    }
}
