//! The views of a JP2: reduced images, and their list.

use std::sync::Arc;

use super::embedded::Embedded;
use super::open::Opened;
use super::{Known, VirtualFile};
use crate::error::{Error, Result};
use crate::index::{self, Record};
use crate::jp2::{MainHeader, PartPackets, Progress, Structure, TilePart, TilePartHead, no_factor, parse_main_header};
use crate::layout::{self, Layout, Level, build_overviews};
use crate::path::{Request, View};

impl VirtualFile {
    /// A view of this file, as another file.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where the file has no such view; [`Error::NotFound`] for a list of none.
    pub(super) fn view(&self, request: &Request) -> Result<Self> {
        let unknown = || Error::NoOverview { what: "it is served as it is, its structure unknown".into() };
        let known = self.known.as_ref().ok_or_else(unknown)?;
        let layout = match request.view {
            View::Whole => return Err(Error::read("a file is no view of itself")),
            View::Overviews => self.overviews(known, request)?,
            View::Reduced(factor) => self.reduced(known, factor)?,
        };
        let (expected, last_modified) = (self.expected.clone(), self.last_modified);
        let opened = Opened { layout, expected, last_modified, known: None };
        let file = Self::new(self.name.clone(), self.source.clone(), self.options.clone(), opened);
        let embedded = match request.view {
            View::Reduced(factor) => Embedded::of(known, factor),
            _ => None,
        };
        Ok(Self { embedded, ..file })
    }

    /// Whether GDAL is to be told of a list of overviews: by what is known without reading anything.
    pub(crate) fn may_have_overviews(&self) -> bool {
        let Some(known) = &self.known else { return false };
        self.options.overviews
            && !matches!(known.packets.get(), Some(Err(_)))
            && !layout::levels(&known.structure).is_empty()
    }

    fn overviews(&self, known: &Known, request: &Request) -> Result<Layout> {
        if !self.may_have_overviews() {
            return Err(Error::NotFound);
        }
        // Asked here, so that a file without lengths of packets keeps its own overviews.
        self.packets(known)?;
        let main = main_header(&known.structure)?;
        let path = |level: &Level| format!("/vsitlm{}", request.with(View::Reduced(1 << level.k)).name());
        let text = build_overviews(&layout::levels(&known.structure), &main.siz.components, &path);
        Ok(layout::text(text.as_bytes()))
    }

    fn reduced(&self, known: &Known, factor: u32) -> Result<Layout> {
        let k = factor.checked_ilog2().filter(|k| *k > 0 && factor.is_power_of_two());
        let Some(k) = k.and_then(|k| u8::try_from(k).ok()) else {
            let levels = layout::levels(&known.structure).last().map_or(0, |level| level.k);
            return Err(no_factor(levels));
        };
        let parts = self.packets(known)?;
        let build = |peek: bool| layout::reduce(&known.structure, &parts, k, peek);
        let layout = build(false)?;
        // What is fetched whole by the first read costs nothing to look at.
        if self.source.is_cheap() || layout.unit_bytes() <= self.options.overview_prefetch {
            Ok(layout)
        } else {
            build(true)
        }
    }

    /// The packets of every tile-part, found out once.
    fn packets(&self, known: &Known) -> Result<Arc<[PartPackets]>> {
        if let Some(packets) = known.packets.get() {
            return packets.clone();
        }
        match self.find_packets(known) {
            found @ (Ok(_) | Err(Error::NoOverview { .. })) => known.packets.get_or_init(|| Box::new(found)).clone(),
            failed => failed,
        }
    }

    fn find_packets(&self, known: &Known) -> Result<Arc<[PartPackets]>> {
        let main = main_header(&known.structure)?;
        let parts = known.structure.tile_parts.parts();
        if let Some(packets) = by_row(&main, parts) {
            return Ok(packets);
        }
        let plain = |part: &TilePart| part.head.as_ref().is_some_and(TilePartHead::is_plain);
        if main.coding.is_by_resolution() && parts.iter().all(plain) {
            let what = "its row does not tell where the resolutions end: the file has no PLT, or one that is wrong";
            return Err(Error::NoOverview { what: what.into() });
        }
        // A row of v1 does not change. What it lacks has perhaps been learned.
        let same = |record: &Record| {
            let told =
                |parts: &[TilePart]| parts.iter().map(|part| (part.tile, part.offset, part.length)).collect::<Vec<_>>();
            record.file_size == Some(known.structure.file_size) && told(&record.parts) == told(parts)
        };
        let learned = index::learned_get(&self.options, self.source.origin()).filter(|record| same(record));
        if let Some(packets) = learned.and_then(|record| by_row(&main, &record.parts)) {
            return Ok(packets);
        }
        let mut parts = parts.to_vec();
        let packets = index::read_heads(&self.source, &main, &mut parts, &self.options)?;
        self.confirm()?;
        if by_row(&main, &parts).is_some() && !self.source.is_cheap() {
            let meta = self.source.seen();
            let origin = Some(self.source.origin().to_owned());
            let header = Some(known.structure.header.clone());
            let (etag, last_modified) = meta.map_or((None, None), |meta| (meta.etag, meta.last_modified));
            let row = Record { header, parts, origin, etag, last_modified, ..known.record.clone() };
            index::learned_put(&self.options, &row);
        }
        Ok(packets.into())
    }
}

fn main_header(structure: &Structure) -> Result<MainHeader> {
    match parse_main_header(&structure.header, structure.file_size)? {
        Progress::Done(main) => Ok(main),
        Progress::Need(_) => Err(Error::Row { what: "its header is cut".into() }),
    }
}

/// The packets by where the resolutions end; `None` where that is not known of all tile-parts.
fn by_row(main: &MainHeader, parts: &[TilePart]) -> Option<Arc<[PartPackets]>> {
    let levels = main.coding.default.levels;
    parts.iter().map(|part| PartPackets::by_resolution(part.head.as_ref()?, levels)).collect()
}
