//! The reduced view: a JP2 of the image at 1/2^k, made of the packets that the original has for it.
//!
//! ```text
//! boxes, header at 1/2^k, TLM | SOT, SOD | first packets of tile-part 0 | SOT, SOD | first packets of tile-part 1 | … | EOC
//! inline                        inline     source                         inline     source
//! ```
//!
//! The packets are unchanged (see [`crate::jp2::ReducedGrid`]); what stands before them is made anew.

use std::collections::HashMap;
use std::ops::Range;

use super::compose::check;
use super::georef::build_geojp2;
use super::overviews::Level;
use super::{Builder, ExpectedSot, LOOK, Layout, Unit};
use crate::error::{Error, Result};
use crate::jp2::{
    Component, EOC, MainHeader, PartPackets, ReducedGrid, SOT_LENGTH, Sot, Structure, TilePart, build_reduced_header,
    build_tlm, no_factor, reduce_tile_segments,
};
use crate::source::SourceOffset;

/// The levels that the file's header allows views of, the finest first; each is found out when it is asked for.
pub(crate) fn levels(structure: &Structure) -> impl Iterator<Item = Level> {
    let main = check(structure).ok().map(|(main, _)| main);
    let most = main.as_ref().map_or(0, |main| main.coding.default.levels.min(31));
    (1..=most).map_while(move |k| {
        let main = main.as_ref()?;
        let grid = main.siz.reduce(k)?;
        build_reduced_header(&structure.header, main, &grid, k).ok()?;
        let (width, height) = grid.siz.size();
        let is_whole = |c: &Component| width.is_multiple_of(c.dx.into()) && height.is_multiple_of(c.dy.into());
        Some(Level { k, size: (width, height), is_whole: grid.siz.components.iter().all(is_whole) })
    })
}

/// The image at 1/2^k. `parts` tells of the packets of every tile-part of the structure.
///
/// Decoders read 1024 bytes to look at a header. A comment (T.800 A.9.2) makes the first tile-part's header as long, so
/// that opening the view touches no packet, and where `peek` is set all headers, so that looking at the next tile-part
/// touches none either.
///
/// # Errors
/// [`Error::NoOverview`] where the file has no such view; [`Error::Row`] where `parts` contradicts the structure.
pub(crate) fn reduce(structure: &Structure, parts: &[PartPackets], k: u8, peek: bool) -> Result<Layout> {
    let (main, _) = check(structure)?;
    if k == 0 || k > main.coding.default.levels {
        return Err(no_factor(main.coding.default.levels));
    }
    let grid = main.siz.reduce(k).ok_or_else(|| Error::NoOverview {
        what: format!(
            "its tiles of {} by {} make no grid at 1/{}",
            main.siz.tile_width,
            main.siz.tile_height,
            1u64 << k
        ),
    })?;
    let codestream = build_reduced_header(&structure.header, &main, &grid, k)?;
    let tiles = tiles(structure.tile_parts.parts(), parts, (&main, &grid, k), peek)?;
    let entries: Vec<_> = tiles.iter().map(|tile| (tile.number, tile.length)).collect();

    let mut layout = Builder::default();
    layout.push_inline(&boxes(&structure.header, &main, &grid));
    layout.push_inline(&codestream);
    layout.push_inline(&build_tlm(&entries));
    for tile in &tiles {
        layout.push_inline(&Sot { tile: tile.number, length: tile.length, part: 0, parts: 1 }.build());
        layout.push_inline(&tile.header);
        for (_, range) in &tile.pieces {
            layout.push_source(range.clone());
        }
    }
    layout.push_inline(&EOC);
    let units = units(&tiles, structure.tile_parts.parts(), parts);
    Ok(Layout { view: Some(grid.siz.tiles_across()), ..layout.build(units) })
}

/// A tile of the view, as one tile-part.
struct Tile {
    /// Its number in the view.
    number: u16,
    /// Psot.
    length: u32,
    /// What stands between the SOT marker segment and the packets.
    header: Vec<u8>,
    /// The tile-part of the source that packets are of, by its number there, and their range in bytes of the source.
    pieces: Vec<(usize, Range<u64>)>,
}

/// The view's tiles in the order in which they lie in the source.
fn tiles(
    parts: &[TilePart],
    packets: &[PartPackets],
    (main, grid, k): (&MainHeader, &ReducedGrid, u8),
    peek: bool,
) -> Result<Vec<Tile>> {
    let numbers: HashMap<u16, u16> = grid.tiles.iter().zip(0..).map(|(tile, number)| (*tile, number)).collect();
    let mut place = HashMap::with_capacity(numbers.len());
    let mut tiles: Vec<Tile> = Vec::with_capacity(numbers.len());
    if packets.len() != parts.len() {
        return Err(Error::Row { what: format!("packets of {} of its {} tile-parts", packets.len(), parts.len()) });
    }
    for (index, (part, packets)) in parts.iter().zip(packets).enumerate() {
        let Some(number) = numbers.get(&part.tile) else { continue };
        let at = *place.entry(part.tile).or_insert(tiles.len());
        if at == tiles.len() {
            tiles.push(Tile { number: *number, length: 0, header: Vec::new(), pieces: Vec::new() });
        }
        let Some(tile) = tiles.get_mut(at) else { continue };
        let at = part.offset + SOT_LENGTH;
        tile.header.extend(reduce_tile_segments(&packets.segments, at, main, grid, (part.tile, k))?);
        tile.pieces.extend(pieces(part, packets, k)?.into_iter().map(|range| (index, range)));
    }
    for (index, tile) in tiles.iter_mut().enumerate() {
        const SOD: [u8; 2] = [0xFF, 0x93];
        let fixed = SOT_LENGTH as usize + tile.header.len() + SOD.len();
        let rest = (LOOK as usize).checked_sub(fixed).filter(|rest| *rest >= 6);
        if (peek || index == 0)
            && let Some(rest) = rest
        {
            // Rcom = 0: bytes that mean nothing.
            tile.header.extend_from_slice(&[0xFF, 0x64]);
            tile.header.extend_from_slice(&u16::try_from(rest - 2).unwrap_or(4).to_be_bytes());
            tile.header.resize(tile.header.len() + rest - 4, 0);
        }
        tile.header.extend_from_slice(&SOD);
        let body: u64 = tile.pieces.iter().map(|(_, range)| range.end - range.start).sum();
        tile.length = u32::try_from(SOT_LENGTH + tile.header.len() as u64 + body)
            .map_err(|_| Error::NoOverview { what: format!("tile {} has more than 4 GiB of packets", tile.number) })?;
    }
    Ok(tiles)
}

/// The ranges of the source that hold the packets of a tile-part that 1/2^k needs.
fn pieces(part: &TilePart, packets: &PartPackets, k: u8) -> Result<Vec<Range<u64>>> {
    let mut at = part.offset + u64::from(packets.packets);
    let mut pieces: Vec<Range<u64>> = Vec::new();
    for run in &packets.runs {
        let end = at + u64::from(run.length);
        if end > part.end() {
            return Err(Error::Row { what: format!("packets that end at {end}, their tile-part at {}", part.end()) });
        }
        if run.levels >= k && end > at {
            match pieces.last_mut() {
                Some(last) if last.end == at => last.end = end,
                _ => pieces.push(at..end),
            }
        }
        at = end;
    }
    Ok(pieces)
}

/// The units of fetching: where packets begin a tile-part's, its header comes with them, so that it can be held against
/// the table.
fn units(tiles: &[Tile], parts: &[TilePart], packets: &[PartPackets]) -> Vec<Unit> {
    let mut units = Vec::new();
    for tile in tiles {
        for (number, range) in &tile.pieces {
            let (Some(part), Some(packets)) = (parts.get(*number), packets.get(*number)) else { continue };
            let first = range.start == part.offset + u64::from(packets.packets);
            let start = if first { part.offset } else { range.start };
            let sot = first.then_some(ExpectedSot { tile_part: (part.tile, part.length), as_built: false });
            units.push(Unit { range: SourceOffset(start)..SourceOffset(range.end), sot, tile: tile.number.into() });
        }
    }
    units.sort_unstable_by_key(|unit| unit.range.start);
    units
}

/// The boxes before the codestream, for an image of the grid's size: the image header says so, and a GeoJP2 box stands in
/// place of what georeferenced the full image.
fn boxes(header: &[u8], main: &MainHeader, grid: &ReducedGrid) -> Vec<u8> {
    let Some(_) = main.jp2c else { return Vec::new() };
    let mut out = Vec::new();
    for (kind, offset, length) in &main.boxes {
        let range =
            usize::try_from(*offset).unwrap_or(usize::MAX)..usize::try_from(offset + length).unwrap_or(usize::MAX);
        let Some(bytes) = header.get(range) else { continue };
        match kind {
            b"jP  " | b"ftyp" => out.extend_from_slice(bytes),
            b"jp2h" => out.extend(with_size(bytes, grid.siz.size())),
            // What GMLJP2, GeoJP2 and metadata of the full image say is not true of this one.
            _ => {}
        }
    }
    out.extend(build_geojp2(header, main, grid.siz.size()).unwrap_or_default());
    // LBox = 0: the last box, to the end of the file.
    out.extend_from_slice(b"\0\0\0\0jp2c");
    out
}

/// A JP2 header box whose image header box, the first in it, tells another size (I.5.3, I.5.3.1).
fn with_size(jp2h: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut out = jp2h.to_vec();
    if let Some(at) = jp2h.windows(4).position(|kind| kind == b"ihdr")
        && let Some(place) = out.get_mut(at + 4..at + 12)
    {
        place.copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
    }
    out
}

#[cfg(test)]
#[path = "reduced_tests.rs"]
mod tests;
