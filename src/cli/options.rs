//! The options of the environment.

use crate::error::Result;
use crate::options::Options;

/// The options of the environment, without those that hold for one path.
///
/// # Errors
/// [`crate::Error::Option`] for a value that an option cannot have.
pub(super) fn options() -> Result<Options> {
    Options::resolve(&|name| std::env::var(name).ok())
}
