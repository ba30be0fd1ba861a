//! A row as an index file has it: written and read without taking its binary columns apart.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::overviews::EmbeddedOverviews;
use super::packets::PacketLengths;
use super::record::{Record, RecordKey};
use crate::error::{Error, Result};
use crate::index::file::chunks::Chunks;
use crate::index::file::read::IndexFile;
use crate::index::format::blob::{build_index_blob, build_resolution_ends, parse_index_blob, parse_resolution_ends};
use crate::index::format::columns::Column;
use crate::index::format::ranges::{build_ranges, is_of_tiff, parse_ranges};
use crate::index::format::schema::Carried;
use crate::index::scan::own_tlm::own_tile_parts;
use crate::jp2::{Progress, SOT_LENGTH, parse_main_header};

/// The look-up columns of a row. See [`Record`], and docs/index-format.md for what the binary ones hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredRow {
    pub(crate) key: RecordKey,
    pub(crate) path: String,
    /// Empty where a JP2 has a TLM of its own.
    pub(crate) index: Bytes,
    pub(crate) file_size: Option<u64>,
    pub(crate) header: Option<Bytes>,
    pub(crate) resolution_ends: Option<Bytes>,
    pub(crate) origin: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<i64>,
    /// The cloud cover of the product's tile in percent, where an item of STAC told it.
    pub(crate) cloud_cover: Option<f64>,
    /// When it was sensed, in microseconds since 1970-01-01 UTC, where an item of STAC told it or the product's name does.
    pub(crate) datetime: Option<i64>,
    #[serde(skip)]
    pub(crate) packets: Option<PacketLengths>,
    #[serde(skip)]
    pub(crate) overviews: Option<EmbeddedOverviews>,
}

impl From<&Record> for StoredRow {
    fn from(record: &Record) -> Self {
        let index = match (record.has_tlm, record.file_size, record.first_sot, &record.ranges) {
            (_, Some(size), _, Some(ranges)) => build_ranges(size, ranges).into(),
            (false, Some(size), Some(first), None) => build_index_blob(size, first, &record.parts).into(),
            _ => Bytes::new(),
        };
        Self {
            key: record.key.clone(),
            path: record.path.clone(),
            index,
            file_size: record.file_size,
            header: record.header.clone(),
            resolution_ends: build_resolution_ends(&record.parts).map(Bytes::from),
            origin: record.origin.clone(),
            etag: record.etag.clone(),
            last_modified: record.last_modified,
            cloud_cover: None,
            datetime: None,
            packets: record.packets.clone(),
            overviews: record.overviews.clone(),
        }
    }
}

impl StoredRow {
    /// What it carries.
    pub(crate) fn carried(&self) -> Carried {
        Carried { packets: self.packets.is_some(), overviews: self.overviews.is_some() }
    }

    /// The rows numbered `rows`, which are in order, of a row group whose look-up columns are in `chunks`. A row whose
    /// packets or overviews are called what they cannot be has none; why is added to `warnings`.
    ///
    /// # Errors
    /// [`Error::Index`] where the columns cannot be decoded.
    pub(crate) fn read(
        file: &Arc<IndexFile>,
        chunks: &Chunks<'_>,
        group: usize,
        rows: &[usize],
        warnings: &mut Vec<Error>,
    ) -> Result<Vec<Self>> {
        let text = |column| chunks.text(group, column, rows);
        let (mut products, mut bands, mut tiles) =
            (text(Column::ProductId)?, text(Column::BandId)?, text(Column::MgrsTile)?);
        let (mut paths, mut origins, mut etags) = (text(Column::Path)?, text(Column::Origin)?, text(Column::Etag)?);
        let resolutions = chunks.numbers(group, Column::Resolution, rows)?;
        let sizes = chunks.numbers(group, Column::FileSize, rows)?;
        let modified = chunks.seconds(group, Column::LastModified, rows)?;
        let mut blobs = chunks.bytes(group, Column::Index, rows)?;
        let mut headers = chunks.bytes(group, Column::Header, rows)?;
        let mut ends = chunks.bytes(group, Column::ResolutionEnds, rows)?;
        let factors = chunks.numbers(group, Column::OverviewFactor, rows)?;
        let clouds = chunks.reals(group, Column::CloudCover, rows)?;
        let sensed = chunks.microseconds(group, Column::Datetime, rows)?;
        let counts = chunks.numbers(group, Column::PacketCount, rows)?;
        let row = |(n, row): (usize, &usize)| {
            let packets = counts[n].map(|count| PacketLengths::of_row(file, group, *row, count)).transpose();
            let packets = packets.unwrap_or_else(|warning| {
                warnings.push(warning);
                None
            });
            let overviews = factors[n].map(|factor| EmbeddedOverviews::of_row(file, group, *row, factor)).transpose();
            let overviews = overviews.unwrap_or_else(|warning| {
                warnings.push(warning);
                None
            });
            Self {
                key: RecordKey {
                    product_id: products[n].take().unwrap_or_default(),
                    mgrs_tile: tiles[n].take().unwrap_or_default(),
                    band_id: bands[n].take().unwrap_or_default(),
                    resolution: resolutions[n].and_then(|metres| u32::try_from(metres).ok()).unwrap_or(0),
                },
                path: paths[n].take().unwrap_or_default(),
                index: blobs[n].take().unwrap_or_default(),
                file_size: sizes[n].and_then(|size| u64::try_from(size).ok()),
                header: headers[n].take(),
                resolution_ends: ends[n].take(),
                origin: origins[n].take(),
                etag: etags[n].take(),
                last_modified: modified[n],
                cloud_cover: clouds[n],
                datetime: sensed[n],
                packets,
                overviews,
            }
        };
        Ok(rows.iter().enumerate().map(row).collect())
    }

    /// Whether it is of a TIFF.
    pub(crate) fn is_of_tiff(&self) -> bool {
        is_of_tiff(&self.index)
    }

    /// The row with its tile-part table or its ranges, checked in itself.
    ///
    /// # Errors
    /// [`Error::Row`] and [`Error::Malformed`] where its columns contradict themselves or each other.
    pub(crate) fn record(self) -> Result<Record> {
        let mut record = Record {
            key: self.key,
            path: self.path,
            file_size: self.file_size,
            first_sot: None,
            header: self.header,
            parts: Vec::new(),
            has_tlm: self.index.is_empty(),
            ranges: None,
            origin: self.origin,
            etag: self.etag,
            last_modified: self.last_modified,
            packets: self.packets,
            overviews: self.overviews,
        };
        if is_of_tiff(&self.index) {
            let (size, ranges) = parse_ranges(&self.index)?;
            record.check_size(size)?;
            return Ok(Record { file_size: Some(size), ranges: Some(ranges), ..record });
        }
        record.first_sot = record.header.as_ref().map(|header| (header.len() as u64).saturating_sub(SOT_LENGTH));
        let Some(table) = parse_index_blob(&self.index)? else {
            // The file's own TLM is the table.
            if let (Some(ends), Some(header), Some(size)) = (&self.resolution_ends, &record.header, record.file_size)
                && let Progress::Done(main) = parse_main_header(header, size)?
            {
                record.parts = own_tile_parts(&main, header, size)?;
                parse_resolution_ends(ends, &mut record.parts)?;
            }
            return Ok(record);
        };
        record.check_size(table.file_size)?;
        record.file_size = Some(table.file_size);
        record.first_sot = Some(table.first_sot);
        record.parts = table.parts;
        if let Some(ends) = &self.resolution_ends {
            parse_resolution_ends(ends, &mut record.parts)?;
        }
        Ok(record)
    }
}

/// All rows of a row group. What is wrong with single ones is added to `warnings`.
///
/// # Errors
/// [`Error::Index`] where it cannot be decoded; whatever reading it fails with.
pub(crate) fn read_group(file: &Arc<IndexFile>, group: usize, warnings: &mut Vec<Error>) -> Result<Vec<StoredRow>> {
    let chunks = file.fetch(&[group], &Column::all())?;
    let rows: Vec<usize> = (0..file.rows(group)).collect();
    StoredRow::read(file, &chunks, group, &rows, warnings)
}
