//! Windows of a JP2: datasets that read small windows for the packets that these need.
//!
//! ```text
//! ?window=… ─► a VRT text ─► ?packets=…: a JP2 that is right within it ─► the file's packets
//! ```
//!
//! Which packets these are is known by the length of each: from the index (`vsitlm index --packets`), or from the PLT
//! marker segment of the tile's own header, for one small request. Where neither has them, the VRT shows a part of the whole
//! image: right, at the price of whole tiles.
//!
//! GDAL opens what a VRT shows when it is first read, and keeps what failed to open in its pool of datasets: later reads are
//! zeros, without an error (3.6 to 3.12). So the lengths are found when the window's path is opened, and the view that is
//! made of them is kept with it: opening `?packets=…` makes no request then.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::VirtualFile;
use super::known::{Known, is_untold};
use crate::error::{Error, Result};
use crate::index;
use crate::jp2::{MainHeader, PartLengths, TilePackets, TilePart, TilePartHead, by_tile, no_factor};
use crate::layout::{self, Layout, Part, Place, Vrt};
use crate::options::Options;
use crate::path::{Request, View, Window};
use crate::source::SourceRange;
use crate::trace;

impl VirtualFile {
    /// A VRT that shows `window` of the image at 1/factor, and with it what it shows.
    pub(super) fn window(&self, known: &Known, request: &Request, factor: u32, window: &Window) -> Result<Self> {
        let main = known.structure.main();
        let k = exponent(factor, main)?;
        let size = layout::size_at(main, k)?;
        window.check(size)?;
        let place = layout::place(&known.structure, k, window);
        let made = place.and_then(|place| Ok((self.packets_at(known, &place)?, place)));
        let (part, packets) = match made {
            Ok((packets, place)) => {
                let path = path(request, View::Packets(factor, *window));
                let (size, tile, from) = (place.image(), layout::tile_at(main, k), place.inside());
                (Part { path, size, tile, from }, Some(Arc::new(self.part(packets))))
            }
            Err(Error::NoOverview { .. }) => {
                let view = if factor == 1 { View::Whole } else { View::Reduced(factor) };
                if factor > 1 {
                    self.reduced(known, factor)?;
                }
                (Part { from: *window, ..Part::whole(path(request, view), size, main, k) }, None)
            }
            Err(error) => return Err(error),
        };
        let header = &known.structure.header;
        layout::check_palette(header, k)?;
        let georeference = self.georeference(known, size, (window.x, window.y))?;
        let size = (window.width, window.height);
        let vrt = |part: Part, georeference| Vrt { header, size, georeference, part, overviews: Vec::new() }.build();
        // GDAL lists the sources of a VRT by their names. So the source is a VRT in itself, whose text is its name: what
        // users are shown has the window's pixels, and no others.
        let inner = Part::whole(vrt(part, None), size, main, k);
        Ok(Self { packets, ..self.part(layout::text(vrt(inner, georeference).as_bytes())) })
    }

    /// The JP2 that is right within `window` of the image at 1/factor.
    pub(super) fn window_packets(&self, known: &Known, factor: u32, window: &Window) -> Result<Layout> {
        let main = known.structure.main();
        self.packets_at(known, &layout::place(&known.structure, exponent(factor, main)?, window)?)
    }

    fn packets_at(&self, known: &Known, place: &Place<'_>) -> Result<Layout> {
        self.find_lengths(known, known.structure.main(), place.tiles())?;
        let all = known.structure.tile_parts.tiles();
        let packets = |tile: u16| known.lengths.of(tile, all)?.get().map(|found| &**found);
        place.compose(&packets, self.access.options.merge_gap)
    }

    /// Finds out the lengths of the packets of `tiles`: from the row, else from the tiles' own headers, those that are not
    /// known yet side by side.
    fn find_lengths(&self, known: &Known, main: &MainHeader, tiles: &[u16]) -> Result<()> {
        let parts = known.structure.tile_parts.parts();
        let all = known.structure.tile_parts.tiles();
        let keep = |tile: u16, packets: TilePackets| {
            let packets = packets.checked(main, tile, parts)?;
            if let Some(place) = known.lengths.of(tile, all) {
                place.get_or_init(|| Box::new(Arc::new(packets)));
            }
            Ok(())
        };
        if known.lengths.missing(tiles, all).is_empty() {
            return Ok(());
        }
        for (tile, packets) in recorded(known, main) {
            // Where the row is wrong, the tile's own header may be right.
            let _: Result<()> = keep(tile, packets);
        }
        let missing = known.lengths.missing(tiles, all);
        if missing.is_empty() {
            return Ok(());
        }
        let is_missing = |part: &&TilePart| missing.contains(&part.tile);
        if is_untold(main, parts) || parts.iter().filter(is_missing).any(has_no_plt) {
            let what = "the lengths of its packets are not known: it has no PLT, or one that is wrong";
            return Err(Error::NoOverview { what: what.into() });
        }
        for (tile, packets) in index::read_tiles(&self.source, main, parts, &missing, &self.access.options)? {
            keep(tile, packets)?;
        }
        self.confirm()
    }

    /// The headers of tile-parts that [`VirtualFile::window_packets`] will read.
    pub(super) fn missing_headers(&self, factor: u32, window: &Window) -> Result<Vec<SourceRange>> {
        let Some(known) = self.known.as_ref().filter(|_| !self.source.is_cheap()) else { return Ok(Vec::new()) };
        if known.record.packets.is_some() {
            return Ok(Vec::new());
        }
        let main = known.structure.main();
        let place = layout::place(&known.structure, exponent(factor, main)?, window)?;
        let missing = known.lengths.missing(place.tiles(), known.structure.tile_parts.tiles());
        let parts = known.structure.tile_parts.parts().iter();
        let is_worth_it = |part: &&TilePart| missing.contains(&part.tile) && !has_no_plt(part);
        Ok(parts.filter(is_worth_it).map(index::header_range).collect())
    }

    /// Whether [`super::Lease::fetch_headers`] has anything to fetch.
    ///
    /// # Errors
    /// As those of [`VirtualFile::view`].
    pub(crate) fn needs_headers(&self, factor: u32, window: &Window) -> Result<bool> {
        Ok(!self.missing_headers(factor, window)?.is_empty())
    }

    /// The options by which units are fetched: those of a window's view are the requests that are worth making.
    pub(super) fn fetching(&self) -> Cow<'_, Options> {
        match self.layout.view().is_some_and(|view| view.is_window) {
            true => Cow::Owned(Options { merge_gap: Some(0), ..(*self.access.options).clone() }),
            false => Cow::Borrowed(&self.access.options),
        }
    }
}

/// Whether the tile-part's header is known to be SOT and SOD alone.
fn has_no_plt(part: &TilePart) -> bool {
    part.head.as_ref().is_some_and(TilePartHead::is_bare)
}

/// The packets of the tiles whose headers hold nothing but PLT and COM, as far as the row records them.
fn recorded(known: &Known, main: &MainHeader) -> Vec<(u16, TilePackets)> {
    let parts = known.structure.tile_parts.parts();
    let lengths = known.record.packets.as_ref().map(|packets| packets.lengths(parts));
    let lengths = match lengths {
        Some(Ok(lengths)) => lengths,
        Some(Err(error)) => {
            trace::debug(|| error.chain());
            return Vec::new();
        }
        None => return Vec::new(),
    };
    let of_part = |number: &usize| {
        let head = parts.get(*number)?.head.as_ref().filter(|head| head.is_plain())?;
        let lengths = lengths.get(*number)?.clone();
        Some(PartLengths { number: *number, segments: Bytes::new(), packets: head.packets, lengths })
    };
    let of_tile = |(tile, numbers): (u16, Vec<usize>)| {
        let parts = numbers.iter().map(of_part).collect::<Option<_>>()?;
        Some((tile, TilePackets { coding: main.coding.clone(), parts }))
    };
    by_tile(parts).into_iter().filter_map(of_tile).collect()
}

/// k of a factor 2^k that the image has.
pub(super) fn exponent(factor: u32, main: &MainHeader) -> Result<u8> {
    let levels = main.coding.default.levels;
    let k = factor.checked_ilog2().filter(|_| factor.is_power_of_two()).and_then(|k| u8::try_from(k).ok());
    k.filter(|k| *k <= levels).ok_or_else(|| no_factor(levels))
}

/// The path of a view of the file that `request` names.
pub(super) fn path(request: &Request, view: View) -> String {
    let name = request.with(view).name();
    if name.starts_with('?') { format!("/vsitlm{name}") } else { format!("/vsitlm/{name}") }
}
