//! What a TIFF is made of, and what opening it costs.

use serde::Serialize;

use super::describe::{IndexRow, found_rows};
use crate::error::{Error, Result, ResultExt};
use crate::index::{Record, RecordKey, scan_tiff};
use crate::path::Location;
use crate::source::{Caller, Source};
use crate::tiff::Page;

/// What a TIFF is made of.
#[derive(Debug, Serialize)]
pub(crate) struct TiffAnatomy {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    etag: Option<String>,
    /// What an index calls it.
    key: Option<String>,
    /// Whether it is a BigTIFF.
    pub(crate) is_big: bool,
    pub(crate) is_big_endian: bool,
    /// In the order of the file.
    pub(crate) directories: Vec<Page>,
    /// Where it lies on the ground, where it says so by an EPSG code.
    epsg: Option<u16>,
    transform: Option<[f64; 6]>,
    /// The ranges of bytes that opening it takes, which a row holds.
    pub(crate) header: Vec<[u64; 2]>,
    pub(crate) header_bytes: u64,
    /// Whether it is a COG; if not, why.
    pub(crate) is_cog: bool,
    pub(crate) against_cog: Vec<String>,
    /// Its rows; `None` where no index was asked.
    pub(crate) index: Option<Vec<IndexRow>>,
}

/// Reads the header of the TIFF at `location`, which `source` reads; with it what an index of the options, asked for the
/// file's row, could not answer.
///
/// # Errors
/// As [`scan_tiff`].
pub(crate) fn describe_tiff(
    location: &Location,
    source: &dyn Source,
    caller: &Caller<'_>,
) -> Result<(TiffAnatomy, Vec<Error>)> {
    let name = location.display();
    let scanned = scan_tiff(source).in_file(&name)?;
    let meta = scanned.meta.clone();
    let (_, head) = Record::from_tiff(RecordKey::default(), "", source.origin(), scanned).tiff().in_file(&name)?;
    let (key, found) = found_rows(location, source, caller)?;
    let georeference = head.georeference();
    let against_cog = head.against_cog();
    let anatomy = TiffAnatomy {
        file: name,
        bytes: meta.size,
        etag: meta.etag,
        key: key.map(|key| format!("{key:?}")),
        is_big: head.is_big,
        is_big_endian: head.is_big_endian,
        directories: head.pages(),
        epsg: georeference.as_ref().map(|it| it.epsg),
        transform: georeference.map(|it| it.transform),
        header: head.ranges.iter().map(|range| [range.start, range.end]).collect(),
        header_bytes: head.ranges.iter().map(|range| range.end - range.start).sum(),
        is_cog: against_cog.is_empty(),
        against_cog,
        index: found.as_ref().map(|found| {
            let of_tiffs = found.records.iter().filter(|row| row.is_of_tiff());
            of_tiffs.map(|row| IndexRow::new(row, meta.size)).collect()
        }),
    };
    Ok((anatomy, found.map_or_else(Vec::new, |found| found.warnings)))
}
