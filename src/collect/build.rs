//! An index from inputs: files are scanned, and their rows put to those that the output has.
//!
//! Each row is kept in a journal beside the output as soon as it is made, so that a run that is broken off goes on where
//! it was; the output itself is written at the end, each file of it whole under its final name or not at all.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::inputs::{Input, Selection, Slice, expand};
use super::output::Output;
use super::report::{Failure, Report};
use super::scanner::{Carried, Outcome, ScanOptions, Scanner};
use crate::error::{Error, Result};
use crate::index::{Journal, KnownFile, RecordKey, Rows, Wins, hash, partition_of};
use crate::options::Options;
use crate::path::Location;
use crate::source::Caller;

/// What is to be built.
pub(crate) struct Plan<'a> {
    /// What somebody names: files, folders, products, documents.
    pub(crate) inputs: &'a [String],
    pub(crate) output: &'a Output,
    pub(crate) slice: Option<Slice>,
    /// Whether to go on where a run with the same output was broken off.
    pub(crate) resume: bool,
    /// Files scanned at the same time, where that is given.
    pub(crate) jobs: Option<usize>,
    pub(crate) selection: Selection,
    pub(crate) scan: ScanOptions,
    /// Where to list what failed, where that is not beside the output.
    pub(crate) failures: Option<&'a str>,
    pub(crate) options: &'a Options,
}

/// Files of several places that have one key.
#[derive(Debug, Serialize)]
pub(crate) struct SharedKey {
    /// Product and band.
    key: String,
    paths: Vec<String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Built {
    /// The index; `None` where nothing could be written.
    pub(crate) output: Option<String>,
    pub(crate) files: usize,
    pub(crate) scanned: usize,
    /// Files that the run before had scanned.
    pub(crate) resumed: usize,
    pub(crate) unchanged: usize,
    pub(crate) rows: usize,
    /// Bytes written.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) failed: Vec<Failure>,
    /// Where what failed is listed.
    pub(crate) failures: Option<String>,
    pub(crate) shared_keys: Vec<SharedKey>,
    /// What was asked of the network and the disk.
    pub(crate) asked: serde_json::Value,
    pub(crate) packets: Option<Carried>,
    pub(crate) overviews: Option<Overviews>,
}

/// The overviews that rows carry.
#[derive(Debug, Serialize)]
pub(crate) struct Overviews {
    /// The finest that they carry.
    pub(crate) factor: u64,
    #[serde(flatten)]
    pub(crate) carried: Carried,
}

/// Builds the index that `plan` describes; an input called `-` stands for those that `list` has, one a line.
///
/// # Errors
/// Where nothing could be done, or rows could not be kept; what fails by itself is in the value.
pub(crate) fn build(plan: &Plan<'_>, list: impl BufRead, caller: &Caller<'_>, report: &dyn Report) -> Result<Built> {
    let start = Instant::now();
    let KeptRows { journal, known: kept } = open_journal(plan, caller)?;
    let resumed = journal.len();
    let (inputs, failed) = expand(plan.inputs, list, plan.slice, &plan.selection, caller);
    let mut failures = Vec::new();
    for (name, error) in failed {
        report.say(&format!("{name}: {}", error.chain()));
        failures.push(Failure::new(name, &error));
    }
    let mut rows = Rows::new(plan.output.is_partitioned());
    add_existing(&mut rows, plan.output, &inputs, caller)?;
    let mut known = rows.known();
    known.extend(kept);
    let jobs = plan.jobs.unwrap_or_else(|| default_jobs(&inputs, caller));
    let outcome = Scanner::new(caller, &journal, &known, plan.scan, report).scan_all(&inputs, jobs)?;
    let Outcome { unchanged, failures: unscanned, packets, overviews } = outcome;
    failures.extend(unscanned);
    let scanned = journal.len() - resumed;
    rows.add_journal(journal, &mut |error| failures.push(Failure::new(plan.output.display(), &error)));
    let shared_keys = sort(&mut rows, report);
    let written = plan.output.write(&rows, caller, report);
    let count = rows.len();
    if let (true, Some(journal)) = (written.failures.is_empty(), rows.into_journal()) {
        journal.remove();
    }
    failures.extend(written.failures);
    Ok(Built {
        output: (count > 0).then(|| plan.output.display()),
        files: inputs.len(),
        scanned,
        resumed,
        unchanged,
        rows: count,
        bytes: written.bytes,
        failures: plan.output.write_failures(plan.failures, &failures, caller)?,
        seconds: start.elapsed().as_secs_f64(),
        failed: failures,
        shared_keys,
        asked: asked(),
        packets: plan.scan.packets.then_some(packets),
        overviews: plan.scan.embed.map(|k| Overviews { factor: 1 << k, carried: overviews }),
    })
}

/// What an earlier run has kept.
struct KeptRows {
    journal: Journal,
    /// The files of its rows, by their origins.
    known: HashMap<u64, KnownFile>,
}

/// Opens the journal of the output; one that has rows is only gone on with where the plan says so.
fn open_journal(plan: &Plan<'_>, caller: &Caller<'_>) -> Result<KeptRows> {
    let slice = plan.slice.map_or_else(String::new, |slice| slice.to_string());
    let path = plan.output.stage(&slice, plan.options)?;
    let mut known = HashMap::new();
    let open_local = |path: &Path| caller.source(&Location::Local(path.to_owned()));
    let journal = Journal::open(&path, &open_local, &mut |row| {
        known.extend(row.origin.as_deref().map(|origin| (hash(origin), KnownFile::staged(row))));
    })?;
    if journal.len() > 0 && !plan.resume {
        let what = format!(
            "a run into it was broken off after {} files: go on with --resume, or remove {}",
            journal.len(),
            path.display()
        );
        return Err(Error::Index { index: plan.output.display(), what });
    }
    Ok(KeptRows { journal, known })
}

/// Adds the rows that the output has already, of the partitions that `inputs` can belong to.
fn add_existing(rows: &mut Rows, output: &Output, inputs: &[Input], caller: &Caller<'_>) -> Result<()> {
    let partitions: BTreeSet<String> = match output.is_partitioned() {
        true => inputs.iter().filter_map(|input| partition_of(&RecordKey::new(input.key.as_ref()?))).collect(),
        false => [String::new()].into(),
    };
    output.add_existing(rows, &partitions, caller)
}

/// Remote files wait more than they work: as many as their host gives connections.
fn default_jobs(inputs: &[Input], caller: &Caller<'_>) -> usize {
    let remote = inputs.iter().find(|input| !matches!(input.location, Location::Local(_)));
    let lanes = remote.and_then(|input| caller.source(&input.location).ok()).map(|source| source.lanes());
    lanes.unwrap_or_else(|| std::thread::available_parallelism().map_or(4, usize::from)).min(inputs.len()).max(1)
}

/// Sorts the rows; of a file's rows the new one stays. Gives the keys that several files have.
fn sort(rows: &mut Rows, report: &dyn Report) -> Vec<SharedKey> {
    let shared: Vec<SharedKey> =
        rows.sort(Wins::New).into_iter().map(|shared| SharedKey { key: shared.key, paths: shared.paths }).collect();
    for SharedKey { key, paths } in &shared {
        report.say(&format!("{} files are called {key}: {}", paths.len(), paths.join(", ")));
    }
    shared
}

/// The process's counters, summed over all hosts.
fn asked() -> serde_json::Value {
    let counters: serde_json::Value = serde_json::from_str(&crate::source::statistics_json()).unwrap_or_default();
    counters["total"].clone()
}
