//! Products by their names alone: the layout of the archive that `--store` names says where their folders lie.

use super::input::{Expanded, Input};
use super::selection::Selection;
use super::{aws, folder, listing, safe};
use crate::error::{Error, Result};
use crate::path::{Archive, Key, Location, Store, parse};
use crate::source::Caller;

/// What is wanted of the product `name`, which lies in `store`.
///
/// # Errors
/// [`Error::NotFound`] where it lies in none of the folders that it can lie in, and those of looking there.
pub(super) fn expand(name: &str, store: &Store, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    let key = Key::of_product(name);
    let Some(archive) = store.archive() else {
        return Err(Error::Product { what: "the store has no archive's layout: use cdse, gcs or aws".to_owned() });
    };
    for folder in archive.product_folders(&key)? {
        let location = parse(&format!("{}/", store.join(&folder, key.level())))?.location;
        let found = match archive {
            Archive::Aws => of_aws(name, &location, selection, caller),
            Archive::Cdse | Archive::Gcs => of_safe(&location, selection, caller).map(Some),
        };
        match found {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) if matches!(error.root(), Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NotFound { detail: String::new(), check: "the product's name and --store" })
}

fn of_safe(location: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    match location {
        Location::Local(folder) => safe::expand_local(folder, selection),
        _ => safe::expand(location, selection, caller),
    }
}

/// The product that lies in `folder`, one of those of a tile's day, if that is the one.
fn of_aws(name: &str, folder: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Option<Expanded>> {
    if aws::product_of(folder, caller)?.as_deref() != Some(name) {
        return Ok(None);
    }
    let found = match folder {
        Location::Local(path) => folder::expand(path, selection)?,
        _ => listing::expand(folder, selection, caller)?,
    };
    let inputs = found.inputs.into_iter().map(|input: Input| input.of_product(name)).collect();
    Ok(Some(Expanded { inputs, ..found }))
}
