//! Finding the libgdals of the process, and installing the file system in each.

use std::ffi::{CStr, CString, c_int, c_void};
use std::mem::transmute_copy;
use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::gdal::{Functions, Gdal, borrow};
use super::{Mount, install, tell};
use crate::vsi::end;
use crate::vsi::handler::{Host, Severity};

/// libgdals by the address of their GDALVersionInfo; `None` for those that cannot be served.
type Hosts = Vec<(usize, Option<&'static Gdal>)>;

/// The libgdals that have been served, or refused, so far.
static HOSTS: Mutex<Hosts> = Mutex::new(Vec::new());

/// A library of this process that stays loaded.
pub(super) struct Library(*mut c_void);

impl Library {
    /// A symbol of the library or of one that it depends on. `name` ends with NUL.
    pub(super) fn symbol(&self, name: &'static str) -> Option<std::ptr::NonNull<c_void>> {
        // SAFETY: the handle is open, and the name ends with NUL.
        std::ptr::NonNull::new(unsafe { libc::dlsym(self.0, name.as_ptr().cast()) })
    }
}

/// The names of the objects that the process has loaded; the program itself has an empty one.
fn loaded_objects() -> Vec<CString> {
    unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _: usize, names: *mut c_void) -> c_int {
        // SAFETY: the loader gives a valid entry, and `names` is the vector below.
        let (info, names) = unsafe { (&*info, &mut *names.cast::<Vec<CString>>()) };
        if !info.dlpi_name.is_null() {
            // SAFETY: the loader's names are C strings.
            names.push(unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned());
        }
        0
    }
    let mut names: Vec<CString> = Vec::new();
    // SAFETY: the callback keeps to the contract of dl_iterate_phdr and does not panic but for want of memory.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
    names
}

/// The libgdals, once no other thread is at them. A fork while one was leaves the child a lock that nobody opens: then
/// what was installed stays, and nothing more is.
fn hosts() -> Option<MutexGuard<'static, Hosts>> {
    for _ in 0..200 {
        match HOSTS.try_lock() {
            Ok(hosts) => return Some(hosts),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}

/// The libgdal at this place among those that are served.
pub(super) fn host(place: usize) -> Option<&'static Gdal> {
    HOSTS.try_lock().ok()?.iter().filter_map(|(_, gdal)| *gdal).nth(place)
}

/// Installs `/vsitlm/` in every libgdal of the process that does not have it yet.
///
/// Symbols are looked up in each loaded object on its own: in Python wheels libgdal is not in the global scope, so
/// dlsym(RTLD_DEFAULT, …) does not find it.
pub(super) fn install_everywhere() {
    let Some(mut hosts) = hosts() else { return };
    for name in loaded_objects() {
        let path = if name.is_empty() { std::ptr::null() } else { name.as_ptr() };
        // SAFETY: the name is a C string or null; RTLD_NOLOAD runs no code of the library.
        let library = Library(unsafe { libc::dlopen(path, libc::RTLD_LAZY | libc::RTLD_NOLOAD) });
        if library.0.is_null() {
            continue;
        }
        let known = |address: usize, hosts: &[(usize, Option<&Gdal>)]| hosts.iter().any(|(seen, _)| *seen == address);
        match library.symbol("GDALVersionInfo\0").map(|symbol| symbol.as_ptr() as usize) {
            // A libgdal seen for the first time: its handle stays open, so that the functions stay where they are.
            Some(address) if !known(address, &hosts) => {
                let served = serve(&library);
                hosts.push((address, served));
            }
            // SAFETY: the handle was opened above, and nothing of it is kept.
            _ => unsafe {
                libc::dlclose(library.0);
            },
        }
    }
}

/// Installs the file system in one libgdal, or says why it cannot be done and lets the program go on.
fn serve(library: &Library) -> Option<&'static Gdal> {
    let functions = match Functions::resolve(library) {
        Ok(functions) => functions,
        Err(missing) => {
            eprintln!(
                "vsitlm: this GDAL has no function {missing}: /vsitlm/ needs GDAL 3.0 or later and is not available"
            );
            return None;
        }
    };
    // SAFETY: GDALVersionInfo takes a C string and gives a static one, or null.
    let version = unsafe { borrow((functions.version_info)(c"VERSION_NUM".as_ptr())) };
    let gdal: &'static Gdal = Box::leak(Box::new(Gdal {
        functions,
        path_option: library.symbol("VSIGetPathSpecificOption\0").map(|symbol| {
            // SAFETY: as in `Functions::resolve`.
            unsafe { transmute_copy(&symbol) }
        }),
        version: version.and_then(|text| text.parse().ok()).unwrap_or(0),
        cache_max: Default::default(),
    }));
    end_with_the_process();
    for (prefix, query) in [(c"/vsitlm/", false), (c"/vsitlm?", true)] {
        if !install(gdal, prefix, Box::leak(Box::new(Mount { gdal, query }))) {
            gdal.report("cannot install the file system /vsitlm/: this GDAL refuses it", Severity::Warning);
            return None;
        }
    }
    Some(gdal)
}

/// Sees to it that nothing is told any more, and that the statistics are written, when the process ends.
fn end_with_the_process() {
    extern "C" fn at_exit() {
        tell::end();
        let _ = catch_unwind(end::end);
    }
    end::begin();
    // SAFETY: the function stays loaded, since GDAL closes no plugin, and does not unwind.
    unsafe { libc::atexit(at_exit) };
}
