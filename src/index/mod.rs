//! The parquet index: where the tile-parts of a JP2 lie, by the name of the product.

mod learned;
mod read;
mod record;
mod scan;
mod write;

pub(crate) use read::find;
pub(crate) use record::{Record, RecordKey};
pub(crate) use scan::scan;
pub(crate) use write::write_index;
