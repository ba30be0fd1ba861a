//! What the paths name that somebody gives.

use crate::error::Result;
use crate::path::{self, Location};

/// What a path names. A leading `/vsitlm/`, copied from a GDAL command, is understood; without it a product's name is that
/// of its folder on the disk.
///
/// # Errors
/// [`crate::error::Error::Path`] for what names nothing.
pub(crate) fn locate(text: &str) -> Result<Location> {
    let wrapped = text.strip_prefix("/vsitlm/");
    match path::parse(wrapped.unwrap_or(text))?.location {
        Location::Product { .. } if wrapped.is_none() => Ok(Location::Local(text.into())),
        location => Ok(location),
    }
}
