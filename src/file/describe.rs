//! What an image is, by its main header: its size, its samples, where it lies on the ground.

use super::open::Get;
use super::{Ahead, VirtualFile, open};
use crate::error::{Error, Result, ResultExt};
use crate::jp2::{LONGEST_HEADER, MainHeader, Progress, parse_main_header};
use crate::layout::{self, Georeference, VirtualOffset, data_type, georeference};
use crate::path::{Request, View};
use crate::source::HostFiles;

/// An image as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Description {
    /// Columns and rows of pixels.
    pub(crate) size: (u32, u32),
    /// How many bands there are.
    pub(crate) bands: usize,
    /// GDAL's name for the type of their samples.
    pub(crate) data_type: &'static str,
    /// Where it lies on the ground, where the file tells that by GMLJP2 and in UTM.
    pub(crate) georeference: Option<Georeference>,
    /// Columns and rows of a tile.
    pub(crate) tile: (u32, u32),
    /// The factors of the coarser images that GDAL would list.
    pub(crate) overviews: Vec<u32>,
    /// The size of the file in bytes, as it is served.
    pub(crate) bytes: u64,
}

/// What a file of unknown structure begins with is read by this many bytes at first.
const STEP: u64 = 16 << 10;

/// Describes the file, or the view of it, that `request` names.
///
/// # Errors
/// As [`super::open()`]; [`Error::Malformed`] for what is no JPEG 2000 file.
pub(crate) fn describe(request: &Request, get: &Get<'_>, host: Option<&dyn HostFiles>) -> Result<Description> {
    let shown = request.location.display();
    let (view, window) = match request.view {
        View::Window(1, window) => (View::Whole, Some(window)),
        View::Window(factor, window) => (View::Reduced(factor), Some(window)),
        view => (view, None),
    };
    let file = open(&request.with(view), get, host)?;
    let (_, main) = file.main_header().in_file(&shown)?;
    let whole = open(&request.with(View::Whole), get, host)?;
    let (header, full) = whole.main_header().in_file(&shown)?;
    let size = main.siz.size();
    let factor = match view {
        View::Reduced(factor) => factor,
        _ => 1,
    };
    let first = main.siz.components.first();
    if let Some(window) = window {
        window.check(size).in_file(&shown)?;
    }
    let origin = window.map_or((0, 0), |window| (window.x, window.y));
    let has_overviews = window.is_none();
    Ok(Description {
        size: window.map_or(size, |window| (window.width, window.height)),
        bands: main.siz.components.len(),
        data_type: first.map(data_type).ok_or_else(|| Error::read("an image without bands")).in_file(&shown)?,
        georeference: georeference(&header, &full, size, origin).unwrap_or_default(),
        tile: (main.siz.tile_width, main.siz.tile_height),
        overviews: whole
            .factors()
            .into_iter()
            .filter(|other| has_overviews && *other > factor)
            .map(|other| other / factor)
            .collect(),
        bytes: file.size(),
    })
}

impl VirtualFile {
    /// The bytes that the file begins with, up to its first tile-part at least, and what they say.
    fn main_header(&self) -> Result<(Vec<u8>, MainHeader)> {
        let mut header = Vec::new();
        // What is inline costs nothing, and a read beyond it would fetch pixels.
        let mut need = self.layout.body_after(VirtualOffset(0)).map_or(STEP, |body| body.0);
        loop {
            let length = need.min(self.size()).min(LONGEST_HEADER);
            let from = header.len();
            header.resize(usize::try_from(length).unwrap_or(0).max(from), 0);
            let rest = header.get_mut(from..).unwrap_or_default();
            let done = self.read_at(from as u64, rest, &mut Ahead::default())?;
            header.truncate(from + done);
            match parse_main_header(&header, self.size())? {
                Progress::Done(main) => return Ok((header, main)),
                Progress::Need(end) if done > 0 => need = end.max(length.saturating_mul(2)),
                Progress::Need(end) => return Err(Error::malformed(end, "A.3", "a main header that does not end")),
            }
        }
    }

    /// The factors of its reduced views.
    fn factors(&self) -> Vec<u32> {
        let Some(known) = self.known.as_ref().filter(|_| self.may_have_overviews()) else { return Vec::new() };
        layout::levels(&known.structure).take_while(|level| level.is_whole).map(|level| 1 << level.k).collect()
    }
}
