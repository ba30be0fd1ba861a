//! Writing index files: the schema, and a whole file under its final name or none.
//!
//! | column | type | holds |
//! |---|---|---|
//! | `product_id`, `band_id`, `path` | string | as in the published v1 files |
//! | `index` | binary | [`crate::index::format::blob`]; empty where the file has a TLM of its own |
//! | `mgrs_tile`, `resolution` | string, int32 | with product and band the full key; empty and 0 where unknown |
//! | `file_size` | int64, may be null | in bytes |
//! | `header` | binary, may be null | the file up to the first SOT marker |
//! | `resolution_ends` | binary, may be null | [`crate::index::format::blob`] |
//! | `origin`, `etag` | string, may be null | where the row was made from, and what it was |
//! | `last_modified` | timestamp in microseconds UTC, may be null | likewise |
//! | `datetime` … `geometry` | may be null | [`super::stac`]: for other tools, no look-up reads them |
//! | `overview_factor`, `overviews` | int64, binary, may be null | [`super::overviews`]; absent where no row has any |
//! | `packet_count`, `packets` | int64, binary, may be null | [`super::packets`]; likewise |
//!
//! Rows are sorted by (product_id, mgrs_tile, band_id, resolution), in row groups of at most 256 which cut no product in
//! two, so that a look-up reads one row group. Only the key columns, the time and the bounding box have statistics, and there is no page index but in files
//! with overviews or packets: both would make the footer longer, and every look-up reads the footer.

use std::fs::File;
use std::io::Write;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::overviews::EmbeddedOverviews;
use super::packets::PacketLengths;
use super::record::Record;
use super::stac::{Describer, Stac};
use super::stored::{Carried, StoredRow};
use crate::error::{Error, Result};
use crate::index::file::directory;
use crate::index::format::columns::Paged;

/// Rows of a row group, at most.
pub(crate) const ROWS: usize = 256;

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
/// In a file in which a row has overviews: behind what else a look-up reads.
const FACTOR_COLUMN: &str = "
    optional int64 overview_factor;
";
/// In a file in which a row has packets, likewise.
const COUNT_COLUMN: &str = "
    optional int64 packet_count;
";
const STAC_COLUMNS: &str = "
    optional int64 datetime (TIMESTAMP(MICROS,true));
    optional binary platform (STRING);
    optional binary processing_baseline (STRING);
    optional int32 relative_orbit;
    optional int32 epsg;
    optional group shape (LIST) { repeated group list { required int32 element; } }
    optional group transform (LIST) { repeated group list { required double element; } }
    optional group bbox { required double xmin; required double ymin; required double xmax; required double ymax; }
    optional binary geometry;
";
/// The last ones, so that what is read otherwise stays together.
const PACKETS_COLUMN: &str = "
    optional binary packets;
";
const OVERVIEWS_COLUMN: &str = "
    optional binary overviews;
";

/// GeoParquet 1.1.0's metadata. Without `crs`, coordinates are those of OGC:CRS84.
const GEO: &str = r#"{"version":"1.1.0","primary_column":"geometry","columns":{"geometry":{"encoding":"WKB","geometry_types":["Polygon","MultiPolygon"],"orientation":"counterclockwise","covering":{"bbox":{"xmin":["bbox","xmin"],"ymin":["bbox","ymin"],"xmax":["bbox","xmax"],"ymax":["bbox","ymax"]}}}}}"#;

/// Writes `rows`, which are sorted, as one index file, and gives it its name when it is whole and on the disk.
/// `carried` says what they carry.
///
/// # Errors
/// [`Error::Index`] where the folder cannot be written to, the disk is full, or the like; the first error among `rows`.
pub(crate) fn write_index(path: &Path, rows: impl Iterator<Item = Result<StoredRow>>, carried: Carried) -> Result<()> {
    let bad = |what: String| Error::Index { index: path.display().to_string(), what };
    write_whole(path, |file| build_into(rows, carried, file).map_err(std::io::Error::other))
        .map_err(|error| bad(format!("it could not be written: {error}")))
}

/// The same in memory.
///
/// # Errors
/// The first error among `rows`.
pub(crate) fn build_index_of(rows: impl Iterator<Item = Result<StoredRow>>, carried: Carried) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    build_into(rows, carried, &mut bytes).map_err(|error| Error::read(error.to_string()))?;
    Ok(bytes)
}

/// Writes `bytes` as [`write_whole`] does.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
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

fn properties(carried: Carried) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(9)?))
        .set_created_by(concat!("vsitlm ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new("geo".to_owned(), GEO.to_owned())]))
        .set_max_row_group_row_count(Some(ROWS))
        // A header column of 256 rows has 600 kB, all much alike: one page compresses them together.
        .set_data_page_size_limit(8 << 20)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(None)
        .set_offset_index_disabled(!carried.any())
        .set_sorting_columns(Some(
            [0, 4, 1, 5].map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).into(),
        ));
    let bounds = ["xmin", "ymin", "xmax", "ymax"].map(|edge| vec!["bbox", edge]);
    let list = |name| vec![name, "list", "element"];
    let keys = [vec!["product_id"], vec!["band_id"], vec!["mgrs_tile"], vec!["resolution"], vec!["datetime"]];
    let repeated =
        [vec!["platform"], vec!["processing_baseline"], vec!["relative_orbit"], vec!["epsg"], vec!["geometry"]];
    let path = |parts: Vec<&str>| ColumnPath::new(parts.into_iter().map(str::to_owned).collect());
    for name in keys.into_iter().chain(bounds).map(path) {
        builder = builder
            .set_column_statistics_enabled(name.clone(), EnabledStatistics::Chunk)
            .set_column_dictionary_enabled(name, true);
    }
    for name in repeated.into_iter().chain([list("shape"), list("transform")]).map(path) {
        builder = builder.set_column_dictionary_enabled(name, true);
    }
    for column in Paged::ALL.map(|column| ColumnPath::from(column.name())) {
        builder = builder
            .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
            .set_column_data_page_row_count_limit(column, 1);
    }
    Ok(builder.build())
}

/// The bytes of an index file of `records`, which are sorted.
pub(crate) fn build_index(records: &[Record]) -> Result<Vec<u8>, ParquetError> {
    let rows: Vec<StoredRow> = records.iter().map(StoredRow::from).collect();
    let carried = Carried::all(rows.iter().map(StoredRow::carried));
    let mut bytes = Vec::new();
    build_into(rows.into_iter().map(Ok), carried, &mut bytes)?;
    Ok(bytes)
}

/// Writes an index file of `rows`, which are sorted, row group by row group: they are more than memory holds, and so can
/// overviews be. `carried` says what they carry.
///
/// # Errors
/// Whatever writing fails with, and the first error among `rows`.
pub(super) fn build_into(
    rows: impl Iterator<Item = Result<StoredRow>>,
    carried: Carried,
    out: impl Write + Send,
) -> Result<(), ParquetError> {
    let (factor, overviews) = if carried.overviews { (FACTOR_COLUMN, OVERVIEWS_COLUMN) } else { ("", "") };
    let (count, packets) = if carried.packets { (COUNT_COLUMN, PACKETS_COLUMN) } else { ("", "") };
    let schema = format!("message vsitlm {{{COLUMNS}{factor}{count}{STAC_COLUMNS}{packets}{overviews}}}");
    let schema = Arc::new(parse_message_type(&schema)?);
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties(carried)?))?;
    let mut describer = Describer::default();
    let mut rows = rows.peekable();
    let mut begun = Vec::new();
    loop {
        let rows = next_group(&mut rows, &mut begun).map_err(external)?;
        if rows.is_empty() {
            break;
        }
        let mut group = writer.next_row_group()?;
        write_group(&mut group, &rows)?;
        if carried.overviews {
            write(&mut group, int64s(&rows, |row| row.overviews.as_ref().map(|overviews| 1 << overviews.k())))?;
        }
        if carried.packets {
            write(&mut group, int64s(&rows, |row| row.packets.as_ref().map(|packets| packets.count().into())))?;
        }
        let stac: Vec<Stac> = rows.iter().map(|row| describer.describe(&row.key, row.header.as_deref())).collect();
        write_stac(&mut group, &stac)?;
        if carried.packets {
            write_paged(&mut group, &rows, |row| row.packets.as_ref().map(PacketLengths::value))?;
        }
        if carried.overviews {
            write_paged(&mut group, &rows, |row| row.overviews.as_ref().map(EmbeddedOverviews::value))?;
        }
        group.close()?;
    }
    if !carried.any() {
        directory::write(&mut writer)?;
    }
    writer.close().map(drop)
}

/// The rows of the next row group; none at the end. The rows of a product stay together where a row group can hold them,
/// so that a look-up reads one: those of a product that would be cut wait in `begun`.
fn next_group(
    rows: &mut Peekable<impl Iterator<Item = Result<StoredRow>>>,
    begun: &mut Vec<StoredRow>,
) -> Result<Vec<StoredRow>> {
    let mut group = std::mem::take(begun);
    for row in rows.by_ref().take(ROWS - group.len()) {
        group.push(row?);
    }
    if let Some(Ok(next)) = rows.peek() {
        let cut = group.iter().rposition(|row| row.key.product_id != next.key.product_id).map_or(0, |last| last + 1);
        if cut > 0 {
            *begun = group.split_off(cut);
        }
    }
    Ok(group)
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// What a look-up reads, in the order of the schema.
fn write_group(group: &mut Group<'_, impl Write + Send>, rows: &[StoredRow]) -> Result<(), ParquetError> {
    let texts = |value: fn(&StoredRow) -> &str| required(rows.iter().map(|row| text(value(row))));
    write(group, texts(|row| &row.key.product_id))?;
    write(group, texts(|row| &row.key.band_id))?;
    write(group, texts(|row| &row.path))?;
    write(group, required(rows.iter().map(|row| row.index.clone().into())))?;
    write(group, texts(|row| &row.key.mgrs_tile))?;
    let resolution = |row: &StoredRow| i32::try_from(row.key.resolution).unwrap_or(0);
    write(group, Values::<Int32Type> { values: rows.iter().map(resolution).collect(), ..Values::default() })?;
    write(group, int64s(rows, |row| row.file_size.and_then(|size| i64::try_from(size).ok())))?;
    write(group, optional(rows.iter().map(|row| row.header.clone().map(ByteArray::from))))?;
    write(group, optional(rows.iter().map(|row| row.resolution_ends.clone().map(ByteArray::from))))?;
    write(group, optional(rows.iter().map(|row| row.origin.as_deref().map(text))))?;
    write(group, optional(rows.iter().map(|row| row.etag.as_deref().map(text))))?;
    write(group, int64s(rows, |row| row.last_modified.and_then(|seconds| seconds.checked_mul(1_000_000))))
}

fn write_stac(group: &mut Group<'_, impl Write + Send>, rows: &[Stac]) -> Result<(), ParquetError> {
    let rows = || rows.iter();
    write(group, Values::<Int64Type>::optional(rows().map(|row| row.datetime)))?;
    write(group, optional(rows().map(|row| row.platform.as_deref().map(text))))?;
    write(group, optional(rows().map(|row| row.processing_baseline.as_deref().map(text))))?;
    write(group, Values::<Int32Type>::optional(rows().map(|row| row.relative_orbit)))?;
    write(group, Values::<Int32Type>::optional(rows().map(|row| row.epsg)))?;
    write(group, Values::<Int32Type>::lists(rows().map(|row| row.shape.as_ref().map(|shape| &shape[..]))))?;
    write(group, Values::<DoubleType>::lists(rows().map(|row| row.transform.as_ref().map(|affine| &affine[..]))))?;
    for edge in 0..4 {
        write(group, Values::<DoubleType>::optional(rows().map(|row| row.footprint.as_ref().map(|it| it.bbox[edge]))))?;
    }
    write(group, optional(rows().map(|row| row.footprint.as_ref().map(|it| ByteArray::from(it.wkb.clone())))))
}

/// A page a row, each read only when it is written.
fn write_paged(
    group: &mut Group<'_, impl Write + Send>,
    rows: &[StoredRow],
    value: impl Fn(&StoredRow) -> Option<Result<Bytes>>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    for row in rows {
        let value = value(row).transpose().map_err(external)?;
        let Values { values, levels, .. } = optional(std::iter::once(value.map(ByteArray::from)));
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
    }
    column.close()
}

fn text(value: &str) -> ByteArray {
    ByteArray::from(value.as_bytes().to_vec())
}

/// The values of a column: those that are there, how far each is defined, and whether it goes on with a list. Required
/// columns have no levels.
struct Values<T: DataType> {
    values: Vec<T::T>,
    levels: Vec<i16>,
    repetition: Vec<i16>,
}

impl<T: DataType> Default for Values<T> {
    fn default() -> Self {
        Self { values: Vec::new(), levels: Vec::new(), repetition: Vec::new() }
    }
}

impl<T: DataType> Values<T> {
    fn optional(values: impl Iterator<Item = Option<T::T>>) -> Self {
        let mut levels = Vec::new();
        let present = values.inspect(|value| levels.push(i16::from(value.is_some()))).flatten().collect();
        Self { values: present, levels, repetition: Vec::new() }
    }

    /// Lists that have elements, or are null.
    fn lists<'a>(lists: impl Iterator<Item = Option<&'a [T::T]>>) -> Self {
        let mut out = Self::default();
        for list in lists {
            let elements = list.unwrap_or_default();
            out.levels.extend(if elements.is_empty() { vec![0] } else { vec![2; elements.len()] });
            out.repetition.push(0);
            out.repetition.extend(elements.iter().skip(1).map(|_| 1));
            out.values.extend_from_slice(elements);
        }
        out
    }
}

fn required(values: impl Iterator<Item = ByteArray>) -> Values<ByteArrayType> {
    Values { values: values.collect(), ..Values::default() }
}

fn optional(values: impl Iterator<Item = Option<ByteArray>>) -> Values<ByteArrayType> {
    Values::optional(values)
}

fn int64s(rows: &[StoredRow], value: impl Fn(&StoredRow) -> Option<i64>) -> Values<Int64Type> {
    Values::optional(rows.iter().map(value))
}

/// Writes the next column.
fn write<T: DataType>(group: &mut Group<'_, impl Write + Send>, column: Values<T>) -> Result<(), ParquetError> {
    let Some(mut writer) = group.next_column()? else { return Ok(()) };
    let some = |levels: &[i16]| !levels.is_empty();
    let (levels, repetition) = (Some(&column.levels[..]).filter(|l| some(l)), Some(&column.repetition[..]));
    writer.typed::<T>().write_batch(&column.values, levels, repetition.filter(|r| some(r)))?;
    writer.close()
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
