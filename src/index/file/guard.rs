//! The parquet crate on untrusted bytes: it asserts some of what it reads, and a panic must not get as far as GDAL's
//! callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// Runs the parquet crate: a panic is an error of the index called `name`.
pub(super) fn guarded<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Index { index: name.to_owned(), what: format!("it is corrupt ({})", text.unwrap_or("panic")) })
    })
}
