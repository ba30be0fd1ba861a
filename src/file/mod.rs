//! The virtual file: a layout, read through a source, shared by every handle on its path.

mod describe;
mod embedded;
mod empty;
mod fetch;
mod open;
mod overviews;
mod product;
mod read;
mod registry;
mod rows;
mod trailing;
mod view;
mod window;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use once_cell::race::OnceBox;

pub(crate) use describe::{Description, describe};
use embedded::Embedded;
pub(crate) use empty::EmptyTile;
pub(crate) use open::{at_hand, file_id, open, unfolded, wants_side_cars};
pub(crate) use product::{bands, size};
pub(crate) use read::Ahead;
pub(crate) use registry::{FileId, Lease};
pub(crate) use rows::{rows, source_of};
use window::Lengths;

use crate::error::Result;
use crate::index::Record;
use crate::jp2::{Header, PartPackets, Structure};
use crate::layout::{LOOK, Layout, VirtualOffset};
use crate::options::Options;
use crate::path::Location;
use crate::source::{Access, Meta, Source, same_etag};

/// A file as GDAL sees it.
pub(crate) struct VirtualFile {
    /// What messages call it.
    name: String,
    layout: Layout,
    /// What the file begins with, or the one that this is a view of; `None` where its structure is unknown.
    header: Option<Arc<Header>>,
    source: Arc<dyn Source>,
    /// How the file is reached, by whom.
    access: Access,
    /// What the file must be for the layout to be true.
    expected: Expected,
    /// Whether a response has shown that it is.
    confirmed: AtomicBool,
    last_modified: Option<i64>,
    /// What views are made of; `None` where the file's structure is unknown, and in a view.
    known: Option<Known>,
    /// For a reduced view, what of it the index carries.
    embedded: Option<Embedded>,
    /// For a window's dataset, the view that it shows, kept so that GDAL opens it without a request: GDAL hides what fails
    /// there.
    packets: Option<Arc<VirtualFile>>,
    /// Where it lies, if it was opened by its product's name.
    place: Option<Location>,
    /// The tiles of a large view that have been read.
    read_tiles: Box<[AtomicBool]>,
}

/// A JP2 as its row has it.
struct Known {
    record: Record,
    structure: Structure,
    /// The packets of each tile-part, or why they are not known: found out when they are first asked for. A read that
    /// failed is not kept.
    packets: OnceBox<Result<Arc<[PartPackets]>>>,
    /// The packets of each tile one by one, likewise.
    lengths: Lengths,
}

/// What a file was when its row was made. What is `None` is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    size: Option<u64>,
    etag: Option<String>,
    last_modified: Option<i64>,
}

impl Expected {
    /// What `meta` contradicts, both values named.
    fn mismatch(&self, meta: &Meta) -> Option<String> {
        if self.size.is_some_and(|size| size != meta.size) {
            return Some(format!("its index row was made for {} bytes, it has {}", self.size.unwrap_or(0), meta.size));
        }
        match (&self.etag, &meta.etag) {
            (Some(was), Some(is)) if !same_etag(was, is) => {
                return Some(format!("its index row was made for ETag {was}, it has {is}"));
            }
            (Some(_), Some(_)) => return None,
            _ => {}
        }
        match (self.last_modified, meta.last_modified) {
            (Some(was), Some(is)) if was != is => {
                Some(format!("its index row was made for the file of {was} (seconds since 1970), it is of {is}"))
            }
            _ => None,
        }
    }
}

impl VirtualFile {
    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.layout.size()
    }

    /// When the file was last modified, in seconds since 1970-01-01 UTC.
    pub(crate) fn last_modified(&self) -> Option<i64> {
        self.last_modified
    }

    /// The options of the first open, which serve all handles while any is open.
    pub(crate) fn options(&self) -> &Options {
        &self.access.options
    }

    /// How many of `length` bytes from `offset` on, asked right after a seek, are answered; `None`: all of them.
    ///
    /// A decoder that looks at a tile-part's SOT marker asks for 1024 bytes there, needs the 12 of the marker segment,
    /// and moves on. A short read is legal to OpenJPEG (2.4.0 to 2.5.4), so the index answers what it knows, and the
    /// tile-part is not fetched. To other readers a short read is the end of the file: hence only right after a seek.
    pub(crate) fn probe(&self, offset: u64, length: u64) -> Option<u64> {
        if length > LOOK || self.source.is_cheap() || !self.access.options.sot_probe {
            return None;
        }
        let body = self.layout.body_after(VirtualOffset(offset))?;
        Some(body.0 - offset).filter(|inline| *inline < length)
    }
}

#[cfg(test)]
mod fetch_tests;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod view_tests;

#[cfg(test)]
mod window_tests;
