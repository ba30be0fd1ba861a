//! From what the user names to JP2s and TIFFs, with what is known of them without asking.
//!
//! | named | is | by |
//! |---|---|---|
//! | a JP2, a TIFF | itself, whatever it is called | |
//! | a folder | the products, JP2s and TIFFs in it | `folder` |
//! | a SAFE product, here or elsewhere | what its manifest names | `safe` |
//! | `s3://bucket/prefix/`, `gs://`, `az://` | what lies there | `listing` |
//! | `.json`, `.geojson`, `.parquet` | the assets of STAC items | `stac` |
//! | a product's name | the product in the archive of `--store` | `store` |
//! | `-` | what standard input names, one a line | |
//!
//! Of products only what is wanted is taken (`selection`). Where paths do not name the product, as in AWS's layout, a
//! file beside the bands does (`aws`). What cannot be used is a failure with its name, and the rest goes on.

mod aws;
mod checksum;
mod document;
mod expand;
mod folder;
mod input;
mod listing;
mod safe;
mod selection;
mod slice;
mod stac;
mod store;
#[cfg(test)]
mod tests;

pub(super) use expand::expand;
pub(super) use input::Input;
pub(crate) use selection::Selection;
pub(crate) use slice::Slice;
