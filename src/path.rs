//! What a path after `/vsitlm/` names: the path grammar, and the product and band names of every archive.

use std::path::PathBuf;

use crate::error::Result;

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Where the file lies.
    pub(crate) location: Location,
    /// What the index calls it; `None` where the path tells no product.
    pub(crate) key: Option<Key>,
}

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file of this machine; relative paths stay relative to the working directory.
    Local(PathBuf),
    /// A file behind HTTP(S).
    Http {
        /// The URL as it is asked for, query string included.
        url: String,
    },
    /// An object of an S3 store; endpoint and credentials come from the options.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The object's key, not percent-encoded, without a leading slash.
        key: String,
    },
    /// Anything else, by its GDAL path: `/vsizip/…`, `/vsimem/…`, `/vsigs/…`.
    Host(String),
}

/// The name of one JP2 of one product, as far as its path tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// What is known of the product.
    pub(crate) product: ProductName,
    /// `31UDQ`, from the file's or the folder's name.
    pub(crate) mgrs_tile: Option<String>,
    /// `B02`, `TCI`, `SCL`, `PVI`, `MSK_DETFOO_B02`, …: without a resolution.
    pub(crate) band: String,
    /// The resolution in metres, where the path names one.
    pub(crate) resolution: Option<u32>,
}

/// How much of a product's name a path tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ProductName {
    /// The whole name, without `.SAFE`.
    Full(String),
    /// Only when it was sensed, `20241016T105031` (file names without their folder) or `20241016` (the layout of
    /// the AWS buckets): many products can match.
    Sensed {
        /// The beginning of the datatake's time.
        time: String,
        /// `L1C` or `L2A`, where the path tells it.
        level: Option<String>,
    },
}

/// Parses what follows `/vsitlm/`.
pub(crate) fn parse(path: &str) -> Result<Request> {
    let _ = path;
    unimplemented!()
}
