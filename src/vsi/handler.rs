//! What GDAL's callbacks mean: opening, the cursor, side-cars, messages. Safe code, and no knowledge of C.

use std::sync::{Arc, Mutex};

use super::end;
use super::hidden_failures::{Gap, Place};
use super::host::{Host, Severity};
use super::host_source::HostSource;
use crate::error::{Error, Result, ResultExt};
use crate::file::{self, Ahead, EmptyTile, Lease};
use crate::options::OnReadError;
use crate::path::{self, Location, Request, View};
use crate::process::{PerProcess, lock};
use crate::source::{Caller, HostFiles, Identity, Source};
use crate::trace;

/// GDAL's own file systems, for `source`.
pub(super) struct Files(pub(super) &'static dyn Host);

impl HostFiles for Files {
    fn open(&self, path: &str, identity: &Identity) -> Result<Arc<dyn Source>> {
        HostSource::open(self.0, path, identity)
    }
}

/// Does `work` for the caller that this thread is.
fn for_caller<T>(host: &'static dyn Host, work: impl FnOnce(&Caller<'_>) -> T) -> T {
    let get = |path: &str, name: &str| host.option(path, name);
    let warn = |message: &str| host.report(message, Severity::Warning);
    work(&Caller::new(&get).with_files(&Files(host)).with_warn(&warn))
}

/// A file opened by GDAL. One thread uses it at a time.
pub(super) struct Handle {
    name: String,
    /// `None` before the first read, where only that shows whether a thread of GDAL's decodes what another caller has open.
    file: Option<Arc<Lease>>,
    position: u64,
    /// Whether nothing was read since the last seek.
    after_seek: bool,
    at_end: bool,
    /// Whether a read has failed since the host last cleared it.
    failed: bool,
    /// Whether it reads as a decoder does that was opened for that alone: from the codestream's start on, by a seek.
    decodes: Option<bool>,
    /// Whether nothing shows for which caller it decodes: then it is given no byte of a tile.
    is_blind: bool,
    /// What the last tile that could not be read is read as.
    instead: Option<EmptyTile>,
    gap: Gap,
    place: Place,
    ahead: Ahead,
}

/// Opens what `name` names. A failure is raised as an error, unless the name is that of a side-car, which GDAL only
/// looks for.
pub(super) fn open(host: &'static dyn Host, name: &str, mode: &str) -> Result<Handle> {
    trace::listen(host.option("", "CPL_DEBUG").is_some_and(|value| !value.is_empty()));
    end::note(host);
    // GTiff asks for the pages of a file with a mode of libtiff's: rDOC.
    if !mode.starts_with('r') || mode.contains(['w', 'a']) {
        let request = path::parse(name)?;
        let error = Err(Error::ReadOnly { mode: mode.to_owned() }).in_file(&request.location.display());
        return error.inspect_err(|error: &Error| host.report(&error.chain(), Severity::OpenFailed));
    }
    let place = Place::new(host, name);
    let file = for_caller(host, |caller| {
        let before = place.main_files();
        let own = || parse(name).and_then(|request| file::file_id(&request, caller)).ok();
        let own = if before.is_empty() { None } else { own() };
        if let Some(own) = &own
            && !before.iter().any(|file| file.id().is_of_the_same_caller(own))
            && host.thread_options().is_empty()
        {
            return Ok(None);
        }
        match find(caller, name) {
            Ok(Some(file)) => Ok(Some(file)),
            Ok(None) => Err(Error::not_found()),
            Err(error) => {
                host.report(&error.chain(), Severity::OpenFailed);
                // A thread of GDAL's that cannot open what its main thread has open fails in silence; its reads do not.
                own.and_then(|own| place.main_file(&own)).map(Some).ok_or(error)
            }
        }
    })?;
    Ok(Handle {
        name: name.to_owned(),
        file,
        position: 0,
        after_seek: false,
        at_end: false,
        failed: false,
        decodes: None,
        is_blind: false,
        instead: None,
        gap: Gap::None,
        place,
        ahead: Ahead::default(),
    })
}

/// What a name means; see [`file::unfolded`].
fn parse(name: &str) -> Result<Request> {
    path::parse(name).map(file::unfolded)
}

/// The file behind a name; `None` for a side-car that is not there.
fn find(caller: &Caller<'_>, name: &str) -> Result<Option<Arc<Lease>>> {
    let request = parse(name)?;
    let wants_side_cars = || file::wants_side_cars(&request.location, caller);
    let looked_for = |request: &Request| match file::open(request, caller) {
        Err(error) if matches!(error.root(), Error::NotFound { .. }) => Ok(None),
        opened => opened.map(Some),
    };
    if request.view == View::Overviews {
        // A real one beside the file goes first.
        let real = path::parse_file(name).map(file::unfolded)?;
        let is_there = match &real.location {
            Location::Local(path) => path.is_file(),
            _ => wants_side_cars(),
        };
        if is_there && let Some(file) = looked_for(&real)? {
            return Ok(Some(file));
        }
        // Without them GDAL takes the file's own overviews, so a failure is no error.
        let overviews = file::open(&request, caller).inspect_err(|error| {
            trace::debug(|| format!("no list of overviews: {}", error.chain()));
        });
        return Ok(overviews.ok());
    }
    if has_side_car_name(&request.location) {
        // Nothing lies beside a view.
        let is_beside = request.view == View::Whole && (!is_side_car_probe(&request.location) || wants_side_cars());
        // The form is that of the file that it lies beside.
        return if is_beside { looked_for(&Request { form: None, ..request.clone() }) } else { Ok(None) };
    }
    if request.is_of_jp2() {
        return file::open_served(&request, caller).map(Some);
    }
    looked_for(&request)
}

/// What a stat gives.
pub(super) struct Found {
    pub(super) size: u64,
    pub(super) is_folder: bool,
    pub(super) last_modified: Option<i64>,
}

/// Looks a name up without a message: GDAL stats what it only guesses.
pub(super) fn stat(host: &'static dyn Host, name: &str) -> Result<Found> {
    for_caller(host, |caller| stat_for(caller, name))
}

fn stat_for(caller: &Caller<'_>, name: &str) -> Result<Found> {
    let folder = Found { size: 0, is_folder: true, last_modified: None };
    if let Ok(request) = parse(name) {
        match &request.location {
            Location::Local(local) if local.is_dir() => return Ok(folder),
            Location::Product { file: None, .. } => return file::bands(&request, caller).map(|_| folder),
            // A folder's list asks for the size of each of its files: the index records it.
            Location::Product { .. }
                if request.view == View::Whole
                    && !file::wants_tiff(&request, caller)
                    && file::at_hand(&request, caller).is_none() =>
            {
                if let Some((size, last_modified)) = file::size(&request, caller)? {
                    return Ok(Found { size, is_folder: false, last_modified });
                }
            }
            _ => {}
        }
    }
    let file = find(caller, name)?.ok_or_else(Error::not_found)?;
    Ok(Found { size: file.size(), is_folder: false, last_modified: file.last_modified() })
}

/// Suffixes of the names that GDAL tries beside a raster, in lower case.
const SIDE_CARS: [&str; 19] = [
    ".aux.xml",
    ".aux",
    ".ovr",
    ".msk",
    ".j2w",
    ".jp2w",
    ".jpw",
    ".tfw",
    ".tifw",
    ".tiffw",
    ".wld",
    ".tab",
    ".j2kw",
    ".jpxw",
    ".j2cw",
    ".imd",
    ".rpb",
    "_metadata.txt",
    "_rpc.txt",
];

/// Whether GDAL would look for this name of its own accord when it opens a JP2 or a TIFF. Beside a remote file there are no
/// side-cars, and asking for each would cost a request; beside a local one they are what the folder says.
fn is_side_car_probe(location: &Location) -> bool {
    !matches!(location, Location::Local(_)) && has_side_car_name(location)
}

fn has_side_car_name(location: &Location) -> bool {
    let name = location.gdal_path();
    let name = name.split('?').next().unwrap_or_default().to_ascii_lowercase();
    SIDE_CARS.iter().any(|suffix| name.ends_with(suffix))
}

/// The files beside `name`, so that GDAL need not look for them one by one: the list of overviews, and beside a local file
/// those of the same stem. `None` where they are not known and wanted (VSITLM_SIDECARS=YES): then GDAL asks for each, which
/// GDAL 3.10 and later do for no name that a list lacks.
pub(super) fn sibling_files(host: &'static dyn Host, name: &str) -> Option<Vec<String>> {
    for_caller(host, |caller| siblings_of(caller, name))
}

fn siblings_of(caller: &Caller<'_>, name: &str) -> Option<Vec<String>> {
    let Ok(request) = parse(name) else { return Some(Vec::new()) };
    if request.view != View::Whole {
        return Some(Vec::new());
    }
    let mut siblings = Vec::new();
    if let Location::Local(file) = &request.location {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = std::fs::read_dir(folder.unwrap_or(std::path::Path::new("."))).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        siblings.extend(names.filter(|entry| entry.starts_with(stem)));
    } else if file::wants_side_cars(&request.location, caller) {
        return None;
    }
    // GDAL asks when it has the file open. A TIFF has its overviews in itself.
    if file::served_at_hand(&request, caller).is_some_and(|file| file.may_have_overviews()) {
        // As GDAL cuts a name from a path: at the last slash, be it in a query string. /vsitlm/?url=… and /vsitlm?url=…
        // come here alike.
        let overviews = format!("{}.ovr", name.rsplit('/').next().unwrap_or(name));
        if name.starts_with('?') {
            siblings.push(format!("vsitlm{overviews}"));
        }
        if !siblings.contains(&overviews) {
            siblings.push(overviews);
        }
    }
    Some(siblings)
}

/// The entries of a local folder, or the files of a product by its name; other folders are not listed.
pub(super) fn read_dir(host: &'static dyn Host, name: &str) -> Option<Vec<String>> {
    let request = path::parse(name).ok()?;
    match &request.location {
        Location::Local(folder) => {
            let entries = std::fs::read_dir(folder).ok()?;
            Some(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
        Location::Product { file: None, .. } => for_caller(host, |caller| file::bands(&request, caller)).ok(),
        _ => None,
    }
}

/// How many reads have failed for good, and what the last one said.
static READ_ERRORS: PerProcess<Mutex<(u64, String)>> = PerProcess::new();

/// See [`READ_ERRORS`].
pub(super) fn read_errors() -> (u64, String) {
    lock(READ_ERRORS.get()).clone()
}

/// Raises what a read has failed with, for good.
fn complain(host: &dyn Host, file: &Lease, error: &Error) {
    let mut message = error.chain();
    if !file.is_tiff() {
        message += ". GDAL reads the tile once more where a thread of its own has failed; with GDAL_NUM_THREADS=1 it \
                    fails at once, with VSITLM_ON_READ_ERROR=ABORT the process ends";
    }
    {
        let mut errors = lock(READ_ERRORS.get());
        errors.0 += 1;
        errors.1.clone_from(&message);
    }
    host.report(&message, Severity::ReadFailed);
    if file.options().on_read_error == OnReadError::Abort {
        eprintln!("vsitlm: {}: the process ends (VSITLM_ON_READ_ERROR=ABORT)", error.chain());
        std::process::abort();
    }
}

impl Handle {
    pub(super) fn tell(&self) -> u64 {
        self.position
    }

    /// Moves the cursor; false for a `whence` that does not exist.
    pub(super) fn seek(&mut self, host: &'static dyn Host, offset: u64, whence: i32) -> bool {
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => self.position,
            libc::SEEK_END => match self.opened(host) {
                Some(file) => file.size(),
                None => return false,
            },
            _ => return false,
        };
        // GDAL's offsets are unsigned; a step back is written as its two's complement.
        self.position = base.wrapping_add(offset);
        self.after_seek = true;
        self.at_end = false;
        true
    }

    /// Reads from the cursor on and gives the number of bytes.
    ///
    /// A failure is loud, because GDAL hides it from those who read several tiles with threads: see `hidden_failures`.
    pub(super) fn read(&mut self, host: &'static dyn Host, buffer: &mut [u8]) -> usize {
        if self.file.is_none() {
            self.decide(host);
        }
        let Some(mut file) = self.file.clone() else { return self.fail() };
        if self.position == 0 && !self.after_seek {
            self.place.read_from_start(&file);
        }
        self.place.used(host);
        if self.decodes.is_none() {
            file = self.begins_to_decode(file);
        }
        let decodes = self.decodes == Some(true);
        let asked = buffer.len() as u64;
        let wanted = if self.after_seek { file.probe(self.position, asked) } else { None };
        self.after_seek = false;
        if let Some(done) = self.read_instead(buffer) {
            return done;
        }
        let length = usize::try_from(wanted.unwrap_or(asked)).unwrap_or(buffer.len()).min(buffer.len());
        let target = buffer.get_mut(..length).unwrap_or_default();
        let read = match self.is_blind {
            true => Ok(file.read_inline(self.position, target)),
            false => file.read_at(self.position, target, &mut self.ahead).map(Some),
        };
        match read {
            Ok(Some(done)) => {
                self.position += done as u64;
                self.at_end = wanted.is_none() && (done as u64) < asked && !self.is_blind;
                return done;
            }
            Ok(None) => {}
            Err(error) => complain(host, &file, &error),
        }
        if decodes && self.place.is_workers() {
            self.instead = file.empty_tile(self.position);
            let done = self.instead.is_some().then(|| file.read_inline(self.position, buffer)).flatten();
            self.position += done.unwrap_or(0) as u64;
            if let Some(done) = done.or_else(|| self.read_instead(buffer)) {
                self.gap = self.gap.max(Gap::Filled);
                return done;
            }
        }
        self.fail()
    }

    /// A read that gives nothing.
    fn fail(&mut self) -> usize {
        self.failed = true;
        // Of a TIFF GDAL hides nothing.
        if !self.file.as_ref().is_some_and(|file| file.is_tiff()) {
            self.gap = Gap::Open;
        }
        0
    }

    /// Fills each buffer from its offset on, and says whether that worked. A failure is silent: the host reads each range by
    /// itself then.
    pub(super) fn read_ranges(&mut self, host: &'static dyn Host, ranges: &mut [(u64, &mut [u8])]) -> bool {
        let Some(file) = self.opened(host) else { return false };
        let outcome = file.read_ranges(ranges);
        outcome.inspect_err(|error| trace::debug(|| format!("several ranges: {}", error.chain()))).is_ok()
    }

    /// The file, which this thread opens by its own options where that was not decided yet.
    fn opened(&mut self, host: &'static dyn Host) -> Option<&Arc<Lease>> {
        if self.file.is_none() {
            match for_caller(host, |caller| find(caller, &self.name)) {
                Ok(file) => self.file = file,
                Err(error) => host.report(&error.chain(), Severity::OpenFailed),
            }
        }
        self.file.as_ref()
    }

    /// Finds out by the first read whose file it is: see `hidden_failures`.
    fn decide(&mut self, host: &'static dyn Host) {
        let before = if self.after_seek { self.place.main_files() } else { Vec::new() };
        let mut decoded = before.into_iter().filter(|file| file.is_codestream_start(self.position));
        let Some(first) = decoded.next() else {
            self.opened(host);
            return;
        };
        self.is_blind = decoded.any(|other| !other.id().is_of_the_same_caller(first.id()));
        self.decodes = Some(true);
        self.file = Some(first);
    }

    /// Whether the handle's first read is a decoder's that was opened for that alone. Then it is one of the file that the
    /// name was opened by before, and reads that: what lies under the name now may be another version.
    fn begins_to_decode(&mut self, file: Arc<Lease>) -> Arc<Lease> {
        let main = if self.after_seek { self.place.main_file(file.id()) } else { None };
        let file = main.filter(|main| main.is_codestream_start(self.position)).unwrap_or(file);
        self.decodes = Some(self.after_seek && file.is_codestream_start(self.position));
        self.file = Some(file.clone());
        file
    }

    /// Reads from the body of the empty tile, where the cursor is there.
    fn read_instead(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let tile = self.instead.as_ref().filter(|tile| tile.body.contains(&self.position))?;
        let done = tile.read(self.position, buffer);
        self.position += done as u64;
        Some(done)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at_end
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn clear(&mut self) {
        self.failed = false;
        self.at_end = false;
    }

    /// Closes the file; `workers` tells what a failure means then.
    pub(super) fn close(self, host: &dyn Host) {
        self.place.closed(host, self.gap);
    }
}
