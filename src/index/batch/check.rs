//! An index file as a whole: checked, and described.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::Result;
use crate::index::file::pages::read_ahead;
use crate::index::file::read::IndexFile;
use crate::index::format::columns::{Column, Paged};
use crate::index::format::schema::ROWS;
use crate::index::row::partition::partition_of;
use crate::index::row::record::{Record, RecordKey};
use crate::index::row::stored::read_group;
use crate::path::{level_of, sensing_day};

/// What [`check_index`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) rows: usize,
    /// What is wrong, and where.
    pub(crate) problems: Vec<String>,
}

/// More problems of one file are not reported.
const MOST_PROBLEMS: usize = 1000;

/// Checks an index file: the order of its rows, its row groups and their statistics, and that each row's table fits itself
/// and its header. `folder` is the partition that the file's folder says it is of. (The schema was checked when it was
/// opened.)
pub(crate) fn check_index(file: &Arc<IndexFile>, folder: Option<&str>) -> Checked {
    let mut checked = Checked::default();
    let mut last: Option<(RecordKey, Option<u64>)> = None;
    for group in 0..file.groups() {
        let mut warnings = Vec::new();
        let rows = match read_group(file, group, &mut warnings) {
            Ok(rows) => rows,
            Err(error) => {
                checked.problem(format!("row group {group} cannot be read: {}", error.root().chain()));
                continue;
            }
        };
        checked.rows += rows.len();
        // Where this fails, so does reading each.
        let _ = read_ahead(file, group, Paged::Packets);
        warnings.iter().for_each(|error| checked.problem(error.root().chain()));
        if rows.len() > ROWS {
            let length = rows.len();
            checked.problem(format!(
                "row group {group} has {length} rows: a look-up reads a whole one, of {ROWS} at best"
            ));
        }
        let bounds = file.products(group);
        for (number, row) in rows.into_iter().enumerate() {
            let at = format!("row {number} of row group {group} ({} {})", row.key.product_id, row.key.band_id);
            let product = row.key.product_id.as_bytes();
            if bounds.is_some_and(|(least, greatest)| product < least || greatest < product) {
                checked.problem(format!("{at}: outside of what its row group's statistics say, so it is not found"));
            }
            if let Some((key, size)) = &last {
                if *key > row.key {
                    checked.problem(format!("{at}: not in order, so look-ups read more row groups than they need"));
                }
                if *key == row.key && *size == row.file_size && !row.key.product_id.is_empty() {
                    checked.problem(format!("{at}: there twice"));
                }
            }
            last = Some((row.key.clone(), row.file_size));
            if folder.is_some_and(|folder| partition_of(&row.key).as_deref() != Some(folder)) {
                checked.problem(format!("{at}: not of its folder's level, tile and year, so it is not found"));
            }
            if let Some(cover) = row.cloud_cover.filter(|cover| !(0.0..=100.0).contains(cover)) {
                checked.problem(format!("{at}: a cloud cover of {cover} %"));
            }
            if let Err(error) = row.record().and_then(|record| check_record(&record)) {
                checked.problem(format!("{at}: {}", error.chain()));
            }
        }
    }
    checked
}

impl Checked {
    fn problem(&mut self, what: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(what);
        }
    }
}

/// Checks a row's table against its header, which rows of v1 do not have, and the lengths of its packets against both.
fn check_record(record: &Record) -> Result<()> {
    if record.is_of_tiff() {
        return record.tiff().map(drop);
    }
    if let Some(header) = &record.header {
        record.structure(header, record.file_size.unwrap_or(0))?;
    }
    record.packets.as_ref().map_or(Ok(()), |packets| packets.lengths(&record.parts).map(drop))
}

/// What an index holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) rows: usize,
    pub(crate) row_groups: usize,
    /// By level, `L2A`; an empty name where none is known.
    pub(crate) levels: BTreeMap<String, usize>,
    /// By band and resolution as rows call them.
    pub(crate) bands: BTreeMap<String, usize>,
    pub(crate) products: BTreeSet<String>,
    pub(crate) tiles: BTreeSet<String>,
    /// The first and the last day of sensing, as `20241016`.
    pub(crate) days: Option<(String, String)>,
    /// The bytes of all files.
    pub(crate) file_bytes: u64,
    /// The rows that record how long their packets are.
    pub(crate) with_packets: usize,
}

/// Adds what an index file holds to `described`. Reads the key columns and the sizes alone.
///
/// # Errors
/// [`crate::error::Error::Index`] where it cannot be decoded; whatever reading it fails with.
pub(crate) fn describe_index(file: &Arc<IndexFile>, described: &mut Described) -> Result<()> {
    const COLUMNS: [Column; 5] =
        [Column::ProductId, Column::BandId, Column::MgrsTile, Column::FileSize, Column::PacketCount];
    for group in 0..file.groups() {
        let chunks = file.fetch(&[group], &COLUMNS)?;
        let rows: Vec<usize> = (0..file.rows(group)).collect();
        let text = |column| chunks.text(group, column, &rows);
        let (products, bands, tiles) = (text(Column::ProductId)?, text(Column::BandId)?, text(Column::MgrsTile)?);
        let sizes = chunks.numbers(group, Column::FileSize, &rows)?;
        let packets = chunks.numbers(group, Column::PacketCount, &rows)?;
        described.with_packets += packets.iter().flatten().count();
        let key = products.into_iter().zip(bands).zip(tiles).zip(sizes);
        for (((product, band), tile), size) in key {
            let product = product.unwrap_or_default();
            *described.levels.entry(level_of(&product).unwrap_or_default().to_owned()).or_default() += 1;
            *described.bands.entry(band.unwrap_or_default()).or_default() += 1;
            described.tiles.extend(tile.filter(|tile| !tile.is_empty()));
            described.file_bytes += size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            if let Some(day) = sensing_day(&product) {
                let (first, last) = described.days.get_or_insert_with(|| (day.to_owned(), day.to_owned()));
                if *day < **first {
                    *first = day.to_owned();
                }
                if *day > **last {
                    *last = day.to_owned();
                }
            }
            described.products.insert(product);
        }
        described.rows += rows.len();
        described.row_groups += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::format::schema::Carried;
    use crate::index::lookup::find::tests::record;
    use crate::index::row::stored::StoredRow;
    use crate::index::row::write::{build_index, build_index_of};

    const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";

    fn file(records: &[Record]) -> Arc<IndexFile> {
        IndexFile::from_bytes("x", build_index(records).unwrap().into()).unwrap().into()
    }

    fn problems(records: &[Record], folder: Option<&str>) -> Vec<String> {
        check_index(&file(records), folder).problems
    }

    /// A row without a header, since the made one is not valid.
    fn row(band: &str, resolution: u32) -> Record {
        Record { header: None, ..record(PRODUCT, band, resolution) }
    }

    #[test]
    fn a_good_index_has_no_problems() {
        let rows: Vec<_> = (0..300).map(|n| row(&format!("X{n:03}"), 10)).collect();
        let checked = check_index(&file(&rows), Some("level=L2A/tile=31UDQ/year=2024"));
        assert_eq!(checked, Checked { rows: 300, problems: Vec::new() });
    }

    #[test]
    fn what_is_wrong_is_told_by_its_row() {
        let is = |records: &[Record], folder: Option<&str>, what: &str| {
            let problems = problems(records, folder);
            assert!(problems.len() == 1 && problems[0].contains(what), "{what}: {problems:?}");
        };
        is(&[row("B03", 10), row("B02", 10)], None, "not in order");
        is(&[row("B02", 10), row("B02", 10)], None, "there twice");
        is(&[row("B02", 10)], Some("level=L2A/tile=31UDQ/year=2023"), "folder's");
        is(&[record(PRODUCT, "B02", 10)], None, "row 0 of row group 0");
        let cloudy = StoredRow { cloud_cover: Some(120.0), ..StoredRow::from(&row("B02", 10)) };
        let bytes = build_index_of(std::iter::once(Ok(cloudy)), Carried::default()).unwrap();
        let file = IndexFile::from_bytes("x", bytes.into()).unwrap();
        assert!(check_index(&file.into(), None).problems[0].contains("a cloud cover of 120 %"));
        let mut beyond = row("B02", 10);
        beyond.file_size = Some(1000);
        is(&[beyond], None, "runs past the end");
    }

    #[test]
    fn an_index_is_described() {
        let older = PRODUCT.replace("2024", "2023");
        let rows = [record(&older, "B02", 10), row("B02", 10), row("B05", 20)];
        let mut described = Described::default();
        describe_index(&file(&rows), &mut described).unwrap();
        assert_eq!((described.rows, described.row_groups, described.products.len()), (3, 1, 2));
        assert_eq!(described.levels, [("L2A".to_owned(), 3)].into());
        assert_eq!(described.bands, [("B02".to_owned(), 2), ("B05".to_owned(), 1)].into());
        assert_eq!(described.days, Some(("20231016".into(), "20241016".into())));
        assert_eq!(described.file_bytes, rows.iter().filter_map(|row| row.file_size).sum::<u64>());
    }
}
