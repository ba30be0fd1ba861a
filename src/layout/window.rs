//! The window view: a JP2 whose samples within a window are those of the image, made of the packets that these need.
//!
//! It is the image at 1/2^k, cropped to the tiles that the window touches, and every packet that the wavelet's support of
//! the window does not touch is an empty one (T.800 B.10.3): decoders decode tiles whole, and have less to decode so. Its
//! samples outside the window are wrong. So nobody is to see it but who decodes the window alone.

use std::ops::Range;

use super::Layout;
use super::reduced::grid_of;
use super::view::{Image, Stretch, Tile, Tiles, assemble, boxes};
use crate::error::{Error, Result};
use crate::jp2::{
    Area, MainHeader, Packets, ReducedGrid, SOT_LENGTH, Siz, Structure, Support, TilePackets, TilePart, empty_packet,
    reduce_tile_segments,
};
use crate::path::Window;

/// The most ranges that are fetched of a tile-part for a window: beyond that the smallest gaps are fetched, too.
const RANGES: usize = 4;

/// For how many windows there are ranges of their own: what more of them need lies side by side, or is most of the tile-part.
const WINDOWS: usize = 2;

/// A gap of this part of what is needed, or less, is not worth a request.
const WORTHLESS: u64 = 32;

/// A window of an image, or several, and where they lie.
pub(crate) struct Place<'a> {
    structure: &'a Structure,
    /// They are windows of the image at 1/2^k.
    k: u8,
    /// The grid of the tiles that the window around them touches.
    grid: ReducedGrid,
    /// The windows as areas of that.
    areas: Vec<Area>,
}

/// Where `windows` of the image at 1/2^k lie.
///
/// # Errors
/// [`Error::Window`] where one is empty or reaches out of the image; [`Error::NoOverview`] where the file has no such view.
pub(crate) fn place<'a>(structure: &'a Structure, k: u8, windows: &[Window]) -> Result<Place<'a>> {
    let main = structure.main();
    main.check_hindrance()?;
    if main.siz.components.iter().any(|component| (component.dx, component.dy) != (1, 1)) {
        return Err(Error::NoOverview { what: "its components are sub-sampled".to_owned() });
    }
    let grid = grid_of(main, k)?;
    windows.iter().try_for_each(|window| window.check(grid.siz.size()))?;
    let around = Window::around(windows).ok_or_else(|| Error::NoOverview { what: "no window".to_owned() })?;
    if !is_aligned(&grid.siz) {
        return Err(Error::NoOverview { what: "its first tile is cut by the image's edge".to_owned() });
    }
    let span = |origin: u32, start: u32, length: u32| origin + start..origin + start + length;
    let area =
        |window: &Window| (span(grid.siz.x0, window.x, window.width), span(grid.siz.y0, window.y, window.height));
    let areas = windows.iter().map(area).collect();
    Ok(Place { structure, k, grid: grid.crop(&area(&around)), areas })
}

impl Place<'_> {
    /// The tiles of the file that the window around them touches.
    pub(crate) fn tiles(&self) -> &[u16] {
        &self.grid.tiles
    }

    /// The size of the window view in pixels.
    pub(crate) fn image(&self) -> (u32, u32) {
        self.grid.siz.size()
    }

    /// The window view. `packets` gives the packets of each of [`Place::tiles`]. `gap` is up to how many bytes between two
    /// ranges are fetched with them; `None`: as many as are not worth a request.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where packets are not known, or the file has no such view; [`Error::Row`] where the packets
    /// contradict the structure.
    pub(crate) fn compose<'p>(
        &self,
        packets: &dyn Fn(u16) -> Option<&'p TilePackets>,
        gap: Option<u64>,
    ) -> Result<Layout> {
        let Self { structure, k, grid, areas } = self;
        let most = RANGES * areas.len().min(WINDOWS);
        let image = Image { structure, grid, k: *k };
        let (mut tiles, mut stretches) = (Tiles::default(), Vec::new());
        for (number, tile) in (0..).zip(&grid.tiles) {
            let told = packets(*tile)
                .ok_or_else(|| Error::NoOverview { what: format!("the packets of tile {tile} are not known") })?;
            let Some(place) = tiles.tile(number) else { continue };
            add_tile(&image, *tile, told, areas, place)?;
            stretches.extend(fetched(place, structure.tile_parts.parts(), told, gap, most));
        }
        let boxes = boxes(&structure.header, self.image(), &[]);
        assemble(&image, &boxes, &tiles.tiles, stretches, false, true)
    }
}

/// Whether tiles begin where the image does. GDAL takes that for granted, and mixes up the tiles of other files.
fn is_aligned(siz: &Siz) -> bool {
    (siz.x0 == siz.tile_x0 || siz.tiles_across() == 1) && (siz.y0 == siz.tile_y0 || siz.tiles_down() == 1)
}

/// The size of the image at 1/2^k in pixels.
///
/// # Errors
/// [`Error::NoOverview`] where it has no such view.
pub(crate) fn size_at(main: &MainHeader, k: u8) -> Result<(u32, u32)> {
    grid_of(main, k).map(|grid| grid.siz.size())
}

/// The size of a tile of the image at 1/2^k in pixels.
pub(crate) fn tile_at(main: &MainHeader, k: u8) -> (u32, u32) {
    let tile = |size: u32| u32::try_from(u64::from(size).div_ceil(1 << k)).unwrap_or(size);
    (tile(main.siz.tile_width), tile(main.siz.tile_height))
}

/// Puts the packets of the file's tile `number` into `tile`: what one of `areas` needs as it is, what none needs as empty
/// packets, and none of finer resolutions.
fn add_tile(image: &Image<'_>, number: u16, told: &TilePackets, areas: &[Area], tile: &mut Tile) -> Result<()> {
    let Image { structure, grid, k } = image;
    let main = structure.main();
    let coding = &told.coding;
    let support = |area| Support::new(&main.siz, coding, number.into(), area, *k);
    let supports: Vec<Support<'_>> = areas.iter().map(support).collect();
    let mut packets = Packets::new(&main.siz, coding, number.into()).zip(0u64..);
    for lengths in &told.parts {
        let part = structure.tile_parts.parts().get(lengths.number).filter(|part| part.tile == number);
        let part =
            part.ok_or_else(|| Error::Row { what: format!("packets of tile {number} in another's tile-part") })?;
        let at = part.offset + SOT_LENGTH;
        tile.segments.extend(reduce_tile_segments(&lengths.segments, at, main, grid, (number, *k))?);
        let mut at = part.offset + u64::from(lengths.packets);
        for (length, (packet, place)) in lengths.lengths.iter().zip(packets.by_ref()) {
            let end = at + u64::from(*length);
            if end > part.end() {
                return Err(Error::Row {
                    what: format!("packets that end at {end}, their tile-part at {}", part.end()),
                });
            }
            let levels = coding.component(packet.component).levels.saturating_sub(packet.resolution);
            if levels >= *k && supports.iter().any(|support| support.needs(&packet)) {
                tile.push_source(lengths.number, at..end);
            } else if levels >= *k {
                tile.push_inline(&empty_packet(coding.sop.then_some(place), coding.eph));
            }
            at = end;
        }
    }
    Ok(())
}

/// What is fetched of a tile: the ranges of its packets, with the gaps that are not worth a request, at most `most` of a
/// tile-part.
fn fetched(tile: &Tile, parts: &[TilePart], told: &TilePackets, gap: Option<u64>, most: usize) -> Vec<Stretch> {
    let mut out = Vec::new();
    for lengths in &told.parts {
        let Some(part) = parts.get(lengths.number) else { continue };
        let of_part = tile.sources().filter(|(number, _)| *number == lengths.number).map(|(_, range)| range.clone());
        let packets = part.offset + u64::from(lengths.packets);
        out.extend(bridge(of_part.collect(), gap, most).into_iter().map(|range| Stretch {
            part: lengths.number,
            range,
            packets,
            tile: tile.number,
        }));
    }
    out
}

/// Joins neighbours with at most `gap` bytes between them; without one, with a gap that is worth nothing, and until there
/// are no more than `most`.
fn bridge(ranges: Vec<Range<u64>>, gap: Option<u64>, most: usize) -> Vec<Range<u64>> {
    let between = |pair: &[Range<u64>]| match pair {
        [one, other] => other.start.saturating_sub(one.end),
        _ => 0,
    };
    let limit = gap.unwrap_or_else(|| {
        let needed: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let mut gaps: Vec<u64> = ranges.windows(2).map(between).collect();
        gaps.sort_unstable_by(|one, other| other.cmp(one));
        gaps.get(most - 1).copied().unwrap_or(0).max(needed / WORTHLESS)
    });
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start.saturating_sub(last.end) <= limit => last.end = range.end,
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
