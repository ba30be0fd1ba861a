//! An index checked in itself, and a sample of its rows against the files.

use serde::Serialize;

use super::place::locate;
use super::report::Report;
use super::shards::{open_index, shards};
use crate::error::{Error, Result, ResultExt};
use crate::index::{Checked, Record, check_index, read_group};
use crate::jp2::{SOT_LENGTH, Sot};
use crate::path::{Key, Location, ProductName, Store, key_of_names};
use crate::source::{Caller, Source, SourceOffset, same_etag};

/// What is wrong with an index file, or with a row.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// The index file, or the JP2 that the row is of.
    pub(crate) file: String,
    pub(crate) problem: String,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    pub(crate) files: usize,
    pub(crate) rows: usize,
    /// Rows that were checked against their files.
    pub(crate) compared: usize,
    pub(crate) problems: Vec<Problem>,
}

/// Checks the index that `text` names; with a store also as many rows as the sample has, against their files there.
///
/// # Errors
/// Where it has no files, or they cannot be listed.
pub(crate) fn validate(
    text: &str,
    against: Option<(&Store, usize)>,
    caller: &Caller<'_>,
    report: &dyn Report,
) -> Result<Findings> {
    let files = shards(text, caller)?;
    let (mut rows, mut problems) = (0, Vec::new());
    report.begin(files.len());
    for location in &files {
        let name = location.display();
        let checked = open_index(location, caller).map(|file| check_index(&file, folder(location).as_deref()));
        report.step(checked.as_ref().err());
        match checked {
            Ok(Checked { rows: count, problems: found }) => {
                rows += count;
                problems.extend(found.into_iter().map(|problem| Problem { file: name.clone(), problem }));
            }
            Err(error) => problems.push(Problem { file: name, problem: error.root().chain() }),
        }
    }
    report.end();
    let compared = match against {
        Some((store, sample)) => compare(&files, store, rows, sample, caller, report, &mut problems)?,
        None => 0,
    };
    Ok(Findings { files: files.len(), rows, compared, problems })
}

/// The partition that a file's folder says it is of: `level=L2A/tile=31UDQ/year=2024`.
fn folder(location: &Location) -> Option<String> {
    let path = location.display();
    let parts: Vec<&str> = path.rsplit('/').skip(1).take(3).collect();
    let [year, tile, level] = parts[..] else { return None };
    let is_partition = level.starts_with("level=") && tile.starts_with("tile=") && year.starts_with("year=");
    is_partition.then(|| format!("{level}/{tile}/{year}"))
}

/// Checks `sample` rows, spread evenly over all, against their files below `store`: sizes, ETags where the row was made
/// from there, and the first SOT. Gives how many were checked.
fn compare(
    files: &[Location],
    store: &Store,
    rows: usize,
    sample: usize,
    caller: &Caller<'_>,
    report: &dyn Report,
    problems: &mut Vec<Problem>,
) -> Result<usize> {
    let step = rows.div_ceil(sample.max(1)).max(1);
    report.begin(rows.div_ceil(step));
    let (mut number, mut compared) = (0usize, 0);
    for location in files {
        let Ok(file) = open_index(location, caller) else { continue };
        for group in 0..file.groups() {
            let first = number;
            number += file.rows(group);
            let wanted = first.next_multiple_of(step)..number;
            if wanted.is_empty() {
                continue;
            }
            let Ok(rows) = read_group(&file, group, &mut Vec::new()) else { continue };
            for row in wanted.step_by(step).filter_map(|number| rows.get(number - first)) {
                let Ok(record) = row.clone().record() else { continue };
                compared += 1;
                let outcome = check_file(&record, store, caller);
                report.step(outcome.as_ref().err());
                if let Err(error) = outcome {
                    problems.push(Problem { file: record.path.clone(), problem: error.root().chain() });
                }
            }
        }
    }
    report.end();
    Ok(compared)
}

/// Checks a row against its file below `store`: the first of the places where it can lie that has a file.
fn check_file(record: &Record, store: &Store, caller: &Caller<'_>) -> Result<()> {
    let places = store.locate(&key_of(record)?, &record.path).in_file(&record.path)?;
    let mut outcome = Err(Error::not_found());
    for place in places {
        let location = locate(&place)?;
        let name = location.display();
        outcome = caller.source(&location).and_then(|source| check_row(record, &*source));
        outcome = outcome.in_file(&name);
        // Another place can only be right where nothing lies at this one.
        if !matches!(&outcome, Err(error) if matches!(error.root(), Error::NotFound { .. })) {
            break;
        }
    }
    outcome
}

/// Checks a row against a file that it may be of.
fn check_row(record: &Record, source: &dyn Source) -> Result<()> {
    let changed = |what: String| Error::Changed { what };
    let meta = source.head()?;
    if record.file_size.is_some_and(|size| size != meta.size) {
        let size = record.file_size.unwrap_or(0);
        return Err(changed(format!("the row is of {size} bytes, the file has {}", meta.size)));
    }
    let is_origin = record.origin.as_deref() == Some(source.origin());
    if let (Some(was), Some(is), true) = (&record.etag, &meta.etag, is_origin)
        && !same_etag(was, is)
    {
        return Err(changed(format!("the row is of ETag {was}, the file has {is}")));
    }
    if record.is_of_tiff() {
        let another = || changed("the file has another header than the row".to_owned());
        return record.is_header_of(source)?.then_some(()).ok_or_else(another);
    }
    let Some(first) = record.parts.first() else { return Ok(()) };
    let mut bytes = [0; SOT_LENGTH as usize];
    source.read_into(SourceOffset(first.offset), &mut bytes)?;
    let sot = Sot::parse(&bytes, first.offset)?;
    if sot.tile != first.tile || (sot.length != first.length && sot.length != 0) {
        return Err(changed(format!(
            "by the row tile {} has {} bytes at {}, by its SOT tile {} has {}",
            first.tile, first.length, first.offset, sot.tile, sot.length
        )));
    }
    Ok(())
}

/// What the row calls its file: its path names band and resolution, its product's name the rest.
fn key_of(record: &Record) -> Result<Key> {
    let nameless = || Error::Row { what: "it has no path".to_owned() };
    let named = key_of_names(&record.path).ok_or_else(nameless)?;
    let product =
        key_of_names(&format!("{}.SAFE/x.jp2", record.key.product_id)).map(|key| (key.product, key.mgrs_tile));
    Ok(match product {
        Some((product @ ProductName::Full(_), tile)) => {
            Key { product, mgrs_tile: named.mgrs_tile.clone().or(tile), ..named }
        }
        _ => named,
    })
}
