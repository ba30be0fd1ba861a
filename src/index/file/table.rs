//! Columns of any parquet file, of text at any depth of its groups, of numbers and of
//! times: a table that others have made, such as a
//! stac-geoparquet, of which an index is to be made.
//!
//! Like an index it is untrusted: see [`super::read`]. Text is read as views into the pages, so that a dictionary whose
//! entries are long takes their bytes once, however often they are repeated.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, StringViewArray};
use arrow_schema::{DataType, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type;
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::groups::{check_codec, chunk_span};
use super::guard::guarded;
use super::raw::RawFile;
use crate::error::{Error, Result};
use crate::index::format::bytes::slice;
use crate::index::format::thrift::check_pages;

/// Rows of a table: run lengths say as many as they like in a few bytes.
const MOST_ROWS: i64 = 4 << 20;
/// Bytes of the values of a column in a row group: dictionaries repeat them for nothing.
const MOST_TEXT: usize = 256 << 20;

/// Nodes of its schema: a hundred assets, of some forty each. They are read by recursion.
const MOST_NODES: u64 = 4096;
const STACK: usize = 64 << 20;

/// A parquet file in memory.
pub(crate) struct Table {
    name: String,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl Table {
    /// The table in `bytes`, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Read`] for what cannot be read as a parquet file.
    pub(crate) fn new(name: &str, bytes: Bytes) -> Result<Self> {
        let metadata = decoded(name, || {
            let footer = RawFile::from_bytes(name, bytes.clone()).footer(MOST_NODES).map_err(of_table)?;
            let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let plain = ArrowReaderMetadata::try_new(Arc::new(footer), plain).map_err(wrong)?;
            let schema = Arc::new(Schema::new(as_views(plain.schema().fields())));
            let views = ArrowReaderOptions::new().with_schema(schema);
            ArrowReaderMetadata::try_new(plain.metadata().clone(), views).map_err(wrong)
        })?;
        let groups = metadata.metadata().row_groups();
        let rows = groups.iter().map(RowGroupMetaData::num_rows).fold(0, i64::saturating_add);
        let columns = metadata.parquet_schema().num_columns();
        let fits = |group: &RowGroupMetaData| group.num_rows() >= 0 && group.num_columns() == columns;
        if !groups.iter().all(fits) || rows > MOST_ROWS {
            return Err(bad(format!("it claims {rows} rows; at most {MOST_ROWS} are read")));
        }
        Ok(Self { name: name.to_owned(), bytes, metadata })
    }

    /// The number of its row groups.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// The number of rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// The places of its columns of text, by their paths: one value a row, in whatever groups.
    pub(crate) fn columns(&self) -> HashMap<Vec<String>, usize> {
        let columns = self.metadata.parquet_schema().columns().iter().enumerate();
        let text =
            columns.filter(|(_, column)| column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0);
        text.map(|(place, column)| (column.path().parts().to_vec(), place)).collect()
    }

    /// The values of a column of [`Table::columns`] in a row group, null where it or a group around it is; all null where
    /// there is no such column.
    ///
    /// # Errors
    /// [`Error::Read`] for a column that is corrupt, too large, or compressed in a way that cannot be bounded.
    pub(crate) fn values(&self, group: usize, column: Option<usize>) -> Result<StringViewArray> {
        let rows = self.rows(group);
        let Some(column) = column else { return Ok(StringViewArray::new_null(rows)) };
        let values = self.array(group, column)?;
        let values = values.as_string_view_opt().ok_or_else(|| self.of_column(group, column, "it is no text"))?;
        if values.iter().flatten().map(str::len).sum::<usize>() > MOST_TEXT {
            let what = format!("a row group has more than {MOST_TEXT} bytes of it");
            return Err(self.of_column(group, column, &what));
        }
        Ok(values.clone())
    }

    /// The values of the column of numbers called `name`, which is in no group, in a row group; none where there is no such
    /// column.
    ///
    /// # Errors
    /// As for text.
    pub(crate) fn numbers(&self, group: usize, name: &str) -> Result<Vec<Option<f64>>> {
        let is_it = |column: &ColumnDescPtr| {
            let is_number = matches!(column.physical_type(), Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE);
            is_number && column.path().parts() == [name] && column.max_rep_level() == 0
        };
        let columns = self.metadata.parquet_schema().columns();
        let Some(column) = columns.iter().position(is_it) else { return Ok(Vec::new()) };
        let array = self.array(group, column)?;
        fn all<T: ArrowPrimitiveType>(array: &ArrayRef, real: fn(T::Native) -> f64) -> Option<Vec<Option<f64>>> {
            Some(array.as_primitive_opt::<T>()?.iter().map(|value| value.map(real)).collect())
        }
        let values = all::<Float64Type>(&array, |value| value)
            .or_else(|| all::<Float32Type>(&array, f64::from))
            .or_else(|| all::<Int32Type>(&array, f64::from))
            .or_else(|| all::<Int64Type>(&array, |value| value as f64));
        Ok(values.unwrap_or_default())
    }

    /// The times in the column of timestamps called `name`, which is in no group, in a row group, in microseconds since
    /// 1970-01-01; none where there is no such column.
    ///
    /// # Errors
    /// As for text.
    pub(crate) fn instants(&self, group: usize, name: &str) -> Result<Vec<Option<i64>>> {
        let is_it = |column: &ColumnDescPtr| {
            column.physical_type() == Type::INT64 && column.path().parts() == [name] && column.max_rep_level() == 0
        };
        let columns = self.metadata.parquet_schema().columns();
        let Some(column) = columns.iter().position(is_it) else { return Ok(Vec::new()) };
        let array = self.array(group, column)?;
        fn all<T: ArrowPrimitiveType<Native = i64>>(
            array: &ArrayRef,
            times: i64,
            parts: i64,
        ) -> Option<Vec<Option<i64>>> {
            let micros = |value: i64| Some(value.checked_mul(times)?.div_euclid(parts));
            Some(array.as_primitive_opt::<T>()?.iter().map(|value| micros(value?)).collect())
        }
        let values = all::<TimestampMicrosecondType>(&array, 1, 1)
            .or_else(|| all::<TimestampMillisecondType>(&array, 1000, 1))
            .or_else(|| all::<TimestampNanosecondType>(&array, 1, 1000));
        Ok(values.unwrap_or_default())
    }

    /// The values of a column in a row group, as many as that has rows.
    fn array(&self, group: usize, column: usize) -> Result<ArrayRef> {
        let rows = self.rows(group);
        let chunk = self.metadata.metadata().row_group(group).column(column);
        let pages = chunk_span(chunk).and_then(|range| slice(&self.bytes, range));
        let pages = pages.ok_or_else(|| bad("a column lies outside the file".into()))?;
        check_codec(chunk.compression()).map_err(bad)?;
        check_pages(&pages).map_err(|what| self.of_column(group, column, &what))?;
        let values = decoded(&self.name, || self.decode(group, column))?;
        let count = values.as_ref().map_or(0, Array::len);
        let values = values.filter(|_| count == rows);
        values.ok_or_else(|| self.of_column(group, column, &format!("it ends after {count} of {rows} rows")))
    }

    fn of_column(&self, group: usize, column: usize, what: &str) -> Error {
        let path = self.metadata.metadata().row_group(group).column(column).column_path().string();
        bad(format!("the column {path}: {what}"))
    }

    fn decode(&self, group: usize, column: usize) -> Result<Option<ArrayRef>> {
        let mut batches = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
            .with_projection(ProjectionMask::leaves(self.metadata.parquet_schema(), [column]))
            .with_row_groups(vec![group])
            .with_batch_size(self.rows(group).max(1))
            .build()
            .map_err(wrong)?;
        let Some(batch) = batches.next().transpose().map_err(wrong)? else { return Ok(None) };
        let mut array = batch.column(0);
        while let Some(group) = array.as_struct_opt() {
            array = group.column(0);
        }
        Ok(Some(array.clone()))
    }
}

/// The same fields, whose text and bytes are read as views of text.
fn as_views(fields: &Fields) -> Fields {
    let view = |field: &Arc<arrow_schema::Field>| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::Binary => DataType::Utf8View,
            DataType::Struct(inner) => DataType::Struct(as_views(inner)),
            other => other.clone(),
        };
        field.as_ref().clone().with_data_type(kind)
    };
    fields.iter().map(view).collect()
}

fn bad(what: String) -> Error {
    Error::read(format!("it cannot be read as a parquet file: {what}"))
}

fn wrong(error: impl Display) -> Error {
    bad(error.to_string())
}

/// Runs the parquet crate on untrusted bytes, with a stack that the deepest schema does not overflow. Its panics are errors
/// of a table, not of an index.
fn decoded<T: Send>(name: &str, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || guarded(name, run));
        thread.map_err(wrong)?.join().unwrap_or_else(|_| Err(bad("it is corrupt".into()))).map_err(of_table)
    })
}

fn of_table(error: Error) -> Error {
    match error {
        Error::Index { what, .. } => bad(what),
        other => other,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

#[cfg(test)]
pub(crate) use tests::{made, nested};
