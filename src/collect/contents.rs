//! What an index holds: rows, products, dates, bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::Report;
use super::shards::{open_index, shards};
use crate::error::Result;
use crate::index::{Described, describe_index};
use crate::source::Caller;

/// What an index holds.
#[derive(Debug, Serialize)]
pub(crate) struct IndexContents {
    /// As it was named.
    pub(crate) index: String,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) rows: usize,
    pub(crate) row_groups: usize,
    pub(crate) bytes_a_row: f64,
    pub(crate) products: usize,
    pub(crate) tiles: usize,
    /// The first and the last day of sensing, as `2024-10-16`.
    pub(crate) first_day: Option<String>,
    pub(crate) last_day: Option<String>,
    /// Rows by level and by band.
    pub(crate) levels: BTreeMap<String, usize>,
    pub(crate) bands: BTreeMap<String, usize>,
    pub(crate) bytes_of_jp2: u64,
    pub(crate) rows_with_packets: usize,
}

/// Sums up the index that `text` names, and counts its files that could not be read.
///
/// # Errors
/// Where it has no files, or they cannot be listed.
pub(crate) fn contents(text: &str, caller: &Caller<'_>, report: &dyn Report) -> Result<(IndexContents, usize)> {
    let files = shards(text, caller)?;
    let (mut described, mut bytes, mut failed) = (Described::default(), 0, 0);
    report.begin(files.len());
    for location in &files {
        let read = open_index(location, caller).and_then(|file| {
            bytes += file.size();
            describe_index(&file, &mut described)
        });
        report.step(read.as_ref().err());
        failed += usize::from(read.is_err());
    }
    report.end();
    Ok((IndexContents::new(text, files.len(), bytes, described), failed))
}

impl IndexContents {
    fn new(index: &str, files: usize, bytes: u64, described: Described) -> Self {
        let Described { rows, row_groups, levels, bands, products, tiles, days, file_bytes, with_packets } = described;
        let day = |day: &str| format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..8]);
        Self {
            index: index.to_owned(),
            files,
            bytes,
            rows,
            row_groups,
            bytes_a_row: bytes as f64 / rows.max(1) as f64,
            products: products.len(),
            tiles: tiles.len(),
            first_day: days.as_ref().map(|(first, _)| day(first)),
            last_day: days.as_ref().map(|(_, last)| day(last)),
            levels,
            bands,
            bytes_of_jp2: file_bytes,
            rows_with_packets: with_packets,
        }
    }
}
