//! How far a run over many files is, and what failed in it.

use serde::Serialize;

use crate::error::Error;

/// Where a run reports to, while it runs.
pub(crate) trait Report: Sync {
    /// Work on `total` files begins.
    fn begin(&self, total: usize);
    /// Another file is done, or has failed.
    fn step(&self, error: Option<&Error>);
    /// A line for the user.
    fn say(&self, text: &str);
    /// The work that began last has ended.
    fn end(&self);
}

/// A file that failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Failure {
    pub(crate) file: String,
    /// Why, with all of its causes.
    pub(crate) error: String,
}

impl Failure {
    /// The failure of `file`.
    pub(super) fn new(file: impl Into<String>, error: &Error) -> Self {
        Self { file: file.into(), error: error.chain() }
    }
}
