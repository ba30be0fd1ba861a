//! Rows of indexes as Arrow's C stream, in the capsules that Python's Arrow libraries take them in.
//!
//! - <https://arrow.apache.org/docs/format/CStreamInterface.html>
//! - <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyString};

use crate::core;

/// `struct ArrowArrayStream`. Who takes it over sets `release` to null.
#[repr(C)]
pub(crate) struct ArrowArrayStream {
    get_schema: Option<unsafe extern "C" fn(*mut Self, *mut ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut Self, *mut c_void) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut Self) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Self)>,
    private_data: *mut c_void,
}

/// `struct ArrowSchema`, likewise.
#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Self,
    dictionary: *mut Self,
    release: Option<unsafe extern "C" fn(*mut Self)>,
    private_data: *mut c_void,
}

// SAFETY: by the interface, producers let any thread use and release them, one at a time.
unsafe impl Send for ArrowArrayStream {}
// SAFETY: as above.
unsafe impl Send for ArrowSchema {}

impl ArrowArrayStream {
    /// One that is released.
    const NONE: Self =
        Self { get_schema: None, get_next: None, get_last_error: None, release: None, private_data: null_mut() };

    fn schema(&mut self) -> PyResult<ArrowSchema> {
        let mut schema = ArrowSchema::NONE;
        let Some(get_schema) = self.get_schema else {
            return Err(PyRuntimeError::new_err("a stream without a schema"));
        };
        // SAFETY: the stream is not released, and the schema has room for what is written.
        if unsafe { get_schema(self, &raw mut schema) } == 0 {
            return Ok(schema);
        }
        // SAFETY: as above.
        let message = self.get_last_error.map(|get| unsafe { get(self) }).filter(|message| !message.is_null());
        // SAFETY: a C string that lives until the stream is used again.
        let message = message.map(|message| unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned());
        Err(PyRuntimeError::new_err(message.unwrap_or_else(|| "a schema that Arrow cannot have".to_owned())))
    }
}

impl ArrowSchema {
    /// One that is released.
    const NONE: Self = Self {
        format: null_mut(),
        name: null_mut(),
        metadata: null_mut(),
        flags: 0,
        n_children: 0,
        children: null_mut(),
        dictionary: null_mut(),
        release: None,
        private_data: null_mut(),
    };
}

impl Drop for ArrowArrayStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it is not released yet, and nobody else has it.
            unsafe { release(self) }
        }
    }
}

impl Drop for ArrowSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as above.
            unsafe { release(self) }
        }
    }
}

/// The rows of the indexes that `index` names: the error, as JSON, where they cannot be had.
fn stream(py: Python<'_>, index: String, options: String) -> PyResult<Result<ArrowArrayStream, String>> {
    let index = CString::new(index).map_err(|_| PyValueError::new_err("a path holds a NUL character"))?;
    let options = CString::new(options).map_err(|_| PyValueError::new_err("an option holds a NUL character"))?;
    let core = core::loaded()?;
    py.detach(|| {
        let mut stream = ArrowArrayStream::NONE;
        let error = core.index_rows(&index, &options, &mut stream)?;
        Ok(error.map_or(Ok(stream), Err))
    })
}

/// The rows of indexes, separated by `;`, read with options (a JSON object), as a capsule of a stream; or the error, as JSON.
#[pyfunction]
pub(crate) fn index_rows(py: Python<'_>, index: String, options: String) -> PyResult<Bound<'_, PyAny>> {
    Ok(match stream(py, index, options)? {
        Ok(stream) => PyCapsule::new_with_value(py, stream, c"arrow_array_stream")?.into_any(),
        Err(error) => PyString::new(py, &error).into_any(),
    })
}

/// The schema that these rows have, as a capsule; or the error, as JSON.
#[pyfunction]
pub(crate) fn index_schema(py: Python<'_>, index: String, options: String) -> PyResult<Bound<'_, PyAny>> {
    Ok(match stream(py, index, options)? {
        Ok(mut stream) => PyCapsule::new_with_value(py, stream.schema()?, c"arrow_schema")?.into_any(),
        Err(error) => PyString::new(py, &error).into_any(),
    })
}
