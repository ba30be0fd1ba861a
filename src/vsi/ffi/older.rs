//! What stands in for what a host's GDAL lacks, or would do badly by itself.
//!
//! | GDAL | lacks | what stands in |
//! |---|---|---|
//! | before 3.2 | `sibling_files` | GDAL asks for every side-car by name, and gets ENOENT for each without a request |
//! | before 3.6 | `VSIGetPathSpecificOption` | `CPLGetConfigOption` (`Gdal::option`): a path has no options of its own |
//! | before 3.10 | `error`, `clear_err` | a read that fails gives fewer items and raises an error |
//! | all | a read-only file system | `write` that writes nothing and `flush` that does nothing; no `unlink` |
//!
//! `nBufferSize` (3.2) stays 0, and `advise_read` (3.7) null: a buffer of the host's would be one a handle, useless across
//! the driver's many handles, and what is read next is known better here.

use std::ffi::{c_char, c_int, c_void};

use super::gdal::{Callbacks, set_errno};

/// The callbacks that not every GDAL has.
pub(super) struct Late {
    /// From 3.2 on.
    pub(super) sibling_files: unsafe extern "C-unwind" fn(*mut c_void, *const c_char) -> *mut *mut c_char,
    /// From 3.10 on.
    pub(super) error: unsafe extern "C-unwind" fn(*mut c_void) -> c_int,
    /// From 3.10 on.
    pub(super) clear_err: unsafe extern "C-unwind" fn(*mut c_void),
}

/// Fills in the callbacks that not every GDAL has. The struct is the host's own, of the host's size: a field that its
/// version lacks lies outside of it and must not be written.
///
/// # Safety
/// `callbacks` is a struct of a libgdal of this `version`.
pub(super) unsafe fn set_late_callbacks(callbacks: *mut Callbacks, version: u32, late: Late) {
    // SAFETY: promised by the caller; only the fields of that version are written.
    unsafe {
        if version >= 3_020_000 {
            (*callbacks).buffer_size = 0;
            (*callbacks).sibling_files = Some(late.sibling_files);
        }
        if version >= 3_100_000 {
            (*callbacks).error = Some(late.error);
            (*callbacks).clear_err = Some(late.clear_err);
        }
    }
}

/// Fills in the callbacks for writing. Without them the host's wrapper would give (size_t)-1, or raise an error of its own;
/// with an `unlink` it would call POSIX unlink() on the stripped path.
///
/// # Safety
/// `callbacks` is a host's struct.
pub(super) unsafe fn set_write_callbacks(callbacks: *mut Callbacks) {
    // SAFETY: promised by the caller; every version has these fields.
    unsafe {
        (*callbacks).write = Some(on_write);
        (*callbacks).flush = Some(on_flush);
    }
}

unsafe extern "C-unwind" fn on_write(_: *mut c_void, _: *const c_void, _: usize, _: usize) -> usize {
    set_errno(libc::EBADF);
    0
}

unsafe extern "C-unwind" fn on_flush(_: *mut c_void) -> c_int {
    0
}
