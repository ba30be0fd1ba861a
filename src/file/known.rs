//! What is known of a JP2: what its row records, and what is found out about its packets.

use std::sync::Arc;

use once_cell::race::OnceBox;

use crate::error::{Error, Result};
use crate::index::Record;
use crate::jp2::{MainHeader, PartPackets, Structure, TilePackets, TilePart, TilePartHead};

/// A JP2 as its row has it.
pub(super) struct Known {
    pub(super) record: Record,
    pub(super) structure: Structure,
    /// The packets of each tile-part, or why they are not known: found out when they are first asked for. A read that
    /// failed is not kept.
    pub(super) packets: OnceBox<Result<Arc<[PartPackets]>>>,
    /// The packets of each tile one by one, likewise.
    pub(super) lengths: Lengths,
}

/// The packets of each tile, found out when they are first needed.
#[derive(Default)]
pub(super) struct Lengths(OnceBox<Vec<OnceBox<Arc<TilePackets>>>>);

impl Lengths {
    /// The place of a tile, of so many.
    pub(super) fn of(&self, tile: u16, tiles: u32) -> Option<&OnceBox<Arc<TilePackets>>> {
        let places = || Box::new(std::iter::repeat_with(OnceBox::new).take(tiles as usize).collect());
        self.0.get_or_init(places).get(usize::from(tile))
    }

    /// Those of `wanted` that are not known yet.
    pub(super) fn missing(&self, wanted: &[u16], tiles: u32) -> Vec<u16> {
        let is_missing = |tile: &u16| self.of(*tile, tiles).is_some_and(|place| place.get().is_none());
        wanted.iter().copied().filter(is_missing).collect()
    }
}

/// The packets by what a row keeps of the tile-parts' headers, or that it is certain that these do not tell; `None` where
/// the headers themselves may tell more.
pub(super) fn by_heads(main: &MainHeader, parts: &[TilePart]) -> Option<Result<Arc<[PartPackets]>>> {
    let levels = main.coding.default.levels;
    let part = |part: &TilePart| PartPackets::by_resolution(part.head.as_ref()?, levels);
    let packets: Option<Arc<[PartPackets]>> = parts.iter().map(part).collect();
    let what = "its row does not record where the resolutions end: the file has no PLT, or one that is wrong";
    let untold = || is_untold(main, parts).then(|| Err(Error::NoOverview { what: what.into() }));
    packets.map(Ok).or_else(untold)
}

/// Whether headers that have been read do not tell how long the packets are.
pub(super) fn is_untold(main: &MainHeader, parts: &[TilePart]) -> bool {
    let is_plain = |part: &TilePart| part.head.as_ref().is_some_and(TilePartHead::is_plain);
    let has_ends = |part: &TilePart| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty());
    !parts.iter().all(has_ends) && main.coding.is_by_resolution() && parts.iter().all(is_plain)
}
