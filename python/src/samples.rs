//! Samples that the core has decoded, for numpy: without a copy.

use std::ffi::c_void;

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// `struct vsitlm_samples` of `include/vsitlm.h`.
#[repr(C)]
pub(crate) struct CoreSamples {
    data: *mut c_void,
    size: usize,
    release: Option<unsafe extern "C" fn(*mut Self)>,
    owner: *mut c_void,
}

// SAFETY: the core lets any thread use and release them.
unsafe impl Send for CoreSamples {}
// SAFETY: nothing is changed here but by `Drop`.
unsafe impl Sync for CoreSamples {}

impl CoreSamples {
    /// Takes over what an answer came with.
    ///
    /// # Safety
    /// `given` is what the core has called with, or null.
    pub(crate) unsafe fn take(given: *mut Self) -> Option<Self> {
        // SAFETY: not null, so the core's struct, which is copied as its header wants it.
        (!given.is_null()).then(|| unsafe { given.read() })
    }
}

impl Drop for CoreSamples {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: released here alone, once.
            unsafe { release(self) }
        }
    }
}

/// The memory of samples, which lives as long as this object: an array over it keeps the object.
#[pyclass(frozen, module = "vsitlm._vsitlm")]
pub(crate) struct Samples(pub(crate) CoreSamples);

#[pymethods]
impl Samples {
    /// An array of bytes, by numpy's array interface.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("shape", (self.0.size,))?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("data", (self.0.data.expose_provenance(), false))?;
        Ok(interface)
    }
}
