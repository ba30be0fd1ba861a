//! Writing index files: the schema, and a whole file under its final name or none.
//!
//! | column | type | holds |
//! |---|---|---|
//! | `product_id`, `band_id`, `path` | string | as in the published v1 files |
//! | `index` | binary | [`super::blob`]; empty where the file has a TLM of its own |
//! | `mgrs_tile`, `resolution` | string, int32 | with product and band the full key; empty and 0 where unknown |
//! | `file_size` | int64, may be null | in bytes |
//! | `header` | binary, may be null | the file up to the first SOT marker |
//! | `resolution_ends` | binary, may be null | [`super::blob`] |
//! | `origin`, `etag` | string, may be null | where the row was made from, and what it was |
//! | `last_modified` | timestamp in microseconds UTC, may be null | likewise |
//! | `overview_factor`, `overviews` | int64, binary, may be null | [`super::overviews`]; absent where no row has any |
//!
//! Rows are sorted by (product_id, mgrs_tile, band_id, resolution), in row groups of 256, so that a look-up reads one
//! row group. Only the key columns have statistics, and there is no page index but in files with overviews: both would
//! make the footer longer, and every look-up reads the footer.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::blob::{build_index_blob, build_resolution_ends};
use super::overviews::EmbeddedOverviews;
use super::record::Record;
use crate::error::{Error, Result};

/// Rows of a row group.
pub(super) const ROWS: usize = 256;

/// A row group that is being written.
type Group<'a, W> = SerializedRowGroupWriter<'a, W>;

const COLUMNS: &str = "
    required binary product_id (STRING);
    required binary band_id (STRING);
    required binary path (STRING);
    required binary index;
    required binary mgrs_tile (STRING);
    required int32 resolution;
    optional int64 file_size;
    optional binary header;
    optional binary resolution_ends;
    optional binary origin (STRING);
    optional binary etag (STRING);
    optional int64 last_modified (TIMESTAMP(MICROS,true));
";
/// The columns of a file in which a row has overviews: the last ones, so that what a look-up reads stays together.
const OVERVIEW_COLUMNS: &str = "
    optional int64 overview_factor;
    optional binary overviews;
";

/// Writes `records` as one index file, sorted, and gives it its name when it is whole and on the disk.
///
/// # Errors
/// [`Error::Index`] where the folder cannot be written to, the disk is full, or the like.
pub(crate) fn write_index(path: &Path, mut records: Vec<Record>) -> Result<()> {
    let bad = |what: String| Error::Index { index: path.display().to_string(), what };
    records.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| a.path.cmp(&b.path)));
    write_whole(path, |file| build_into(&records, file).map_err(std::io::Error::other))
        .map_err(|error| bad(format!("it could not be written: {error}")))
}

/// Writes `bytes` as [`write_whole`] does.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_whole(path, |file| file.write_all(bytes))
}

/// A temporary file in the same folder, flushed to the disk, then a rename: no reader ever sees half a file.
pub(crate) fn write_whole(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vsitlm-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the umask decides. The default of the crate is for the owner alone.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn properties(with_overviews: bool) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(9)?))
        .set_created_by(concat!("vsitlm ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(ROWS))
        // A header column of 256 rows has 600 kB, all much alike: one page compresses them together.
        .set_data_page_size_limit(8 << 20)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(None)
        .set_offset_index_disabled(!with_overviews)
        .set_sorting_columns(Some(
            [0, 4, 1, 5].map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).into(),
        ));
    for name in ["product_id", "band_id", "mgrs_tile", "resolution"] {
        builder = builder
            .set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Chunk)
            .set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    if with_overviews {
        builder = builder
            .set_column_compression(ColumnPath::from("overviews"), Compression::UNCOMPRESSED)
            .set_column_data_page_row_count_limit(ColumnPath::from("overviews"), 1);
    }
    Ok(builder.build())
}

/// The bytes of an index file of `records`, which are sorted.
pub(crate) fn build_index(records: &[Record]) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    build_into(records, &mut bytes)?;
    Ok(bytes)
}

/// Writes an index file of `records`, which are sorted, row group by row group: overviews can be more than memory holds.
fn build_into(records: &[Record], out: impl Write + Send) -> Result<(), ParquetError> {
    let with_overviews = records.iter().any(|record| record.overviews.is_some());
    let more = if with_overviews { OVERVIEW_COLUMNS } else { "" };
    let schema = Arc::new(parse_message_type(&format!("message vsitlm {{{COLUMNS}{more}}}"))?);
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties(with_overviews)?))?;
    for rows in records.chunks(ROWS) {
        let mut group = writer.next_row_group()?;
        write_group(&mut group, rows)?;
        if with_overviews {
            write_int64(&mut group, rows, |row| row.overviews.as_ref().map(|overviews| 1 << overviews.k()))?;
            write_overviews(&mut group, rows)?;
        }
        group.close()?;
    }
    writer.close().map(drop)
}

fn write_group(group: &mut Group<'_, impl Write + Send>, rows: &[Record]) -> Result<(), ParquetError> {
    let text = |value: &str| Some(ByteArray::from(value.as_bytes().to_vec()));
    let index = |row: &Record| match (row.has_tlm, row.file_size, row.first_sot) {
        (false, Some(size), Some(first)) => build_index_blob(size, first, &row.parts),
        _ => Vec::new(),
    };
    // In the order of the schema.
    write_bytes(group, rows, |row| text(&row.key.product_id))?;
    write_bytes(group, rows, |row| text(&row.key.band_id))?;
    write_bytes(group, rows, |row| text(&row.path))?;
    write_bytes(group, rows, |row| Some(ByteArray::from(index(row))))?;
    write_bytes(group, rows, |row| text(&row.key.mgrs_tile))?;
    let resolutions: Vec<i32> = rows.iter().map(|row| i32::try_from(row.key.resolution).unwrap_or(0)).collect();
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int32Type>().write_batch(&resolutions, None, None)?;
        column.close()?;
    }
    write_int64(group, rows, |row| row.file_size.and_then(|size| i64::try_from(size).ok()))?;
    write_bytes(group, rows, |row| row.header.as_ref().map(|header| ByteArray::from(header.clone())))?;
    write_bytes(group, rows, |row| build_resolution_ends(&row.parts).map(ByteArray::from))?;
    write_bytes(group, rows, |row| row.origin.as_deref().and_then(text))?;
    write_bytes(group, rows, |row| row.etag.as_deref().and_then(text))?;
    write_int64(group, rows, |row| row.last_modified.and_then(|seconds| seconds.checked_mul(1_000_000)))
}

/// Definition levels, which required columns do not have, and the values there are.
fn split<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<i16>, Vec<T>) {
    let mut levels = Vec::new();
    let present = values.inspect(|value| levels.push(i16::from(value.is_some()))).flatten().collect();
    (levels, present)
}

fn write_bytes(
    group: &mut Group<'_, impl Write + Send>,
    rows: &[Record],
    value: impl Fn(&Record) -> Option<ByteArray>,
) -> Result<(), ParquetError> {
    let (levels, values) = split(rows.iter().map(value));
    if let Some(mut column) = group.next_column()? {
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}

/// A page a row, each read only when it is written.
fn write_overviews(group: &mut Group<'_, impl Write + Send>, rows: &[Record]) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    for row in rows {
        let value = row.overviews.as_ref().map(EmbeddedOverviews::value).transpose();
        let value = value.map_err(|error| ParquetError::External(Box::new(error)))?.map(ByteArray::from);
        let (levels, values) = split(std::iter::once(value));
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
    }
    column.close()
}

fn write_int64(
    group: &mut Group<'_, impl Write + Send>,
    rows: &[Record],
    value: impl Fn(&Record) -> Option<i64>,
) -> Result<(), ParquetError> {
    let (levels, values) = split(rows.iter().map(value));
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
