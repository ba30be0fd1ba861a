//! One libgdal of the process: its functions, the mirror of its callback struct, and what the handler needs of it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;

use super::loader::Library;
use crate::vsi::handler::{Host, Severity};
use crate::vsi::host_source;

/// `VSIFilesystemPluginCallbacksStruct` as of GDAL 3.10, which added the last fields so far; it only ever grew at its end.
#[repr(C)]
pub(super) struct Callbacks {
    pub(super) user_data: *mut c_void,
    pub(super) stat: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *mut libc::stat64, c_int) -> c_int>,
    pub(super) unlink: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int>,
    pub(super) rename: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int>,
    pub(super) mkdir: Option<unsafe extern "C" fn(*mut c_void, *const c_char, libc::c_long) -> c_int>,
    pub(super) rmdir: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int>,
    pub(super) read_dir: Option<unsafe extern "C" fn(*mut c_void, *const c_char, c_int) -> *mut *mut c_char>,
    pub(super) open: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void>,
    pub(super) tell: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub(super) seek: Option<unsafe extern "C" fn(*mut c_void, u64, c_int) -> c_int>,
    pub(super) read: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize, usize) -> usize>,
    pub(super) read_multi_range:
        Option<unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_void, *const u64, *const usize) -> c_int>,
    pub(super) get_range_status: Option<unsafe extern "C" fn(*mut c_void, u64, u64) -> c_int>,
    pub(super) eof: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    pub(super) write: Option<unsafe extern "C" fn(*mut c_void, *const c_void, usize, usize) -> usize>,
    pub(super) flush: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    pub(super) truncate: Option<unsafe extern "C" fn(*mut c_void, u64) -> c_int>,
    pub(super) close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    // 3.2
    pub(super) buffer_size: usize,
    pub(super) cache_size: usize,
    pub(super) sibling_files: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut *mut c_char>,
    // 3.7
    pub(super) advise_read: Option<unsafe extern "C" fn(*mut c_void, c_int, *const u64, *const usize)>,
    // 3.10
    pub(super) error: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    pub(super) clear_err: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// Declares [`Gdal`] and how its members are looked up, so that each name stands once.
macro_rules! gdal_functions {
    ($($(#[$doc:meta])* $member:ident: $symbol:literal, $type:ty;)*) => {
        /// The functions of one libgdal of this process.
        #[derive(Clone, Copy)]
        pub(super) struct Functions { $($(#[$doc])* pub(super) $member: $type,)* }

        impl Functions {
            /// Looks every function up; the error is the name of the first that is missing.
            pub(super) fn resolve(library: &Library) -> Result<Self, &'static str> {
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
pub(super) struct Gdal {
    pub(super) functions: Functions,
    /// `VSIGetPathSpecificOption`, since GDAL 3.6.
    pub(super) path_option: Option<unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> *const c_char>,
    /// `GDALVersionInfo("VERSION_NUM")`: 3060200 for 3.6.2.
    pub(super) version: u32,
}

/// A C string of the host's as text; `None` for null or what is no UTF-8.
///
/// # Safety
/// `text` is null or a C string that lives as long as the result is used.
pub(super) unsafe fn borrow<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// Text for the host: NULs, which C cannot hold, are replaced.
pub(super) fn to_c(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}

pub(super) fn set_errno(number: c_int) {
    // SAFETY: the C library gives a valid pointer to the thread's errno.
    unsafe { *libc::__errno_location() = number };
}

impl Gdal {
    /// A configuration option, as it holds on this thread.
    pub(super) fn option(&self, name: &str) -> Option<String> {
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
