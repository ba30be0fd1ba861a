//! `vsitlm index`: scans files, several at a time, and writes one index.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::embed::{self, Embedder};
use super::inputs::{Input, expand};
use super::{complain, open, options, print, size};
use crate::error::{Error, Result, ResultExt};
use crate::index::{Effort, Record, RecordKey, Scanned, Strategy, parse_packets, read_heads, scan_by, write_index};
use crate::jp2::TilePart;
use crate::options::Options;
use crate::path::{Key, Location, ProductName};
use crate::process::lock;
use crate::source::Source;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// JP2 files, SAFE products, folders, URLs, s3://bucket/key; - reads a list from standard input
    #[arg(required = true)]
    input: Vec<String>,
    /// The index to write
    #[arg(short, long, value_name = "OUT.parquet")]
    output: PathBuf,
    /// Files scanned at the same time [default: the processors, twice as many for remote files]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// How tile-parts are found: auto, hop (one small read each), stream (large reads), resync (several places at once)
    #[arg(long, default_value = "auto")]
    strategy: Strategy,
    /// Carry the overviews of factor N and coarser in the index: a power of two from 2
    #[arg(long, value_name = "N", value_parser = embed::factor)]
    embed_overviews: Option<u8>,
    /// Where a file does not tell how long its packets are (no PLT), read all of it to find out: its overviews need it
    #[arg(long)]
    parse_packets: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// One line of progress in so much time, where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// Whether nothing failed.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let options = options()?;
    let start = Instant::now();
    let (inputs, failures) = expand(&arguments.input, std::io::stdin().lock());
    let failures: Vec<(String, String)> = failures
        .into_iter()
        .map(|(name, error)| {
            complain(&error.chain());
            (name, error.chain())
        })
        .collect();
    let found = inputs.len();
    let jobs = arguments.jobs.map_or_else(|| default_jobs(&inputs), usize::from);
    let embedder = arguments.embed_overviews.map(|k| Embedder::new(k, &arguments.output, &options)).transpose()?;
    let scanner = Scanner {
        options: &options,
        embedder: embedder.as_ref(),
        parse_packets: arguments.parse_packets,
        strategy: arguments.strategy,
        files: jobs.clamp(1, found.max(1)),
    };
    let (records, scan_failures) = scan_all(&inputs, &scanner, jobs);
    let failures = [failures, scan_failures].concat();
    let shared = shared_keys(&records);
    for (key, paths) in &shared {
        complain(&format!("{} files are called {key}: {}", paths.len(), paths.join(", ")));
    }
    let rows = records.len();
    let embedded = embedder.as_ref().map(|embedder| {
        let (factor, bytes) = embedder.told();
        (factor, records.iter().filter(|record| record.overviews.is_some()).count(), bytes)
    });
    if rows > 0 {
        write_index(&arguments.output, records)?;
    }
    let bytes = std::fs::metadata(&arguments.output).map(|meta| meta.len()).unwrap_or(0);
    let seconds = start.elapsed().as_secs_f64();
    let output = arguments.output.display().to_string();
    if arguments.json {
        let failed: Vec<_> = failures.iter().map(|(file, error)| json!({"file": file, "error": error})).collect();
        let shared: Vec<_> = shared.iter().map(|(key, paths)| json!({"key": key, "paths": paths})).collect();
        let overviews = embedded.map(|(factor, rows, bytes)| json!({"factor": factor, "rows": rows, "bytes": bytes}));
        print(&json!({
            "output": if rows > 0 { Some(output) } else { None },
            "files": found, "rows": rows, "bytes": bytes, "seconds": seconds, "failed": failed, "shared_keys": shared,
            "overviews": overviews,
        }).to_string());
    } else if rows > 0 {
        let embedded =
            embedded.map_or_else(String::new, |(_, rows, bytes)| format!(", overviews of {rows} in {}", size(bytes)));
        print(&format!("{output}: {rows} of {found} files, {}{embedded}, {seconds:.1} s", size(bytes)));
    } else {
        complain("nothing to write: no file could be scanned");
    }
    Ok(failures.is_empty() && rows > 0)
}

/// Remote files wait more than they work.
fn default_jobs(inputs: &[Input]) -> usize {
    let processors = std::thread::available_parallelism().map_or(4, usize::from);
    let remote = inputs.iter().any(|input| !matches!(input.location, Location::Local(_)));
    if remote { 2 * processors } else { processors }
}

/// The rows of all files, in the order of the files, and what failed.
fn scan_all(inputs: &[Input], scanner: &Scanner<'_>, jobs: usize) -> (Vec<Record>, Vec<(String, String)>) {
    let progress = Progress::new(inputs.len());
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Result<Record>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, inputs.len().max(1)) {
            scope.spawn(|| {
                while let Some((number, input)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, inputs.get(n)?)))
                {
                    let result = scanner.scan(input, &progress);
                    progress.step(result.as_ref().err());
                    lock(&results).insert(number, result);
                }
            });
        }
    });
    progress.finish();
    let (mut records, mut failures) = (Vec::new(), Vec::new());
    for (number, result) in results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        match (result, inputs.get(number)) {
            (Ok(record), _) => records.push(record),
            (Err(error), Some(input)) => failures.push((input.location.display(), error.root().chain())),
            (Err(error), None) => failures.push((String::new(), error.chain())),
        }
    }
    (records, failures)
}

/// How files become rows.
struct Scanner<'a> {
    options: &'a Options,
    embedder: Option<&'a Embedder>,
    parse_packets: bool,
    strategy: Strategy,
    /// How many files share a host's connections.
    files: usize,
}

impl Scanner<'_> {
    fn scan(&self, input: &Input, progress: &Progress) -> Result<Record> {
        let name = input.location.display();
        let source = open(&input.location, self.options)?;
        let effort = Effort { strategy: self.strategy, lanes: (source.lanes() / self.files).max(1) };
        let mut scanned = scan_by(&*source, effort).in_file(&name)?;
        if let Some(why) = self.find_ends(&source, &mut scanned).in_file(&name)? {
            progress.tell(&format!("{name}: {}", why.chain()));
        }
        let unknown = Key { product: ProductName::Unknown, mgrs_tile: None, band: String::new(), resolution: None };
        let key = RecordKey::new(input.key.as_ref().unwrap_or(&unknown));
        let whole = scanned.whole.clone();
        let mut record = Record::from_scan(key, &input.path, source.origin(), scanned);
        if let Some(embedder) = self.embedder
            && let Some(why) = embedder.embed(&mut record, &source, whole.as_ref(), self.options).in_file(&name)?
        {
            progress.tell(&format!("{name}: a row without overviews: {why}"));
        }
        Ok(record)
    }

    /// Finds out where resolutions end, where the scan has not. What stands against it is no failure.
    fn find_ends(&self, source: &Arc<dyn Source>, scanned: &mut Scanned) -> Result<Option<Error>> {
        let Scanned { main, parts, doubt, .. } = scanned;
        let mut against = doubt.take();
        if parts.iter().any(|part| part.head.is_none()) {
            against = read_heads(source, main, parts, self.options).err();
        }
        let is_known = |part: &TilePart| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty());
        if self.parse_packets && !parts.iter().all(is_known) {
            against = parse_packets(&**source, main, parts).err();
        }
        match against {
            None | Some(Error::NoOverview { .. } | Error::Malformed { .. }) => Ok(against),
            Some(failure) => Err(failure),
        }
    }
}

/// Keys that more than one file has, with the files. Files whose names tell nothing are known by their origins.
fn shared_keys(records: &[Record]) -> Vec<(String, Vec<String>)> {
    let mut by_key: BTreeMap<&RecordKey, Vec<String>> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.key.product_id.is_empty()) {
        by_key.entry(&record.key).or_default().push(record.path.clone());
    }
    let shared = by_key.into_iter().filter(|(_, paths)| paths.len() > 1);
    shared.map(|(key, paths)| (format!("{} {}", key.product_id, key.band_id), paths)).collect()
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    state: Mutex<(usize, usize, Instant)>,
}

impl Progress {
    fn new(total: usize) -> Self {
        let bar = (std::io::stderr().is_terminal() && total > 1).then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left {msg}");
            ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, total, state: Mutex::new((0, 0, Instant::now())) }
    }

    fn step(&self, error: Option<&Error>) {
        let mut state = lock(&self.state);
        let (done, failed, last) = &mut *state;
        *done += 1;
        *failed += usize::from(error.is_some());
        match (&self.bar, error) {
            (Some(bar), Some(error)) => {
                bar.set_message(format!("({failed} failed)"));
                bar.suspend(|| complain(&error.chain()));
            }
            (None, Some(error)) => complain(&error.chain()),
            _ => {}
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if last.elapsed() >= EVERY {
            complain(&format!("{done} of {} files, {failed} failed", self.total));
            *last = Instant::now();
        }
    }

    /// A line, without disturbing the bar.
    fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(text)),
            None => complain(text),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::scan;
    use crate::jp2::made;
    use crate::source::memory::Memory;

    #[test]
    fn what_stands_against_overviews_is_told_and_no_failure() {
        let options = Options::resolve(&|_| None).unwrap();
        let told = |name: &str, file: Vec<u8>, parse_packets: bool| {
            let source: Arc<dyn Source> = Arc::new(Memory::new(&format!("mem://ends-{name}"), file));
            let mut scanned = scan(&*source).unwrap();
            let scanner =
                Scanner { options: &options, embedder: None, parse_packets, strategy: Strategy::Auto, files: 1 };
            scanner.find_ends(&source, &mut scanned).unwrap().map(|error| error.chain())
        };
        let base = made::File { plt: true, ..made::File::default() };
        let wrong = |mut file: Vec<u8>| {
            let plt = file.windows(2).position(|two| two == [0xFF, 0x58]).unwrap();
            file[plt + 5] ^= 1;
            file
        };
        assert_eq!(told("good", base.bytes(), false), None);
        assert_eq!(told("none", made::File::default().bytes(), false), None, "what nobody asked for");
        assert!(told("wrong", wrong(base.bytes()), false).unwrap().contains("by its PLT"));
        assert!(told("wrong-noise", wrong(base.bytes()), true).unwrap().contains("T.800"), "why parsing failed");
        // A remote file with its own TLM: the headers are read for it.
        let own = made::File { tlm: true, ..base };
        assert_eq!(told("own", own.bytes(), false), None);
        assert!(told("own-wrong", wrong(own.bytes()), false).unwrap().contains("by its PLT"));
        assert!(told("own-none", made::File { plt: false, ..own }.bytes(), false).unwrap().contains("no PLT"));
    }
}
