//! `vsitlm info`: what a JP2 or a TIFF is made of and what reading it costs, or what an index holds.

mod alike;
mod index;
mod jp2;
mod tiff;

use crate::collect::{is_tiff, locate};
use crate::error::{Result, ResultExt};
use crate::path::Location;
use crate::source::Caller;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A JP2, a TIFF or an index: a path, a URL or s3://bucket/key; a folder or prefix is that of an index
    path: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Whether all of it could be read.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let caller = Caller::of_environment();
    let location = locate(&arguments.path)?;
    let name = arguments.path.split('?').next().unwrap_or_default();
    let is_folder = match &location {
        Location::Local(path) => path.is_dir(),
        _ => name.ends_with('/'),
    };
    if is_folder || name.ends_with(".parquet") {
        return index::run(&arguments.path, arguments.json, &caller);
    }
    let source = caller.source(&location)?;
    match is_tiff(&location, &*source).in_file(&location.display())? {
        true => tiff::run(&location, &*source, arguments.json, &caller),
        false => jp2::run(&location, &*source, arguments.json, &caller),
    }
}
