//! The views of a JP2: reduced images, and their list.

use std::sync::Arc;

use super::open::Opened;
use super::{Known, VirtualFile};
use crate::error::{Error, Result};
use crate::jp2::{PartPackets, Progress, no_factor, parse_main_header};
use crate::layout::{self, Layout, Level, Packets, build_overviews};
use crate::path::{Request, View};
use crate::source::HostFiles;

impl VirtualFile {
    /// A view of this file, as another file.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where the file has no such view; [`Error::NotFound`] for a list of none.
    pub(super) fn view(&self, request: &Request, host: Option<&dyn HostFiles>) -> Result<Self> {
        let unknown = || Error::NoOverview { what: "it is served as it is, its structure unknown".into() };
        let known = self.known.as_ref().ok_or_else(unknown)?;
        let layout = match request.view {
            View::Whole => return Err(Error::read("a file is no view of itself")),
            View::Overviews => self.overviews(known, request)?,
            View::Reduced(factor) => self.reduced(known, factor, host)?,
        };
        let (expected, last_modified) = (self.expected.clone(), self.last_modified);
        let opened = Opened { layout, expected, last_modified, known: None };
        Ok(Self::new(self.name.clone(), self.source.clone(), self.options.clone(), opened))
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
        let Progress::Done(main) = parse_main_header(&known.structure.header, known.structure.file_size)? else {
            return Err(Error::NotFound);
        };
        let path = |level: &Level| format!("/vsitlm{}", request.with(View::Reduced(1 << level.k)).name());
        let text = build_overviews(&layout::levels(&known.structure), &main.siz.components, &path);
        Ok(layout::text(text.as_bytes()))
    }

    fn reduced(&self, known: &Known, factor: u32, _host: Option<&dyn HostFiles>) -> Result<Layout> {
        let k = factor.checked_ilog2().filter(|k| *k > 0 && factor.is_power_of_two());
        let Some(k) = k.and_then(|k| u8::try_from(k).ok()) else {
            let levels = layout::levels(&known.structure).last().map_or(0, |level| level.k);
            return Err(no_factor(levels));
        };
        let parts = self.packets(known)?;
        let build = |peek: bool| layout::reduce(&known.structure, &parts, k, &Packets::Source, peek);
        let layout = build(false)?;
        // What is fetched whole by the first read costs nothing to look at.
        if self.source.is_cheap() || layout.unit_bytes() <= self.options.overview_prefetch { Ok(layout) } else { build(true) }
    }

    /// The packets of every tile-part.
    fn packets(&self, known: &Known) -> Result<Arc<[PartPackets]>> {
        if let Some(packets) = known.packets.get() {
            return packets.clone();
        }
        let found = self.find_packets(known);
        match found {
            Ok(_) | Err(Error::NoOverview { .. }) => known.packets.get_or_init(|| Box::new(found)).clone(),
            failed => failed,
        }
    }

    fn find_packets(&self, known: &Known) -> Result<Arc<[PartPackets]>> {
        let Progress::Done(main) = parse_main_header(&known.structure.header, known.structure.file_size)? else {
            return Err(Error::NotFound);
        };
        let parts = known.structure.tile_parts.parts();
        let by_row: Option<Arc<[PartPackets]>> =
            parts.iter().map(|part| part.head.as_ref()?.by_resolution(main.cod.levels)).collect();
        by_row.ok_or_else(|| Error::NoOverview { what: "it does not tell how long its packets are".into() })
    }
}
