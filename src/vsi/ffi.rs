//! The boundary to GDAL: the only room with unsafe code.
//!
//! The plugin names no libgdal in its dynamic section. It is loaded into processes that hold one libgdal or several
//! (rasterio, pyogrio and fiona each carry their own) and installs itself into each of them, with one table of function
//! pointers a libgdal ([`Gdal`]), behind `pUserData` and behind each handle.
//!
//! The types are a mirror of `cpl_vsi.h` rather than gdal-sys's, which needs GDAL's headers and library to build, and
//! whose struct has the fields of that one version: this binary serves them all. A test compares the mirror with gdal-sys.
//!
//! Every callback runs in [`guard`]: no panic crosses into C.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::handler::{self, Handle, Host, Severity};
use super::host_source;
use crate::error::{Error, Result};

/// `VSIFilesystemPluginCallbacksStruct` as of GDAL 3.10, which added the last fields so far; it only ever grew at its end.
#[repr(C)]
struct Callbacks {
    user_data: *mut c_void,
    stat: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *mut libc::stat64, c_int) -> c_int>,
    unlink: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int>,
    rename: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int>,
    mkdir: Option<unsafe extern "C" fn(*mut c_void, *const c_char, libc::c_long) -> c_int>,
    rmdir: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int>,
    read_dir: Option<unsafe extern "C" fn(*mut c_void, *const c_char, c_int) -> *mut *mut c_char>,
    open: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void>,
    tell: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    seek: Option<unsafe extern "C" fn(*mut c_void, u64, c_int) -> c_int>,
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize, usize) -> usize>,
    read_multi_range:
        Option<unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_void, *const u64, *const usize) -> c_int>,
    get_range_status: Option<unsafe extern "C" fn(*mut c_void, u64, u64) -> c_int>,
    eof: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_void, usize, usize) -> usize>,
    flush: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    truncate: Option<unsafe extern "C" fn(*mut c_void, u64) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    // 3.2
    buffer_size: usize,
    cache_size: usize,
    sibling_files: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut *mut c_char>,
    // 3.7
    advise_read: Option<unsafe extern "C" fn(*mut c_void, c_int, *const u64, *const usize)>,
    // 3.10
    error: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    clear_err: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// Declares [`Gdal`] and how its members are looked up, so that each name stands once.
macro_rules! gdal_functions {
    ($($(#[$doc:meta])* $member:ident: $symbol:literal, $type:ty;)*) => {
        /// The functions of one libgdal of this process.
        #[derive(Clone, Copy)]
        struct Functions { $($(#[$doc])* $member: $type,)* }

        impl Functions {
            /// Looks every function up; the error is the name of the first that is missing.
            fn resolve(library: &Library) -> Result<Self, &'static str> {
                $(
                    let symbol = library.symbol(concat!($symbol, "\0")).ok_or($symbol)?;
                    // SAFETY: a function pointer has the size of a pointer, the symbol is not null, and GDAL's C API
                    // gives the function of this name this type in every version since 3.0.
                    let $member: $type = unsafe { transmute_copy(&symbol) };
                )*
                Ok(Self { $($member,)* })
            }
        }
    };
}

gdal_functions! {
    version_info: "GDALVersionInfo", unsafe extern "C" fn(*const c_char) -> *const c_char;
    alloc_callbacks: "VSIAllocFilesystemPluginCallbacksStruct", unsafe extern "C" fn() -> *mut Callbacks;
    free_callbacks: "VSIFreeFilesystemPluginCallbacksStruct", unsafe extern "C" fn(*mut Callbacks);
    install_handler: "VSIInstallPluginHandler", unsafe extern "C" fn(*const c_char, *const Callbacks) -> c_int;
    error: "CPLError", unsafe extern "C" fn(c_int, c_int, *const c_char, ...);
    debug: "CPLDebug", unsafe extern "C" fn(*const c_char, *const c_char, ...);
    config_option: "CPLGetConfigOption", unsafe extern "C" fn(*const c_char, *const c_char) -> *const c_char;
    calloc: "VSICalloc", unsafe extern "C" fn(usize, usize) -> *mut c_void;
    strdup: "CPLStrdup", unsafe extern "C" fn(*const c_char) -> *mut c_char;
    fopen: "VSIFOpenL", unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;
    fseek: "VSIFSeekL", unsafe extern "C" fn(*mut c_void, u64, c_int) -> c_int;
    fread: "VSIFReadL", unsafe extern "C" fn(*mut c_void, usize, usize, *mut c_void) -> usize;
    fclose: "VSIFCloseL", unsafe extern "C" fn(*mut c_void) -> c_int;
    fstat: "VSIStatExL", unsafe extern "C" fn(*const c_char, *mut libc::stat64, c_int) -> c_int;
}

/// One libgdal of this process.
struct Gdal {
    functions: Functions,
    /// `VSIGetPathSpecificOption`, since GDAL 3.6.
    path_option: Option<unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> *const c_char>,
    /// `GDALVersionInfo("VERSION_NUM")`: 3060200 for 3.6.2.
    version: u32,
}

/// What `pUserData` points to: a libgdal, and the prefix that the handler serves there.
struct Mount {
    gdal: &'static Gdal,
    /// What stands between `/vsitlm` and the name that callbacks get: `/vsitlm?url=…` is served beside `/vsitlm/…`.
    query: bool,
}

/// The libgdals that have been served, or refused, so far.
static HOSTS: Mutex<Vec<(usize, Option<&'static Gdal>)>> = Mutex::new(Vec::new());

/// GDAL's entry point for plugins: installs `/vsitlm/` in every libgdal of the process that does not have it yet.
/// GDAL calls it in every GDALAllRegister(); any number of calls is fine.
#[unsafe(no_mangle)]
pub extern "C" fn GDALRegister_vsitlm() {
    let _ = catch_unwind(install_everywhere);
}

/// The entry point's other name, for hosts that look for it.
#[unsafe(no_mangle)]
pub extern "C" fn GDALRegisterMe() {
    GDALRegister_vsitlm();
}

/// The plugin's version, such as "0.1.0": a static string.
#[unsafe(no_mangle)]
pub extern "C" fn vsitlm_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// How many reads have failed for good in this process.
#[unsafe(no_mangle)]
pub extern "C" fn vsitlm_read_errors() -> u64 {
    handler::read_errors().0
}

/// Copies the message of the last read that failed for good in this process, on whatever thread, into `buffer` of `size`
/// bytes, cut to fit and ended by NUL. Gives the message's length without the NUL; 0 where no read has failed.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_last_error(buffer: *mut c_char, size: usize) -> usize {
    let (_, message) = handler::read_errors();
    if !buffer.is_null() && size > 0 {
        let kept = message.len().min(size - 1);
        // SAFETY: the caller promises room for `size` bytes, of which `kept + 1` are written.
        unsafe {
            std::ptr::copy_nonoverlapping(message.as_ptr(), buffer.cast(), kept);
            *buffer.add(kept) = 0;
        }
    }
    message.len()
}

/// A library of this process that stays loaded.
struct Library(*mut c_void);

impl Library {
    /// A symbol of the library or of one that it depends on. `name` ends with NUL.
    fn symbol(&self, name: &'static str) -> Option<std::ptr::NonNull<c_void>> {
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

/// Installs `/vsitlm/` in every libgdal of the process that does not have it yet.
///
/// Symbols are looked up in each loaded object on its own: in Python wheels libgdal is not in the global scope, so
/// dlsym(RTLD_DEFAULT, …) does not find it.
fn install_everywhere() {
    let Ok(mut hosts) = HOSTS.lock() else { return };
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
    }));
    crate::trace::install(crate::trace::Sink { enabled: debug_enabled, write: debug_everywhere });
    for (prefix, query) in [(c"/vsitlm/", false), (c"/vsitlm?", true)] {
        if !install(gdal, prefix, Box::leak(Box::new(Mount { gdal, query }))) {
            gdal.report("cannot install the file system /vsitlm/: this GDAL refuses it", Severity::Warning);
            return None;
        }
    }
    Some(gdal)
}

/// Fills and installs the callbacks. The struct is the host's own, of the host's size: a field that the host's version
/// lacks lies outside of it and must not be written.
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
        // No unlink: with it set, the host's wrapper would call POSIX unlink() on the stripped path.
        (*callbacks).read_dir = Some(on_read_dir);
        (*callbacks).open = Some(on_open);
        (*callbacks).tell = Some(on_tell);
        (*callbacks).seek = Some(on_seek);
        (*callbacks).read = Some(on_read);
        (*callbacks).eof = Some(on_eof);
        (*callbacks).write = Some(on_write);
        (*callbacks).flush = Some(on_flush);
        (*callbacks).close = Some(on_close);
        if gdal.version >= 3_020_000 {
            // No buffer of the host's: it would be one a handle, useless across the driver's many handles.
            (*callbacks).buffer_size = 0;
            (*callbacks).sibling_files = Some(on_sibling_files);
        }
        if gdal.version >= 3_100_000 {
            (*callbacks).error = Some(on_error);
            (*callbacks).clear_err = Some(on_clear_err);
        }
        let installed = (gdal.functions.install_handler)(prefix.as_ptr(), callbacks);
        (gdal.functions.free_callbacks)(callbacks);
        installed == 0
    }
}

/// A C string of the host's as text; `None` for null or what is no UTF-8.
///
/// # Safety
/// `text` is null or a C string that lives as long as the result is used.
unsafe fn borrow<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// Text for the host: NULs, which C cannot hold, are replaced.
fn to_c(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}

fn set_errno(number: c_int) {
    // SAFETY: the C library gives a valid pointer to the thread's errno.
    unsafe { *libc::__errno_location() = number };
}

fn debug_enabled() -> bool {
    let hosts = HOSTS.try_lock();
    hosts.is_ok_and(|hosts| {
        hosts
            .iter()
            .filter_map(|(_, gdal)| *gdal)
            .any(|gdal| gdal.option("CPL_DEBUG").is_some_and(|value| !value.is_empty()))
    })
}

/// Every libgdal decides for itself whether its CPL_DEBUG wants the message.
fn debug_everywhere(message: &str) {
    let message = to_c(message);
    let Ok(hosts) = HOSTS.try_lock() else { return };
    for gdal in hosts.iter().filter_map(|(_, gdal)| *gdal) {
        // SAFETY: the format is "%s", with one C string.
        unsafe { (gdal.functions.debug)(c"VSITLM".as_ptr(), c"%s".as_ptr(), message.as_ptr()) };
    }
}

impl Gdal {
    fn option(&self, name: &str) -> Option<String> {
        let name = to_c(name);
        // SAFETY: the name is a C string, the default is null; the result is copied at once.
        unsafe { borrow((self.functions.config_option)(name.as_ptr(), std::ptr::null())).map(str::to_owned) }
    }
}

impl Host for Gdal {
    fn option(&self, path: &str, name: &str) -> Option<String> {
        let Some(path_option) = self.path_option else { return self.option(name) };
        let (path, name) = (to_c(path), to_c(name));
        // SAFETY: C strings, and null for the default; the result is copied at once. Falls back to the configuration.
        unsafe { borrow(path_option(path.as_ptr(), name.as_ptr(), std::ptr::null())).map(str::to_owned) }
    }

    fn report(&self, message: &str, severity: Severity) {
        const WARNING: c_int = 2;
        const FAILURE: c_int = 3;
        let (class, number) = match severity {
            Severity::Warning => (WARNING, 1),    // CPLE_AppDefined
            Severity::OpenFailed => (FAILURE, 4), // CPLE_OpenFailed
            Severity::ReadFailed => (FAILURE, 3), // CPLE_FileIO
        };
        let message = to_c(message);
        // SAFETY: the format is "%s", with one C string: a message is never a format.
        unsafe { (self.functions.error)(class, number, c"%s".as_ptr(), message.as_ptr()) };
    }

    fn open_file(&self, path: &str) -> Option<Box<dyn host_source::HostFile>> {
        let path = to_c(path);
        // SAFETY: C strings; the result is an open file of this libgdal, or null.
        let file = unsafe { (self.functions.fopen)(path.as_ptr(), c"rb".as_ptr()) };
        (!file.is_null())
            .then(|| -> Box<dyn host_source::HostFile> { Box::new(OpenFile { functions: self.functions, file }) })
    }

    fn file_size(&self, path: &str) -> Option<(u64, Option<i64>)> {
        let path = to_c(path);
        // SAFETY: a struct of plain numbers, for which all zeros are valid.
        let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
        const EXISTS_NATURE_SIZE: c_int = 7;
        // SAFETY: a C string and a struct of the host's type.
        let found = unsafe { (self.functions.fstat)(path.as_ptr(), &raw mut stat, EXISTS_NATURE_SIZE) } == 0;
        let is_file = stat.st_mode & libc::S_IFMT != libc::S_IFDIR;
        (found && is_file)
            .then(|| (u64::try_from(stat.st_size).unwrap_or(0), (stat.st_mtime > 0).then_some(stat.st_mtime)))
    }
}

/// An open file of one of GDAL's own file systems.
struct OpenFile {
    functions: Functions,
    file: *mut c_void,
}

// SAFETY: GDAL's file handles may be used on any thread, by one at a time, and this one is owned.
unsafe impl Send for OpenFile {}

impl host_source::HostFile for OpenFile {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> usize {
        // SAFETY: the file is open, and the buffer has room for its length.
        unsafe {
            if (self.functions.fseek)(self.file, offset, libc::SEEK_SET) != 0 {
                return 0;
            }
            (self.functions.fread)(buffer.as_mut_ptr().cast(), 1, buffer.len(), self.file)
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: the file is open and closed nowhere else.
        unsafe { (self.functions.fclose)(self.file) };
    }
}

/// Runs a callback's body: a panic becomes an error message and `failed`.
fn guard<T>(gdal: &'static Gdal, failed: T, body: impl FnOnce() -> T) -> T {
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
        let name = name.ok_or_else(|| Error::Path { path: String::new(), what: "it is no UTF-8".into() })?;
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

unsafe extern "C" fn on_open(user_data: *mut c_void, name: *const c_char, access: *const c_char) -> *mut c_void {
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

unsafe extern "C" fn on_stat(
    user_data: *mut c_void,
    name: *const c_char,
    out: *mut libc::stat64,
    flags: c_int,
) -> c_int {
    const SIZE_FLAG: c_int = 4;
    // SAFETY: the host passes what `install` gave.
    let mount = unsafe { mount(user_data) };
    guard(mount.gdal, -1, || {
        // SAFETY: the host passes a C string.
        let found =
            unsafe { mount.path(name) }.and_then(|name| handler::stat(mount.gdal, &name, flags & SIZE_FLAG != 0));
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

unsafe extern "C" fn on_sibling_files(user_data: *mut c_void, name: *const c_char) -> *mut *mut c_char {
    // SAFETY: the host passes what `install` gave, and a C string.
    let mount = unsafe { mount(user_data) };
    guard(mount.gdal, std::ptr::null_mut(), || {
        // SAFETY: as above.
        let name = unsafe { mount.path(name) };
        string_list(mount.gdal, name.ok().map(|name| handler::sibling_files(mount.gdal, &name)))
    })
}

unsafe extern "C" fn on_read_dir(user_data: *mut c_void, name: *const c_char, _most: c_int) -> *mut *mut c_char {
    // SAFETY: the host passes what `install` gave, and a C string.
    let mount = unsafe { mount(user_data) };
    guard(mount.gdal, std::ptr::null_mut(), || {
        // SAFETY: as above.
        let name = unsafe { mount.path(name) };
        string_list(mount.gdal, name.ok().and_then(|name| handler::read_dir(&name)))
    })
}

unsafe extern "C" fn on_tell(file: *mut c_void) -> u64 {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, 0, |_, handle| handle.tell()) }
}

unsafe extern "C" fn on_seek(file: *mut c_void, offset: u64, whence: c_int) -> c_int {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, -1, |_, handle| if handle.seek(offset, whence) { 0 } else { -1 }) }
}

unsafe extern "C" fn on_read(file: *mut c_void, buffer: *mut c_void, size: usize, count: usize) -> usize {
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

unsafe extern "C" fn on_eof(file: *mut c_void) -> c_int {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, 1, |_, handle| c_int::from(handle.is_at_end())) }
}

unsafe extern "C" fn on_error(file: *mut c_void) -> c_int {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, 1, |_, handle| c_int::from(handle.has_failed())) }
}

unsafe extern "C" fn on_clear_err(file: *mut c_void) {
    // SAFETY: the host passes a handle of `on_open`.
    unsafe { with_handle(file, (), |_, handle| handle.clear()) }
}

/// Writing always writes nothing: the file system is read-only. The callback exists because the host's wrapper would
/// otherwise give (size_t)-1.
unsafe extern "C" fn on_write(_: *mut c_void, _: *const c_void, _: usize, _: usize) -> usize {
    set_errno(libc::EBADF);
    0
}

unsafe extern "C" fn on_flush(_: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn on_close(file: *mut c_void) -> c_int {
    if file.is_null() {
        return -1;
    }
    // SAFETY: the host closes a handle of `on_open` once, and uses it no more.
    let open = unsafe { Box::from_raw(file.cast::<OpenHandle>()) };
    guard(open.gdal, -1, || {
        drop(open);
        0
    })
}

#[cfg(test)]
mod tests;
