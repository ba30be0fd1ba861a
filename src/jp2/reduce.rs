//! The codestream of an image at 1/2^k: its grid, its main header, the marker segments of its tiles.
//!
//! A wavelet decomposition holds the image at every power of two: what a decoder makes of the resolutions up to
//! N_L − k of each tile-component is the image at 1/2^k, sample for sample (T.800 B.5, F.3). So a codestream whose
//! header tells of k levels fewer, on a grid divided by 2^k, is that image once it holds those packets. All
//! coordinates are divided rounding up, as the standard does from one resolution to the next (B-14, B-15); so precincts
//! and code-blocks stay what they were, and so does the order of packets, but for tiles that begin between two samples of
//! the coarser grid: rounding up may bring their edge and a precinct's corner to the same place, and so change which of the
//! two the progressions by position meet first (B.12.1.3). Such views are refused.

use std::ops::Range;

use super::area::Area;
use super::codes::{COC, COD, COM, CRG, PLM, PLT, QCC, QCD, SIZ, TLM};
use super::coding::TileCoding;
use super::cursor::{Cursor, Short};
use super::markers::{Component, MainHeader, Siz, hindrance, segment_body};
use crate::error::{Error, Result};

/// The grid of the image at 1/2^k.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReducedGrid {
    /// Image and tile size.
    pub(crate) siz: Siz,
    /// The tiles of the full image that have samples left, in the order of the grid's tiles.
    pub(crate) tiles: Vec<u16>,
}

/// One axis of the grid.
struct Axis {
    /// The image area.
    image: Range<u32>,
    tile_size: u32,
    tile_offset: u32,
    /// Which of the full image's columns or rows of tiles have samples left.
    tiles: Vec<u32>,
}

impl Axis {
    /// Divides an axis by 2^k; `None` where the tiles' borders do not make a grid any more.
    fn reduce(tile_offset: u32, tile_size: u32, image: Range<u32>, k: u8) -> Option<Self> {
        let divide = |edge: u64| u32::try_from(edge.div_ceil(1 << k)).ok();
        let count = (image.end - tile_offset).div_ceil(tile_size);
        let (mut tiles, mut borders) = (Vec::new(), Vec::new());
        for tile in 0..count {
            let start = u64::from(tile_offset) + u64::from(tile) * u64::from(tile_size);
            let low = divide(start.max(image.start.into()))?;
            let high = divide((start + u64::from(tile_size)).min(image.end.into()))?;
            if low < high {
                tiles.push(tile);
                borders.push(low);
            }
        }
        let image = divide(image.start.into())?..divide(image.end.into())?;
        let (tile_size, tile_offset) = match borders.as_slice() {
            [] => return None,
            [only] => (image.end - only, *only),
            [first, second, rest @ ..] => {
                let size = rest.first().map_or((second - first).max(image.end - second), |third| third - second);
                let even = borders.windows(2).skip(1).all(|pair| matches!(pair, [a, b] if b - a == size));
                let last = image.end - borders.last()?;
                if !even || second - first > size || last > size {
                    return None;
                }
                (size, second.checked_sub(size)?)
            }
        };
        Some(Self { image, tile_size, tile_offset, tiles })
    }
}

impl Siz {
    /// The grid at 1/2^k; `None` where no grid of tiles has the borders that the tiles have there, as with several tiles of
    /// 100 samples at 1/8.
    pub(crate) fn reduce(&self, k: u8) -> Option<ReducedGrid> {
        if k > 31 {
            return None;
        }
        let x = Axis::reduce(self.tile_x0, self.tile_width, self.x0..self.x1, k)?;
        let y = Axis::reduce(self.tile_y0, self.tile_height, self.y0..self.y1, k)?;
        let across = self.tiles_across();
        let number = |(row, column): (&u32, &u32)| u16::try_from(row.checked_mul(across)?.checked_add(*column)?).ok();
        let tiles = y.tiles.iter().flat_map(|row| x.tiles.iter().map(move |column| (row, column))).map(number);
        let siz = Siz {
            x1: x.image.end,
            y1: y.image.end,
            x0: x.image.start,
            y0: y.image.start,
            tile_width: x.tile_size,
            tile_height: y.tile_size,
            tile_x0: x.tile_offset,
            tile_y0: y.tile_offset,
            components: self.components.clone(),
        };
        Some(ReducedGrid { siz, tiles: tiles.collect::<Option<_>>()? })
    }
}

impl ReducedGrid {
    /// The tiles that have samples of `window`, an area of the grid that is not empty, as a grid of their own. All
    /// coordinates stay what they are, so that every tile is divided as before.
    pub(crate) fn crop(&self, window: &Area) -> Self {
        let siz = &self.siz;
        let tiles = |range: &Range<u32>, offset: u32, size: u32| {
            (range.start - offset) / size..(range.end - 1 - offset) / size + 1
        };
        let (columns, rows) =
            (tiles(&window.0, siz.tile_x0, siz.tile_width), tiles(&window.1, siz.tile_y0, siz.tile_height));
        let edge = |offset: u32, number: u32, size: u32| offset.saturating_add(number.saturating_mul(size));
        let (tile_x0, tile_y0) =
            (edge(siz.tile_x0, columns.start, siz.tile_width), edge(siz.tile_y0, rows.start, siz.tile_height));
        let across = siz.tiles_across();
        let numbers = rows.clone().flat_map(|row| columns.clone().map(move |column| row * across + column));
        Self {
            tiles: numbers.filter_map(|number| self.tiles.get(number as usize).copied()).collect(),
            siz: Siz {
                x0: siz.x0.max(tile_x0),
                y0: siz.y0.max(tile_y0),
                x1: siz.x1.min(edge(siz.tile_x0, columns.end, siz.tile_width)),
                y1: siz.y1.min(edge(siz.tile_y0, rows.end, siz.tile_height)),
                tile_x0,
                tile_y0,
                ..siz.clone()
            },
        }
    }
}

/// The main header of the image at 1/2^k, from SOC to the last marker segment; no TLM. `file` begins with the file's
/// header, which `main` is of; `grid` is that of 1/2^k.
///
/// # Errors
/// [`Error::NoOverview`] where there are fewer levels than k, a marker segment forbids it, or packets would be out of
/// order.
pub(crate) fn build_reduced_header(file: &[u8], main: &MainHeader, grid: &ReducedGrid, k: u8) -> Result<Vec<u8>> {
    let range = usize::try_from(main.codestream).ok().zip(usize::try_from(main.end).ok());
    let header = range.and_then(|(start, end)| file.get(start + 2..end)).ok_or_else(|| broken(main.codestream))?;
    let mut out = vec![0xFF, 0x4F];
    out.extend(reduce_segments(header, main.codestream + 2, &grid.siz, k)?);
    let is_between = |tile: &&u16| !main.siz.is_aligned(**tile, k);
    match grid.tiles.iter().find(is_between).filter(|_| !main.coding.meets_alike(&main.siz)) {
        Some(tile) => Err(out_of_order(*tile, k)),
        None => Ok(out),
    }
}

/// The marker segments of the header of a tile-part of `tile` (without SOT and SOD), for the image at 1/2^k. `offset` is
/// where they stand.
///
/// # Errors
/// As [`build_reduced_header`].
pub(crate) fn reduce_tile_segments(
    segments: &[u8],
    offset: u64,
    main: &MainHeader,
    grid: &ReducedGrid,
    (tile, k): (u16, u8),
) -> Result<Vec<u8>> {
    let out = reduce_segments(segments, offset, &grid.siz, k)?;
    let mut cursor = Cursor::new(&out, offset);
    while let Ok(code) = cursor.u16() {
        // The tile has a coding of its own, whose order nobody has looked at.
        if matches!(code, COD | COC) && !main.siz.is_aligned(tile, k) {
            return Err(out_of_order(tile, k));
        }
        segment_body(&mut cursor, code, offset).map_err(|_| broken(offset))??;
    }
    Ok(out)
}

fn out_of_order(tile: u16, k: u8) -> Error {
    let what =
        format!("tile {tile} begins between two samples of 1/{}, where its packets are in another order", 1u64 << k);
    Error::NoOverview { what }
}

impl Siz {
    /// Whether the tile begins on a sample of the grid at 1/2^k.
    fn is_aligned(&self, tile: u16, k: u8) -> bool {
        let (x, y) = self.tile_extent(tile.into());
        [x.start, y.start].iter().all(|edge| u64::from(*edge).is_multiple_of(1 << k))
    }
}

impl TileCoding {
    /// Whether the order of packets does not depend on where precincts lie, or all that is ordered by that lies alike: LRCP
    /// and RLCP (B.12.1.1, B.12.1.2), and RPCL with components of one sampling and coding.
    fn meets_alike(&self, siz: &Siz) -> bool {
        let alike = |one: &Component| siz.components.iter().all(|other| (one.dx, one.dy) == (other.dx, other.dy));
        let one_coding = self.exceptions.values().all(|coding| coding.precincts == self.default.precincts);
        match self.progression {
            0 | 1 => true,
            2 => one_coding && siz.components.first().is_none_or(alike),
            _ => false,
        }
    }
}

fn broken(offset: u64) -> Error {
    Error::malformed(offset, "A.1.1", "marker segments that are cut")
}

/// Marker segments of a main header or a tile-part header (without SOT and SOD), for the image at 1/2^k. `offset` is where
/// they stand, for messages; `siz` is what SIZ shall say.
fn reduce_segments(segments: &[u8], offset: u64, siz: &Siz, k: u8) -> Result<Vec<u8>> {
    let wide = siz.components.len() > 256;
    let mut cursor = Cursor::new(segments, offset);
    let mut out = Vec::with_capacity(segments.len());
    while !cursor.is_empty() {
        let at = cursor.offset();
        let cut = |_: Short| broken(at);
        let code = cursor.u16().map_err(cut)?;
        let body = segment_body(&mut cursor, code, at).map_err(cut)??;
        let body = match code {
            SIZ => siz.rebuild(body).ok_or_else(|| broken(at))?,
            COD => reduce_coding(body, 5, k)?,
            // The component's index has two bytes where there are more than 256 components (Table A.23).
            COC => reduce_coding(body, if wide { 3 } else { 2 }, k)?,
            QCD => reduce_quantization(body, 0, k)?,
            QCC => reduce_quantization(body, if wide { 2 } else { 1 }, k)?,
            COM => body.to_vec(),
            // Lengths of what is no longer so long; offsets in samples of the full image.
            TLM | PLM | PLT | CRG => continue,
            other => {
                let name = hindrance(|code| code == other).map_or_else(|| format!("{other:04X}"), str::to_owned);
                return Err(Error::NoOverview { what: format!("a marker segment {name} at byte {at} forbids it") });
            }
        };
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&u16::try_from(body.len() + 2).map_err(|_| broken(at))?.to_be_bytes());
        out.extend_from_slice(&body);
    }
    Ok(out)
}

impl Siz {
    /// The parameters of a SIZ marker segment, with this grid instead of theirs.
    fn rebuild(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut body = body.to_vec();
        let grid = [self.x1, self.y1, self.x0, self.y0];
        let tiles = [self.tile_width, self.tile_height, self.tile_x0, self.tile_y0];
        let values: Vec<u8> = grid.into_iter().chain(tiles).flat_map(u32::to_be_bytes).collect();
        body.get_mut(2..34)?.copy_from_slice(&values);
        Some(body)
    }
}

/// COD or COC with k levels fewer; the number of levels stands at `at`, a list of precincts from `at + 5` on, the coarsest
/// resolution first (A.6.1, Table A.15).
fn reduce_coding(body: &[u8], at: usize, k: u8) -> Result<Vec<u8>> {
    let mut out = body.to_vec();
    let levels = out.get_mut(at).ok_or_else(|| Error::NoOverview { what: "its coding style is cut".into() })?;
    let full = *levels;
    *levels = full.checked_sub(k).ok_or_else(|| no_factor(full))?;
    if out.len() > at + 5 {
        out.truncate(out.len().saturating_sub(usize::from(k)).max(at + 6));
    }
    Ok(out)
}

/// There are no more factors than levels.
pub(crate) fn no_factor(levels: u8) -> Error {
    let what = match levels {
        0 => "the image is coded at its full size only".to_owned(),
        levels => format!(
            "the factors are {}",
            (1..=levels.min(31)).map(|k| (1u32 << k).to_string()).collect::<Vec<_>>().join(", ")
        ),
    };
    Error::NoOverview { what }
}

/// QCD or QCC with k levels fewer; Sqcd stands at `at`. Sub-bands stand in the order of the coarsest first, the three of
/// each level together (A.6.4, Table A.27).
fn reduce_quantization(body: &[u8], at: usize, k: u8) -> Result<Vec<u8>> {
    let size = match body.get(at).map(|style| style & 31) {
        Some(0) => 1,
        Some(1) => return Ok(body.to_vec()), // derived from the coarsest one
        Some(2) => 2,
        _ => return Err(Error::NoOverview { what: "its quantization style is not known".into() }),
    };
    let dropped = 3 * usize::from(k) * size;
    match body.len().checked_sub(dropped).filter(|length| *length >= at + 1 + size) {
        Some(length) => Ok(body.get(..length).unwrap_or_default().to_vec()),
        None => Err(Error::NoOverview { what: "its quantization tells fewer sub-bands than there are levels".into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::jp2::progression::tests::{coding, siz as grids};
    use crate::jp2::progression::{Packet, Packets};
    use crate::jp2::{Progress, made, parse_main_header};
    use proptest::prelude::*;

    fn siz(image: [u32; 4], tile: [u32; 4]) -> Siz {
        let [x0, y0, x1, y1] = image;
        let [tile_x0, tile_y0, tile_width, tile_height] = tile;
        let components = vec![crate::jp2::markers::Component { depth: 15, dx: 1, dy: 1 }];
        Siz { x1, y1, x0, y0, tile_width, tile_height, tile_x0, tile_y0, components }
    }

    #[test]
    fn a_band_is_divided_tile_by_tile() {
        let grid = siz([0, 0, 10980, 10980], [0, 0, 1024, 1024]).reduce(4).unwrap();
        assert_eq!((grid.siz.size(), grid.siz.tile_width, grid.tiles.len()), ((687, 687), 64, 121));
    }

    #[test]
    fn tiles_without_samples_are_left_out() {
        // PVI: 43 by 43 tiles of 8 samples; at 1/16 every other one begins between two samples.
        let grid = siz([0, 0, 343, 343], [0, 0, 8, 8]).reduce(4).unwrap();
        assert_eq!((grid.siz.size(), grid.siz.tile_width), ((22, 22), 1));
        assert_eq!(grid.tiles[..3], [0, 2, 4]);
        assert_eq!(grid.tiles[22], 86);
    }

    #[test]
    fn borders_that_make_no_grid_have_no_view() {
        assert!(siz([0, 0, 1000, 1000], [0, 0, 100, 100]).reduce(2).is_some());
        assert_eq!(siz([0, 0, 1000, 1000], [0, 0, 100, 100]).reduce(3), None);
        assert!(siz([0, 0, 190, 190], [0, 0, 100, 100]).reduce(3).is_some(), "one border always makes a grid");
        assert!(siz([0, 0, 999, 333], [0, 0, 999, 333]).reduce(5).is_some());
    }

    proptest! {
        /// Each tile of the grid is what B-14 and B-15 make of the tile that it stands for.
        #[test]
        fn tiles_are_where_their_resolutions_lie(x0 in 0u32..300, w in 1u32..900, before in 0u32..400, t in 1u32..400, k in 0u8..6) {
            // The first tile has the image's first column (B-3).
            let t0 = x0 - before % t.min(x0 + 1);
            let full = siz([x0, 0, x0 + w, 1], [t0, 0, t, 1]);
            let at = |edge: u32| edge.div_ceil(1 << k);
            let Some(grid) = full.reduce(k) else {
                prop_assert!(t % (1 << k) != 0 || t0 % (1 << k) != 0 || at(x0) == at(x0 + w));
                return Ok(());
            };
            prop_assert_eq!(grid.siz.tiles() as usize, grid.tiles.len());
            for (number, tile) in grid.tiles.iter().enumerate() {
                let (x, _) = full.tile_extent(u32::from(*tile));
                let (reduced, _) = grid.siz.tile_extent(number as u32);
                prop_assert_eq!(reduced, at(x.start)..at(x.end));
            }
            let kept: u32 = grid.tiles.iter().map(|tile| full.tile_extent(u32::from(*tile)).0).map(|x| at(x.end) - at(x.start)).sum();
            prop_assert_eq!(kept, at(x0 + w) - at(x0));
        }
    }

    proptest! {
        /// The packets of the image at 1/2^k are, in their order, those of the file that are needed for it.
        #[test]
        fn packets_stay_what_they_are(siz in grids(), coding in coding(0u8..5, 5), k in 1u8..4, tile: u32) {
            let tile = tile % siz.tiles();
            let all = || coding.exceptions.values().chain([&coding.default]);
            let k = all().map(|coding| coding.levels).min().unwrap().min(k);
            let Some(grid) = siz.reduce(k) else { return Ok(()) };
            let kept = |packet: &Packet| packet.resolution + k <= coding.component(packet.component).levels;
            let needed: Vec<Packet> = Packets::new(&siz, &coding, tile).filter(kept).collect();
            let mut reduced = coding.clone();
            for coding in reduced.exceptions.values_mut().chain([&mut reduced.default]) {
                coding.levels -= k;
                coding.precincts.truncate(usize::from(coding.levels) + 1);
            }
            let number = grid.tiles.iter().position(|kept| u32::from(*kept) == tile);
            let has: Vec<Packet> =
                number.map_or_else(Vec::new, |tile| Packets::new(&grid.siz, &reduced, tile as u32).collect());
            let (alike, aligned) = (coding.meets_alike(&siz), siz.is_aligned(tile as u16, k));
            if alike || aligned {
                prop_assert_eq!(has, needed);
            } else {
                prop_assert_eq!(BTreeSet::from_iter(has), BTreeSet::from_iter(needed));
            }
        }
    }

    #[test]
    fn a_header_tells_of_fewer_levels() {
        let file = made::File { levels: 4, ..made::File::default() }.bytes();
        let Progress::Done(main) = parse_main_header(&file, file.len() as u64).unwrap() else { panic!("all is there") };
        for k in 0..=4u8 {
            let grid = main.siz.reduce(k).unwrap();
            let mut bytes = build_reduced_header(&file, &main, &grid, k).unwrap();
            bytes.extend_from_slice(&[0xFF, 0x90]);
            let Progress::Done(reduced) = parse_main_header(&bytes, 1 << 20).unwrap() else { panic!("all is there") };
            assert_eq!(reduced.siz, grid.siz);
            assert_eq!(
                (reduced.coding.default.levels, reduced.coding.default.precincts.len()),
                (4 - k, usize::from(5 - k))
            );
            let qcd = reduced.segments.iter().find(|segment| segment.code == QCD).unwrap();
            assert_eq!(qcd.length, 2 + 3 + 1 + 3 * u32::from(4 - k));
        }
        let grid = main.siz.reduce(5).unwrap();
        let error = build_reduced_header(&file, &main, &grid, 5).unwrap_err();
        assert!(error.to_string().contains("the factors are 2, 4, 8, 16"), "{error}");
    }

    #[test]
    fn what_forbids_it_is_named() {
        let grid = siz([0, 0, 8, 8], [0, 0, 8, 8]);
        for (marker, name) in [(0x5Fu8, "POC"), (0x60, "PPM"), (0x61, "PPT"), (0x5E, "RGN"), (0x50, "FF50")] {
            let error = reduce_segments(&[0xFF, marker, 0, 3, 0], 100, &grid, 1).unwrap_err();
            assert!(error.to_string().contains(&format!("{name} at byte 100")), "{error}");
        }
        assert!(reduce_segments(&[0xFF, 0x58, 0, 3, 0], 0, &grid, 1).unwrap().is_empty(), "PLT goes");
    }
}
