//! Finding the libgdals of the process, and installing the file system in each.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::panic::catch_unwind;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;

use super::gdal::{Functions, Gdal, borrow};
use super::library::Library;
use super::{Mount, codec, install, tell};
use crate::vsi::end;
use crate::vsi::host::{Host, Severity};

/// A libgdal of the process.
#[derive(Clone)]
struct Found {
    /// The address of its GDALVersionInfo, by which it is told apart.
    address: usize,
    /// The object that it lies in.
    path: String,
    /// Its version, such as "3.6.2".
    version: String,
    /// The version of the OpenJPEG that it is linked with, where that can be told.
    openjpeg: Option<String>,
    /// The same as it is served, or why it is not.
    served: Result<&'static Gdal, String>,
}

/// The libgdals that have been served, or refused, so far.
static HOSTS: Mutex<Vec<Found>> = Mutex::new(Vec::new());

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
fn hosts() -> Option<MutexGuard<'static, Vec<Found>>> {
    for _ in 0..200 {
        match HOSTS.try_lock() {
            Ok(hosts) => return Some(hosts),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}

/// The first libgdal that is served.
pub(super) fn first_host() -> Option<&'static Gdal> {
    hosts()?.iter().find_map(|found| found.served.as_ref().ok().copied())
}

/// Installs `/vsitlm/` in every libgdal of the process that does not have it yet.
///
/// Symbols are looked up in each loaded object on its own: in Python wheels libgdal is not in the global scope, so
/// dlsym(RTLD_DEFAULT, …) does not find it.
pub(super) fn install_everywhere() {
    let Some(mut hosts) = hosts() else { return };
    for name in loaded_objects() {
        let path = if name.is_empty() { std::ptr::null() } else { name.as_ptr() };
        // SAFETY: the name is a C string or null.
        let Some(library) = (unsafe { Library::open(path) }) else { continue };
        let known = |address: usize, hosts: &[Found]| hosts.iter().any(|found| found.address == address);
        match library.symbol(VERSION_INFO) {
            // A libgdal seen for the first time: its handle stays open, so that the functions stay where they are.
            Some(symbol) if !known(symbol.as_ptr() as usize, &hosts) => hosts.push(look_at(&library, symbol)),
            _ => library.close(),
        }
    }
}

const VERSION_INFO: &str = "GDALVersionInfo\0";

/// Serves the libgdal whose GDALVersionInfo is `symbol`, found by `library`: it, or an object that depends on it.
fn look_at(library: &Library, symbol: NonNull<c_void>) -> Found {
    // SAFETY: a struct of pointers, for which all zeros are valid.
    let mut object: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: the address is that of a loaded function, and the struct is the loader's to fill.
    let is_told = unsafe { libc::dladdr(symbol.as_ptr(), &raw mut object) } != 0 && !object.dli_fname.is_null();
    // SAFETY: the loader's names are C strings, and the object stays loaded.
    let path = if is_told { unsafe { CStr::from_ptr(object.dli_fname) } } else { c"" };
    // SAFETY: as above. The handle stays open, as the object does.
    let own = unsafe { Library::open(path.as_ptr()) };
    // The program itself is no object by its name.
    let own = own.as_ref().unwrap_or(library);
    // SAFETY: as in `Functions::resolve`.
    let version_info: unsafe extern "C" fn(*const c_char) -> *const c_char = unsafe { transmute_copy(&symbol) };
    // SAFETY: it takes a C string and gives a static one, or null.
    let version = unsafe { borrow(version_info(c"RELEASE_NAME".as_ptr())) };
    let openjpeg = own.symbol("opj_version\0").and_then(|symbol| {
        // SAFETY: OpenJPEG's function of this name has this type in every version of 2.
        let opj_version: unsafe extern "C" fn() -> *const c_char = unsafe { transmute_copy(&symbol) };
        // SAFETY: no arguments; it gives a static string.
        unsafe { borrow(opj_version()) }.map(str::to_owned)
    });
    Found {
        address: symbol.as_ptr() as usize,
        path: path.to_string_lossy().into_owned(),
        version: version.unwrap_or_default().to_owned(),
        openjpeg,
        served: serve(own),
    }
}

/// The libgdals found so far, as JSON: see `vsitlm_gdals()` in include/vsitlm.h.
pub(super) fn gdals_json() -> String {
    let found = hosts().map_or_else(Vec::new, |hosts| hosts.clone());
    let gdal = |found: &Found| {
        json!({
            "path": found.path, "version": found.version, "openjpeg": found.openjpeg,
            "served": found.served.is_ok(), "reason": found.served.as_ref().err(),
        })
    };
    json!({"version": env!("CARGO_PKG_VERSION"), "gdals": found.iter().map(gdal).collect::<Vec<_>>()}).to_string()
}

/// Installs the file system in one libgdal, or says why it cannot be done and lets the program go on.
fn serve(library: &Library) -> Result<&'static Gdal, String> {
    let functions = match Functions::resolve(library) {
        Ok(functions) => functions,
        Err(missing) => {
            let reason = format!("this GDAL has no function {missing}: /vsitlm/ needs GDAL 3.0 or later");
            eprintln!("vsitlm: {reason} and is not available");
            return Err(reason);
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
            let reason = "cannot install the file system /vsitlm/: this GDAL refuses it";
            gdal.report(reason, Severity::Warning);
            return Err(reason.to_owned());
        }
    }
    codec::register(library, gdal);
    tell::listen(functions.debug);
    Ok(gdal)
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
