//! The one error type of the library: what was wrong, where, and what to do about it.
//!
//! Rooms that do not know which file they look at (`jp2`, `layout`) return the bare error; the caller
//! that knows names the file with [`ResultExt::in_file`]. A location in a message never holds a query string,
//! user info or a key (see [`crate::path::Location::display`]).

use std::sync::Arc;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file could not be opened, read or indexed.
///
/// Cloneable, because the threads that wait for one fetch all get its outcome.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path after `/vsitlm/` names nothing that can be read.
    #[error("cannot read the path '{path}': {what}")]
    Path {
        /// The path as given, without query string or user info.
        path: String,
        /// What is wrong with it and how it is written instead.
        what: String,
    },
    /// A configuration option has a value that it cannot have.
    #[error("{name}={value} is not valid: use {expected}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// The value found; never that of an option that holds a secret.
        value: String,
        /// The values that are understood.
        expected: &'static str,
    },
    /// Bytes that break ISO/IEC 15444-1 (T.800) or TIFF 6.0, or that this program does not serve.
    #[error("{what} at byte {offset} ({}{clause})", if clause.starts_with("TIFF") { "" } else { "T.800 " })]
    Malformed {
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// The clause of T.800 that the bytes break; of another standard with its name, `TIFF 6.0, section 2`.
        clause: &'static str,
        /// What is wrong.
        what: String,
    },
    /// An index row, or a table made from one, that contradicts itself or the file.
    #[error("the index row does not fit the file: {what}; make the row anew with 'vsitlm index'")]
    Row {
        /// Both values that disagree.
        what: String,
    },
    /// An index file that cannot be used.
    #[error("the index '{index}' cannot be used: {what}; check VSITLM_INDEX or make it anew with 'vsitlm index'")]
    Index {
        /// Which index, without query string or user info.
        index: String,
        /// What is wrong with it.
        what: String,
    },
    /// No index row names the file, and `VSITLM_ON_MISS=fail`.
    #[error("no index row for it (VSITLM_ON_MISS=fail): add it with 'vsitlm index', or set VSITLM_ON_MISS=scan")]
    Miss,
    /// A file that was asked for by its product's name, and cannot be found by that alone.
    #[error("cannot open the product's file by its name: {what}")]
    Product {
        /// What is missing, and what to set or make.
        what: String,
    },
    /// A view, a reduced image or a window, that cannot be made of the file's packets.
    #[error("there is no such overview or window: {what}")]
    NoOverview {
        /// Why, and which there are.
        what: String,
    },
    /// A feature of JPEG 2000 or TIFF that is left to GDAL.
    #[error("not decoded here: {what}")]
    Undecoded {
        /// The feature.
        what: String,
    },
    /// A band that the image does not have.
    #[error("there is no band {band}: the image has {count}")]
    Band {
        /// The band, from 1 on.
        band: usize,
        /// How many bands there are.
        count: usize,
    },
    /// A window that the image does not have.
    #[error("the window of {width} x {height} pixels from column {x}, row {y} on is not within the image of {} x {} pixels", image.0, image.1)]
    Window {
        /// The window's first column.
        x: u32,
        /// The window's first row.
        y: u32,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// Width and height of the image in pixels.
        image: (u32, u32),
    },
    /// The source has no such object.
    #[error("not found{detail}: check {check}")]
    NotFound {
        /// " (HTTP 404)" or the like, or empty.
        detail: String,
        /// What says where it lies.
        check: &'static str,
    },
    /// The source will not let us read.
    #[error("access denied{detail}: check {check}")]
    Denied {
        /// " (HTTP 403)" or the like, or empty.
        detail: String,
        /// What lets us read if it is right: options, or a file's permissions.
        check: &'static str,
    },
    /// Reading failed for good.
    #[error("{what}")]
    Read {
        /// What failed, after how many tries, and what to do.
        what: String,
        /// The cause, where a library gave one.
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// The object is no longer what it was when it was opened or indexed.
    #[error("the file has changed: {what}; open it again")]
    Changed {
        /// Both values that disagree.
        what: String,
    },
    /// A question of a program's (`vsitlm_ask` in include/vsitlm.h) that is none.
    #[error("cannot understand the question: {what}")]
    Question {
        /// What is wrong with it.
        what: String,
    },
    /// An operation that a read-only file system does not have.
    #[error("/vsitlm/ is read-only: cannot open with mode '{mode}'")]
    ReadOnly {
        /// The mode asked for.
        mode: String,
    },
    /// Another error, with the file it happened in.
    #[error("{file}")]
    InFile {
        /// The file, without query string or user info.
        file: String,
        /// What happened.
        source: Box<Error>,
    },
}

impl Error {
    /// A [`Error::Malformed`] at `offset` bytes from the start of the file.
    pub(crate) fn malformed(offset: u64, clause: &'static str, what: impl Into<String>) -> Self {
        Self::Malformed { offset, clause, what: what.into() }
    }

    /// A [`Error::NotFound`] of which nothing more is known.
    pub(crate) fn not_found() -> Self {
        Self::NotFound { detail: String::new(), check: "the path" }
    }

    /// A [`Error::Read`] without a cause from a library.
    pub(crate) fn read(what: impl Into<String>) -> Self {
        Self::Read { what: what.into(), source: None }
    }

    /// The error number of <errno.h> that a C caller gets for this error.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Path { .. } | Self::NotFound { .. } | Self::Product { .. } | Self::NoOverview { .. } => libc::ENOENT,
            Self::Option { .. }
            | Self::Window { .. }
            | Self::Malformed { .. }
            | Self::Row { .. }
            | Self::Index { .. }
            | Self::Undecoded { .. }
            | Self::Band { .. }
            | Self::Question { .. } => libc::EINVAL,
            Self::Miss => libc::ENOENT,
            Self::Denied { .. } => libc::EACCES,
            Self::ReadOnly { .. } => libc::EROFS,
            Self::Read { .. } | Self::Changed { .. } => libc::EIO,
            Self::InFile { source, .. } => source.errno(),
        }
    }

    /// The variant's name, without the file names around it: what programs tell errors apart by.
    pub fn kind(&self) -> &'static str {
        match self.root() {
            Self::Path { .. } => "Path",
            Self::Option { .. } => "Option",
            Self::Malformed { .. } => "Malformed",
            Self::Row { .. } => "Row",
            Self::Index { .. } => "Index",
            Self::Miss => "Miss",
            Self::Product { .. } => "Product",
            Self::NoOverview { .. } => "NoOverview",
            Self::Undecoded { .. } => "Undecoded",
            Self::Band { .. } => "Band",
            Self::Window { .. } => "Window",
            Self::NotFound { .. } => "NotFound",
            Self::Denied { .. } => "Denied",
            Self::Read { .. } => "Read",
            Self::Changed { .. } => "Changed",
            Self::Question { .. } => "Question",
            Self::ReadOnly { .. } => "ReadOnly",
            Self::InFile { .. } => "InFile",
        }
    }

    /// The error without the file names around it.
    pub fn root(&self) -> &Error {
        match self {
            Self::InFile { source, .. } => source.root(),
            other => other,
        }
    }

    /// The whole chain on one line, as it is shown to users.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

/// Naming the file that an error happened in.
pub(crate) trait ResultExt<T> {
    /// Adds `file` to the error, unless it names a file already.
    fn in_file(self, file: &str) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn in_file(self, file: &str) -> Result<T> {
        self.map_err(|error| match error {
            named @ Error::InFile { .. } => named,
            other => Error::InFile { file: file.to_owned(), source: Box::new(other) },
        })
    }
}
