//! Windows of a JP2, for the packets that these need.
//!
//! Which packets these are is known by the length of each: from the index (`vsitlm index --packets`), or from the PLT
//! marker segment of the tile's own header, for one small request. Where neither has them, a window is decoded by its
//! tile-parts: right, at their price.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::VirtualFile;
use super::known::{Known, is_untold};
use crate::error::{Error, Result, ResultExt};
use crate::index;
use crate::jp2::{MainHeader, PartLengths, TilePackets, TilePart, TilePartHead, by_tile, no_factor};
use crate::layout::{self, Layout, Place};
use crate::options::Options;
use crate::path::Window;
use crate::source::SourceRange;
use crate::trace;

impl VirtualFile {
    /// The JP2 that is right within `windows` of the image at 1/factor; `None` where it is not known which packets they need.
    /// Headers of tile-parts that tell it are read.
    pub(crate) fn packets_of(&self, factor: u32, windows: &[Window]) -> Result<Option<Self>> {
        let packets = || {
            let known = self.structure()?;
            self.packets_at(known, &self.place(known, factor, windows)?)
        };
        match packets() {
            Ok(layout) => Ok(Some(self.part(layout))),
            Err(Error::NoOverview { .. }) => Ok(None),
            Err(error) => Err(error).inspect_err(|error| self.doubt_row(error)).in_file(&self.name),
        }
    }

    fn place<'a>(&self, known: &'a Known, factor: u32, windows: &[Window]) -> Result<Place<'a>> {
        layout::place(&known.structure, exponent(factor, known.structure.main())?, windows)
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
        let read = index::read_tiles(&self.source, main, parts, &missing, &self.access.options);
        // Of another file than the row's anything may be read.
        self.confirm()?;
        read?.into_iter().try_for_each(|(tile, packets)| keep(tile, packets))
    }

    /// The headers of tile-parts that [`VirtualFile::packets_of`] will read.
    pub(super) fn missing_headers(&self, factor: u32, windows: &[Window]) -> Result<Vec<SourceRange>> {
        let Some(known) = self.known.as_ref().filter(|_| !self.source.is_cheap()) else { return Ok(Vec::new()) };
        if known.record.packets.is_some() {
            return Ok(Vec::new());
        }
        let place = self.place(known, factor, windows)?;
        let missing = known.lengths.missing(place.tiles(), known.structure.tile_parts.tiles());
        let parts = known.structure.tile_parts.parts().iter();
        let is_worth_it = |part: &&TilePart| missing.contains(&part.tile) && !has_no_plt(part);
        Ok(parts.filter(is_worth_it).map(index::header_range).collect())
    }

    /// Whether [`VirtualFile::fetch_headers`] has anything to fetch.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where windows are not made of packets.
    pub(crate) fn needs_headers(&self, factor: u32, windows: &[Window]) -> Result<bool> {
        Ok(!self.missing_headers(factor, windows)?.is_empty())
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
