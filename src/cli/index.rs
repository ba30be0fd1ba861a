//! `vsitlm index`: scans files, several at a time, and adds their rows to an index.
//!
//! Each row is kept in a journal beside the output as soon as it is made, so that a run that is broken off goes on with
//! `--resume`; the output itself is written at the end, each file of it whole under its final name or not at all.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;

use super::inputs::{Input, Selection, Slice, expand};
use super::output::{Output, as_json};
use super::progress::Progress;
use super::{complain, options, print, size};
use crate::error::{Error, Result, ResultExt};
use crate::index::{
    Effort, EmbeddedOverviews, Journal, KnownFile, PacketLengths, Record, RecordKey, Rows, Scanned, StoredRow,
    Strategy, Wins, build_overviews, hash, parse_factor, parse_packets, partition_of, read_lengths, scan_by,
};
use crate::jp2::TilePart;
use crate::options::Options;
use crate::path::{Key, Location, ProductName, Store};
use crate::process::lock;
use crate::source::{Caller, Source};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// JP2 files, SAFE products, folders, URLs, s3://bucket/key, s3://bucket/prefix/, STAC items (.json, .geojson,
    /// .parquet); - reads a list from standard input
    #[arg(required = true)]
    input: Vec<String>,
    /// The index: a .parquet file, or a folder or prefix for one file a tile and year; rows that are there are kept
    #[arg(short, long, value_name = "OUT")]
    output: String,
    /// Scan the K-th of N parts of the inputs alone: those whose place modulo N is K - 1, among the files where fewer than
    /// N are named
    #[arg(long, value_name = "K/N")]
    slice: Option<Slice>,
    /// Go on where a run with the same output was broken off
    #[arg(long)]
    resume: bool,
    /// Where to list what failed, a JSON object a line [default: OUT.failures.jsonl, or in a folder _failures.jsonl]
    #[arg(long, value_name = "FILE")]
    failures: Option<String>,
    /// Files scanned at the same time [default: the processors, as many as connections for remote files]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// How tile-parts are found: auto, hop (one small read each), stream (large reads), resync (several places at once)
    #[arg(long, default_value = "auto")]
    strategy: Strategy,
    /// Carry the overviews of factor N and coarser in the index: a power of two from 2
    #[arg(long, value_name = "N", value_parser = factor)]
    embed_overviews: Option<u8>,
    /// Carry the length of every packet in the index: windows smaller than a tile then take a part of its bytes
    #[arg(long)]
    packets: bool,
    /// Where a file does not tell how long its packets are (no PLT), read all of it to find out: overviews and --packets
    /// need it
    #[arg(long)]
    parse_packets: bool,
    /// Take the masks and previews of products too
    #[arg(long)]
    masks: bool,
    /// Take the bands of products at all of their resolutions, not at the best alone
    #[arg(long)]
    all_resolutions: bool,
    /// The archive in which products lie that are named alone: cdse, gcs, aws, or a base with the layout of one [default:
    /// VSITLM_STORE]
    #[arg(long, value_parser = store)]
    store: Option<Store>,
    /// Hold files against the checksums of their products' manifests, which reads them whole
    #[arg(long)]
    checksums: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `--embed-overviews` takes: k of N = 2^k.
fn factor(text: &str) -> Result<u8, String> {
    parse_factor(text.parse().unwrap_or(0)).map_err(|expected| format!("use {expected}"))
}

fn store(text: &str) -> Result<Store, String> {
    Store::parse(text).ok_or_else(|| format!("use {}", Store::EXPECTED))
}

/// Whether nothing failed.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let (caller, options) = (Caller::of_environment(), options()?);
    let start = Instant::now();
    let output = Output::new(&arguments.output);
    let slice = arguments.slice.map_or_else(String::new, |slice| slice.to_string());
    let stage_path = output.stage(&slice, &options)?;
    let mut staged = HashMap::new();
    let open_local = |path: &Path| caller.source(&Location::Local(path.to_owned()));
    let stage = Journal::open(&stage_path, &open_local, &mut |row| {
        staged.extend(row.origin.as_deref().map(|origin| (hash(origin), KnownFile::staged(row))));
    })?;
    let resumed = stage.len();
    if resumed > 0 && !arguments.resume {
        return Err(Error::Index {
            index: output.display(),
            what: format!(
                "a run into it was broken off after {resumed} files: go on with --resume, or remove {}",
                stage_path.display()
            ),
        });
    }
    let selection = Selection {
        masks: arguments.masks,
        all_resolutions: arguments.all_resolutions,
        store: arguments.store.clone().or_else(|| options.store.clone()),
    };
    let (inputs, failures) = expand(&arguments.input, std::io::stdin().lock(), arguments.slice, &selection, &caller);
    let mut failures: Vec<(String, String)> = failures
        .into_iter()
        .map(|(name, error)| {
            complain(&format!("{name}: {}", error.chain()));
            (name, error.chain())
        })
        .collect();
    let mut rows = Rows::new(output.is_partitioned());
    add_existing(&mut rows, &output, &inputs, &caller)?;
    let mut known = rows.known();
    known.extend(staged);
    let jobs = arguments.jobs.map_or_else(|| default_jobs(&inputs, &caller), usize::from);
    let scanner = Scanner {
        caller: &caller,
        stage: &stage,
        known: &known,
        strategy: arguments.strategy,
        side_by_side: jobs.min(inputs.len()).max(1),
        embed: arguments.embed_overviews,
        packets: arguments.packets,
        parse_packets: arguments.parse_packets,
        checksums: arguments.checksums,
        packed: Mutex::default(),
        overviews: Mutex::default(),
    };
    let outcome = scan_all(&inputs, &scanner, jobs)?;
    failures.extend(outcome.failures);
    let (packed, overviews) = (*lock(&scanner.packed), *lock(&scanner.overviews));
    let scanned = stage.len() - resumed;
    rows.add_journal(stage, &mut |error| failures.push((output.display(), error.chain())));
    let shared = rows.sort(Wins::New);
    for shared in &shared {
        complain(&format!("{} files are called {}: {}", shared.paths.len(), shared.key, shared.paths.join(", ")));
    }
    let written = output.write(&rows, &caller);
    let count = rows.len();
    if let (true, Some(stage)) = (written.failures.is_empty(), rows.into_journal()) {
        stage.remove();
    }
    let bytes = written.bytes;
    failures.extend(written.failures);
    let listed = output.write_failures(arguments.failures.as_deref(), &failures, &caller)?;
    let seconds = start.elapsed().as_secs_f64();
    let packed = arguments.packets.then_some(packed);
    let embedded = arguments.embed_overviews.map(|k| (1u64 << k, overviews));
    if arguments.json {
        let failed = as_json(&failures);
        let shared: Vec<_> = shared.iter().map(|shared| json!({"key": shared.key, "paths": shared.paths})).collect();
        let overviews =
            embedded.map(|(factor, Sum { rows, bytes })| json!({"factor": factor, "rows": rows, "bytes": bytes}));
        let packets = packed.map(|Sum { rows, bytes }| json!({"rows": rows, "bytes": bytes}));
        let asked: serde_json::Value = serde_json::from_str(&crate::source::statistics_json()).unwrap_or_default();
        print(
            &json!({
                "output": (count > 0).then(|| output.display()),
                "files": inputs.len(), "scanned": scanned, "resumed": resumed, "unchanged": outcome.unchanged,
                "rows": count, "bytes": bytes, "seconds": seconds, "failed": failed, "failures": listed,
                "shared_keys": shared, "packets": packets, "overviews": overviews,
                "asked": asked["total"],
            })
            .to_string(),
        );
    } else if count > 0 {
        let more = [("packets", packed), ("overviews", embedded.map(|(_, overviews)| overviews))];
        let more = more.iter().filter_map(|(what, sum)| Some((what, (*sum)?)));
        let more: String =
            more.map(|(what, Sum { rows, bytes })| format!(", {what} of {rows} in {}", size(bytes))).collect();
        let told = [(resumed, "of the run before"), (outcome.unchanged, "unchanged"), (failures.len(), "failed")];
        let told: String = told.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        let place = output.display();
        print(&format!(
            "{place}: {scanned} of {} files scanned{told}; {count} rows, {} written{more}, {seconds:.1} s",
            inputs.len(),
            size(bytes)
        ));
        if let Some(listed) = listed {
            complain(&format!("what failed is listed in {listed}"));
        }
    } else {
        complain("nothing to write: no file could be scanned");
    }
    Ok(failures.is_empty() && count > 0)
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

/// What came of all files.
#[derive(Default)]
struct Outcome {
    unchanged: usize,
    failures: Vec<(String, String)>,
}

/// Scans all files; their rows go to the scanner's stage.
///
/// # Errors
/// Where rows cannot be kept: then nothing goes on.
fn scan_all(inputs: &[Input], scanner: &Scanner<'_>, jobs: usize) -> Result<Outcome> {
    let progress = Progress::new(inputs.len());
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Outcome::default());
    let stopped: Mutex<Option<Error>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed))
                    && lock(&stopped).is_none()
                {
                    let name = input.location.display();
                    let row = scanner.scan(input, &progress).in_file(&name);
                    let kept = match &row {
                        Ok(Some(row)) => scanner.stage.append(row),
                        Ok(None) => {
                            lock(&outcome).unchanged += 1;
                            Ok(())
                        }
                        Err(_) => Ok(()),
                    };
                    if let Err(error) = kept {
                        *lock(&stopped) = Some(error);
                    }
                    progress.step(row.as_ref().err());
                    if let Err(error) = row {
                        lock(&outcome).failures.push((name, error.root().chain()));
                    }
                }
            });
        }
    });
    progress.finish();
    let stopped = lock(&stopped).take();
    let mut outcome = outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcome.failures.sort();
    stopped.map_or(Ok(outcome), Err)
}

/// How files become rows.
struct Scanner<'a> {
    caller: &'a Caller<'a>,
    stage: &'a Journal,
    /// What the index or an earlier run tells of the files at their origins.
    known: &'a HashMap<u64, KnownFile>,
    strategy: Strategy,
    /// Files that are scanned at the same time, and share the connections of their host.
    side_by_side: usize,
    embed: Option<u8>,
    packets: bool,
    parse_packets: bool,
    checksums: bool,
    packed: Mutex<Sum>,
    overviews: Mutex<Sum>,
}

/// What rows carry beside what a look-up reads.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    rows: usize,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, value: &[u8]) {
        self.rows += 1;
        self.bytes += value.len() as u64;
    }
}

impl Scanner<'_> {
    /// The row of a file; `None` where it is there already and the file has not changed.
    fn scan(&self, input: &Input, progress: &Progress) -> Result<Option<StoredRow>> {
        let name = input.location.display();
        let access = self.caller.access(&input.location)?;
        let source = self.caller.open(&input.location, &access)?;
        if self.is_known(input, &*source)? {
            return Ok(None);
        }
        let lanes = (source.lanes() / self.side_by_side).max(1);
        let mut scanned = scan_by(&*source, Effort { strategy: self.strategy, lanes })?;
        if let Some(seen) = &input.seen
            && seen.size != scanned.meta.size
        {
            let what = format!("it was said to have {} bytes, and has {}", seen.size, scanned.meta.size);
            return Err(Error::Changed { what });
        }
        if let Some(checksum) = input.checksum.as_ref().filter(|_| self.checksums) {
            checksum.check(&*source)?;
        }
        if let Some(why) = self.find_ends(&source, &mut scanned, &access.options)? {
            progress.tell(&format!("{name}: {}", why.chain()));
        }
        let unknown = Key { product: ProductName::Unknown, mgrs_tile: None, band: String::new(), resolution: None };
        let key = RecordKey::new(input.key.as_ref().unwrap_or(&unknown));
        let whole = scanned.whole.clone();
        let lengths = std::mem::take(&mut scanned.lengths);
        let mut record = Record::from_scan(key, &input.path, source.origin(), scanned);
        if self.packets {
            match PacketLengths::new(&record.parts, &lengths) {
                Ok(packets) => {
                    lock(&self.packed).add(&packets.value()?);
                    record.packets = Some(packets);
                }
                Err(why) => progress.tell(&format!("{name}: a row without packets: {why}")),
            }
        }
        if let Some(k) = self.embed {
            match build_overviews(&record.parts, k, &source, whole.as_ref(), &access.options)? {
                Ok(value) => {
                    lock(&self.overviews).add(&value);
                    record.overviews = Some(EmbeddedOverviews::of_bytes(k, value.into()));
                }
                Err(why) => progress.tell(&format!("{name}: a row without overviews: {why}")),
            }
        }
        Ok(Some(StoredRow::from(&record)))
    }

    /// Whether the file has a row already, with packets where they are asked for, and is still what it was then. A row of
    /// the run before is taken at its word.
    fn is_known(&self, input: &Input, source: &dyn Source) -> Result<bool> {
        if self.checksums && input.checksum.is_some() {
            return Ok(false);
        }
        let known = self.known.get(&hash(source.origin())).filter(|known| known.has_packets || !self.packets);
        let Some(known) = known else { return Ok(false) };
        if known.is_new && !source.is_cheap() {
            return Ok(true);
        }
        // A listing tells it without a request, a manifest the size alone.
        let listed = input.seen.clone().filter(|seen| seen.etag.is_some() || seen.last_modified.is_some());
        let meta = listed.map_or_else(|| source.head(), Ok)?;
        Ok(known.is_still(meta.size, meta.etag.as_deref(), meta.last_modified))
    }

    /// Finds out how long packets are and where resolutions end, where the scan has not. What stands against it is no failure.
    fn find_ends(&self, source: &Arc<dyn Source>, scanned: &mut Scanned, options: &Options) -> Result<Option<Error>> {
        let Scanned { main, parts, lengths, doubt, .. } = scanned;
        let mut found = doubt.take().map_or(Ok(()), Err);
        if parts.iter().any(|part| part.head.is_none()) {
            found = read_lengths(source, main, parts, options).map(|found| *lengths = found);
        }
        if self.parse_packets && lengths.is_empty() {
            found = parse_packets(&**source, main, parts).map(|found| *lengths = found);
            let is_known = |part: &TilePart| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty());
            if found.is_ok() && !parts.iter().all(is_known) {
                let what =
                    "its progression mixes resolutions, so overviews are not found: PLT in the file itself could";
                found = Err(Error::NoOverview { what: what.into() });
            }
        }
        let against = found.err();
        match against {
            None | Some(Error::NoOverview { .. } | Error::Malformed { .. }) => Ok(against),
            Some(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::made;
    use crate::source::memory::Memory;

    #[test]
    fn what_stands_against_overviews_is_told_and_no_failure() {
        let caller = Caller::of_environment();
        let options = options().unwrap();
        let told = |name: &str, file: Vec<u8>, parse_packets: bool| {
            let source: Arc<dyn Source> = Arc::new(Memory::new(&format!("mem://ends-{name}"), file));
            let effort = Effort { strategy: Strategy::Auto, lanes: 1 };
            let mut scanned = scan_by(&*source, effort).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let stage = folder.path().join("stage");
            let open_local = |path: &Path| caller.source(&Location::Local(path.to_owned()));
            let stage = Journal::open(&stage, &open_local, &mut |_| ()).unwrap();
            let known = HashMap::new();
            let scanner = Scanner {
                caller: &caller,
                stage: &stage,
                known: &known,
                strategy: Strategy::Auto,
                side_by_side: 1,
                embed: None,
                packets: false,
                parse_packets,
                checksums: false,
                packed: Mutex::default(),
                overviews: Mutex::default(),
            };
            scanner.find_ends(&source, &mut scanned, &options).unwrap().map(|error| error.chain())
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
