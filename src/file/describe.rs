//! What an image is, by its main header: its size, its samples, where it lies on the ground.

use std::sync::Arc;

use super::{Ahead, VirtualFile, open};
use crate::error::{Error, Result, ResultExt};
use crate::geo::{self, Georeference};
use crate::jp2::{Header, LONGEST_HEADER, Progress, parse_main_header};
use crate::layout::{self, data_type};
use crate::path::{Request, View};
use crate::source::Caller;

/// An image as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Description {
    /// Columns and rows of pixels.
    pub(crate) size: (u32, u32),
    /// How many bands there are.
    pub(crate) bands: usize,
    /// numpy's name for the type of their samples, that of the first.
    pub(crate) dtype: &'static str,
    /// Where it lies on the ground; `None` where the file does not say, or only GDAL understands it.
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
/// As [`super::open()`]; [`Error::Malformed`] for what is neither a JPEG 2000 file nor a TIFF.
pub(crate) fn describe(request: &Request, caller: &Caller<'_>) -> Result<Description> {
    let shown = request.location.display();
    let (view, window) = match request.view {
        View::Window(1, window) => (View::Whole, Some(window)),
        View::Window(factor, window) => (View::Reduced(factor), Some(window)),
        view => (view, None),
    };
    let whole = open(&request.with(View::Whole), caller)?;
    if whole.is_stored_tiff() {
        let factor = if let View::Reduced(factor) = view { factor } else { 1 };
        return whole.describe_tiff(factor, window.as_ref()).in_file(&shown);
    }
    let file = open(&request.with(view), caller)?;
    let header = whole.header().in_file(&shown)?;
    let main = &header.main;
    let factor = match view {
        View::Reduced(factor) => factor,
        _ => 1,
    };
    let k = u8::try_from(factor.max(1).ilog2()).unwrap_or(u8::MAX);
    let size = layout::size_at(main, k).in_file(&shown)?;
    if let Some(window) = window {
        window.check(size).in_file(&shown)?;
    }
    let origin = window.map_or((0, 0), |window| (window.x, window.y));
    let georeference = match &whole.known {
        Some(known) => whole.georeference(known, size, origin),
        None => geo::georeference(&header, &[], size, origin),
    };
    let georeference = match georeference {
        Err(Error::NoOverview { .. }) => None,
        other => other.in_file(&shown)?,
    };
    Ok(Description {
        size: window.map_or(size, |window| (window.width, window.height)),
        bands: main.siz.components.len(),
        dtype: data_type(main).numpy(),
        georeference,
        tile: layout::tile_at(main, k),
        overviews: whole
            .factors()
            .into_iter()
            .filter(|other| window.is_none() && *other > factor)
            .map(|other| other / factor)
            .collect(),
        bytes: file.size(),
    })
}

impl VirtualFile {
    /// What the file begins with: known of an indexed file, read and parsed of another.
    fn header(&self) -> Result<Arc<Header>> {
        if let Some(header) = &self.header {
            return Ok(header.clone());
        }
        let mut bytes = Vec::new();
        let mut need = STEP;
        loop {
            let length = need.min(self.size()).min(LONGEST_HEADER);
            let from = bytes.len();
            bytes.resize(usize::try_from(length).unwrap_or(0).max(from), 0);
            let rest = bytes.get_mut(from..).unwrap_or_default();
            let done = self.read_at(from as u64, rest, &mut Ahead::default())?;
            bytes.truncate(from + done);
            match parse_main_header(&bytes, self.size())? {
                Progress::Done(main) => return Ok(Arc::new(Header { bytes: bytes.into(), main })),
                Progress::Need(end) if done > 0 => need = end.max(length.saturating_mul(2)),
                Progress::Need(end) => return Err(Error::malformed(end, "A.3", "a main header that does not end")),
            }
        }
    }

    /// The factors of its reduced views.
    fn factors(&self) -> Vec<u32> {
        let Some(known) = &self.known else { return Vec::new() };
        self.listed_levels(known).iter().map(|level| 1 << level.k).collect()
    }
}
