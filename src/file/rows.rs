//! What the indexes have of a file, and the file itself, for who asks about them.

use std::sync::Arc;

use super::open;
use super::product::of_product;
use crate::error::{Result, ResultExt};
use crate::index::{self, FoundRows};
use crate::path::{Key, Location, Request, key_of_names};
use crate::source::{Caller, Source};

/// The rows of the indexes for the file that `request` names, the likeliest first; for a product those of its files.
///
/// # Errors
/// [`crate::Error::Option`] for options that cannot be. What an index could not answer is a warning of what was found.
pub(crate) fn rows(request: &Request, caller: &Caller<'_>) -> Result<FoundRows> {
    let options = caller.access(&request.location).in_file(&request.location.display())?.options;
    let Some(key) = &request.key else { return Ok(FoundRows::default()) };
    let Location::Product { name, file } = &request.location else {
        // By the origin, rows made from this very location go first; no request is made for it.
        let origin = source_of(request, caller).map_or_else(|_| String::new(), |source| source.origin().to_owned());
        return Ok(index::find(&options.index, key, &origin, caller));
    };
    let mut found = FoundRows::default();
    let keys: Vec<Key> = match file {
        Some(_) => vec![key.clone()],
        None => {
            let (bands, warnings) = index::bands_of(&options.index, key, caller);
            found.warnings = warnings;
            bands.iter().filter_map(|band| key_of_names(&format!("{name}/{band}.jp2"))).collect()
        }
    };
    for key in keys {
        let FoundRows { records, warnings } = of_product(&key, &options, caller);
        found.records.extend(records);
        found.warnings.extend(warnings);
    }
    Ok(found)
}

/// The source of the file that `request` names. A product's file is looked for as it is when it is opened; of others
/// nothing is read yet.
///
/// # Errors
/// As [`super::open()`].
pub(crate) fn source_of(request: &Request, caller: &Caller<'_>) -> Result<Arc<dyn Source>> {
    if let Location::Product { .. } = &request.location {
        return open(request, caller).map(|file| file.source.clone());
    }
    caller.source(&request.location)
}
