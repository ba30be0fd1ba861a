//! Decoding the values of column chunks in memory, by the parquet crate's column readers, with its panics turned into
//! errors.
//!
//! Arrow's reader is no faster here: of 25,600 rows in 100 row groups of 256, a look-up by key takes 0.58 ms by these, and
//! 0.63 ms by two `ParquetRecordBatchReader`s, the first one projected to the key columns, the second one with the row
//! selected (medians of nine rounds, released build, all chunks in memory; decompression is most of both). It also wants
//! the whole footer in memory, where a look-up has a [`super::directory`] of a twentieth.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::groups::Groups;
use super::guard::guarded;
use crate::error::{Error, Result};
use crate::index::format::columns::Column;

/// Rows decoded at a time when a key is looked for.
const BATCH: usize = 1024;

/// Column chunks in memory.
pub(crate) struct Chunks<'a> {
    /// What messages call the index.
    name: &'a str,
    groups: &'a Groups,
    chunks: HashMap<(usize, Column), Bytes>,
}

impl<'a> Chunks<'a> {
    /// Chunks by row group and column of the index called `name`.
    pub(super) fn new(name: &'a str, groups: &'a Groups, chunks: HashMap<(usize, Column), Bytes>) -> Self {
        Self { name, groups, chunks }
    }

    /// Calls `each` with the number and the value of every row of a string column; nulls are empty.
    pub(crate) fn each(&self, group: usize, column: Column, mut each: impl FnMut(usize, &[u8])) -> Result<()> {
        guarded(self.name, || {
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
        let values = guarded(self.name, || Values::<ByteArrayType>::at(self, group, column, rows))?;
        Ok(values.into_iter().map(|value| value.map(|value| Bytes::copy_from_slice(value.data()))).collect())
    }

    /// The values of a string column.
    pub(crate) fn text(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<String>>> {
        let values = self.bytes(group, column, rows)?;
        Ok(values.into_iter().map(|value| value.map(|value| String::from_utf8_lossy(&value).into_owned())).collect())
    }

    /// The values of a column of numbers.
    pub(crate) fn numbers(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<i64>>> {
        let Some(described) = self.groups.column(column) else { return Ok(vec![None; rows.len()]) };
        guarded(self.name, || {
            Ok(match described.physical_type() {
                Type::INT32 => {
                    let values = Values::<Int32Type>::at(self, group, column, rows)?;
                    values.into_iter().map(|value| value.map(i64::from)).collect()
                }
                _ => Values::<Int64Type>::at(self, group, column, rows)?,
            })
        })
    }

    /// The values of a column of real numbers.
    pub(crate) fn reals(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<f64>>> {
        let Some(described) = self.groups.column(column) else { return Ok(vec![None; rows.len()]) };
        guarded(self.name, || {
            Ok(match described.physical_type() {
                Type::FLOAT => {
                    let values = Values::<FloatType>::at(self, group, column, rows)?;
                    values.into_iter().map(|value| value.map(f64::from)).collect()
                }
                _ => Values::<DoubleType>::at(self, group, column, rows)?,
            })
        })
    }

    /// A column of times, in microseconds.
    pub(crate) fn microseconds(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<i64>>> {
        let Some(described) = self.groups.column(column) else { return Ok(vec![None; rows.len()]) };
        let (times, by) = match described.logical_type_ref() {
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::MILLIS => (1_000, 1),
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS => (1, 1_000),
            _ => (1, 1),
        };
        let values = self.numbers(group, column, rows)?;
        Ok(values.into_iter().map(|value| Some(value?.checked_mul(times)?.div_euclid(by))).collect())
    }

    /// The same in seconds.
    pub(crate) fn seconds(&self, group: usize, column: Column, rows: &[usize]) -> Result<Vec<Option<i64>>> {
        let values = self.microseconds(group, column, rows)?;
        Ok(values.into_iter().map(|value| value.map(|value| value.div_euclid(1_000_000))).collect())
    }
}

/// The values of one column chunk, in their order.
struct Values<'a, T: DataType> {
    name: &'a str,
    reader: ColumnReaderImpl<T>,
    nullable: bool,
}

impl<'a, T: DataType> Values<'a, T> {
    /// `None` where the file has no such column.
    fn new(chunks: &Chunks<'a>, group: usize, column: Column) -> Result<Option<Self>> {
        let Chunks { name, groups, .. } = *chunks;
        let Some(described) = groups.column(column) else { return Ok(None) };
        let bad = |what: String| Error::Index { index: name.to_owned(), what };
        let bytes = chunks.chunks.get(&(group, column)).zip(groups.chunk(group, column));
        let (bytes, chunk) = bytes.ok_or_else(|| bad("a column was not read".into()))?;
        // What the footer says of a chunk, as far as reading its pages takes it: it is alone here, so it begins at 0.
        let alone = ColumnChunkMetaData::builder(described.clone())
            .set_compression(chunk.compression)
            .set_total_compressed_size(chunk.length.into())
            .build();
        let rows = groups.rows(group);
        let pages = alone.and_then(|alone| SerializedPageReader::new(Arc::new(bytes.clone()), &alone, rows, None));
        let pages = pages.map_err(|error| bad(error.to_string()))?;
        let reader = get_typed_column_reader(get_column_reader(described.clone(), Box::new(pages)));
        Ok(Some(Self { name, reader, nullable: described.max_def_level() > 0 }))
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
