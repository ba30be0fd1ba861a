//! The command line: arguments → calls of `collect`, what these give → output.
//!
//! Results go to standard output, progress and complaints to standard error. Exit codes: 0 all went well, 1 something
//! failed, 2 the arguments make no sense. Options that are GDAL's or the plugin's come from the environment, with the
//! same names.

mod index;
mod info;
mod inject;
mod merge;
mod options;
mod print;
mod progress;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use print::complain;

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
    /// Write a cube of references to the files of an index, show one, or check one: by the Python package alone
    #[command(disable_help_flag = true)]
    Cube(OfPackage),
    /// List the files of an area, a span of time and some bands: by the Python package alone
    #[command(disable_help_flag = true)]
    Search(OfPackage),
    /// Read the pixels of an area, a span of time and some bands: by the Python package alone
    #[command(disable_help_flag = true)]
    Load(OfPackage),
}

/// What the Python package answers before it comes here.
#[derive(Debug, clap::Args)]
struct OfPackage {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
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
        Command::Cube(_) | Command::Search(_) | Command::Load(_) => {
            complain(
                "that is a command of the Python package alone: pip install 'vsitlm[load,export]', and run its vsitlm",
            );
            return 2;
        }
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

#[cfg(test)]
mod tests;
