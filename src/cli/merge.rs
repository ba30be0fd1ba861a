//! `vsitlm merge`: the rows of several indexes, and those that were learned, in one.

use super::options::options;
use super::print::{complain, print, print_json, size};
use super::progress::Progress;
use crate::collect::{Merged, Output, merge};
use crate::error::Result;
use crate::source::Caller;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Index files, folders and prefixes of index files
    #[arg(required_unless_present = "learned")]
    input: Vec<String>,
    /// The index: a .parquet file, or a folder or prefix for one file a tile and year; rows that are there are kept
    #[arg(short, long, value_name = "OUT")]
    output: String,
    /// The rows as well that the plugin has learned by scanning files (VSITLM_CACHE_DIR)
    #[arg(long)]
    learned: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Whether nothing failed.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let mut inputs = arguments.input.clone();
    if arguments.learned {
        let folder = options()?.learned.map(|folder| folder.join("learned"));
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) => inputs.push(folder.display().to_string()),
            None => complain("nothing was learned: there is no folder of learned rows (VSITLM_CACHE_DIR)"),
        }
    }
    let output = Output::new(&arguments.output);
    let merged = merge(&inputs, &output, &Caller::of_environment(), &Progress::default())?;
    match arguments.json {
        true => print_json(&merged),
        false => print(&text(&merged)),
    }
    Ok(merged.failed.is_empty() && merged.rows > 0)
}

/// The summary for people.
fn text(merged: &Merged) -> String {
    let failed = match merged.failed.len() {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "{}: {} rows of {} in {} files; {} files written, {}{failed}, {:.1} s",
        merged.output,
        merged.rows,
        merged.rows_read,
        merged.inputs,
        merged.files_written,
        size(merged.bytes),
        merged.seconds
    )
}
