//! Writing an index file: row group by row group, and under its final name when it is whole.
//!
//! Only the key columns, the time and the bounding box have statistics, and there is no page index but in files with
//! overviews or packets: both would make the footer longer, and look-ups read the footer.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::directory;
use crate::error::{Error, Result};
use crate::index::format::columns::Paged;
use crate::index::format::schema::{Carried, GEO, ROWS, message};

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
        .set_offset_index_disabled(carried == Carried::default())
        .set_sorting_columns(Some(
            [0, 4, 1, 5].map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).into(),
        ));
    let bounds = ["xmin", "ymin", "xmax", "ymax"].map(|edge| vec!["bbox", edge]);
    let list = |name| vec![name, "list", "element"];
    let keys = [vec!["product_id"], vec!["band_id"], vec!["mgrs_tile"], vec!["resolution"], vec!["datetime"]];
    let repeated = ["eo:cloud_cover", "platform", "processing_baseline", "relative_orbit", "epsg", "geometry"]
        .map(|name| vec![name]);
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

/// An index file that is being written.
pub(crate) struct IndexWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    schema: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
    carried: Carried,
}

impl<W: Write + Send> IndexWriter<W> {
    /// A file without rows. `carried` says what they will carry.
    pub(crate) fn new(out: W, carried: Carried) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(&message(carried))?);
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties(carried)?))?;
        let schema = Arc::new(parquet_to_arrow_schema(file.schema_descr(), None)?);
        let columns = ArrowRowGroupWriterFactory::new(&file, schema.clone());
        Ok(Self { file, schema, columns, carried })
    }

    /// Writes a row group of `rows` rows: `arrays`, the columns that are written whole, in the order of the schema, then
    /// those of [`Paged`], of which `value` gives each value when it is written.
    pub(crate) fn write(
        &mut self,
        arrays: &[ArrayRef],
        rows: usize,
        value: impl Fn(Paged, usize) -> Option<Result<Bytes>>,
    ) -> Result<(), ParquetError> {
        let mut writers = self.columns.create_column_writers(self.file.flushed_row_groups().len())?.into_iter();
        let mut group = self.file.next_row_group()?;
        for (field, array) in self.schema.fields().iter().zip(arrays) {
            for (leaf, mut writer) in compute_leaves(field, array)?.iter().zip(writers.by_ref()) {
                writer.write(leaf)?;
                writer.close()?.append_to_row_group(&mut group)?;
            }
        }
        for paged in Paged::ALL.into_iter().filter(|paged| self.carried.has(*paged)) {
            let Some(mut column) = group.next_column()? else { break };
            for row in 0..rows {
                let value = value(paged, row).transpose().map_err(external)?.map(ByteArray::from);
                let level = i16::from(value.is_some());
                column.typed::<ByteArrayType>().write_batch(value.as_slice(), Some(&[level]), None)?;
            }
            column.close()?;
        }
        group.close().map(drop)
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<(), ParquetError> {
        if self.carried == Carried::default() {
            directory::write(&mut self.file)?;
        }
        self.file.close().map(drop)
    }
}

/// An error of ours, within one of the parquet crate.
pub(crate) fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
