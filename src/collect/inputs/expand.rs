//! From arguments to files.

use std::io::BufRead;

use super::input::{Expanded, Input};
use super::selection::Selection;
use super::slice::Slice;
use super::{aws, folder, listing, safe, stac, store};
use crate::collect::parallel::side_by_side;
use crate::collect::place::locate;
use crate::error::{Error, Result};
use crate::path::{Location, product_name};
use crate::source::Caller;

/// The JP2s and TIFFs that the arguments name, in their order, and what names none. `-` reads one input a line from `list`. A
/// slice takes its part of what is named, so that no other worker's manifests are read, or of the files where that is too
/// little to share.
pub(in crate::collect) fn expand(
    arguments: &[String],
    list: impl BufRead,
    slice: Option<Slice>,
    selection: &Selection,
    caller: &Caller<'_>,
) -> (Vec<Input>, Vec<(String, Error)>) {
    let mut all = Expanded::default();
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

fn expand_one(text: &str, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
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
        // Whatever a file of this machine is called, scanning finds out whether it is one.
        Location::Local(path) => Ok(Expanded { inputs: vec![folder::file(path)], ..Expanded::default() }),
        _ if location.is_image() && !is_folder => {
            Ok(Expanded { inputs: vec![Input::new(location)], ..Expanded::default() })
        }
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
            what: "its name is not that of a JP2 (.jp2, .j2k, .j2c, .jpx), a TIFF (.tif, .tiff), a SAFE product, a STAC \
                   document (.json, .geojson, .parquet), or a prefix of an object store (s3://bucket/prefix/, ending in \
                   a slash)"
                .to_owned(),
        }),
    }
}

/// Whether a path is that of a product's folder.
fn is_safe(path: &str) -> bool {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    name.to_ascii_uppercase().ends_with(".SAFE") && product_name(name).is_some()
}
