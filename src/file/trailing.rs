//! The boxes that follow a file's codestream: rows have what stands before it alone, and GDAL's INSPIRE_TG=YES writes the
//! georeferencing behind it.

use bytes::Bytes;

use super::VirtualFile;
use super::known::Known;
use crate::error::{Error, Result};
use crate::geo::{self, Georeference, Item};
use crate::source::{SourceOffset, fetch_units};

/// The most bytes of boxes that are read.
const MOST: u64 = 1 << 20;

impl VirtualFile {
    /// The boxes behind the codestream, read once; none where it runs to the end of the file.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where they are too many, as views lie where all boxes of their file say.
    pub(super) fn trailing_boxes(&self, known: &Known) -> Result<Bytes> {
        let structure = &known.structure;
        let (start, end) = (structure.codestream_end, structure.file_size);
        if structure.main().codestream_end.is_none() || start >= end {
            return Ok(Bytes::new());
        }
        if end - start > MOST {
            let what = format!("{} bytes follow its codestream, and may georeference it", end - start);
            return Err(Error::NoOverview { what });
        }
        let range = SourceOffset(start)..SourceOffset(end);
        let bytes = fetch_units(&self.source, &[range], &self.access.options)?.pop();
        self.confirm()?;
        bytes.ok_or_else(|| Error::read("a read gave fewer ranges than asked for"))
    }

    /// Where the image lies at `size` in pixels, from its pixel `origin` on; see [`geo::georeference`].
    pub(super) fn georeference(
        &self,
        known: &Known,
        size: (u32, u32),
        origin: (u32, u32),
    ) -> Result<Option<Georeference>> {
        geo::georeference(&known.structure.header, &self.trailing_boxes(known)?, size, origin)
    }

    /// What else GDAL tells of the image; see [`geo::metadata`].
    pub(super) fn metadata(&self, known: &Known) -> Result<Option<Vec<Item>>> {
        Ok(geo::metadata(&known.structure.header, &self.trailing_boxes(known)?))
    }

    /// Whether reduced images lie where their file does.
    ///
    /// # Errors
    /// [`Error::NotFound`] where they cannot: then GDAL keeps to the overviews that it finds by itself.
    pub(super) fn check_georeference(&self, known: &Known) -> Result<()> {
        let header = &known.structure.header;
        let boxes =
            self.trailing_boxes(known).and_then(|boxes| geo::build_boxes(header, &boxes, header.main.siz.size()));
        match boxes {
            Err(Error::NoOverview { .. }) => Err(Error::not_found()),
            other => other.map(drop),
        }
    }
}
