//! The command line: arguments → calls.
//!
//! Results go to standard output, progress and complaints to standard error. Exit codes: 0 all went well, 1 something
//! failed, 2 the arguments make no sense. Options that are GDAL's or the plugin's come from the environment, with the
//! same names.

mod demo;
mod index;
mod info;
mod inject;
mod inputs;
mod merge;
mod output;
mod progress;
mod shards;
mod validate;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
pub(crate) use info::scan_jp2;
pub(crate) use shards::shards as index_files;

use crate::error::{Result, ResultExt};
use crate::options::Options;
use crate::path::{self, Location};
use crate::source::{self, Source};

/// GDAL plugin that makes Sentinel-2's JPEG 2000 archives cloud-ready without touching them.
#[derive(Debug, Parser)]
#[command(name = "vsitlm", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Scan JP2 files and write where their tile-parts lie to an index
    Index(index::Arguments),
    /// Put the rows of several indexes, and those that were learned, into one
    Merge(merge::Arguments),
    /// Check an index in itself, and a sample of its rows against the files
    Validate(validate::Arguments),
    /// Show what a JP2 is made of and what reading it costs, or what an index holds
    Info(info::Arguments),
    /// Write a JP2 with the TLM marker that it lacks, or that marker alone
    Inject(inject::Arguments),
    /// Read a remote JP2 through plain GDAL, its peers and /vsitlm/, and compare
    Demo(demo::Arguments),
}

/// Runs the command line with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(arguments))
}

/// The same, as a number.
pub(crate) fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let outcome = match arguments.command {
        Command::Index(arguments) => index::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Info(arguments) => info::run(&arguments),
        Command::Inject(arguments) => inject::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    };
    match outcome {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            complain(&error.chain());
            1
        }
    }
}

/// The options of the environment.
fn options() -> Result<Options> {
    Options::resolve(&|name| std::env::var(name).ok())
}

/// Prints to standard output. Whoever closes the pipe (`| head`) has read enough: no error, and no panic.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// Prints to standard error.
fn complain(text: &str) {
    // In one piece, so that the lines of two threads or processes do not mix.
    let _ = std::io::stderr().lock().write_all(format!("vsitlm: {text}\n").as_bytes());
}

/// What a path names. A leading `/vsitlm/`, copied from a GDAL command, is understood; without it a product's name is that
/// of its folder on the disk.
fn locate(text: &str) -> Result<Location> {
    let wrapped = text.strip_prefix("/vsitlm/");
    match path::parse(wrapped.unwrap_or(text))?.location {
        Location::Product { .. } if wrapped.is_none() => Ok(Location::Local(text.into())),
        location => Ok(location),
    }
}

/// The options for a path, which may have some of its own.
fn options_for(location: &Location, options: &Options) -> Result<Options> {
    if !matches!(location, Location::Curl { .. }) {
        return Ok(options.clone());
    }
    let own = Options::resolve(&|name| location.option(name, &|name| std::env::var(name).ok()))?;
    Ok(Options { http: own.http, ..options.clone() })
}

/// Opens a path; no error is without the file's name.
fn open(location: &Location, options: &Options) -> Result<Arc<dyn Source>> {
    let options = options_for(location, options)?;
    source::open(location, &options, None).in_file(&location.display())
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests;
