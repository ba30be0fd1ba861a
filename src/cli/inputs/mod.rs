//! From what the user names to JP2 files, with what is known of them without asking.
//!
//! | named | is | by |
//! |---|---|---|
//! | a JP2 | itself, whatever it is called | |
//! | a folder | the products and JP2s in it | `folder` |
//! | a SAFE product, here or elsewhere | what its manifest names | `safe` |
//! | `s3://bucket/prefix/`, `gs://`, `az://` | what lies there | `listing` |
//! | `.json`, `.geojson`, `.parquet` | the assets of STAC items | `stac` |
//! | a product's name | the product in the archive of `--store` | `store` |
//! | `-` | what standard input names, one a line | |
//!
//! Of products only what is wanted is taken (`selection`). Where paths do not tell the product, as in AWS's layout, a
//! file beside the bands does (`aws`). What cannot be used is a failure with its name, and the rest goes on.

mod aws;
mod checksum;
mod folder;
mod listing;
mod safe;
mod selection;
mod slice;
mod stac;
mod store;

use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) use checksum::Checksum;
pub(super) use selection::Selection;
pub(super) use slice::Slice;

use super::locate;
use crate::error::{Error, Result, ResultExt};
use crate::path::{Key, Location, ProductName, key_of_names, product_name};
use crate::source::{Caller, Meta, read_whole};

/// Arguments that are expanded at the same time: manifests and documents are waited for.
const SIDE_BY_SIDE: usize = 16;

/// One JP2 to scan.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Where it lies.
    pub(super) location: Location,
    /// What the index calls it.
    pub(super) key: Option<Key>,
    /// Its key in its archive, without scheme and bucket.
    pub(super) path: String,
    /// Size, ETag and date, where a listing, a look at the disk or a manifest has told them without a request. The file
    /// must have that size when it is scanned: a copy of a product that is not whole has others than its manifest says.
    pub(super) seen: Option<Meta>,
    /// What its bytes must sum up to, where a manifest says so.
    pub(super) checksum: Option<Checksum>,
}

impl Input {
    /// The file at `location`, by its names.
    fn new(location: Location) -> Self {
        let (key, path) = match &location {
            Location::Local(_) => {
                let names = names(&location);
                (key_of_names(&names), Location::Local(names.into()).archive_path())
            }
            elsewhere => (crate::path::key_of(elsewhere), elsewhere.archive_path()),
        };
        Self { location, key, path, seen: None, checksum: None }
    }

    /// The same as a file of the product `product`.
    fn of_product(self, product: &str) -> Self {
        let key = match self.key {
            // What archives spell in their own ways has been read.
            Some(key) if matches!(key.product, ProductName::Sensed { .. }) => {
                Some(Key { product: ProductName::Full(product.to_owned()), ..key })
            }
            _ => key_of_names(&format!("{product}.SAFE/{}", names(&self.location))),
        };
        Self { key, ..self }
    }
}

/// The path whose folders and name tell what a file is. For a file of this machine those are the folders that it really
/// lies in; a link keeps its own name, where that tells more than the name it leads to.
fn names(location: &Location) -> String {
    let Location::Local(path) = location else { return location.file_path().into_owned() };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let real = folder.canonicalize().ok().zip(path.file_name()).map(|(folder, name)| folder.join(name));
    real.as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// What became of something that was named: files, and what could not be used of it.
#[derive(Debug, Default)]
struct Found {
    inputs: Vec<Input>,
    failures: Vec<(String, Error)>,
}

impl Found {
    fn add(&mut self, other: Found) {
        self.inputs.extend(other.inputs);
        self.failures.extend(other.failures);
    }

    fn fail(&mut self, name: impl Into<String>, error: Error) {
        self.failures.push((name.into(), error));
    }
}

/// The JP2 files that the arguments name, in their order, and what names none. `-` reads one input a line from `list`. A
/// slice takes its part of what is named, so that no other worker's manifests are read, or of the files where that is too
/// little to share.
pub(super) fn expand(
    arguments: &[String],
    list: impl BufRead,
    slice: Option<Slice>,
    selection: &Selection,
    caller: &Caller<'_>,
) -> (Vec<Input>, Vec<(String, Error)>) {
    let mut all = Found::default();
    let mut named = Vec::new();
    let mut list = Some(list);
    for argument in arguments {
        if argument != "-" {
            named.push(argument.clone());
            continue;
        }
        for line in list.take().into_iter().flat_map(BufRead::lines) {
            match line {
                Ok(line) if line.trim().is_empty() || line.starts_with('#') => {}
                Ok(line) => named.push(line.trim().to_owned()),
                Err(error) => {
                    all.fail("standard input", Error::read(format!("it cannot be read on: {error}")));
                    break;
                }
            }
        }
    }
    let shares_names = slice.is_some_and(|slice| named.len() >= slice.parts());
    if let Some(slice) = slice.filter(|_| shares_names) {
        named = slice.take(named);
    }
    for (name, found) in named.iter().zip(side_by_side(&named, |text| expand_one(text, selection, caller))) {
        match found {
            Ok(found) => all.add(found),
            Err(error) => all.fail(crate::path::without_secrets(name), error),
        }
    }
    if let Some(slice) = slice.filter(|_| !shares_names) {
        all.inputs = slice.take(all.inputs);
    }
    aws::name_products(&mut all, caller);
    (all.inputs, all.failures)
}

/// Does `work` for every item, several at a time, and gives what came of them in their order.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let one_by_one = || {
        let mut done = Vec::new();
        while let Some((number, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, items.get(n)?)))
        {
            done.push((number, work(item)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE.min(items.len())).map(|_| scope.spawn(one_by_one)).collect();
        // A panic goes on here.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn expand_one(text: &str, selection: &Selection, caller: &Caller<'_>) -> Result<Found> {
    let location = locate(text)?;
    if let Location::Local(path) = &location {
        if path.is_dir() {
            return folder::expand(path, selection);
        }
        let name = product_name(text).filter(|name| !path.exists() && [name, &*format!("{name}.SAFE")].contains(&text));
        match (name, &selection.store) {
            (Some(name), Some(store)) => return store::expand(name, store, selection, caller),
            (Some(_), None) => {
                let what = "there is no such folder here: name the archive with --store, or write where it lies";
                return Err(Error::Product { what: what.to_owned() });
            }
            (None, _) => {}
        }
    }
    let name = location.file_path().into_owned();
    let is_folder = name.ends_with('/');
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("json" | "geojson") => return stac::expand_json(&location, selection, caller),
        Some("parquet") => return stac::expand_parquet(&location, selection, caller),
        _ => {}
    }
    match &location {
        // Whatever a file of this machine is called, scanning tells whether it is one.
        Location::Local(path) => Ok(Found { inputs: vec![folder::file(path)], ..Found::default() }),
        _ if location.is_jp2() && !is_folder => Ok(Found { inputs: vec![Input::new(location)], ..Found::default() }),
        _ if is_safe(&name) => match safe::expand(&location, selection, caller) {
            // Copies may lack the manifest; what is there can be listed, where listing is possible.
            Err(error) if matches!(error.root(), Error::NotFound { .. }) && listing::is_possible(&location) => {
                listing::expand(&location, selection, caller)
            }
            outcome => outcome,
        },
        _ if is_folder && listing::is_possible(&location) => listing::expand(&location, selection, caller),
        _ => Err(Error::Path {
            path: location.display(),
            what: "its name is not that of a JP2 (.jp2, .j2k, .j2c, .jpx), a SAFE product, a STAC document (.json, \
                   .geojson, .parquet), or a prefix of an object store (s3://bucket/prefix/, ending in a slash)"
                .to_owned(),
        }),
    }
}

/// Whether a path is that of a product's folder.
fn is_safe(path: &str) -> bool {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    name.to_ascii_uppercase().ends_with(".SAFE") && product_name(name).is_some()
}

/// The bytes of a document of at most `most` bytes.
fn read(location: &Location, most: u64, caller: &Caller<'_>) -> Result<bytes::Bytes> {
    caller.source(location).and_then(|source| read_whole(&*source, most)).in_file(&location.display())
}

#[cfg(test)]
mod tests;
