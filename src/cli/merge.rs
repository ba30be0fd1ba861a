//! `vsitlm merge`: the rows of several indexes, and those that were learned, in one.

use std::time::Instant;

use serde_json::json;

use super::output::{Output, Written, as_json};
use super::progress::Progress;
use super::shards::{open_index, shards};
use super::{complain, options, print, size};
use crate::error::Result;
use crate::index::{Rows, Wins};
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
    let caller = Caller::of_environment();
    let start = Instant::now();
    let output = Output::new(&arguments.output);
    let mut failures: Vec<(String, String)> = Vec::new();
    let mut inputs = arguments.input.clone();
    if arguments.learned {
        let folder = options()?.learned.map(|folder| folder.join("learned"));
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) => inputs.push(folder.display().to_string()),
            None => complain("nothing was learned: there is no folder of learned rows (VSITLM_CACHE_DIR)"),
        }
    }
    let mut files = Vec::new();
    for input in &inputs {
        match shards(input, &caller) {
            Ok(found) => files.extend(found),
            Err(error) => {
                complain(&error.chain());
                failures.push((input.clone(), error.chain()));
            }
        }
    }
    let progress = Progress::new(files.len());
    let mut rows = Rows::new(output.is_partitioned());
    for location in &files {
        let name = location.display();
        let opened = open_index(location, &caller);
        progress.step(opened.as_ref().err());
        match opened {
            Ok(file) => rows.add_file(&file, true, &mut |error| {
                progress.tell(&error.chain());
                failures.push((name.clone(), error.chain()));
            }),
            Err(error) => failures.push((name.clone(), error.root().chain())),
        }
    }
    progress.finish();
    let found = rows.len();
    let partitions = rows.partition_names();
    output.add_existing(&mut rows, &partitions, &caller)?;
    let shared = rows.sort(Wins::Newest).len();
    let Written { files: written, bytes, failures: unwritten } = output.write(&rows, &caller);
    failures.extend(unwritten);
    let (count, seconds, place) = (rows.len(), start.elapsed().as_secs_f64(), output.display());
    if arguments.json {
        let failed = as_json(&failures);
        print(
            &json!({
                "output": place, "inputs": files.len(), "rows_read": found, "rows": count, "files_written": written,
                "bytes": bytes, "seconds": seconds, "failed": failed, "shared_keys": shared,
            })
            .to_string(),
        );
    } else {
        let failed = if failures.is_empty() { String::new() } else { format!(", {} failed", failures.len()) };
        print(&format!(
            "{place}: {count} rows of {found} in {} files; {written} files written, {}{failed}, {seconds:.1} s",
            files.len(),
            size(bytes)
        ));
    }
    Ok(failures.is_empty() && count > 0)
}
