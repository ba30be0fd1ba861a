//! Folders of this machine: SAFE products by their manifests, and whatever other JP2s lie in them.

use std::path::{Path, PathBuf};

use super::{Found, Input, Selection, safe};
use crate::error::Result;
use crate::path::{Location, is_jp2_name};
use crate::source::local_meta;

/// Deeper folders are no archive but a loop.
const MOST_DEPTH: u32 = 32;

/// What is wanted of the files below `folder`.
pub(super) fn expand(folder: &Path, selection: &Selection) -> Result<Found> {
    let mut found = Found::default();
    let mut loose = Vec::new();
    walk(folder, 0, selection, &mut found, &mut loose);
    let loose: Vec<Input> = loose.into_iter().map(|path| file(&path)).collect();
    // Products that could be read, or failed by themselves, are enough.
    if loose.is_empty() && !(found.inputs.is_empty() && found.failures.is_empty()) {
        return Ok(found);
    }
    found.add(selection.pick(&folder.display().to_string(), loose)?);
    Ok(found)
}

/// The JP2s below a folder, in the order of their names: those of products into `found`, others into `loose`.
fn walk(folder: &Path, depth: u32, selection: &Selection, found: &mut Found, loose: &mut Vec<PathBuf>) {
    if folder.join(safe::MANIFEST).is_file() {
        match safe::expand_local(folder, selection) {
            Ok(product) => found.add(product),
            Err(error) => found.fail(folder.display().to_string(), error),
        }
        return;
    }
    // A product without its manifest keeps its images below GRANULE; the rest of it is reports and previews.
    let granule = folder.join("GRANULE");
    let folder = if granule.is_dir() { &granule } else { folder };
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if depth < MOST_DEPTH {
                walk(&path, depth + 1, selection, found, loose);
            }
        } else if is_jp2_name(&path.to_string_lossy()) {
            loose.push(path);
        }
    }
}

/// A file of this machine, with its size and date.
fn file(path: &Path) -> Input {
    Input { seen: local_meta(path).ok(), ..Input::new(Location::Local(path.to_owned())) }
}
