//! The views of a JP2 that are files of its packets: reduced images, and their list.

use std::sync::Arc;

use super::embedded::Embedded;
use super::known::{Known, by_heads, is_untold};
use super::view::is_small;
use super::virtual_file::{Opened, VirtualFile};
use super::window::exponent;
use crate::error::{Error, Result, ResultExt};
use crate::index::{self, Record};
use crate::jp2::{PartPackets, TilePart, no_factor};
use crate::layout::{self, Layout, Level, build_overviews};
use crate::options::OverviewList;
use crate::path::{Request, View};

impl VirtualFile {
    /// A view of this file, as another file.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where the file has no such view; [`Error::NotFound`] for a list of none. [`Error::Row`] and
    /// [`Error::Changed`] where the file is not what its row says; then the next open scans it anew.
    pub(super) fn view(&self, request: &Request) -> Result<Self> {
        self.make_view(request).inspect_err(|error| self.doubt_row(error))
    }

    fn make_view(&self, request: &Request) -> Result<Self> {
        let unknown = || Error::NoOverview { what: "it is served as it is, its structure unknown".into() };
        let known = self.known.as_ref().ok_or_else(unknown)?;
        let layout = match request.view {
            View::Whole => return Err(Error::read("a file is no view of itself")),
            View::Overviews => self.overviews(known, request)?,
            View::Reduced(factor) => return self.reduced_view(known, factor),
            View::Window(..) => return Err(Error::read("a window is decoded")),
        };
        Ok(self.part(layout))
    }

    /// The view of the image at 1/factor.
    pub(super) fn reduced_view(&self, known: &Known, factor: u32) -> Result<Self> {
        let layout = self.reduced(known, factor)?;
        Ok(Self { embedded: Embedded::of(known, factor), ..self.part(layout) })
    }

    /// The tile-parts that tiles decoded by themselves need at 1/factor, in the file's order: tile, offset and length in bytes.
    /// The last one of a tile is cut behind the packets that are needed, where it is known where these lie. Of a TIFF they are
    /// the tiles of that overview that the file has.
    ///
    /// # Errors
    /// [`Error::Undecoded`] where the file's structure is not known; [`Error::NoOverview`] for factors that it does not have;
    /// [`Error::Row`] and [`Error::Changed`] as for a view.
    pub(crate) fn parts_at(&self, factor: u32) -> Result<Vec<(u32, u64, u64)>> {
        if self.is_stored_tiff() {
            return self.tiles_of_tiff(factor).in_file(&self.name);
        }
        let parts = || {
            let known = self.structure()?;
            let k = exponent(factor, known.structure.main())?;
            let whole = || Ok(known.structure.tile_parts.parts().iter().map(TilePart::place).collect());
            match if k > 0 { self.packets(known) } else { return whole() } {
                Ok(packets) => layout::needed_parts(&known.structure, &packets, k),
                Err(Error::NoOverview { .. }) => whole(),
                Err(error) => Err(error),
            }
        };
        let parts: Vec<(u16, u64, u32)> = parts().inspect_err(|error| self.doubt_row(error)).in_file(&self.name)?;
        Ok(parts.into_iter().map(|(tile, offset, length)| (tile.into(), offset, length.into())).collect())
    }

    /// Another file of this one's bytes.
    pub(super) fn part(&self, layout: Layout) -> Self {
        let (expected, last_modified) = (self.expected.clone(), self.last_modified);
        let opened = Opened { layout, expected, last_modified, known: None, tiff: None };
        let file = Self::new(self.name.clone(), self.source.clone(), self.access.clone(), opened);
        Self { header: self.header.clone(), ..file }
    }

    /// Whether it is known where the packets of each resolution lie, so that reduced images cost no request to be opened.
    pub(crate) fn has_resolutions(&self) -> bool {
        let Some(known) = &self.known else { return false };
        match known.packets.get() {
            Some(packets) => packets.is_ok(),
            None => matches!(by_heads(known.structure.main(), known.structure.tile_parts.parts()), Some(Ok(_))),
        }
    }

    /// Whether GDAL is to be told of a list of overviews: by what is known without reading anything.
    pub(crate) fn may_have_overviews(&self) -> bool {
        let Some(known) = &self.known else { return false };
        let without = match known.packets.get() {
            Some(packets) => packets.is_err(),
            None => is_untold(known.structure.main(), known.structure.tile_parts.parts()),
        };
        let main = known.structure.main();
        // The pixels of sub-sampled components are not those of GDAL's own overviews where tiles divide them.
        let is_exact = main.siz.tiles() == 1 || main.siz.components.iter().all(|c| (c.dx, c.dy) == (1, 1));
        let wanted = match self.access.options.overviews {
            OverviewList::None => false,
            OverviewList::OfGdal => is_exact && layout::listed_by_gdal(main) > 0,
            OverviewList::All => true,
        };
        wanted
            && !without
            // GDAL lists none where samples are indexes into a palette: their averages are none.
            && !known.structure.header.has_palette()
            && layout::levels(&known.structure).next().is_some_and(|level| level.is_whole)
    }

    /// The levels that are to be listed, the finest first, by what is known without reading anything: those that GDAL lists
    /// for the plain file, so that a decimated read takes the same one, or none where a view of one of them is missing.
    pub(super) fn listed_levels(&self, known: &Known) -> Vec<Level> {
        if !self.may_have_overviews() {
            return Vec::new();
        }
        let whole = layout::levels(&known.structure).take_while(|level| level.is_whole);
        match self.access.options.overviews {
            OverviewList::All => whole.collect(),
            OverviewList::OfGdal => {
                let count = layout::listed_by_gdal(known.structure.main()).into();
                Some(whole.take(count).collect::<Vec<_>>()).filter(|levels| levels.len() == count).unwrap_or_default()
            }
            OverviewList::None => Vec::new(),
        }
    }

    fn overviews(&self, known: &Known, request: &Request) -> Result<Layout> {
        let levels = self.overview_levels(known)?;
        let path = |level: &Level| path(request, View::Reduced(1 << level.k));
        let text = build_overviews(&levels, &known.structure.header, &path);
        Ok(layout::text(text.as_bytes()))
    }

    /// The levels that are listed as overviews, the finest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there are none.
    pub(super) fn overview_levels(&self, known: &Known) -> Result<Vec<Level>> {
        let wanted = self.listed_levels(known);
        if wanted.is_empty() {
            return Err(Error::not_found());
        }
        self.check_georeference(known)?;
        // Asked here, so that a file without lengths of packets keeps its own overviews.
        let parts = self.packets(known)?;
        // Marker segments of tile-parts may forbid more than the main header's do.
        let plain = parts.iter().all(|part| part.segments.is_empty());
        let is_there = |level: &&Level| plain || layout::reduce(&known.structure, &parts, level.k, false, &[]).is_ok();
        let levels: Vec<Level> = wanted.iter().take_while(is_there).copied().collect();
        let is_whole = self.access.options.overviews == OverviewList::All || levels.len() == wanted.len();
        if levels.is_empty() || !is_whole {
            return Err(Error::not_found());
        }
        Ok(levels)
    }

    pub(super) fn reduced(&self, known: &Known, factor: u32) -> Result<Layout> {
        let k = factor.checked_ilog2().filter(|k| *k > 0 && factor.is_power_of_two());
        let Some(k) = k.and_then(|k| u8::try_from(k).ok()) else {
            let levels = layout::levels(&known.structure).last().map_or(0, |level| level.k);
            return Err(no_factor(levels));
        };
        let parts = self.packets(known)?;
        let trailing = self.trailing_boxes(known)?;
        let build = |peek: bool| layout::reduce(&known.structure, &parts, k, peek, &trailing);
        let layout = build(false)?;
        // What is fetched whole by the first read costs nothing to look at.
        if self.source.is_cheap() || is_small(&layout, &self.access.options) { Ok(layout) } else { build(true) }
    }

    /// The packets of every tile-part, found out once.
    pub(super) fn packets(&self, known: &Known) -> Result<Arc<[PartPackets]>> {
        if let Some(packets) = known.packets.get() {
            return packets.clone();
        }
        match self.find_packets(known) {
            found @ (Ok(_) | Err(Error::NoOverview { .. })) => known.packets.get_or_init(|| Box::new(found)).clone(),
            failed => failed,
        }
    }

    fn find_packets(&self, known: &Known) -> Result<Arc<[PartPackets]>> {
        let main = known.structure.main();
        main.check_hindrance()?;
        let parts = known.structure.tile_parts.parts();
        if let Some(told) = by_heads(main, parts) {
            return told;
        }
        // A row of v1 does not change. What it lacks has perhaps been learned.
        let same = |record: &Record| {
            record.file_size == Some(known.structure.file_size)
                && record.parts.iter().map(TilePart::place).eq(parts.iter().map(TilePart::place))
        };
        let learned = index::learned_get(&self.access, self.source.origin()).filter(|record| same(record));
        if let Some(told) = learned.and_then(|record| by_heads(main, &record.parts)) {
            return told;
        }
        let mut parts = parts.to_vec();
        let packets = index::read_heads(&self.source, main, &mut parts, &self.access.options);
        if let Ok(_) | Err(Error::NoOverview { .. }) = &packets {
            self.confirm()?;
            // That there are none is learned too: it costs as many requests.
            if by_heads(main, &parts).is_some() && !self.source.is_cheap() {
                self.learn(known, parts);
            }
        }
        packets.map(Into::into)
    }

    /// Keeps what the headers of tile-parts told.
    fn learn(&self, known: &Known, parts: Vec<TilePart>) {
        let (etag, last_modified) = self.source.seen().map_or((None, None), |meta| (meta.etag, meta.last_modified));
        let row = Record {
            header: Some(known.structure.header.bytes.clone()),
            parts,
            origin: Some(self.source.origin().to_owned()),
            etag,
            last_modified,
            packets: None,
            overviews: None,
            ..known.record.clone()
        };
        index::learned_put(&self.access, &row);
    }
}

/// The path of a view of the file that `request` names.
fn path(request: &Request, view: View) -> String {
    let name = request.with(view).name();
    if name.starts_with('?') { format!("/vsitlm{name}") } else { format!("/vsitlm/{name}") }
}
