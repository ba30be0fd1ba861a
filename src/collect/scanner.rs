//! How files become rows, several at a time.
//!
//! Each row goes to a journal as soon as it is made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::inputs::Input;
use super::lengths::find_ends;
use super::report::{Failure, Report};
use crate::error::{Error, Result, ResultExt};
use crate::index::{
    Effort, EmbeddedOverviews, Journal, KnownFile, PacketLengths, Record, RecordKey, Scanned, StoredRow, Strategy,
    build_overviews, hash, scan_by, scan_tiff,
};
use crate::options::Options;
use crate::path::{Key, Location, ProductName};
use crate::process::lock;
use crate::source::{Caller, Source, SourceOffset};
use crate::tiff::form_of;

/// How files are scanned, and what their rows carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanOptions {
    /// How tile-parts are found.
    pub(crate) strategy: Strategy,
    /// The overviews that rows carry, as k of the finest factor 2^k.
    pub(crate) embed: Option<u8>,
    /// Whether rows carry the length of every packet.
    pub(crate) packets: bool,
    /// Whether files without PLT are read whole for that.
    pub(crate) parse_packets: bool,
    /// Whether files are checked against the checksums of their manifests.
    pub(crate) checksums: bool,
}

/// What rows carry beside what a look-up reads.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Carried {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
}

impl Carried {
    fn add(&mut self, value: &[u8]) {
        self.rows += 1;
        self.bytes += value.len() as u64;
    }
}

/// What came of all files.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) unchanged: usize,
    pub(super) failures: Vec<Failure>,
    pub(super) packets: Carried,
    pub(super) overviews: Carried,
}

/// How files become rows.
pub(super) struct Scanner<'a> {
    caller: &'a Caller<'a>,
    journal: &'a Journal,
    /// What the index or an earlier run records of the files at their origins.
    known: &'a HashMap<u64, KnownFile>,
    options: ScanOptions,
    /// Files that are scanned at the same time, and share the connections of their host.
    side_by_side: usize,
    report: &'a dyn Report,
    outcome: Mutex<Outcome>,
}

impl<'a> Scanner<'a> {
    /// A scanner whose rows go to `journal`; `known` is what is known of files by their origins.
    pub(super) fn new(
        caller: &'a Caller<'a>,
        journal: &'a Journal,
        known: &'a HashMap<u64, KnownFile>,
        options: ScanOptions,
        report: &'a dyn Report,
    ) -> Self {
        Self { caller, journal, known, options, side_by_side: 1, report, outcome: Mutex::default() }
    }

    /// Scans all files, `jobs` at a time.
    ///
    /// # Errors
    /// Where rows cannot be kept: then nothing goes on.
    pub(super) fn scan_all(mut self, inputs: &[Input], jobs: usize) -> Result<Outcome> {
        self.side_by_side = jobs.min(inputs.len()).max(1);
        self.report.begin(inputs.len());
        let next = AtomicUsize::new(0);
        let stopped: Mutex<Option<Error>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed))
                        && lock(&stopped).is_none()
                    {
                        if let Err(error) = self.scan_into_journal(input) {
                            *lock(&stopped) = Some(error);
                        }
                    }
                });
            }
        });
        self.report.end();
        if let Some(error) = lock(&stopped).take() {
            return Err(error);
        }
        let mut outcome = self.outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        outcome.failures.sort();
        Ok(outcome)
    }

    /// Scans a file and keeps its row. That the file failed is no error of this.
    fn scan_into_journal(&self, input: &Input) -> Result<()> {
        let name = input.location.display();
        let row = self.scan(input).in_file(&name);
        let kept = match &row {
            Ok(Some(row)) => self.journal.append(row),
            Ok(None) => {
                lock(&self.outcome).unchanged += 1;
                Ok(())
            }
            Err(_) => Ok(()),
        };
        self.report.step(row.as_ref().err());
        if let Err(error) = row {
            lock(&self.outcome).failures.push(Failure::new(name, error.root()));
        }
        kept
    }

    /// The row of a file; `None` where it is there already and the file has not changed.
    fn scan(&self, input: &Input) -> Result<Option<StoredRow>> {
        let access = self.caller.access(&input.location)?;
        let source = self.caller.open(&input.location, &access)?;
        if self.is_known(input, &*source)? {
            return Ok(None);
        }
        if is_tiff(&input.location, &*source)? {
            let scanned = scan_tiff(&*source)?;
            self.check(input, &*source, scanned.meta.size)?;
            return Ok(Some(row(input, &Record::from_tiff(key(input), &input.path, source.origin(), scanned))));
        }
        let lanes = (source.lanes() / self.side_by_side).max(1);
        let mut scanned = scan_by(&*source, Effort { strategy: self.options.strategy, lanes })?;
        self.check(input, &*source, scanned.meta.size)?;
        if let Some(why) = find_ends(&source, &mut scanned, self.options.parse_packets, &access.options)? {
            self.say(input, &why.chain());
        }
        self.build_row(input, &source, scanned, &access.options).map(Some)
    }

    /// Checks a file of `size` bytes against what it was listed with.
    fn check(&self, input: &Input, source: &dyn Source, size: u64) -> Result<()> {
        if let Some(seen) = input.seen.as_ref().filter(|seen| seen.size != size) {
            let what = format!("it was listed with {} bytes, and has {size}", seen.size);
            return Err(Error::Changed { what });
        }
        input.checksum.as_ref().filter(|_| self.options.checksums).map_or(Ok(()), |checksum| checksum.check(source))
    }

    /// The row of what a scan of a JP2 has found, with what it is to carry.
    fn build_row(
        &self,
        input: &Input,
        source: &Arc<dyn Source>,
        mut scanned: Scanned,
        options: &Options,
    ) -> Result<StoredRow> {
        let whole = scanned.whole.clone();
        let lengths = std::mem::take(&mut scanned.lengths);
        let mut record = Record::from_scan(key(input), &input.path, source.origin(), scanned);
        if self.options.packets {
            match PacketLengths::new(&record.parts, &lengths) {
                Ok(packets) => {
                    lock(&self.outcome).packets.add(&packets.value()?);
                    record.packets = Some(packets);
                }
                Err(why) => self.say(input, &format!("a row without packets: {why}")),
            }
        }
        if let Some(k) = self.options.embed {
            match build_overviews(&record.parts, k, source, whole.as_ref(), options)? {
                Ok(value) => {
                    lock(&self.outcome).overviews.add(&value);
                    record.overviews = Some(EmbeddedOverviews::of_bytes(k, value.into()));
                }
                Err(why) => self.say(input, &format!("a row without overviews: {why}")),
            }
        }
        Ok(row(input, &record))
    }

    fn say(&self, input: &Input, text: &str) {
        self.report.say(&format!("{}: {text}", input.location.display()));
    }

    /// Whether the file has a row already, with packets where they are asked for and what an item of STAC tells of it, and is
    /// still what it was then. A row of the run before is taken at its word.
    fn is_known(&self, input: &Input, source: &dyn Source) -> Result<bool> {
        if self.options.checksums && input.checksum.is_some() {
            return Ok(false);
        }
        let Some(known) = self.known.get(&hash(source.origin())) else { return Ok(false) };
        let lacks_packets = self.options.packets && !known.has_packets;
        let lacks_item = (input.cloud_cover.is_some() && !known.has_cloud_cover)
            || (input.datetime.is_some() && !known.has_datetime);
        if lacks_packets || lacks_item {
            return Ok(false);
        }
        if known.is_new && !source.is_cheap() {
            return Ok(true);
        }
        // A listing has all of it without a request, a manifest the size alone.
        let listed = input.seen.clone().filter(|seen| seen.etag.is_some() || seen.last_modified.is_some());
        let meta = listed.map_or_else(|| source.head(), Ok)?;
        Ok(known.is_still(meta.size, meta.etag.as_deref(), meta.last_modified))
    }
}

/// What the index calls a file.
fn key(input: &Input) -> RecordKey {
    let unknown = Key { product: ProductName::Unknown, mgrs_tile: None, band: String::new(), resolution: None };
    RecordKey::new(input.key.as_ref().unwrap_or(&unknown))
}

/// The row of `record`, with what an item of STAC told of the file.
fn row(input: &Input, record: &Record) -> StoredRow {
    StoredRow { cloud_cover: input.cloud_cover, datetime: input.datetime, ..StoredRow::from(record) }
}

/// Whether a file is a TIFF: by its name, or by its first bytes where that tells nothing.
pub(crate) fn is_tiff(location: &Location, source: &dyn Source) -> Result<bool> {
    if location.is_tiff() || location.is_jp2() {
        return Ok(location.is_tiff());
    }
    Ok(form_of(&source.read_up_to(SourceOffset(0), 4)?).is_some())
}
