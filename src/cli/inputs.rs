//! From what the user names to JP2 files: files, folders, SAFE products, URLs, lists.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::locate;
use crate::error::{Error, Result};
use crate::path::{Key, Location, is_jp2_name, key_of_names};

/// One JP2 to scan.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Where it lies.
    pub(super) location: Location,
    /// What the index calls it.
    pub(super) key: Option<Key>,
    /// Its key in its archive, without scheme and bucket.
    pub(super) path: String,
}

/// The JP2 files that the arguments name, and what names none. `-` reads one input a line from `list`.
pub(super) fn expand(arguments: &[String], list: impl BufRead) -> (Vec<Input>, Vec<(String, Error)>) {
    let (mut inputs, mut failures) = (Vec::new(), Vec::new());
    let mut take = |text: &str| match expand_one(text) {
        Ok(found) => inputs.extend(found),
        Err(error) => failures.push((text.to_owned(), error)),
    };
    let mut list = Some(list);
    for argument in arguments {
        let lines = if argument == "-" { list.take() } else { None };
        let Some(lines) = lines else {
            if argument != "-" {
                take(argument);
            }
            continue;
        };
        for line in lines.lines() {
            match line {
                Ok(line) if line.trim().is_empty() || line.starts_with('#') => {}
                Ok(line) => take(line.trim()),
                Err(error) => {
                    take("");
                    super::complain(&format!("standard input: {error}"));
                    break;
                }
            }
        }
    }
    (inputs, failures)
}

fn expand_one(text: &str) -> Result<Vec<Input>> {
    let location = locate(text)?;
    let bad = |what: &str| Err(Error::Path { path: location.display(), what: what.to_owned() });
    let Location::Local(path) = &location else {
        if !location.is_jp2() {
            return bad("its name is not that of a JP2 (.jp2, .j2k, .j2c, .jpx): name the files one by one");
        }
        return Ok(vec![Input { key: crate::path::key_of(&location), path: location.archive_path(), location }]);
    };
    if !path.is_dir() {
        return Ok(vec![local(path)]);
    }
    // A SAFE product keeps its images below GRANULE; the rest of it is reports and previews.
    let granule = path.join("GRANULE");
    let mut files = Vec::new();
    walk(if granule.is_dir() { &granule } else { path }, 0, &mut files);
    if files.is_empty() {
        return bad("no JP2 file in this folder");
    }
    Ok(files.iter().map(|file| local(file)).collect())
}

/// A file of this machine: the names of the folders that it really lies in tell the product.
fn local(path: &Path) -> Input {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // A link keeps its own name where that tells more than the name it leads to.
    let named = path.parent().and_then(|parent| parent.canonicalize().ok()).zip(path.file_name());
    let named = named.map_or(whole, |(parent, name)| parent.join(name));
    let location = Location::Local(path.to_owned());
    Input { key: key_of_names(&named.to_string_lossy()), path: Location::Local(named).archive_path(), location }
}

/// Deeper folders are no archive but a loop.
const MOST_DEPTH: u32 = 32;

/// The JP2 files below a folder, in the order of their names.
fn walk(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if depth < MOST_DEPTH {
                walk(&path, depth + 1, files);
            }
        } else if is_jp2_name(&path.to_string_lossy()) {
            files.push(path);
        }
    }
}
