//! The core that this process has: `gdal_vsitlm.so`, its functions looked up by name.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;

use pyo3::PyResult;

use crate::UnsupportedError;
use crate::samples::CoreSamples;
use crate::tables::ArrowArrayStream;

/// The one core of the process.
static CORE: OnceLock<Core> = OnceLock::new();

/// `vsitlm_answer` of `include/vsitlm.h`.
pub(crate) type Answer = unsafe extern "C" fn(*mut c_void, *const c_char, *mut CoreSamples);

/// A function that writes text into a buffer of the size given, cut to fit and ended by NUL. It returns the text's length.
type Text = unsafe extern "C" fn(*mut c_char, usize) -> usize;

/// `vsitlm_index_rows`.
type IndexRows = unsafe extern "C" fn(*const c_char, *const c_char, *mut ArrowArrayStream, *mut c_char, usize) -> usize;

/// `vsitlm_decode`.
type Decode = unsafe extern "C" fn(*const c_void, usize, *const c_char, Answer, *mut c_void);

/// A library that stays loaded, and its functions of `include/vsitlm.h`; `None` for those that an older one lacks. What
/// hosts do in answer to GDAL's errors may unwind through `register`.
pub(crate) struct Core {
    /// The file it was loaded from.
    pub(crate) path: PathBuf,
    /// Its `vsitlm_version`.
    pub(crate) version: String,
    register: unsafe extern "C-unwind" fn(),
    statistics: Option<Text>,
    gdals: Option<Text>,
    command: Option<unsafe extern "C" fn(c_int, *const *const c_char) -> c_int>,
    ask: Option<unsafe extern "C" fn(*const c_char, Answer, *mut c_void) -> u64>,
    cancel: Option<unsafe extern "C" fn(u64) -> c_int>,
    index_rows: Option<IndexRows>,
    decode: Option<Decode>,
}

/// The core of the process.
///
/// # Errors
/// `UnsupportedError` before [`Core::load`] has found one.
pub(crate) fn loaded() -> PyResult<&'static Core> {
    CORE.get().ok_or_else(|| UnsupportedError::new_err("gdal_vsitlm.so is not loaded"))
}

impl Core {
    /// Takes the core that the process has already, else the first of `candidates` that can be loaded, and has it serve
    /// every libgdal of the process.
    ///
    /// # Errors
    /// What the dynamic loader said to the candidates.
    pub(crate) fn load(candidates: &[PathBuf]) -> Result<&'static Self, String> {
        let core = match CORE.get() {
            Some(core) => core,
            None => {
                let core = Self::find(candidates)?;
                CORE.get_or_init(|| core)
            }
        };
        core.register();
        Ok(core)
    }

    fn find(candidates: &[PathBuf]) -> Result<Self, String> {
        if let Some(core) = loaded_objects().into_iter().find_map(|path| Self::open(&path, libc::RTLD_NOLOAD).ok()) {
            return Ok(core);
        }
        let mut complaints = Vec::new();
        for path in candidates {
            match Self::open(path, 0) {
                Ok(core) => return Ok(core),
                Err(complaint) => complaints.push(complaint),
            }
        }
        Err(complaints.join("; "))
    }

    /// Opens a library as GDAL does, so that both have the same one; `flag` comes on top.
    fn open(path: &Path, flag: c_int) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| "a path holds a NUL character".to_owned())?;
        // SAFETY: a C string. With RTLD_NOLOAD no code runs; without it the file is the package's or one that GDAL would
        // load, too.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL | flag) };
        if handle.is_null() {
            return Err(loader_error());
        }
        let library = Library(handle);
        let version: Option<unsafe extern "C" fn() -> *const c_char> = library.function("vsitlm_version\0");
        let register = library.function("GDALRegister_vsitlm\0");
        let (Some(version), Some(register)) = (version, register) else {
            return Err(format!("{}: it is no plugin of vsitlm", path.display()));
        };
        // SAFETY: the function takes nothing and gives a static C string.
        let version = unsafe { CStr::from_ptr(version()) }.to_string_lossy().into_owned();
        let core = Self {
            path: path.to_owned(),
            version,
            register,
            statistics: library.function("vsitlm_statistics\0"),
            gdals: library.function("vsitlm_gdals\0"),
            command: library.function("vsitlm_command\0"),
            ask: library.function("vsitlm_ask\0"),
            cancel: library.function("vsitlm_cancel\0"),
            index_rows: library.function("vsitlm_index_rows\0"),
            decode: library.function("vsitlm_decode\0"),
        };
        std::mem::forget(library);
        Ok(core)
    }

    /// Installs `/vsitlm/` in every libgdal of the process that does not have it yet.
    pub(crate) fn register(&self) {
        // SAFETY: no arguments, any thread, any number of times.
        unsafe { (self.register)() }
    }

    /// What the process has asked of each host, as JSON.
    pub(crate) fn statistics(&self) -> PyResult<String> {
        self.text(self.statistics, "vsitlm_statistics")
    }

    /// The libgdals of the process, as JSON.
    pub(crate) fn gdals(&self) -> PyResult<String> {
        self.text(self.gdals, "vsitlm_gdals")
    }

    /// Runs the command line and gives its exit code.
    pub(crate) fn command(&self, arguments: &[CString]) -> PyResult<i32> {
        let command = self.has(self.command, "vsitlm_command")?;
        let pointers: Vec<*const c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        // SAFETY: as many C strings as the count says, which live until the call returns.
        Ok(unsafe { command(c_int::try_from(pointers.len())?, pointers.as_ptr()) })
    }

    /// Asks a question: `answer` gets `user` and what came of it, once, on any thread.
    ///
    /// # Safety
    /// `answer` may be called with `user` until it has been, or until the question was cancelled.
    pub(crate) unsafe fn ask(&self, question: &CStr, answer: Answer, user: *mut c_void) -> PyResult<u64> {
        let ask = self.has(self.ask, "vsitlm_ask")?;
        // SAFETY: a C string, and what the caller promises.
        Ok(unsafe { ask(question.as_ptr(), answer, user) })
    }

    /// Decodes a file in memory: the answer, as JSON, and the samples that it tells of.
    pub(crate) fn decode(&self, data: &[u8], wanted: &CStr) -> PyResult<(String, Option<CoreSamples>)> {
        unsafe extern "C" fn take(user: *mut c_void, json: *const c_char, samples: *mut CoreSamples) {
            // SAFETY: `user` is the place below, and the rest what the core calls with.
            unsafe {
                let place = &mut *user.cast::<(String, Option<CoreSamples>)>();
                *place = (CStr::from_ptr(json).to_string_lossy().into_owned(), CoreSamples::take(samples));
            }
        }
        let decode = self.has(self.decode, "vsitlm_decode")?;
        let mut answer = (String::new(), None);
        // SAFETY: as many bytes as there are, a C string, and a place that lives until the function returns.
        unsafe { decode(data.as_ptr().cast(), data.len(), wanted.as_ptr(), take, (&raw mut answer).cast()) };
        Ok(answer)
    }

    /// Whether the question was ended before its answer, which then never comes.
    pub(crate) fn cancel(&self, question: u64) -> PyResult<bool> {
        let cancel = self.has(self.cancel, "vsitlm_cancel")?;
        // SAFETY: any number is allowed.
        Ok(unsafe { cancel(question) } == 1)
    }

    /// Fills `stream`, which is released, with one of the rows of indexes, read with `options`; or gives the error, as JSON.
    pub(crate) fn index_rows(
        &self,
        index: &CStr,
        options: &CStr,
        stream: &mut ArrowArrayStream,
    ) -> PyResult<Option<String>> {
        let index_rows = self.has(self.index_rows, "vsitlm_index_rows")?;
        let mut error = vec![0u8; 64 << 10];
        let (buffer, size) = (error.as_mut_ptr().cast(), error.len());
        // SAFETY: C strings, a struct of Arrow's C stream interface, and a buffer with room for as many bytes as are said.
        let length = unsafe { index_rows(index.as_ptr(), options.as_ptr(), stream, buffer, size) };
        error.truncate(length);
        Ok((length > 0).then(|| String::from_utf8_lossy(&error).into_owned()))
    }

    fn text(&self, function: Option<Text>, name: &str) -> PyResult<String> {
        let function = self.has(function, name)?;
        let mut buffer = vec![0u8; 4096];
        loop {
            // SAFETY: the buffer has room for as many bytes as are said.
            let length = unsafe { function(buffer.as_mut_ptr().cast(), buffer.len()) };
            if length < buffer.len() {
                buffer.truncate(length);
                return Ok(String::from_utf8_lossy(&buffer).into_owned());
            }
            buffer.resize(length + 1, 0);
        }
    }

    fn has<T>(&self, function: Option<T>, name: &str) -> PyResult<T> {
        function.ok_or_else(|| {
            let (path, version) = (self.path.display(), &self.version);
            UnsupportedError::new_err(format!("the plugin {path}, version {version}, has no {name}"))
        })
    }
}

/// A library that is open; closed when dropped.
struct Library(*mut c_void);

impl Library {
    /// A function of the library; `name` ends with NUL, and `T` is the type that `include/vsitlm.h` gives it.
    fn function<T>(&self, name: &'static str) -> Option<T> {
        const { assert!(size_of::<T>() == size_of::<*mut c_void>()) };
        // SAFETY: the handle is open, and the name ends with NUL.
        let symbol = NonNull::new(unsafe { libc::dlsym(self.0, name.as_ptr().cast()) })?;
        // SAFETY: a function pointer has the size of a pointer, the symbol is not null, and names of the header have the
        // header's types.
        Some(unsafe { transmute_copy(&symbol) })
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing of the library is kept.
        unsafe { libc::dlclose(self.0) };
    }
}

/// The files of the objects that the process has loaded, without the program's.
fn loaded_objects() -> Vec<PathBuf> {
    unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _: usize, paths: *mut c_void) -> c_int {
        // SAFETY: the loader gives a valid entry with a C string or null, and `paths` is the vector below.
        let (name, paths) = unsafe { ((*info).dlpi_name, &mut *paths.cast::<Vec<PathBuf>>()) };
        if !name.is_null() {
            // SAFETY: as above.
            let name = unsafe { CStr::from_ptr(name) };
            if !name.is_empty() {
                paths.push(OsStr::from_bytes(name.to_bytes()).into());
            }
        }
        0
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    // SAFETY: the callback keeps to the contract of dl_iterate_phdr and does not panic but for want of memory.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut paths).cast()) };
    paths
}

/// What the dynamic loader has to say about the last call on this thread.
fn loader_error() -> String {
    // SAFETY: gives a C string that lives until the thread's next call of the loader, or null.
    let error = unsafe { libc::dlerror() };
    if error.is_null() {
        return "the dynamic loader failed".into();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()
}
