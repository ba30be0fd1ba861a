//! The boundary to GDAL: the only room with unsafe code.
//!
//! The plugin names no libgdal in its dynamic section. It is loaded into processes that hold one libgdal or several
//! (rasterio, pyogrio and fiona each carry their own) and installs itself into each of them, with one table of function
//! pointers a libgdal ([`Gdal`]), behind `pUserData` and behind each handle.
//!
//! The types are a mirror of `cpl_vsi.h` rather than gdal-sys's, which needs GDAL's headers and library to build, and
//! whose struct has the fields of that one version: this binary serves them all. A test compares the mirror with gdal-sys.
//!
//! Here are the callbacks of GDAL's file systems; `codec` has those of a filter of its Zarr driver, `exports` has the functions for programs. Every callback runs in [`guard`]: no panic crosses
//! into C, and what it has to say is said afterwards.

mod codec;
mod exports;
mod gdal;
mod library;
mod loader;
mod older;
mod tell;
#[cfg(test)]
mod tests;
mod waiting;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::handler::{self, Handle};
use super::host::{Host, Severity};
use crate::error::{Error, Result};
use gdal::{Gdal, borrow, set_errno, to_c};
use older::Late;

/// What `pUserData` points to: a libgdal, and the prefix that the handler serves there.
struct Mount {
    gdal: &'static Gdal,
    /// What stands between `/vsitlm` and the name that callbacks get: `/vsitlm?url=…` is served beside `/vsitlm/…`.
    query: bool,
}

/// Fills and installs the callbacks. The struct is the host's own, of the host's size: see [`older`].
fn install(gdal: &'static Gdal, prefix: &'static CStr, mount: &'static Mount) -> bool {
    // SAFETY: the host gives a zeroed struct of its own size, or null.
    let callbacks = unsafe { (gdal.functions.alloc_callbacks)() };
    if callbacks.is_null() {
        return false;
    }
    // SAFETY: the struct is valid up to the fields of the host's version, and only those are written. The host copies
    // the struct at install; the prefix is static, since the host keeps the pointer.
    unsafe {
        (*callbacks).user_data = (&raw const *mount).cast_mut().cast();
        (*callbacks).stat = Some(on_stat);
        (*callbacks).read_dir = Some(on_read_dir);
        (*callbacks).open = Some(on_open);
        (*callbacks).tell = Some(on_tell);
        (*callbacks).seek = Some(on_seek);
        (*callbacks).read = Some(on_read);
        (*callbacks).read_multi_range = Some(on_read_multi_range);
        (*callbacks).eof = Some(on_eof);
        (*callbacks).close = Some(on_close);
        older::set_write_callbacks(callbacks);
        let late = Late { sibling_files: on_sibling_files, error: on_error, clear_err: on_clear_err };
        older::set_late_callbacks(callbacks, gdal.version, late);
        let installed = (gdal.functions.install_handler)(prefix.as_ptr(), callbacks);
        (gdal.functions.free_callbacks)(callbacks);
        installed == 0
    }
}

/// Runs a callback's body, then says what it has to say. `T` needs no drop: see [`tell`].
fn guard<T: Copy>(gdal: &'static Gdal, failed: T, body: impl FnOnce() -> T) -> T {
    let outcome = caught(gdal, failed, body);
    tell::tell();
    outcome
}

/// Runs a callback's body: a panic becomes an error message and `failed`.
fn caught<T: Copy>(gdal: &'static Gdal, failed: T, body: impl FnOnce() -> T) -> T {
    let _running = tell::Running::new();
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let message = format!("/vsitlm/ has met a bug and cannot go on with this file ({what}); please report it");
        let _ = catch_unwind(AssertUnwindSafe(|| gdal.report(&message, Severity::ReadFailed)));
        set_errno(libc::EIO);
        failed
    })
}

/// The mount behind `pUserData`.
///
/// # Safety
/// `user_data` is what [`install`] put there.
unsafe fn mount<'a>(user_data: *mut c_void) -> &'a Mount {
    // SAFETY: promised by the caller; mounts live as long as the process.
    unsafe { &*user_data.cast::<Mount>() }
}

impl Mount {
    /// The name that a callback was given, as the path grammar has it.
    ///
    /// # Safety
    /// `name` is null or a C string.
    unsafe fn path(&self, name: *const c_char) -> Result<String> {
        // SAFETY: promised by the caller.
        let name = unsafe { borrow(name) };
        let name = name.ok_or_else(|| Error::Path { path: String::new(), what: "it is not valid UTF-8".into() })?;
        Ok(if self.query { format!("?{name}") } else { name.to_owned() })
    }
}

/// An open file, as the host holds it.
struct OpenHandle {
    gdal: &'static Gdal,
    handle: Handle,
}

/// Runs `body` on the handle behind `file`, guarded.
///
/// # Safety
/// `file` is what [`on_open`] gave, not closed yet, and no other thread uses it now (the host's contract).
unsafe fn with_handle<T: Copy>(file: *mut c_void, failed: T, body: impl FnOnce(&'static Gdal, &mut Handle) -> T) -> T {
    // SAFETY: promised by the caller.
    match unsafe { file.cast::<OpenHandle>().as_mut() } {
        Some(open) => guard(open.gdal, failed, || body(open.gdal, &mut open.handle)),
        None => failed,
    }
}

unsafe extern "C-unwind" fn on_open(user_data: *mut c_void, name: *const c_char, access: *const c_char) -> *mut c_void {
    // SAFETY: the host passes what `install` gave, and C strings.
    let (mount, access) = unsafe { (mount(user_data), borrow(access).unwrap_or_default()) };
    let gdal = mount.gdal;
    guard(gdal, std::ptr::null_mut(), || {
        // SAFETY: as above.
        let opened = unsafe { mount.path(name) }.and_then(|name| handler::open(gdal, &name, access));
        match opened {
            Ok(handle) => Box::into_raw(Box::new(OpenHandle { gdal, handle })).cast(),
            Err(error) => {
                set_errno(error.errno());
                std::ptr::null_mut()
            }
        }
    })
}

unsafe extern "C-unwind" fn on_stat(
    user_data: *mut c_void,
    name: *const c_char,
    out: *mut libc::stat64,
    _flags: c_int,
) -> c_int {
    // SAFETY: the host passes what `install` gave.
    let mount = unsafe { mount(user_data) };
    guard(mount.gdal, -1, || {
        // SAFETY: the host passes a C string.
        let found = unsafe { mount.path(name) }.and_then(|name| handler::stat(mount.gdal, &name));
        match found {
            Ok(found) if !out.is_null() => {
                // SAFETY: the host passes room for a VSIStatBufL, which is struct stat64 on Linux.
                unsafe {
                    out.write_bytes(0, 1);
                    (*out).st_size = i64::try_from(found.size).unwrap_or(i64::MAX);
                    (*out).st_mode = if found.is_folder { libc::S_IFDIR | 0o555 } else { libc::S_IFREG | 0o444 };
                    (*out).st_mtime = found.last_modified.unwrap_or(0);
                }
                0
            }
            Ok(_) => -1,
            Err(error) => {
                set_errno(error.errno());
                -1
            }
        }
    })
}

/// A list for the host, in its own memory, since it frees it; null where there is none.
fn string_list(gdal: &Gdal, names: Option<Vec<String>>) -> *mut *mut c_char {
    let Some(names) = names else { return std::ptr::null_mut() };
    // SAFETY: the list is one pointer longer than the names, zeroed, and filled with the host's own copies.
    unsafe {
        let list: *mut *mut c_char = (gdal.functions.calloc)(names.len() + 1, size_of::<*mut c_char>()).cast();
        if !list.is_null() {
            for (place, name) in names.iter().enumerate() {
                *list.add(place) = (gdal.functions.strdup)(to_c(name).as_ptr());
            }
        }
        list
    }
}

unsafe extern "C-unwind" fn on_sibling_files(user_data: *mut c_void, name: *const c_char) -> *mut *mut c_char {
    // SAFETY: the host passes what `install` gave, and a C string.
    let mount = unsafe { mount(user_data) };
    guard(mount.gdal, std::ptr::null_mut(), || {
        // SAFETY: as above.
        let name = unsafe { mount.path(name) };
        string_list(mount.gdal, name.ok().and_then(|name| handler::sibling_files(mount.gdal, &name)))
    })
}

unsafe extern "C-unwind" fn on_read_dir(user_data: *mut c_void, name: *const c_char, _most: c_int) -> *mut *mut c_char {
    // SAFETY: the host passes what `install` gave, and a C string.
    let mount = unsafe { mount(user_data) };
    guard(mount.gdal, std::ptr::null_mut(), || {
        // SAFETY: as above.
        let name = unsafe { mount.path(name) };
        string_list(mount.gdal, name.ok().and_then(|name| handler::read_dir(mount.gdal, &name)))
    })
}

unsafe extern "C-unwind" fn on_tell(file: *mut c_void) -> u64 {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, 0, |_, handle| handle.tell()) }
}

unsafe extern "C-unwind" fn on_seek(file: *mut c_void, offset: u64, whence: c_int) -> c_int {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, -1, |gdal, handle| if handle.seek(gdal, offset, whence) { 0 } else { -1 }) }
}

unsafe extern "C-unwind" fn on_read(file: *mut c_void, buffer: *mut c_void, size: usize, count: usize) -> usize {
    let Some(length) = size.checked_mul(count).filter(|length| *length > 0 && *length <= isize::MAX as usize) else {
        return 0;
    };
    if buffer.is_null() {
        return 0;
    }
    // SAFETY: the host passes room for `count` items of `size` bytes. It may be uninitialised, which `u8` does not mind
    // as long as nobody reads it: the handler only writes.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    // SAFETY: the host passes a handle of `on_open`.
    unsafe {
        with_handle(file, 0, |gdal, handle| {
            let done = handle.read(gdal, buffer);
            if handle.has_failed() {
                set_errno(libc::EIO);
            }
            done / size
        })
    }
}

unsafe extern "C-unwind" fn on_read_multi_range(
    file: *mut c_void,
    count: c_int,
    buffers: *mut *mut c_void,
    offsets: *const u64,
    sizes: *const usize,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    if count > 0 && (buffers.is_null() || offsets.is_null() || sizes.is_null()) {
        return -1;
    }
    let mut ranges = Vec::with_capacity(count);
    for place in 0..count {
        // SAFETY: the host passes `count` buffers, each of its size, which nobody else uses now; see `on_read`.
        let (buffer, offset, size) = unsafe { (*buffers.add(place), *offsets.add(place), *sizes.add(place)) };
        if size == 0 {
            continue;
        }
        if buffer.is_null() || isize::try_from(size).is_err() {
            return -1;
        }
        // SAFETY: as above.
        ranges.push((offset, unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) }));
    }
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, -1, |gdal, handle| if handle.read_ranges(gdal, &mut ranges) { 0 } else { -1 }) }
}

unsafe extern "C-unwind" fn on_eof(file: *mut c_void) -> c_int {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, 1, |_, handle| c_int::from(handle.is_at_end())) }
}

unsafe extern "C-unwind" fn on_error(file: *mut c_void) -> c_int {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, 1, |_, handle| c_int::from(handle.has_failed())) }
}

unsafe extern "C-unwind" fn on_clear_err(file: *mut c_void) {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, (), |_, handle| handle.clear()) }
}

unsafe extern "C-unwind" fn on_close(file: *mut c_void) -> c_int {
    if file.is_null() {
        return -1;
    }
    // SAFETY: the host closes a handle of `on_open` once, and uses it no more.
    let open = unsafe { &*file.cast::<OpenHandle>() };
    let gdal = open.gdal;
    let outcome = caught(gdal, -1, || {
        // SAFETY: as above.
        let open = unsafe { Box::from_raw(file.cast::<OpenHandle>()) };
        open.handle.close(gdal);
        0
    });
    tell::tell_at_close();
    outcome
}
