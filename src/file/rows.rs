//! What the indexes have of a file, and the file itself, for who asks about them.

use std::sync::Arc;

use super::open;
use super::open::{Get, index_opener};
use crate::error::{Result, ResultExt};
use crate::index::{self, FoundRows, OpenIndex};
use crate::options::Options;
use crate::path::{Key, Location, ProductName, Request, key_of_names};
use crate::source::{self, HostFiles, Source};

/// The rows of the indexes for the file that `request` names, the likeliest first; for a product those of its files.
///
/// # Errors
/// [`crate::Error::Option`] for options that cannot be. What an index could not answer is a warning of what was found.
pub(crate) fn rows(request: &Request, get: &Get<'_>, host: Option<&dyn HostFiles>) -> Result<FoundRows> {
    let shown = request.location.display();
    let path = request.location.gdal_path();
    let options = Options::resolve(&|name| get(&path, name)).in_file(&shown)?;
    let opener = index_opener(get, host);
    let Some(key) = &request.key else { return Ok(FoundRows::default()) };
    let Location::Product { name, file } = &request.location else {
        // By the origin, rows made from this very location go first; no request is made for it.
        let origin = source_of(request, get, host).map_or_else(|_| String::new(), |source| source.origin().to_owned());
        return Ok(index::find(&options, key, &origin, &opener));
    };
    let mut found = FoundRows::default();
    let keys: Vec<Key> = match file {
        Some(_) => vec![key.clone()],
        None => {
            let (bands, warnings) = index::bands_of(&options, key, &opener);
            found.warnings = warnings;
            bands.iter().filter_map(|band| key_of_names(&format!("{name}/{band}.jp2"))).collect()
        }
    };
    for key in keys {
        let FoundRows { records, warnings } = of_product(&key, &options, &opener);
        found.records.extend(records);
        found.warnings.extend(warnings);
    }
    Ok(found)
}

/// The rows of a product's file. Those that name the day or the time alone may be another product's.
pub(super) fn of_product(key: &Key, options: &Options, opener: &OpenIndex<'_>) -> FoundRows {
    let mut found = index::find(options, key, "", opener);
    found.records.retain(|record| key.product == ProductName::Full(record.key.product_id.clone()));
    found
}

/// The source of the file that `request` names. A product's file is looked for as it is when it is opened; of others
/// nothing is read yet.
///
/// # Errors
/// As [`super::open()`].
pub(crate) fn source_of(request: &Request, get: &Get<'_>, host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    if let Location::Product { .. } = &request.location {
        return open(request, get, host).map(|file| file.source.clone());
    }
    let path = request.location.gdal_path();
    let own = Options::resolve(&|name| request.location.option(name, &|name| get(&path, name)));
    own.and_then(|own| source::open(&request.location, &own, host)).in_file(&request.location.display())
}
