//! A file that lies at a place: by a row of the index, by a learned one, by a walk through it, or as it is.

use once_cell::race::OnceBox;

use super::known::{Known, Lengths};
use super::registry;
use super::tiff::Stored;
use super::virtual_file::{Expected, Opened, VirtualFile};
use crate::error::{Error, Result};
use crate::index::{self, Record, RecordKey};
use crate::jp2::{LONGEST_HEADER, SOT_LENGTH, Sot, Structure};
use crate::layout::{self, Layout};
use crate::options::{OnMiss, Verify};
use crate::path::{Location, Request};
use crate::source::{self, Access, Caller, Source, SourceOffset};
use crate::trace;

/// Opens the file that lies where `request` says. `rows` are those of a file that was asked for by its product's name.
pub(super) fn open_at(
    request: &Request,
    access: Access,
    caller: &Caller<'_>,
    rows: Option<Rows<'_>>,
) -> Result<VirtualFile> {
    let source = caller.open(&request.location, &access)?;
    let opened = match Kind::of(request) {
        Some(kind) => open_by_kind(&*source, request, kind, &access, caller, rows)?,
        None => pass(&*source)?,
    };
    Ok(VirtualFile::new(request.location.display(), source, access, opened))
}

/// What a file is read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Jp2,
    Tiff,
}

impl Kind {
    /// By what is asked for, and by the name; `None` for what is passed on unchanged.
    fn of(request: &Request) -> Option<Self> {
        match (request.is_of_jp2(), request.location.is_tiff()) {
            (true, _) => Some(Self::Jp2),
            (false, true) => Some(Self::Tiff),
            (false, false) => None,
        }
    }

    /// Whether a row is of such a file: a band may lie as a JP2 in one archive and as a TIFF in another.
    fn has(self, record: &Record) -> bool {
        record.is_of_tiff() == (self == Self::Tiff)
    }
}

/// The rows of a file that was asked for by its product's name.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// What the index has of it.
    pub(super) records: &'a [Record],
    /// Whether it may lie elsewhere, too: then this place is always asked, unless a row was made from it.
    pub(super) is_one_of_many: bool,
    /// Whether the place is that of no other product's file, so that a row that does not fit is just wrong.
    pub(super) is_sure: bool,
}

/// The file as it is.
fn pass(source: &dyn Source) -> Result<Opened> {
    let meta = source.head()?;
    Ok(Opened {
        layout: layout::pass(meta.size),
        expected: Expected { size: Some(meta.size), etag: meta.etag, last_modified: meta.last_modified },
        last_modified: meta.last_modified,
        known: None,
        tiff: None,
    })
}

fn open_by_kind(
    source: &dyn Source,
    request: &Request,
    kind: Kind,
    access: &Access,
    caller: &Caller<'_>,
    rows: Option<Rows<'_>>,
) -> Result<Opened> {
    let (origin, options) = (source.origin(), &access.options);
    let key = request.key.as_ref();
    if let Some(key) = key
        && !options.index.is_empty()
        && !registry::get().is_set_aside(&access.identity, origin)
    {
        let found = match rows {
            Some(rows) => rows.records.to_vec(),
            None => {
                let found = index::find(&options.index, key, origin, caller);
                warn_all(caller, &found.warnings);
                found.records
            }
        };
        for record in found.into_iter().filter(|record| kind.has(record)) {
            let asks = rows.is_some_and(|rows| rows.is_one_of_many);
            if let Some(opened) = try_record(source, request, &record, access, asks)? {
                trace::debug(|| format!("{origin}: row of the index"));
                return Ok(opened);
            }
        }
    }
    if rows.is_some_and(|rows| rows.is_one_of_many && !rows.is_sure) {
        return Err(Error::Row { what: "no row of the product is of this size".into() });
    }
    if let Some(record) = index::learned_get(access, origin).filter(|record| kind.has(record)) {
        if let Some(opened) = try_record(source, request, &record, access, false)? {
            trace::debug(|| format!("{origin}: learned row"));
            return Ok(opened);
        }
        index::learned_forget(access, origin);
    }
    match options.on_miss {
        OnMiss::Fail => Err(Error::Miss),
        OnMiss::Pass => pass(source),
        OnMiss::Scan => match open_by_scan(source, request, kind, access, caller) {
            Err(why @ (Error::Malformed { .. } | Error::Row { .. })) => {
                // GDAL may understand more, or know another format by that name: it gets the file, and says what is wrong.
                warn(caller, &format!("{} is served unchanged: {}", request.location.display(), why.chain()));
                pass(source)
            }
            opened => opened,
        },
    }
}

/// A file that no row is known of, by reading its headers.
///
/// # Errors
/// [`Error::Malformed`] where it is not understood; whatever reading it fails with.
fn open_by_scan(
    source: &dyn Source,
    request: &Request,
    kind: Kind,
    access: &Access,
    caller: &Caller<'_>,
) -> Result<Opened> {
    let origin = source.origin();
    trace::debug(|| format!("{origin}: no row, reading the file's headers"));
    let record_key = request.key.as_ref().map_or_else(RecordKey::default, RecordKey::new);
    let path = request.location.archive_path();
    let (record, whole, doubt) = match kind {
        Kind::Jp2 => {
            // Where a table has turned out wrong, it may have been the file's own TLM.
            let mut scanned = match registry::get().is_set_aside(&access.identity, origin) {
                true => index::scan_without_tlm(source)?,
                false => index::scan(source)?,
            };
            let (whole, doubt) = (scanned.whole.take(), scanned.doubt.take());
            (Record::from_scan(record_key, &path, origin, scanned), whole, doubt)
        }
        Kind::Tiff => {
            let mut scanned = index::scan_tiff(source)?;
            let whole = scanned.whole.take();
            (Record::from_tiff(record_key, &path, origin, scanned), whole, None)
        }
    };
    let opened = opened(&record, source)?;
    index::learned_put(access, &record);
    if let Some(doubt) = doubt {
        warn(caller, &format!("{}: {}", request.location.display(), doubt.chain()));
    }
    if let Some(whole) = whole.filter(|_| !source.is_cheap()) {
        // As a read of the file will ask for it: at once, or by its units.
        let all = SourceOffset(0)..SourceOffset(whole.len() as u64);
        let units = opened.layout.units().iter().map(|unit| unit.range.clone());
        source::keep(source, units.chain([all]), &whole, &access.options);
    }
    Ok(opened)
}

/// Tells the user of what an index could not answer.
pub(super) fn warn_all(caller: &Caller<'_>, warnings: &[Error]) {
    warnings.iter().for_each(|warning| warn(caller, &warning.chain()));
}

/// Tells the user, once in the life of the process.
fn warn(caller: &Caller<'_>, message: &str) {
    if let Some(warn) = caller.warn().filter(|_| registry::get().is_news(message)) {
        warn(message);
    }
}

/// The file by a row; `None` where the row is not of this file.
///
/// The guard: a row that was made from this very location is trusted, and checked against the first response. A row made
/// elsewhere is checked against a HEAD, or, where the header is not in the row, against the response that brings it; that of a
/// TIFF, whose tiles have nothing in them that tells whose they are, against the file's header. A stat of a local file costs
/// nothing, so it is always made. `asks` checks a row made elsewhere against the file in any case.
fn try_record(
    source: &dyn Source,
    request: &Request,
    record: &Record,
    access: &Access,
    asks: bool,
) -> Result<Option<Opened>> {
    let (origin, options) = (source.origin(), &access.options);
    let same_place = record.origin.as_deref() == Some(origin);
    let expected = expected(record, source);
    let asks = match options.verify {
        Verify::Open => true,
        Verify::Read => asks && !same_place,
        Verify::Auto => !same_place,
    };
    let size = record.file_size.unwrap_or(0);
    let known = registry::get().is_confirmed(&access.identity, origin, size) && options.verify != Verify::Open;
    let header_asks = record.header.is_none();
    if let Some(etag) = &expected.etag {
        source.expect(etag);
    }
    if source.is_cheap() || (asks && !known && !header_asks) {
        // The response that brings a TIFF's beginning tells the file's size, too.
        let has_header = match record.is_of_tiff() && (source.is_cheap() || !same_place) {
            true => record.is_header_of(source),
            false => Ok(true),
        };
        let mismatch = match (has_header, expected.mismatch(&source.head()?)) {
            (Err(error @ (Error::Row { .. } | Error::Malformed { .. })), _) => Some(error.chain()),
            (Err(error), _) => return Err(error),
            (Ok(false), None) => Some("the file has another header".to_owned()),
            (Ok(_), mismatch) => mismatch,
        };
        if let Some(what) = mismatch {
            trace::debug(|| format!("{origin}: row set aside: {what}"));
            return Ok(None);
        }
        registry::get().confirm(&access.identity, origin, size);
    }
    let checked = opened(record, source).and_then(|opened| {
        if let Location::Local(_) = request.location {
            check_sots(source, &opened.layout)?;
        }
        if let Some(known) = &opened.known {
            check_end(source, &known.structure)?;
        }
        Ok(opened)
    });
    match checked {
        Ok(opened) => Ok(Some(opened)),
        Err(error @ (Error::Row { .. } | Error::Malformed { .. } | Error::Changed { .. })) => {
            trace::debug(|| format!("{origin}: row set aside: {}", error.chain()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Holds every tile-part's SOT against the table. Of a file on a disk that costs next to nothing, and its reads, which
/// take no whole tile-parts, see none.
fn check_sots(source: &dyn Source, layout: &Layout) -> Result<()> {
    let mut sot = [0; SOT_LENGTH as usize];
    layout.units().iter().filter(|unit| unit.sot.is_some()).try_for_each(|unit| {
        source.read_into(unit.range.start, &mut sot)?;
        unit.check_sot(&sot)
    })
}

/// What may follow the last tile-part and is not looked at in a remote file, in bytes: EOC, and what an encoder or a copy
/// pads a file with.
const USUAL_REST: u64 = 4096;

/// Checks that the table's last tile-part is the file's, where more follows it than usual: tile-parts that a row does not
/// know would be packets that its tiles lack.
pub(super) fn check_end(source: &dyn Source, structure: &Structure) -> Result<()> {
    let end = structure.tile_parts.end();
    let rest = structure.codestream_end.saturating_sub(end);
    if rest < SOT_LENGTH || (rest <= USUAL_REST && !source.is_cheap()) {
        return Ok(());
    }
    let mut bytes = [0; SOT_LENGTH as usize];
    source.read_into(SourceOffset(end), &mut bytes)?;
    match Sot::parse(&bytes, end) {
        // One of no more than its SOT has no packets.
        Ok(sot) if u64::from(sot.length) != SOT_LENGTH => Err(Error::Row {
            what: format!("its tile-parts end at {end}, where the file has one of tile {}", sot.tile),
        }),
        _ => Ok(()),
    }
}

/// What the file must be for a row to be true. ETags and dates compare within one store only.
fn expected(record: &Record, source: &dyn Source) -> Expected {
    let same_place = record.origin.as_deref() == Some(source.origin());
    Expected {
        size: record.file_size,
        etag: record.etag.clone().filter(|_| same_place),
        last_modified: record.last_modified.filter(|_| same_place),
    }
}

/// The layout of a row. A header that the row lacks is read from the file, and with it the file's size and ETag.
pub(super) fn opened(record: &Record, source: &dyn Source) -> Result<Opened> {
    if record.is_of_tiff() {
        let (pieces, head) = record.tiff()?;
        let size = pieces.size();
        return Ok(Opened {
            layout: layout::pass_with(size, pieces.iter(), head.tiles(size).into_iter()),
            expected: expected(record, source),
            last_modified: record.last_modified,
            known: None,
            tiff: Some(Stored::new(head, size).into()),
        });
    }
    let (Some(header), Some(file_size)) = (&record.header, record.file_size) else {
        return opened(&complete(record, source)?, source);
    };
    let structure = record.structure(header, file_size)?;
    let layout = layout::compose(&structure)?;
    let known = Some(Known { record: record.clone(), structure, packets: OnceBox::new(), lengths: Lengths::default() });
    Ok(Opened { layout, expected: expected(record, source), last_modified: record.last_modified, known, tiff: None })
}

/// A row of v1 with what it lacks: the header, in one request, and for a file with a TLM of its own that TLM.
fn complete(record: &Record, source: &dyn Source) -> Result<Record> {
    let scanned = |record: &Record| {
        let scan = index::scan(source)?;
        Ok(Record::from_scan(record.key.clone(), &record.path, source.origin(), scan))
    };
    let (Some(first_sot), Some(file_size)) = (record.first_sot, record.file_size) else { return scanned(record) };
    let header = source.read_up_to(SourceOffset(0), first_sot.saturating_add(SOT_LENGTH).min(LONGEST_HEADER))?;
    match source.seen().and_then(|meta| expected(record, source).mismatch(&meta)) {
        Some(what) => Err(Error::Changed { what }),
        None => Ok(Record { header: Some(header), file_size: Some(file_size), ..record.clone() }),
    }
}
