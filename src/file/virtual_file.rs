//! The virtual file itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::embedded::Embedded;
use super::known::Known;
use super::tiff::Stored;
use crate::error::Result;
use crate::jp2::Header;
use crate::layout::{LOOK, Layout, VirtualOffset};
use crate::options::Options;
use crate::path::Location;
use crate::source::{Access, Meta, Source, same_etag};

/// A file as GDAL sees it.
pub(crate) struct VirtualFile {
    /// What messages call it.
    pub(super) name: String,
    pub(super) layout: Layout,
    /// What the file begins with, or the one that this is a view of; `None` where its structure is unknown.
    pub(super) header: Option<Arc<Header>>,
    pub(super) source: Arc<dyn Source>,
    /// How the file is reached, by whom.
    pub(super) access: Access,
    /// What the file must be for the layout to be true.
    pub(super) expected: Expected,
    /// Whether a response has shown that it is.
    pub(super) confirmed: AtomicBool,
    pub(super) last_modified: Option<i64>,
    /// What views are made of; `None` where the file's structure is unknown, and in a view.
    pub(super) known: Option<Known>,
    /// A TIFF as its header has it.
    pub(super) tiff: Option<Arc<Stored>>,
    /// For a reduced view, what of it the index carries.
    pub(super) embedded: Option<Embedded>,
    /// What makes its bytes, where these are samples that are decoded as they are read; the layout is empty then.
    pub(super) decoded: Option<Box<dyn Decoded>>,
    /// Where it lies, if it was opened by its product's name.
    pub(super) place: Option<Location>,
    /// The tiles of a large view that have been read.
    pub(super) read_tiles: Box<[AtomicBool]>,
}

/// A file whose bytes are decoded samples.
pub(super) trait Decoded: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// What keeping it takes, roughly, in bytes; `None` for what is not to be kept once it is closed.
    fn weight(&self) -> Option<u64>;

    /// Fills `buffer` from `offset` on, and gives the number of bytes.
    ///
    /// # Errors
    /// As [`VirtualFile::read_at`] on the file that is decoded, and the decoder's.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// Fills each buffer from its offset on, all of which lie within the file.
    ///
    /// # Errors
    /// As [`Decoded::read`].
    fn read_ranges(&self, ranges: &mut [(u64, &mut [u8])]) -> Result<()>;
}

/// What a file was when its row was made. What is `None` is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) size: Option<u64>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<i64>,
}

impl Expected {
    /// What `meta` contradicts, both values named.
    pub(super) fn mismatch(&self, meta: &Meta) -> Option<String> {
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

/// What a file turned out to be.
pub(super) struct Opened {
    pub(super) layout: Layout,
    pub(super) expected: Expected,
    pub(super) last_modified: Option<i64>,
    pub(super) known: Option<Known>,
    pub(super) tiff: Option<Arc<Stored>>,
}

impl VirtualFile {
    /// A file that nobody has read yet.
    pub(super) fn new(name: String, source: Arc<dyn Source>, access: Access, opened: Opened) -> Self {
        let Opened { layout, expected, last_modified, known, tiff } = opened;
        let tiles = layout.view().and_then(|_| layout.units().iter().map(|unit| unit.tile + 1).max());
        Self {
            name,
            layout,
            header: known.as_ref().map(|known| known.structure.header.clone()),
            source,
            access,
            expected,
            confirmed: AtomicBool::new(false),
            last_modified,
            known,
            tiff,
            embedded: None,
            decoded: None,
            place: None,
            read_tiles: std::iter::repeat_with(AtomicBool::default).take(tiles.unwrap_or(0) as usize).collect(),
        }
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.decoded.as_ref().map_or(self.layout.size(), |decoded| decoded.size())
    }

    /// Whether GDAL reads it as a TIFF.
    pub(crate) fn is_tiff(&self) -> bool {
        self.decoded.is_some() || self.tiff.is_some()
    }

    /// When the file was last modified, in seconds since 1970-01-01 UTC.
    pub(crate) fn last_modified(&self) -> Option<i64> {
        self.last_modified
    }

    /// Where it lies, if it was opened by its product's name.
    pub(crate) fn found_at(&self) -> Option<&Location> {
        self.place.as_ref()
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
        if length > LOOK || self.tiff.is_some() || self.source.is_cheap() || !self.access.options.sot_probe {
            return None;
        }
        let body = self.layout.body_after(VirtualOffset(offset))?;
        Some(body.0 - offset).filter(|inline| *inline < length)
    }
}
