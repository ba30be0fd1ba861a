//! From a name to a virtual file: one that is open, a view, a product's file, or what lies at a place.

use std::sync::Arc;

use super::at_place::open_at;
use super::{FileId, Lease, VirtualFile, product, registry};
use crate::error::{Error, Result, ResultExt};
use crate::path::{Form, Location, Request, View};
use crate::source::{Access, Caller};
use crate::trace;

/// Whether side-cars of remote files are to be looked for.
pub(crate) fn wants_side_cars(location: &Location, caller: &Caller<'_>) -> bool {
    caller.access(location).is_ok_and(|access| access.options.sidecars)
}

/// `request` as it is meant: a relative path that leads nowhere is an absolute one, if that leads to something.
/// `pathlib.Path` makes one slash of two.
pub(crate) fn unfolded(request: Request) -> Request {
    let exists = |request: &Request| matches!(&request.location, Location::Local(path) if path.exists());
    request.with_first_slash().filter(|absolute| exists(absolute) && !exists(&request)).unwrap_or(request)
}

/// `request` as it is to be served: the GeoTIFF of a JP2, where that is what its path or `access` wants.
fn as_served(request: &Request, access: &Access) -> Option<Request> {
    let is_image = request.view != View::Overviews && request.is_of_jp2();
    let form = request.form.unwrap_or(access.options.serve);
    (is_image && form == Form::Tiff).then(|| request.in_form(form))
}

/// `request` as it is served where it is no GeoTIFF.
fn as_jp2(request: &Request) -> Request {
    if request.is_of_jp2() { request.in_form(Form::Jp2) } else { request.clone() }
}

/// Whether `request` is to be served as a GeoTIFF, where it can be one.
pub(crate) fn wants_tiff(request: &Request, caller: &Caller<'_>) -> bool {
    caller.access(&request.location).is_ok_and(|access| as_served(request, &access).is_some())
}

/// What `request` is opened as by `caller`.
///
/// # Errors
/// [`Error::Option`] for options that cannot be.
pub(crate) fn file_id(request: &Request, caller: &Caller<'_>) -> Result<FileId> {
    Ok(FileId::new(request, &caller.access(&request.location)?, caller))
}

/// What `request` names, if `caller` has it open.
pub(crate) fn at_hand(request: &Request, caller: &Caller<'_>) -> Option<Arc<Lease>> {
    registry::get().live(&file_id(request, caller).ok()?)
}

/// What is served of `request`, if `caller` has it open.
pub(crate) fn served_at_hand(request: &Request, caller: &Caller<'_>) -> Option<Arc<Lease>> {
    let access = caller.access(&request.location).ok()?;
    let id = FileId::new(request, &access, caller);
    let of = |request: &Request| registry::get().live(&id.with(request));
    as_served(request, &access).and_then(|tiff| of(&tiff)).or_else(|| of(&as_jp2(request)))
}

/// Opens what `request` names, unless `caller` has it open already.
///
/// # Errors
/// Each names the file; see [`Error`].
pub(crate) fn open(request: &Request, caller: &Caller<'_>) -> Result<Arc<Lease>> {
    let access = caller.access(&request.location).in_file(&request.location.display())?;
    open_by(request, &access, caller)
}

/// Opens what is served of `request`: a JP2 that is not decoded here as itself. A window is a GeoTIFF or nothing.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_served(request: &Request, caller: &Caller<'_>) -> Result<Arc<Lease>> {
    let access = caller.access(&request.location).in_file(&request.location.display())?;
    if let Some(tiff) = as_served(request, &access) {
        match open_by(&tiff, &access, caller) {
            Err(error) if matches!(error.root(), Error::Undecoded { .. }) && !is_window(request) => {
                trace::debug(|| error.chain());
            }
            opened => return opened,
        }
    }
    open_by(&as_jp2(request), &access, caller)
}

fn is_window(request: &Request) -> bool {
    matches!(request.view, View::Window(..))
}

fn open_by(request: &Request, access: &Access, caller: &Caller<'_>) -> Result<Arc<Lease>> {
    let id = FileId::new(request, access, caller);
    let opened = open_with(id, request, access, caller).map_err(|error| with_the_slash(request, error));
    opened.in_file(&request.location.display())
}

/// Says of a relative path that leads nowhere how an absolute one is written.
fn with_the_slash(request: &Request, error: Error) -> Error {
    match error.root() {
        Error::NotFound { .. } if request.with_first_slash().is_some() => Error::NotFound {
            detail: String::new(),
            check: "the path, which is relative: an absolute one has two slashes, as /vsitlm//data/x.jp2, of which \
                    pathlib.Path makes one",
        },
        _ => error,
    }
}

fn open_with(id: FileId, request: &Request, access: &Access, caller: &Caller<'_>) -> Result<Arc<Lease>> {
    let shown = request.location.display();
    if let Some(file) = registry::get().live(&id) {
        return Ok(file);
    }
    if let Some(file) = registry::get().recent(&id, &access.options) {
        if file.is_still_at(&request.location, caller) {
            return Ok(registry::get().lease(id, file));
        }
        registry::get().forget(&file);
    }
    if request.view != View::Whole || request.is_tiff() {
        let whole = request.with(View::Whole);
        let view = || {
            let file = open_with(id.with(&whole), &whole, access, caller)?.file();
            if file.is_stored_tiff() {
                let what = "a TIFF is served as itself: GDAL reads windows of it, and its overviews by OVERVIEW_LEVEL";
                return Err(Error::Undecoded { what: what.into() });
            }
            if request.is_tiff() { VirtualFile::decoded(file, request.view) } else { file.view(request) }
        };
        let view = match view() {
            // The row is set aside by now: without it the file is a miss.
            Err(Error::Row { .. } | Error::Changed { .. }) => view(),
            view => view,
        };
        let view = view.in_file(&shown)?;
        return Ok(registry::get().lease(id, Arc::new(view)));
    }
    let file = match &request.location {
        Location::Product { .. } => product::open(request, &access.options, caller).in_file(&shown)?,
        _ => open_at(request, access.clone(), caller, None).in_file(&shown)?,
    };
    Ok(registry::get().lease(id, Arc::new(file)))
}

impl VirtualFile {
    /// Whether what lies at `location` is still this file: looked up anew where that costs nothing, since an open file
    /// stays what it was when its name is given to another. A remote one is checked against its row when it is read.
    fn is_still_at(&self, location: &Location, caller: &Caller<'_>) -> bool {
        let location = self.place.as_ref().unwrap_or(location);
        let now = || caller.open(location, &self.access).and_then(|source| source.head());
        !self.source.is_cheap() || now().is_ok_and(|meta| self.expected.mismatch(&meta).is_none())
    }
}
