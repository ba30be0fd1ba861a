//! Text columns of any parquet file, at any depth of its groups: a table that others have made, such as a
//! stac-geoparquet, of which an index is to be made.
//!
//! Like an index it is untrusted: see [`super::read`]. Text is read as views into the pages, so that a dictionary whose
//! entries are long takes their bytes once, however often they are repeated.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::StringViewArray;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::groups::{check_codec, chunk_span};
use super::guard::guarded;
use crate::error::{Error, Result};
use crate::index::format::bytes::slice;
use crate::index::format::thrift::check_pages;

/// Rows of a table: run lengths say as many as they like in a few bytes.
const MOST_ROWS: i64 = 4 << 20;
/// Bytes of the values of a column in a row group: dictionaries repeat them for nothing.
const MOST_TEXT: usize = 256 << 20;

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
    /// [`Error::Read`] for what is no parquet file that can be read.
    pub(crate) fn new(name: &str, bytes: Bytes) -> Result<Self> {
        let metadata = decoded(name, || {
            let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let plain = ArrowReaderMetadata::load(&bytes, plain)?;
            let schema = Arc::new(Schema::new(as_views(plain.schema().fields())));
            ArrowReaderMetadata::try_new(plain.metadata().clone(), ArrowReaderOptions::new().with_schema(schema))
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
        let chunk = self.metadata.metadata().row_group(group).column(column);
        let pages = chunk_span(chunk).and_then(|range| slice(&self.bytes, range));
        let pages = pages.ok_or_else(|| bad("a column lies outside the file".into()))?;
        check_codec(chunk.compression()).map_err(bad)?;
        let wrong = |what: String| bad(format!("the column {}: {what}", chunk.column_path().string()));
        check_pages(&pages).map_err(wrong)?;
        let values = decoded(&self.name, || {
            let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), [column]);
            let mut batches =
                ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
                    .with_projection(mask)
                    .with_row_groups(vec![group])
                    .with_batch_size(rows.max(1))
                    .build()?;
            let Some(batch) = batches.next().transpose()? else { return Ok(StringViewArray::new_null(0)) };
            let mut array = batch.column(0);
            while let Some(group) = array.as_struct_opt() {
                array = group.column(0);
            }
            let text = array.as_string_view_opt();
            text.cloned().ok_or_else(|| ParquetError::General("it is not text".to_owned()))
        })?;
        if values.iter().len() != rows {
            return Err(wrong(format!("it ends after {} of {rows} rows", values.iter().len())));
        }
        if values.iter().flatten().map(str::len).sum::<usize>() > MOST_TEXT {
            return Err(wrong(format!("a row group has more than {MOST_TEXT} bytes of it")));
        }
        Ok(values)
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
    Error::read(format!("it is no parquet file that can be read: {what}"))
}

/// Runs the parquet crate on untrusted bytes; its panics are errors of a table, not of an index.
fn decoded<T>(name: &str, run: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    guarded(name, || run().map_err(|error| bad(error.to_string()))).map_err(|error| match error {
        Error::Index { what, .. } => bad(what),
        other => other,
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

#[cfg(test)]
pub(crate) use tests::made;
