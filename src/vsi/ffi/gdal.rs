//! One libgdal of the process: its functions, the mirror of its callback struct, and what the handler needs of it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::atomic::{AtomicI64, Ordering};

use super::library::Library;
use super::waiting;
use crate::vsi::host::{Host, HostFile, Severity, ThreadOptions};

/// `VSIFilesystemPluginCallbacksStruct` as of GDAL 3.10, which added the last fields so far; it only ever grew at its end.
/// What the host's handler of errors does may unwind through a callback: see `tell`.
#[repr(C)]
pub(super) struct Callbacks {
    pub(super) user_data: *mut c_void,
    pub(super) stat: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *mut libc::stat64, c_int) -> c_int>,
    pub(super) unlink: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char) -> c_int>,
    pub(super) rename: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *const c_char) -> c_int>,
    pub(super) mkdir: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, libc::c_long) -> c_int>,
    pub(super) rmdir: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char) -> c_int>,
    pub(super) read_dir: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, c_int) -> *mut *mut c_char>,
    pub(super) open: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void>,
    pub(super) tell: Option<unsafe extern "C-unwind" fn(*mut c_void) -> u64>,
    pub(super) seek: Option<unsafe extern "C-unwind" fn(*mut c_void, u64, c_int) -> c_int>,
    pub(super) read: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, usize, usize) -> usize>,
    pub(super) read_multi_range:
        Option<unsafe extern "C-unwind" fn(*mut c_void, c_int, *mut *mut c_void, *const u64, *const usize) -> c_int>,
    pub(super) get_range_status: Option<unsafe extern "C-unwind" fn(*mut c_void, u64, u64) -> c_int>,
    pub(super) eof: Option<unsafe extern "C-unwind" fn(*mut c_void) -> c_int>,
    pub(super) write: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_void, usize, usize) -> usize>,
    pub(super) flush: Option<unsafe extern "C-unwind" fn(*mut c_void) -> c_int>,
    pub(super) truncate: Option<unsafe extern "C-unwind" fn(*mut c_void, u64) -> c_int>,
    pub(super) close: Option<unsafe extern "C-unwind" fn(*mut c_void) -> c_int>,
    // 3.2
    pub(super) buffer_size: usize,
    pub(super) cache_size: usize,
    pub(super) sibling_files: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char) -> *mut *mut c_char>,
    // 3.7
    pub(super) advise_read: Option<unsafe extern "C-unwind" fn(*mut c_void, c_int, *const u64, *const usize)>,
    // 3.10
    pub(super) error: Option<unsafe extern "C-unwind" fn(*mut c_void) -> c_int>,
    pub(super) clear_err: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
}

/// `CPLErrorHandler`.
type ErrorHandler = unsafe extern "C" fn(c_int, c_int, *const c_char);

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
    error: "CPLError", unsafe extern "C-unwind" fn(c_int, c_int, *const c_char, ...);
    debug: "CPLDebug", unsafe extern "C-unwind" fn(*const c_char, *const c_char, ...);
    config_option: "CPLGetConfigOption", unsafe extern "C" fn(*const c_char, *const c_char) -> *const c_char;
    calloc: "VSICalloc", unsafe extern "C" fn(usize, usize) -> *mut c_void;
    free: "VSIFree", unsafe extern "C" fn(*mut c_void);
    strdup: "CPLStrdup", unsafe extern "C" fn(*const c_char) -> *mut c_char;
    fopen: "VSIFOpenL", unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;
    fseek: "VSIFSeekL", unsafe extern "C" fn(*mut c_void, u64, c_int) -> c_int;
    fread: "VSIFReadL", unsafe extern "C" fn(*mut c_void, usize, usize, *mut c_void) -> usize;
    fclose: "VSIFCloseL", unsafe extern "C" fn(*mut c_void) -> c_int;
    fstat: "VSIStatExL", unsafe extern "C" fn(*const c_char, *mut libc::stat64, c_int) -> c_int;
    flush_block: "GDALFlushCacheBlock", unsafe extern "C" fn() -> c_int;
    cache_max: "GDALGetCacheMax64", unsafe extern "C" fn() -> i64;
    set_cache_max: "GDALSetCacheMax64", unsafe extern "C" fn(i64);
    thread_options: "CPLGetThreadLocalConfigOptions", unsafe extern "C" fn() -> *mut *mut c_char;
    process_options: "CPLGetConfigOptions", unsafe extern "C" fn() -> *mut *mut c_char;
    set_thread_options: "CPLSetThreadLocalConfigOptions", unsafe extern "C" fn(*const *const c_char);
    free_list: "CSLDestroy", unsafe extern "C" fn(*mut *mut c_char);
    error_reset: "CPLErrorReset", unsafe extern "C" fn();
    last_error: "CPLGetLastErrorMsg", unsafe extern "C" fn() -> *const c_char;
    push_handler: "CPLPushErrorHandler", unsafe extern "C" fn(ErrorHandler);
    pop_handler: "CPLPopErrorHandler", unsafe extern "C" fn();
    /// Keeps an error as the last one and shows nothing; debug messages go to standard error.
    quiet_handler: "CPLQuietErrorHandler", unsafe extern "C" fn(c_int, c_int, *const c_char);
}

/// The most blocks that are flushed at once: more than any cache holds, so that threads which fill it meanwhile do not
/// keep this one for ever.
const MOST_BLOCKS: u32 = 1 << 24;

/// A limit of the block cache, in bytes, under which it holds only the block in use.
const ONE_BLOCK: i64 = 1;

/// One libgdal of this process.
pub(super) struct Gdal {
    pub(super) functions: Functions,
    /// `VSIGetPathSpecificOption`, since GDAL 3.6.
    pub(super) path_option: Option<unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> *const c_char>,
    /// `GDALVersionInfo("VERSION_NUM")`: 3060200 for 3.6.2.
    pub(super) version: u32,
    /// The block cache's limit in bytes before it was shrunk.
    pub(super) cache_max: AtomicI64,
}

/// A C string of the host's as text; `None` for null and for what is not valid UTF-8.
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

/// The most bytes of a message: GDAL cuts longer ones itself, wherever that is in a character. CPLDebug() has room for
/// 25,000 with what it puts before them; a handler of errors that decodes UTF-8 must not meet half a character.
const MOST_BYTES: usize = 20_000;

/// A message for the host.
pub(super) fn message_for_c(text: &str) -> CString {
    to_c(cut(text, MOST_BYTES))
}

/// The beginning of `text`, of at most `most` bytes: it ends where a character ends.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

pub(super) fn errno() -> c_int {
    // SAFETY: the C library gives a valid pointer to the thread's errno.
    unsafe { *libc::__errno_location() }
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
        waiting::keep(self.functions.error, class, number, message_for_c(message));
    }

    fn open_file(&self, path: &str) -> Option<Box<dyn HostFile>> {
        let path = to_c(path);
        let _quiet = Quiet::new(self.functions);
        // SAFETY: C strings; the result is an open file of this libgdal, or null.
        let file = unsafe { (self.functions.fopen)(path.as_ptr(), c"rb".as_ptr()) };
        (!file.is_null()).then(|| -> Box<dyn HostFile> { Box::new(OpenFile { functions: self.functions, file }) })
    }

    fn file_size(&self, path: &str) -> Option<(u64, Option<i64>)> {
        let path = to_c(path);
        // SAFETY: a struct of plain numbers, for which all zeros are valid.
        let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
        const EXISTS_NATURE_SIZE: c_int = 7;
        let _quiet = Quiet::new(self.functions);
        // SAFETY: a C string and a struct of the host's type.
        let found = unsafe { (self.functions.fstat)(path.as_ptr(), &raw mut stat, EXISTS_NATURE_SIZE) } == 0;
        let is_file = stat.st_mode & libc::S_IFMT != libc::S_IFDIR;
        (found && is_file)
            .then(|| (u64::try_from(stat.st_size).unwrap_or(0), (stat.st_mtime > 0).then_some(stat.st_mtime)))
    }

    fn forget_blocks(&self) {
        // GDALFlushCacheBlock() takes the least recently used block that nobody has locked, and says 0 where there is
        // none. It may be called on any thread, as GDAL itself does when a worker's new block finds the cache full.
        for _ in 0..MOST_BLOCKS {
            // SAFETY: no arguments, no preconditions.
            if unsafe { (self.functions.flush_block)() } == 0 {
                return;
            }
        }
    }

    fn shrink_cache(&self) {
        // SAFETY: no arguments, no preconditions.
        let limit = unsafe { (self.functions.cache_max)() };
        if limit > ONE_BLOCK {
            self.cache_max.store(limit, Ordering::Relaxed);
            // SAFETY: any limit is allowed; blocks in use stay.
            unsafe { (self.functions.set_cache_max)(ONE_BLOCK) };
        }
    }

    fn restore_cache(&self) {
        // SAFETY: any limit is allowed.
        unsafe {
            if (self.functions.cache_max)() == ONE_BLOCK {
                (self.functions.set_cache_max)(self.cache_max.load(Ordering::Relaxed));
            }
        }
    }

    fn thread_options(&self) -> ThreadOptions {
        // SAFETY: the function gives a copy of this thread's list.
        unsafe { self.take_list((self.functions.thread_options)()) }
    }

    fn process_options(&self) -> ThreadOptions {
        // SAFETY: the function gives a copy of the list.
        unsafe { self.take_list((self.functions.process_options)()) }
    }

    fn with_thread_options(&self, options: &ThreadOptions, work: &mut dyn FnMut()) {
        let before = self.thread_options();
        if before == *options {
            return work();
        }
        self.set_thread_options(options);
        let _restore = Restore { gdal: self, before };
        work();
    }

    fn forget_error(&self) {
        // SAFETY: no arguments, no preconditions.
        unsafe { (self.functions.error_reset)() };
    }

    fn last_error(&self) -> String {
        // SAFETY: the function gives this thread's last message, a C string; it is copied at once.
        let message = unsafe { (self.functions.last_error)() };
        if message.is_null() {
            return String::new();
        }
        // SAFETY: as above.
        unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
    }
}

impl Gdal {
    /// The entries of a list of the host's, which is freed.
    ///
    /// # Safety
    /// `list` is null, or a list of C strings that ends in null and is the caller's.
    unsafe fn take_list(&self, list: *mut *mut c_char) -> ThreadOptions {
        let mut options = ThreadOptions::new();
        let mut at = list;
        // SAFETY: promised by the caller.
        unsafe {
            while !at.is_null() && !(*at).is_null() {
                options.push(CStr::from_ptr(*at).to_owned());
                at = at.add(1);
            }
            (self.functions.free_list)(list);
        }
        options
    }

    /// Makes `options` those of this thread alone; none where the list is empty.
    fn set_thread_options(&self, options: &ThreadOptions) {
        let mut list: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        list.push(std::ptr::null());
        // SAFETY: a list of C strings that ends in null; the function copies it.
        unsafe { (self.functions.set_thread_options)(list.as_ptr()) };
    }
}

/// Gives a thread its own options back, also when what ran meanwhile has panicked.
struct Restore<'a> {
    gdal: &'a Gdal,
    before: ThreadOptions,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.gdal.set_thread_options(&self.before);
    }
}

/// Keeps what GDAL's own file systems say from the program's handler of errors, which must not run within a callback (see
/// `tell`). What they said last is told with the read that has failed.
struct Quiet(Functions);

impl Quiet {
    fn new(functions: Functions) -> Self {
        // SAFETY: the handler is GDAL's own; `drop` takes it away, on the same thread.
        unsafe { (functions.push_handler)(functions.quiet_handler) };
        Self(functions)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the handler that `new` has pushed.
        unsafe { (self.0.pop_handler)() };
    }
}

/// An open file of one of GDAL's own file systems.
struct OpenFile {
    functions: Functions,
    file: *mut c_void,
}

// SAFETY: GDAL's file handles may be used on any thread, by one at a time, and this one is owned.
unsafe impl Send for OpenFile {}

impl HostFile for OpenFile {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> usize {
        let _quiet = Quiet::new(self.functions);
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
        let _quiet = Quiet::new(self.functions);
        // SAFETY: the file is open and closed nowhere else.
        unsafe { (self.functions.fclose)(self.file) };
    }
}
