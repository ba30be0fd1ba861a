//! A file to scan, and what became of something that was named.

use std::path::Path;

use super::checksum::Checksum;
use crate::error::Error;
use crate::path::{Key, Location, ProductName, key_of_names};
use crate::source::Meta;

/// One JP2 or TIFF to scan.
#[derive(Debug, Clone)]
pub(in crate::collect) struct Input {
    /// Where it lies.
    pub(in crate::collect) location: Location,
    /// What the index calls it.
    pub(in crate::collect) key: Option<Key>,
    /// Its key in its archive, without scheme and bucket.
    pub(in crate::collect) path: String,
    /// Size, ETag and date, where a listing, a look at the disk or a manifest has given them without a request. The file
    /// must have that size when it is scanned: a copy of a product that is not whole has others than its manifest says.
    pub(in crate::collect) seen: Option<Meta>,
    /// The cloud cover of its tile in percent, where a STAC item tells it.
    pub(in crate::collect) cloud_cover: Option<f64>,
    /// When its image was taken, in microseconds since 1970-01-01 UTC, where a STAC item tells it.
    pub(in crate::collect) datetime: Option<i64>,
    /// What its bytes must sum up to, where a manifest says so.
    pub(in crate::collect) checksum: Option<Checksum>,
}

impl Input {
    /// The file at `location`, by its names.
    pub(in crate::collect) fn new(location: Location) -> Self {
        let (key, path) = match &location {
            Location::Local(_) => {
                let names = names(&location);
                (key_of_names(&names), Location::Local(names.into()).archive_path())
            }
            elsewhere => (crate::path::key_of(elsewhere), elsewhere.archive_path()),
        };
        Self { location, key, path, seen: None, cloud_cover: None, datetime: None, checksum: None }
    }

    /// The same as a file of the product `product`.
    pub(in crate::collect) fn of_product(self, product: &str) -> Self {
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

/// The path whose folders and name say what a file is. For a file of this machine those are the folders that it really
/// lies in; a link keeps its own name, where that says more than the name it leads to.
pub(in crate::collect) fn names(location: &Location) -> String {
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
pub(in crate::collect) struct Expanded {
    pub(in crate::collect) inputs: Vec<Input>,
    pub(in crate::collect) failures: Vec<(String, Error)>,
}

impl Expanded {
    pub(in crate::collect) fn add(&mut self, other: Expanded) {
        self.inputs.extend(other.inputs);
        self.failures.extend(other.failures);
    }

    pub(in crate::collect) fn fail(&mut self, name: impl Into<String>, error: Error) {
        self.failures.push((name.into(), error));
    }
}
