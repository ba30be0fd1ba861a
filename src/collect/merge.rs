//! The rows of several indexes in one.

use std::time::Instant;

use serde::Serialize;

use super::output::{Output, Written};
use super::report::{Failure, Report};
use super::shards::{open_index, shards};
use crate::error::Result;
use crate::index::{Rows, Wins};
use crate::path::Location;
use crate::source::Caller;

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Merged {
    pub(crate) output: String,
    /// Index files that were found.
    pub(crate) inputs: usize,
    pub(crate) rows_read: usize,
    pub(crate) rows: usize,
    pub(crate) files_written: usize,
    /// Bytes written.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) failed: Vec<Failure>,
    pub(crate) shared_keys: usize,
}

/// Puts the rows of the index files that `inputs` name to those of `output`; of a file's rows the one of the latest file
/// stays.
///
/// # Errors
/// Where the output has rows that cannot be read; what fails by itself is in the value.
pub(crate) fn merge(inputs: &[String], output: &Output, caller: &Caller<'_>, report: &dyn Report) -> Result<Merged> {
    let start = Instant::now();
    let mut failures = Vec::new();
    let files = files(inputs, caller, report, &mut failures);
    let mut rows = Rows::new(output.is_partitioned());
    report.begin(files.len());
    for location in &files {
        let name = location.display();
        let opened = open_index(location, caller);
        report.step(opened.as_ref().err());
        match opened {
            Ok(file) => rows.add_file(&file, true, &mut |error| {
                report.say(&error.chain());
                failures.push(Failure::new(&name, &error));
            }),
            Err(error) => failures.push(Failure::new(name, error.root())),
        }
    }
    report.end();
    let rows_read = rows.len();
    let partitions = rows.partition_names();
    output.add_existing(&mut rows, &partitions, caller)?;
    let shared_keys = rows.sort(Wins::Newest).len();
    let Written { files: files_written, bytes, failures: unwritten } = output.write(&rows, caller, report);
    failures.extend(unwritten);
    Ok(Merged {
        output: output.display(),
        inputs: files.len(),
        rows_read,
        rows: rows.len(),
        files_written,
        bytes,
        seconds: start.elapsed().as_secs_f64(),
        failed: failures,
        shared_keys,
    })
}

/// The index files that `inputs` name.
fn files(inputs: &[String], caller: &Caller<'_>, report: &dyn Report, failures: &mut Vec<Failure>) -> Vec<Location> {
    let mut files = Vec::new();
    for input in inputs {
        match shards(input, caller) {
            Ok(found) => files.extend(found),
            Err(error) => {
                report.say(&error.chain());
                failures.push(Failure::new(input, &error));
            }
        }
    }
    files
}
