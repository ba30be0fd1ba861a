//! Text columns of any parquet file, at any depth of its groups: a table that others have made, such as a
//! stac-geoparquet, of which an index is to be made.
//!
//! Like an index it is untrusted: see [`super::read`].

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::ByteArrayType;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::guard::guarded;
use crate::error::{Error, Result};
use crate::index::format::thrift::{check_pages, footer_is_sound};

/// Rows of a table: run lengths say as many as they like in a few bytes.
const MOST_ROWS: i64 = 4 << 20;
/// Bytes of the values of a column in a row group: dictionaries repeat them for nothing.
const MOST_TEXT: usize = 256 << 20;
/// Rows decoded at a time.
const BATCH: usize = 1024;

/// A parquet file in memory.
pub(crate) struct Table {
    name: String,
    bytes: Bytes,
    metadata: ParquetMetaData,
}

impl Table {
    /// The table in `bytes`, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Read`] for what is no parquet file that can be read.
    pub(crate) fn new(name: &str, bytes: Bytes) -> Result<Self> {
        let last = bytes.last_chunk::<8>().and_then(|last| FooterTail::try_new(last).ok());
        let Some(tail) = last.filter(|tail| !tail.is_encrypted_footer()) else {
            return Err(bad("it does not end as one that is not encrypted".into()));
        };
        let end = bytes.len() - 8;
        let footer = end.checked_sub(tail.metadata_length()).and_then(|start| bytes.get(start..end));
        let footer =
            footer.filter(|footer| footer_is_sound(footer)).ok_or_else(|| bad("its footer is corrupt".into()))?;
        let metadata = table_guarded(name, || {
            ParquetMetaDataReader::decode_metadata(footer).map_err(|error| bad(format!("its footer: {error}")))
        })?;
        let schema = metadata.file_metadata().schema_descr();
        let rows = metadata.row_groups().iter().map(|group| group.num_rows()).fold(0, i64::saturating_add);
        let fits = metadata
            .row_groups()
            .iter()
            .all(|group| group.num_rows() >= 0 && group.num_columns() == schema.num_columns());
        if !fits || rows > MOST_ROWS {
            return Err(bad(format!("it claims {rows} rows; at most {MOST_ROWS} are read")));
        }
        Ok(Self { name: name.to_owned(), bytes, metadata })
    }

    /// The number of its row groups.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// The number of rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or(0)
    }

    /// The places of its columns of text, by their paths: one value a row, in whatever groups.
    pub(crate) fn columns(&self) -> HashMap<Vec<String>, usize> {
        let columns = self.metadata.file_metadata().schema_descr().columns().iter().enumerate();
        let text =
            columns.filter(|(_, column)| column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0);
        text.map(|(place, column)| (column.path().parts().to_vec(), place)).collect()
    }

    /// The values of a column of [`Table::columns`] in a row group; null where it or a group around it is.
    ///
    /// # Errors
    /// [`Error::Read`] for a column that is corrupt, too large, or compressed in a way that cannot be bounded.
    pub(crate) fn values(&self, group: usize, column: usize) -> Result<Vec<Option<String>>> {
        table_guarded(&self.name, || {
            let (rows, group) = (self.rows(group), self.metadata.row_group(group));
            let chunk = group.column(column);
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let range = usize::try_from(start).ok().zip(usize::try_from(chunk.compressed_size()).ok());
            let pages = range.and_then(|(start, length)| self.bytes.get(start..start.checked_add(length)?));
            let pages = pages.ok_or_else(|| bad("a column lies outside the file".into()))?;
            use Compression::{LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
            if !matches!(chunk.compression(), UNCOMPRESSED | SNAPPY | ZSTD(_) | LZ4_RAW) {
                let codec = chunk.compression().to_string();
                return Err(bad(format!("it is compressed with {codec}: use zstd or snappy")));
            }
            let path = chunk.column_path().string();
            check_pages(pages).map_err(|what| bad(format!("the column {path}: {what}")))?;
            self.decode(column, chunk, rows).map_err(|what| bad(format!("the column {path}: {what}")))
        })
    }

    fn decode(
        &self,
        column: usize,
        chunk: &parquet::file::metadata::ColumnChunkMetaData,
        rows: usize,
    ) -> std::result::Result<Vec<Option<String>>, String> {
        let described = self.metadata.file_metadata().schema_descr().column(column);
        if chunk.column_type() != Type::BYTE_ARRAY {
            return Err("it is of another type than the schema says".into());
        }
        let pages = SerializedPageReader::new(Arc::new(self.bytes.clone()), chunk, rows, None);
        let pages = pages.map_err(|error| error.to_string())?;
        let mut reader =
            get_typed_column_reader::<ByteArrayType>(get_column_reader(described.clone(), Box::new(pages)));
        let (mut out, mut text) = (Vec::new(), 0);
        while out.len() < rows {
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let levels_wanted = (described.max_def_level() > 0).then_some(&mut levels);
            let read = reader.read_records(BATCH.min(rows - out.len()), levels_wanted, None, &mut values);
            let (records, ..) = read.map_err(|error| error.to_string())?;
            if records == 0 {
                return Err(format!("it ends after {} of {rows} rows", out.len()));
            }
            if described.max_def_level() == 0 {
                levels = vec![0; records];
            }
            let mut values = values.into_iter();
            for level in levels {
                let value = if level == described.max_def_level() { values.next() } else { None };
                text += value.as_ref().map_or(0, |value| value.len());
                if text > MOST_TEXT {
                    return Err(format!("a row group has more than {MOST_TEXT} bytes of it"));
                }
                out.push(value.map(|value| String::from_utf8_lossy(value.data()).into_owned()));
            }
        }
        Ok(out)
    }
}

fn bad(what: String) -> Error {
    Error::read(format!("it is no parquet file that can be read: {what}"))
}

/// Runs the parquet crate on untrusted bytes; its panics are errors of a table, not of an index.
fn table_guarded<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    guarded(name, run).map_err(|error| match error {
        Error::Index { what, .. } => bad(what),
        other => other,
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

#[cfg(test)]
pub(crate) use tests::made;
