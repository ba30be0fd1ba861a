//! The reduced view: a JP2 of the image at 1/2^k, made of the packets that the original has for it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::Layout;
use super::view::{Image, Stretch, Tiles, assemble, boxes};
use crate::error::{Error, Result};
use crate::geo;
use crate::jp2::{
    Component, Header, MainHeader, PartPackets, ReducedGrid, SOT_LENGTH, Structure, TilePart, build_reduced_header,
    no_factor, reduce_tile_segments,
};

/// An overview: the image at 1/2^k.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// The number of times that the image is halved.
    pub(crate) k: u8,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// Whether sub-sampled components divide it: GDAL opens no others.
    pub(crate) is_whole: bool,
}

/// The levels that the file's header allows views of, the finest first; each is found out when it is asked for.
pub(crate) fn levels(structure: &Structure) -> impl Iterator<Item = Level> {
    let Header { bytes, main } = &*structure.header;
    (1..=main.coding.default.levels.min(31)).map_while(move |k| {
        let grid = main.siz.reduce(k)?;
        build_reduced_header(bytes, main, &grid, k).ok()?;
        let (width, height) = grid.siz.size();
        let is_whole = |c: &Component| width.is_multiple_of(c.dx.into()) && height.is_multiple_of(c.dy.into());
        Some(Level { k, size: (width, height), is_whole: grid.siz.components.iter().all(is_whole) })
    })
}

/// How many overviews GDAL's own driver lists for the file (JP2OpenJPEG of GDAL 3.6 to 3.12): one a decomposition level
/// while the image is larger than 128 pixels and, where it is read tile by tile, the tile's sides can be halved.
pub(crate) fn listed_by_gdal(main: &MainHeader) -> u8 {
    let siz = &main.siz;
    let (mut width, mut height) = siz.size();
    let (mut tile_width, mut tile_height) = (siz.tile_width, siz.tile_height);
    let is_one_block = width <= 1024 && height <= 1024 && tile_width < 32 && tile_height < 32;
    let is_one_tile = siz.tiles() == 1 && (tile_width > 1024 || tile_height > 1024);
    let by_area = is_one_block || is_one_tile || tile_width > width || tile_height > height;
    let mut count = 0;
    while count < main.coding.component(0).levels
        && (width > 128 || height > 128)
        && (by_area || (tile_width.is_multiple_of(2) && tile_height.is_multiple_of(2)))
    {
        (width, height) = (width.div_ceil(2), height.div_ceil(2));
        (tile_width, tile_height) = (tile_width / 2, tile_height / 2);
        count += 1;
    }
    count
}

/// The grid of the image at 1/2^k; the image itself for k = 0.
///
/// # Errors
/// [`Error::NoOverview`] where there are fewer levels, or its tiles make no grid there.
pub(super) fn grid_of(main: &MainHeader, k: u8) -> Result<ReducedGrid> {
    if k > main.coding.default.levels {
        return Err(no_factor(main.coding.default.levels));
    }
    main.siz.reduce(k).ok_or_else(|| Error::NoOverview {
        what: format!(
            "its tiles of {} by {} make no grid at 1/{}",
            main.siz.tile_width,
            main.siz.tile_height,
            1u64 << k
        ),
    })
}

/// Whether samples at 1/2^k mean what those of the image mean.
///
/// # Errors
/// [`Error::NoOverview`] where they are averages of indexes into a palette.
pub(crate) fn check_palette(header: &Header, k: u8) -> Result<()> {
    match k > 0 && header.has_palette() {
        true => Err(Error::NoOverview { what: "its samples are indexes into a palette".into() }),
        false => Ok(()),
    }
}

/// The image at 1/2^k. `parts` has the packets of every tile-part of the structure. `peek`: see [`assemble`]. `trailing`
/// are the boxes that follow the codestream.
///
/// # Errors
/// [`Error::NoOverview`] where the file has no such view; [`Error::Row`] where `parts` contradicts the structure.
pub(crate) fn reduce(
    structure: &Structure,
    parts: &[PartPackets],
    k: u8,
    peek: bool,
    trailing: &[u8],
) -> Result<Layout> {
    let main = structure.main();
    if k == 0 {
        return Err(no_factor(main.coding.default.levels));
    }
    check_palette(&structure.header, k)?;
    let grid = grid_of(main, k)?;
    let image = Image { structure, grid: &grid, k };
    let (tiles, stretches) = tiles(&image, parts)?;
    let size = grid.siz.size();
    let georeference = geo::build_boxes(&structure.header, trailing, size)?;
    let boxes = boxes(&structure.header, size, &georeference);
    assemble(&image, &boxes, &tiles.tiles, stretches, peek, false)
}

/// The view's tiles in the order in which they lie in the source, and what is fetched of each.
fn tiles(image: &Image<'_>, packets: &[PartPackets]) -> Result<(Tiles, Vec<Stretch>)> {
    let Image { structure, grid, k } = image;
    let main = structure.main();
    let parts = structure.tile_parts.parts();
    let numbers: HashMap<u16, u16> = grid.tiles.iter().zip(0..).map(|(tile, number)| (*tile, number)).collect();
    check_count(parts, packets)?;
    let (mut tiles, mut stretches) = (Tiles::default(), Vec::new());
    for (index, (part, packets)) in parts.iter().zip(packets).enumerate() {
        let Some(number) = numbers.get(&part.tile) else { continue };
        let Some(tile) = tiles.tile(*number) else { continue };
        let at = part.offset + SOT_LENGTH;
        tile.segments.extend(reduce_tile_segments(&packets.segments, at, main, grid, (part.tile, *k))?);
        for range in pieces(part, packets, *k)? {
            let begin = part.offset + u64::from(packets.packets);
            stretches.push(Stretch { part: index, range: range.clone(), packets: begin, tile: *number });
            tile.push_source(index, range);
        }
    }
    Ok((tiles, stretches))
}

/// The tile-parts that a tile decoded by itself needs at 1/2^k, in source order: tile, offset and length in bytes. Of each
/// tile they are all up to the one with the last packet that is needed, which is cut behind that. Tiles that have no samples
/// there have none.
///
/// # Errors
/// [`Error::Row`] where `packets` contradicts the structure.
pub(crate) fn needed_parts(structure: &Structure, packets: &[PartPackets], k: u8) -> Result<Vec<(u16, u64, u32)>> {
    let parts = structure.tile_parts.parts();
    check_count(parts, packets)?;
    let (mut needed, mut seen) = (Vec::new(), BTreeSet::new());
    for (part, packets) in parts.iter().zip(packets).rev() {
        let (tile, offset, length) = part.place();
        let end = pieces(part, packets, k)?.last().and_then(|last| u32::try_from(last.end - offset).ok());
        if seen.contains(&tile) {
            needed.push((tile, offset, length));
        } else if let Some(end) = end {
            seen.insert(tile);
            needed.push((tile, offset, end));
        }
    }
    needed.reverse();
    Ok(needed)
}

fn check_count(parts: &[TilePart], packets: &[PartPackets]) -> Result<()> {
    match packets.len() == parts.len() {
        true => Ok(()),
        false => Err(Error::Row { what: format!("packets of {} of its {} tile-parts", packets.len(), parts.len()) }),
    }
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

#[cfg(test)]
#[path = "reduced_tests.rs"]
mod tests;
