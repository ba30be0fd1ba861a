//! `vsitlm validate`: an index held against itself, and a sample of its rows against the files.

use serde_json::json;

use super::progress::Progress;
use super::shards::{open_index, shards};
use super::{locate, print};
use crate::error::{Error, Result, ResultExt};
use crate::index::{Checked, Record, check_index, read_group};
use crate::jp2::{SOT_LENGTH, Sot};
use crate::path::{Key, Location, ProductName, Store, key_of_names};
use crate::source::{Caller, SourceOffset, same_etag};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The index: a file, or a folder or prefix of files
    index: String,
    /// Hold a sample of the rows against the files: cdse, gcs, aws, or a base such as /vsis3/eodata or /data/s2
    #[arg(long, value_name = "STORE")]
    against: Option<String>,
    /// How many rows the sample has, spread over the index
    #[arg(long, value_name = "N", default_value_t = 100, requires = "against")]
    sample: usize,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Whether nothing is wrong.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let caller = Caller::of_environment();
    let store = arguments.against.as_deref().map(|text| {
        Store::parse(text).ok_or_else(|| Error::Option {
            name: "--against",
            value: text.to_owned(),
            expected: Store::EXPECTED,
        })
    });
    let store = store.transpose()?;
    let files = shards(&arguments.index, &caller)?;
    let progress = Progress::new(files.len());
    let (mut rows, mut problems) = (0usize, Vec::new());
    for location in &files {
        let name = location.display();
        let checked = open_index(location, &caller).map(|file| check_index(&file, folder(location).as_deref()));
        progress.step(checked.as_ref().err());
        match checked {
            Ok(Checked { rows: count, problems: found }) => {
                rows += count;
                problems.extend(found.into_iter().map(|problem| (name.clone(), problem)));
            }
            Err(error) => problems.push((name, error.root().chain())),
        }
    }
    progress.finish();
    let mut compared = 0;
    if let Some(store) = &store {
        compared = compare(&files, store, rows, arguments.sample, &caller, &mut problems)?;
    }
    if arguments.json {
        let found: Vec<_> = problems.iter().map(|(file, what)| json!({"file": file, "problem": what})).collect();
        print(&json!({"files": files.len(), "rows": rows, "compared": compared, "problems": found}).to_string());
    } else {
        for (file, what) in &problems {
            print(&format!("{file}: {what}"));
        }
        let sample = if store.is_some() { format!(", {compared} held against their files") } else { String::new() };
        print(&format!("{} files, {rows} rows{sample}: {} problems", files.len(), problems.len()));
    }
    Ok(problems.is_empty())
}

/// The partition that a file's folder says it is of: `level=L2A/tile=31UDQ/year=2024`.
fn folder(location: &Location) -> Option<String> {
    let path = location.display();
    let parts: Vec<&str> = path.rsplit('/').skip(1).take(3).collect();
    let [year, tile, level] = parts[..] else { return None };
    let is_partition = level.starts_with("level=") && tile.starts_with("tile=") && year.starts_with("year=");
    is_partition.then(|| format!("{level}/{tile}/{year}"))
}

/// Holds `sample` rows, spread evenly over all, against their files below `store`: sizes, ETags where the row was made
/// from there, and the first SOT. Gives how many were compared.
fn compare(
    files: &[Location],
    store: &Store,
    rows: usize,
    sample: usize,
    caller: &Caller<'_>,
    problems: &mut Vec<(String, String)>,
) -> Result<usize> {
    let step = rows.div_ceil(sample.max(1)).max(1);
    let progress = Progress::new(rows.div_ceil(step));
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
                progress.step(outcome.as_ref().err());
                if let Err(error) = outcome {
                    problems.push((record.path.clone(), error.root().chain()));
                }
            }
        }
    }
    progress.finish();
    Ok(compared)
}

/// Holds a row against its file below `store`: the first of the places where it can lie that has a file.
fn check_file(record: &Record, store: &Store, caller: &Caller<'_>) -> Result<()> {
    let places = store.locate(&key_of(record)?, &record.path).in_file(&record.path)?;
    let mut outcome = Err(Error::not_found());
    for place in places {
        let location = locate(&place)?;
        let name = location.display();
        outcome = caller.source(&location).and_then(|source| {
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
        });
        outcome = outcome.in_file(&name);
        // Another place can only be right where nothing lies at this one.
        if !matches!(&outcome, Err(error) if matches!(error.root(), Error::NotFound { .. })) {
            break;
        }
    }
    outcome
}

/// What the row calls its file: its path tells band and resolution, its product's name the rest.
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
