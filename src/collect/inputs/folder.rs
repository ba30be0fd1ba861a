//! Folders of this machine: SAFE products by their manifests, and whatever other JP2s and TIFFs lie in them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::input::{Expanded, Input};
use super::safe;
use super::selection::Selection;
use crate::error::{Error, Result};
use crate::path::{Location, is_image_name};
use crate::source::local_meta;

/// Deeper folders are no archive.
const MOST_DEPTH: u32 = 32;

/// What is wanted of the files below `folder`.
///
/// # Errors
/// [`crate::error::Error::Path`] where there is nothing in it.
pub(super) fn expand(folder: &Path, selection: &Selection) -> Result<Expanded> {
    let mut walk = Walk { selection, found: Expanded::default(), loose: Vec::new(), been: HashSet::new() };
    walk.walk(folder, 0);
    let Walk { mut found, loose, .. } = walk;
    // Products that could be read, or failed by themselves, are enough.
    if loose.is_empty() && !(found.inputs.is_empty() && found.failures.is_empty()) {
        return Ok(found);
    }
    found.add(selection.pick(&folder.display().to_string(), loose)?);
    Ok(found)
}

struct Walk<'a> {
    selection: &'a Selection,
    /// Files of products that have a manifest.
    found: Expanded,
    /// Other JP2s and TIFFs.
    loose: Vec<Input>,
    /// Folders that links lead to again.
    been: HashSet<PathBuf>,
}

impl Walk<'_> {
    /// Takes what lies below a folder, in the order of the names.
    fn walk(&mut self, folder: &Path, depth: u32) {
        let is_new = folder.canonicalize().is_ok_and(|folder| self.been.insert(folder));
        if !is_new || depth > MOST_DEPTH {
            return;
        }
        if folder.join(safe::MANIFEST).is_file() {
            match safe::expand_local(folder, self.selection) {
                Ok(product) => self.found.add(product),
                Err(error) => self.found.fail(folder.display().to_string(), error),
            }
            return;
        }
        // A product without its manifest keeps its images below GRANULE; the rest of it is reports and previews.
        let granule = folder.join("GRANULE");
        let folder = if granule.is_dir() { &granule } else { folder };
        let mut entries: Vec<_> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) => {
                return self
                    .found
                    .fail(folder.display().to_string(), Error::read(format!("it cannot be read: {error}")));
            }
        };
        entries.sort();
        for path in entries {
            if path.is_dir() {
                self.walk(&path, depth + 1);
            } else if is_image_name(&path.to_string_lossy()) {
                self.loose.push(file(&path));
            }
        }
    }
}

/// A file of this machine, with its size and date.
pub(super) fn file(path: &Path) -> Input {
    Input { seen: local_meta(path).ok(), ..Input::new(Location::Local(path.to_owned())) }
}
