//! `vsitlm._vsitlm`: a thin client of the core, which lives in `gdal_vsitlm.so`.
//!
//! A process has one core, whoever loads it: GDAL as a plugin, or this module. So nothing of it is linked in here. It is
//! opened by the dynamic loader, which gives the same library to both where the file is the same, and called by the
//! functions of `include/vsitlm.h`. What they do is documented there, and what the package makes of it in `_vsitlm.pyi`.

mod core;
mod questions;
mod samples;
mod tables;

use pyo3::prelude::*;

pyo3::import_exception!(vsitlm._errors, UnsupportedError);

/// The extension module.
#[pymodule]
mod _vsitlm {
    use std::ffi::{CString, OsString};
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use pyo3::exceptions::{PyOSError, PyValueError};
    use pyo3::prelude::*;

    use crate::core::{self, Core};
    #[pymodule_export]
    use crate::questions::{ask, ask_and_wait, cancel, close};
    #[pymodule_export]
    use crate::samples::Samples;
    #[pymodule_export]
    use crate::tables::{index_rows, index_schema};

    /// The version of the plugin that the package was made with.
    #[pymodule_export]
    const PACKAGE_VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Takes the core that the process has, or the first of `candidates` that can be loaded.
    #[pyfunction]
    fn load(py: Python<'_>, candidates: Vec<PathBuf>) -> PyResult<(OsString, String)> {
        let core = py.detach(|| Core::load(&candidates)).map_err(PyOSError::new_err)?;
        // As text: a path would import pathlib, which takes longer than all the rest.
        Ok((core.path.clone().into(), core.version.clone()))
    }

    /// Serves the libgdals that were loaded since.
    #[pyfunction]
    fn register(py: Python<'_>) -> PyResult<()> {
        let core = core::loaded()?;
        py.detach(|| core.register());
        Ok(())
    }

    /// The core's version.
    #[pyfunction]
    fn version() -> PyResult<String> {
        Ok(core::loaded()?.version.clone())
    }

    /// What the process has asked of each host, as JSON.
    #[pyfunction]
    fn statistics(py: Python<'_>) -> PyResult<String> {
        let core = core::loaded()?;
        py.detach(|| core.statistics())
    }

    /// The libgdals of the process, as JSON.
    #[pyfunction]
    fn gdals(py: Python<'_>) -> PyResult<String> {
        let core = core::loaded()?;
        py.detach(|| core.gdals())
    }

    /// Decodes a file in memory: the answer, as JSON, and the samples that it tells of, or None.
    #[pyfunction]
    fn decode(py: Python<'_>, data: &[u8], wanted: &str) -> PyResult<(String, Option<Samples>)> {
        let core = core::loaded()?;
        let wanted = CString::new(wanted).map_err(|_| PyValueError::new_err("a question holds a NUL character"))?;
        let (answer, samples) = py.detach(|| core.decode(data, &wanted))?;
        Ok((answer, samples.map(Samples)))
    }

    /// Runs the command line; the program's name comes first.
    #[pyfunction]
    fn command(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<i32> {
        let arguments: Result<Vec<CString>, _> =
            arguments.into_iter().map(|argument| CString::new(argument.into_vec())).collect();
        let arguments = arguments.map_err(|_| PyValueError::new_err("an argument holds a NUL character"))?;
        let core = core::loaded()?;
        py.detach(|| core.command(&arguments))
    }
}
