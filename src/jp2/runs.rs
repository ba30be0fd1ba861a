//! Which packets of a tile-part the image at 1/2^k needs: runs of packets, by the resolution that they are of.
//!
//! In LRCP with one layer, RLCP and RPCL the coarser resolutions come first, so that what a view needs is a prefix of a
//! tile's packets (T.800 B.12.1), and it is enough to know where each resolution ends. In other orders it is many ranges.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::coding::TileCoding;
use super::markers::MainHeader;
use super::packets::{TilePartHead, TilePartHeader};
use super::precincts::packet_count;
use super::progression::Packets;
use super::table::TilePart;
use crate::error::{Error, Result};

/// The packets of one tile-part, as far as reduced views need to know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartPackets {
    /// The marker segments between SOT and SOD, markers included; those that views do without may be missing.
    pub(crate) segments: Bytes,
    /// Where the packets begin, in bytes from the SOT marker's first byte.
    pub(crate) packets: u32,
    /// All packets in their order.
    pub(crate) runs: Vec<Run>,
}

/// Packets that follow each other and are needed by the same views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The image at 1/2^k needs them for k up to this: NL − r for the resolution r that they are of.
    pub(crate) levels: u8,
    /// Their length in bytes.
    pub(crate) length: u32,
}

impl PartPackets {
    /// Those of a tile-part with nothing but PLT and COM in its header, in a file with `levels` decomposition levels;
    /// `None` where it is not known where they end.
    pub(crate) fn by_resolution(head: &TilePartHead, levels: u8) -> Option<Self> {
        let ends = &head.resolution_ends;
        if !head.is_plain() || ends.len() != usize::from(levels) + 1 {
            return None;
        }
        let starts = std::iter::once(&head.packets).chain(ends);
        let runs = ends.iter().zip(starts).zip((0..=levels).rev());
        let runs = runs.map(|((end, start), levels)| Some(Run { levels, length: end.checked_sub(*start)? }));
        Some(Self { segments: Bytes::new(), packets: head.packets, runs: runs.collect::<Option<_>>()? })
    }
}

/// The runs of every tile-part of a file, from its headers and the packets' lengths in them.
///
/// # Errors
/// [`Error::NoOverview`] where the lengths of a tile are not told, or do not add up: too few, too many, or not what the
/// tile-parts hold; and where a marker forbids to take packets from a tile.
pub(crate) fn divide(main: &MainHeader, parts: &[TilePart], headers: &[TilePartHeader<'_>]) -> Result<Vec<Vec<Run>>> {
    main.check_hindrance()?;
    let mut runs = vec![Vec::new(); parts.len()];
    for (tile, numbers) in by_tile(parts) {
        divide_tile(main, tile, &numbers, parts, headers, &mut runs)?;
    }
    Ok(runs)
}

/// The tile-parts of each tile, by their numbers.
pub(crate) fn by_tile(parts: &[TilePart]) -> BTreeMap<u16, Vec<usize>> {
    let mut tiles: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (number, part) in parts.iter().enumerate() {
        tiles.entry(part.tile).or_default().push(number);
    }
    tiles
}

fn divide_tile(
    main: &MainHeader,
    tile: u16,
    numbers: &[usize],
    parts: &[TilePart],
    headers: &[TilePartHeader<'_>],
    runs: &mut [Vec<Run>],
) -> Result<()> {
    let none = |what: String| Err(Error::NoOverview { what });
    let of_tile = || numbers.iter().filter_map(|number| Some((headers.get(*number)?, parts.get(*number)?)));
    let Some((first, _)) = of_tile().next() else { return none(format!("tile {tile} has no header")) };
    of_tile().try_for_each(|(header, _)| header.check_hindrance(tile))?;
    let coding = first.coding.as_ref().map_err(Clone::clone)?;
    check_lengths(main, coding, tile, of_tile().map(|(header, part)| (header.packets, &*header.lengths, part)))?;
    let mut packets = Packets::new(&main.siz, coding, tile.into());
    for (number, (header, _)) in numbers.iter().zip(of_tile()) {
        let Some(runs) = runs.get_mut(*number) else { continue };
        for (length, packet) in header.lengths.iter().zip(packets.by_ref()) {
            let levels = coding.component(packet.component).levels.saturating_sub(packet.resolution);
            match runs.last_mut() {
                Some(Run { levels: same, length: sum }) if *same == levels => *sum = sum.saturating_add(*length),
                _ => runs.push(Run { levels, length: *length }),
            }
        }
    }
    Ok(())
}

/// Takes the padding from the packet lengths of headers that tell of more packets than their tiles have: three encoders end
/// their PLT with lengths of 0, which no packet has (B.10.3: it has a header, of one bit at least).
pub(crate) fn trim_padding(main: &MainHeader, parts: &[TilePart], headers: &mut [TilePartHeader<'_>]) {
    for (tile, numbers) in by_tile(parts) {
        let of_tile = || numbers.iter().filter_map(|number| headers.get(*number));
        if of_tile().all(|header| header.lengths.last() != Some(&0)) {
            continue;
        }
        let Some(Ok(coding)) = of_tile().next().map(|first| first.coding.as_ref()) else { continue };
        let told = of_tile().map(|header| header.lengths.len() as u64).sum::<u64>();
        let mut excess = told.saturating_sub(packet_count(&main.siz, coding, tile.into()));
        for number in numbers.iter().rev() {
            if let Some(header) = headers.get_mut(*number) {
                trim(&mut header.lengths, &mut excess);
            }
        }
    }
}

/// Takes up to `excess` lengths of 0 from the end.
fn trim(lengths: &mut Vec<u32>, excess: &mut u64) {
    while *excess > 0 && lengths.pop_if(|length| *length == 0).is_some() {
        *excess -= 1;
    }
}

/// Whether the lengths of a tile's packets can be true: there are as many as the tile has, and in each tile-part they reach
/// to its end. `parts` are its tile-parts: where packets begin, in bytes from the SOT marker's first byte, their lengths, and
/// the place.
///
/// # Errors
/// [`Error::NoOverview`] where they cannot.
fn check_lengths<'a>(
    main: &MainHeader,
    coding: &TileCoding,
    tile: u16,
    parts: impl Iterator<Item = (u32, &'a [u32], &'a TilePart)> + Clone,
) -> Result<()> {
    let none = |what: String| Err(Error::NoOverview { what });
    let told: u64 = parts.clone().map(|(_, lengths, _)| lengths.len() as u64).sum();
    let count = packet_count(&main.siz, coding, tile.into());
    if told != count {
        return none(match told {
            0 => format!("it does not tell how long the packets of tile {tile} are (no PLT)"),
            told => format!("its PLT tells of {told} packets of tile {tile}, which has {count}"),
        });
    }
    for (packets, lengths, part) in parts {
        let end = lengths.iter().fold(u64::from(packets), |at, length| at + u64::from(*length));
        if end != u64::from(part.length) {
            return none(format!(
                "by its PLT the packets of tile {tile} end at byte {end} of a tile-part of {} bytes",
                part.length
            ));
        }
    }
    Ok(())
}

/// The packets of one tile, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TilePackets {
    /// How the tile is coded.
    pub(crate) coding: TileCoding,
    /// Its tile-parts in their order.
    pub(crate) parts: Vec<PartLengths>,
}

/// The packets of one tile-part, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartLengths {
    /// The tile-part's number in the file.
    pub(crate) number: usize,
    /// The marker segments between SOT and SOD, markers included; PLT and COM may be missing.
    pub(crate) segments: Bytes,
    /// Where the packets begin, in bytes from the SOT marker's first byte.
    pub(crate) packets: u32,
    /// Their lengths in bytes, in their order.
    pub(crate) lengths: Vec<u32>,
}

impl TilePackets {
    /// Those of `tile`, without padding, once they fit its tile-parts; `all` are those of the file.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where the lengths are not told or cannot be true.
    pub(crate) fn checked(mut self, main: &MainHeader, tile: u16, all: &[TilePart]) -> Result<Self> {
        let told = self.parts.iter().map(|part| part.lengths.len() as u64).sum::<u64>();
        let mut excess = told.saturating_sub(packet_count(&main.siz, &self.coding, tile.into()));
        self.parts.iter_mut().rev().for_each(|part| trim(&mut part.lengths, &mut excess));
        let of_tile = self.parts.iter().filter_map(|part| Some((part.packets, &*part.lengths, all.get(part.number)?)));
        check_lengths(main, &self.coding, tile, of_tile).map(|()| self)
    }
}

/// Where each resolution ends in each tile-part, in bytes from its SOT marker's first byte, the coarsest first; `None` where
/// in some tile they do not stand one after the other.
pub(crate) fn resolution_ends(
    main: &MainHeader,
    parts: &[TilePart],
    headers: &[TilePartHeader<'_>],
    runs: &[Vec<Run>],
) -> Option<Vec<Vec<u32>>> {
    for numbers in by_tile(parts).into_values() {
        let mut levels = numbers.iter().filter_map(|number| runs.get(*number)).flatten().map(|run| run.levels);
        let mut last = levels.next();
        if levels.any(|next| Some(next) > last.replace(next)) {
            return None;
        }
    }
    let levels = main.coding.default.levels;
    let ends = headers.iter().zip(runs).map(|(header, runs)| {
        let end = |least: u8| {
            let needed = runs.iter().filter(|run| run.levels >= least).map(|run| run.length);
            needed.fold(header.packets, u32::saturating_add)
        };
        (0..=levels).rev().map(end).collect()
    });
    Some(ends.collect())
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
