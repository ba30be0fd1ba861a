//! Prefixes of object stores: what lies there, with the sizes and ETags that the listing has.

use super::input::{Expanded, Input};
use super::selection::Selection;
use crate::error::{Result, ResultExt};
use crate::path::Location;
use crate::source::{Caller, list};

/// Whether what lies at `location` is a prefix of a store that can be listed.
pub(super) fn is_possible(location: &Location) -> bool {
    matches!(location, Location::S3 { .. } | Location::Gs { .. } | Location::Azure { .. })
}

/// What is wanted of the objects below `location`. A listing that fails half-way gives what it has, and a failure.
pub(super) fn expand(location: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    let prefix = location.with_key(&format!("{}/", location.file_path().trim_end_matches('/')));
    let mut inputs = Vec::new();
    let outcome = list(&prefix, &caller.access(&prefix)?, &mut |page| {
        let images = page.into_iter().filter(|listed| listed.location.is_image());
        inputs.extend(images.map(|listed| Input { seen: Some(listed.meta), ..Input::new(listed.location) }));
    });
    let name = prefix.display();
    let mut found = Expanded::default();
    match outcome.in_file(&name) {
        Err(error) if inputs.is_empty() => return Err(error),
        Err(error) => found.fail(&name, error),
        Ok(()) => {}
    }
    found.add(selection.pick(&name, inputs)?);
    Ok(found)
}
