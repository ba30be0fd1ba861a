//! `vsitlm validate`: an index checked in itself, and a sample of its rows against the files.

use super::print::{print, print_json};
use super::progress::Progress;
use crate::collect::{Findings, validate};
use crate::error::{Error, Result};
use crate::path::Store;
use crate::source::Caller;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The index: a file, or a folder or prefix of files
    index: String,
    /// Check a sample of the rows against the files: cdse, gcs, aws, or a base such as /vsis3/eodata or /data/s2
    #[arg(long, value_name = "STORE")]
    against: Option<String>,
    /// How many rows the sample has, spread over the index
    #[arg(long, value_name = "N", default_value_t = 100, requires = "against")]
    sample: usize,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Whether nothing is wrong.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let store = arguments.against.as_deref().map(|text| {
        Store::parse(text).ok_or_else(|| Error::Option {
            name: "--against",
            value: text.to_owned(),
            expected: Store::EXPECTED,
        })
    });
    let store = store.transpose()?;
    let against = store.as_ref().map(|store| (store, arguments.sample));
    let findings = validate(&arguments.index, against, &Caller::of_environment(), &Progress::default())?;
    match arguments.json {
        true => print_json(&findings),
        false => print(&text(&findings, store.is_some())),
    }
    Ok(findings.problems.is_empty())
}

/// The findings for people, a line each.
fn text(findings: &Findings, is_compared: bool) -> String {
    let Findings { files, rows, compared, problems } = findings;
    let mut lines: Vec<String> = problems.iter().map(|found| format!("{}: {}", found.file, found.problem)).collect();
    let sample = if is_compared { format!(", {compared} checked against their files") } else { String::new() };
    lines.push(format!("{files} files, {rows} rows{sample}: {} problems", problems.len()));
    lines.join("\n")
}
