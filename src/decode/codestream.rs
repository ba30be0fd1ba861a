//! A codestream in memory, and decoding a window of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::block::{Passes, Workspace};
use super::colour::{Range, Sample, write, write_transformed};
use super::kept::Kept;
use super::simd;
use super::threads::spread;
use super::tile::{PartBytes, Tile, is_last};
use crate::error::{Error, Result};
use crate::jp2::{
    Area, EOC, KNOWN_STYLES, MainHeader, Progress, Quantizations, SOT_LENGTH, Sot, TileCoding, no_factor, overlap,
    parse_main_header, parse_tile_part_header,
};
use crate::process::lock;

/// The most bits of a sample.
const MOST_BITS: u8 = 31;

/// A JP2 file or a bare codestream, whole.
pub(crate) struct Codestream<'a> {
    bytes: &'a [u8],
    main: MainHeader,
    quantizations: Quantizations,
    /// Where the tile-parts of each tile lie, in their order.
    parts: Parts,
}

/// By tile: where its tile-parts lie, in bytes.
type Parts = BTreeMap<u32, Vec<std::ops::Range<usize>>>;

/// Where samples are put: row by row, component by component.
pub(crate) struct Target<'a, T> {
    /// The samples.
    pub(crate) samples: &'a mut [T],
    /// From a row to the next, in samples.
    pub(crate) row: usize,
    /// From a component to the next, in samples.
    pub(crate) component: usize,
}

fn undecoded<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Undecoded { what: what.into() })
}

/// What a main header announces that this room leaves out: it stands for the whole file, but for tile-parts whose headers
/// announce more.
pub(crate) fn left_out(main: &MainHeader) -> Option<String> {
    if let Some(marker) = main.hindrance() {
        return Some(format!("a marker segment {marker}"));
    }
    let mut depths = main.siz.components.iter().map(|component| (component.depth & 0x7F) + 1);
    if let Some(depth) = depths.find(|depth| *depth > MOST_BITS) {
        return Some(format!("samples of {depth} bits"));
    }
    left_out_of(&main.coding, main.siz.components.len())
}

/// The same of how a tile is coded, in an image of `components`.
fn left_out_of(coding: &TileCoding, components: usize) -> Option<String> {
    // Decoders read such files in their own ways.
    if coding.multiple_component_transform && components < 3 {
        return Some("a multiple component transformation of fewer than 3 components".into());
    }
    let mut styles = coding.exceptions.values().chain([&coding.default]).map(|coded| coded.style);
    styles.find(|style| style & !KNOWN_STYLES != 0).map(|style| format!("code-blocks of style {style:#04x}"))
}

impl<'a> Codestream<'a> {
    /// The codestream of a file that is at hand.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the bytes are no JPEG 2000 file; [`Error::Undecoded`] for what this room leaves out.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let size = bytes.len() as u64;
        let Progress::Done(main) = parse_main_header(bytes, size)? else {
            return Err(Error::malformed(size, "A.3", "the file ends before its first tile-part"));
        };
        if let Some(what) = left_out(&main) {
            return undecoded(what);
        }
        let range = usize::try_from(main.codestream).unwrap_or(0) + 2..usize::try_from(main.end).unwrap_or(0);
        let mut quantizations = Quantizations::default();
        quantizations.take(bytes.get(range).unwrap_or_default(), main.codestream + 2, main.siz.components.len())?;
        let parts = tile_parts(bytes, &main)?;
        Ok(Self { bytes, main, quantizations, parts })
    }

    /// A tile by itself: a main header and the tile-parts of one tile in their order, EOC or not. The last of them may be cut:
    /// packets that are missing are an error where they are needed. With the tile's number.
    ///
    /// # Errors
    /// As [`Codestream::new`]; [`Error::Malformed`] where what follows the header is not that, from the tile's first part on.
    pub(crate) fn of_tile(bytes: &'a [u8]) -> Result<(Self, u32)> {
        // No packet ends so (B.10.1, C.2.1): it is not what is missing of one that is cut.
        let bytes = bytes.strip_suffix(&EOC).unwrap_or(bytes);
        let codestream = Self::new(bytes)?;
        let tile = codestream.only_tile()?;
        Ok((codestream, tile))
    }

    /// The number of the only tile whose tile-parts are there, all up to the last.
    fn only_tile(&self) -> Result<u32> {
        let refused = |at: usize, what: String| Err(Error::malformed(at as u64, "A.4.2", what));
        let mut tiles = self.parts.iter();
        let (Some((tile, parts)), other) = (tiles.next(), tiles.next()) else {
            return refused(self.bytes.len(), "no tile-part".to_owned());
        };
        if let Some((other, _)) = other {
            return refused(0, format!("tile-parts of tiles {tile} and {other} where those of one tile were expected"));
        }
        let count = self.main.siz.tiles();
        if *tile >= count {
            return refused(0, format!("a tile-part of tile {tile}, the image has {count} tiles"));
        }
        let mut end = 0;
        for (number, part) in parts.iter().enumerate() {
            let bytes = self.bytes.get(part.clone()).unwrap_or_default();
            let sot = Sot::parse(bytes, part.start as u64)?;
            // Packets of a part that is missing would be taken from the next one.
            if usize::from(sot.part) != number {
                return refused(part.start, format!("{sot} where tile-part {number} was expected"));
            }
            // A part that is cut has taken in those behind it: no packet has a marker of SOT (B.10.1, C.2.1).
            let packets = bytes.get(SOT_LENGTH as usize..).unwrap_or_default();
            if sot.length as usize != bytes.len() && packets.windows(2).any(|two| two == [0xFF, 0x90]) {
                return refused(part.start, format!("{sot}, another tile-part begins before it ends"));
            }
            end = part.end;
        }
        match self.bytes.len() - end {
            0 => Ok(*tile),
            left => refused(end, format!("{left} bytes behind a tile-part that are none")),
        }
    }

    /// The main header.
    pub(crate) fn main(&self) -> &MainHeader {
        &self.main
    }

    /// The samples of a component of the image at 1/2^k: columns and rows, in coordinates of the component at 1/2^k (B-2).
    pub(crate) fn area(&self, component: u16, k: u8) -> Option<Area> {
        self.main.siz.component_area(component, k)
    }

    /// Decodes the samples `window` of some components of the image at 1/2^k, in coordinates of the components at 1/2^k, on
    /// up to `threads` threads. Code-blocks that are `kept` are not decoded again.
    ///
    /// # Errors
    /// [`Error::Malformed`] where what the window needs is damaged; [`Error::Undecoded`] for what this room leaves out;
    /// [`Error::NoOverview`] where the image has no such reduction.
    pub(crate) fn decode<T: Sample>(
        &self,
        window: &Area,
        k: u8,
        components: &[u16],
        threads: usize,
        kept: Option<&dyn Kept>,
        target: Target<'_, T>,
    ) -> Result<()> {
        let ranges = self.check(window, k, components)?;
        let tiles = self.tiles(window, k, components)?;
        let output = Mutex::new(target);
        let mut sum = 0;
        let end = |tile: &Tile<'_>| {
            sum += tile.blocks.len() + tile.components.len();
            sum
        };
        let ends: Vec<usize> = tiles.iter().map(end).collect();
        let work = Work { tiles: &tiles, ends: &ends, kept, next: AtomicUsize::new(0), failed: AtomicBool::new(false) };
        let outcome = Mutex::new(Ok(()));
        let finish = |tile: &Tile<'_>| finish(tile, window, components, &ranges, &mut lock(&output));
        spread(threads, sum, || {
            if let Err(error) = work.run(&finish) {
                let mut outcome = lock(&outcome);
                if outcome.is_ok() {
                    *outcome = Err(error);
                }
            }
        });
        outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is asked for, where it can be answered: the values that samples of each component have.
    fn check(&self, window: &Area, k: u8, components: &[u16]) -> Result<Vec<Range>> {
        let mut ranges = Vec::with_capacity(components.len());
        for component in components {
            let Some((of, area)) = self.main.siz.components.get(usize::from(*component)).zip(self.area(*component, k))
            else {
                let count = self.main.siz.components.len();
                return Err(Error::Band { band: usize::from(*component) + 1, count });
            };
            let within = |part: &std::ops::Range<u32>, all: &std::ops::Range<u32>| {
                !part.is_empty() && all.start <= part.start && part.end <= all.end
            };
            if !within(&window.0, &area.0) || !within(&window.1, &area.1) {
                return Err(Error::Window {
                    x: window.0.start.saturating_sub(area.0.start),
                    y: window.1.start.saturating_sub(area.1.start),
                    width: window.0.end.saturating_sub(window.0.start),
                    height: window.1.end.saturating_sub(window.1.start),
                    image: (area.0.end - area.0.start, area.1.end - area.1.start),
                });
            }
            ranges.push(Range::of(of));
        }
        Ok(ranges)
    }

    /// The tiles that the window touches, ready to be decoded.
    fn tiles(&self, window: &Area, k: u8, components: &[u16]) -> Result<Vec<Tile<'a>>> {
        let siz = &self.main.siz;
        let mut tiles = Vec::new();
        for tile in 0..siz.tiles() {
            let touches =
                |component: &u16| siz.tile_area(tile, *component, k).is_some_and(|area| overlap(&area, window));
            if components.iter().any(touches) {
                tiles.push(self.tile(tile, window, k, components)?);
            }
        }
        Ok(tiles)
    }

    /// A tile, ready to be decoded.
    fn tile(&self, tile: u32, window: &Area, k: u8, components: &[u16]) -> Result<Tile<'a>> {
        let siz = &self.main.siz;
        let mut coding: Cow<'_, TileCoding> = Cow::Borrowed(&self.main.coding);
        let mut quantizations = Cow::Borrowed(&self.quantizations);
        let mut parts: Vec<PartBytes<'a>> = Vec::new();
        for range in self.parts.get(&tile).into_iter().flatten() {
            let bytes = self.bytes.get(range.clone()).unwrap_or_default();
            let offset = range.start as u64;
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let Progress::Done(header) = parse_tile_part_header(bytes, offset, length, &self.main)? else {
                return Err(Error::malformed(offset, "A.4.3", "a tile-part without an SOD marker"));
            };
            if let Some(marker) = header.hindrance() {
                return undecoded(format!("a marker segment {marker}"));
            }
            let packets = header.packets as usize;
            if parts.is_empty() {
                coding = header.coding?;
                let segments = bytes.get(SOT_LENGTH as usize..packets.saturating_sub(2)).unwrap_or_default();
                quantizations.to_mut().take(segments, offset + SOT_LENGTH, siz.components.len())?;
            }
            parts.push((offset + packets as u64, bytes.get(packets..).unwrap_or_default()));
        }
        if parts.is_empty() {
            return Err(Error::malformed(self.bytes.len() as u64, "A.4.2", format!("no tile-part of tile {tile}")));
        }
        if let Some(what) = left_out_of(&coding, siz.components.len()) {
            return undecoded(what);
        }
        // All three are needed where they were transformed together (G.2, G.3).
        let mut needed = components.to_vec();
        if coding.multiple_component_transform && components.iter().any(|component| *component < 3) {
            needed.extend(0..3);
        }
        needed.sort_unstable();
        needed.dedup();
        for component in &needed {
            let levels = coding.component(*component).levels;
            if levels < k {
                return Err(no_factor(levels));
            }
        }
        let windows: Vec<(u16, Area)> = needed.into_iter().map(|component| (component, window.clone())).collect();
        Tile::new(siz, &coding, &quantizations, tile, &parts, &windows, k)
    }
}

/// Where the tile-parts lie, up to the end of the codestream.
fn tile_parts(bytes: &[u8], main: &MainHeader) -> Result<Parts> {
    let end = usize::try_from(main.codestream_end_in(bytes.len() as u64)).unwrap_or(usize::MAX).min(bytes.len());
    let mut at = usize::try_from(main.end).unwrap_or(usize::MAX);
    let mut parts = Parts::new();
    while let Some(rest) = bytes.get(at..end).filter(|rest| !rest.is_empty()) {
        // What stands behind the last tile-part, EOC or not, is none: decoders do not look at it.
        if !rest.starts_with(&[0xFF, 0x90]) && !parts.is_empty() {
            break;
        }
        let sot = Sot::parse(rest, at as u64)?;
        // Psot = 0: up to the EOC marker (A.4.2).
        let eoc = if rest.ends_with(&EOC) { 2 } else { 0 };
        let length = if sot.length == 0 { rest.len() - eoc } else { sot.length as usize };
        if length < SOT_LENGTH as usize + 2 {
            return Err(Error::malformed(at as u64, "A.4.2", format!("a tile-part of {length} bytes")));
        }
        let part_end = at.saturating_add(length).min(end);
        parts.entry(sot.tile.into()).or_default().push(at..part_end);
        at = part_end;
    }
    Ok(parts)
}

/// Code-blocks and components to be done, tile by tile.
struct Work<'w, 'a> {
    tiles: &'w [Tile<'a>],
    /// How many units of work the tiles up to each have: its code-blocks, and one for each component.
    ends: &'w [usize],
    kept: Option<&'w dyn Kept>,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Work<'_, '_> {
    /// Does what is left, together with the other threads.
    fn run(&self, finish: &dyn Fn(&Tile<'_>)) -> Result<()> {
        #[cfg(target_arch = "x86_64")]
        if let Some(passes) = simd::V3::new() {
            return self.run_with(finish, &passes);
        }
        self.run_with(finish, &simd::Plain)
    }

    fn run_with(&self, finish: &dyn Fn(&Tile<'_>), passes: &impl Passes) -> Result<()> {
        let mut workspace = Workspace::new();
        loop {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            let number = self.ends.partition_point(|end| *end <= unit);
            let Some(tile) = self.tiles.get(number) else { return Ok(()) };
            if self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let of_tile = unit - number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            let number = match tile.blocks.get(of_tile) {
                Some(block) => {
                    let kept = self.kept.map(|kept| (kept, tile.id(block)));
                    let coefficients = match kept.and_then(|(kept, id)| kept.get(&id)) {
                        Some(coefficients) => coefficients,
                        None => {
                            let mut decoded = vec![0; block.coding.width * block.coding.height].into_boxed_slice();
                            let outcome = workspace.decode(&block.coding, tile.pieces(block), &mut decoded, passes);
                            if let Err(why) = outcome {
                                self.failed.store(true, Ordering::Relaxed);
                                return Err(tile.refused(block, why));
                            }
                            if let Some((kept, id)) = kept {
                                kept.put(id, &decoded);
                            }
                            decoded
                        }
                    };
                    block.set(coefficients);
                    block.component
                }
                None => of_tile - tile.blocks.len(),
            };
            let Some(component) = tile.components.get(number) else { continue };
            if is_last(&component.left) {
                let samples = tile.transform(number, component);
                *lock(&component.samples) = Some(samples);
                if is_last(&tile.left) {
                    finish(tile);
                }
            }
        }
    }
}

/// Writes what a tile has of the window.
fn finish<T: Sample>(tile: &Tile<'_>, window: &Area, components: &[u16], ranges: &[Range], target: &mut Target<'_, T>) {
    // What was made of the tile ends with this.
    let made: Vec<_> = tile.components.iter().map(|component| (component, lock(&component.samples).take())).collect();
    let of = |index: u16| {
        let (component, samples) = made.iter().find(|(component, _)| component.index == index)?;
        Some((*component, samples.as_ref()?))
    };
    for (place, (index, range)) in components.iter().zip(ranges).enumerate() {
        let Some((component, samples)) = of(*index) else { continue };
        let (columns, rows) = &component.wanted;
        let together: Option<Vec<_>> = (tile.multiple_component_transform && *index < 3)
            .then(|| (0..3).filter_map(|index| Some(of(index)?.1)).collect());
        for row in rows.clone() {
            let start = place * target.component
                + (row - window.1.start) as usize * target.row
                + (columns.start - window.0.start) as usize;
            let Some(out) = target.samples.get_mut(start..start + columns.len()) else { continue };
            match together.as_deref() {
                Some([y, u, v]) => {
                    let rows = [y, u, v].map(|samples| samples.row(row, columns));
                    write_transformed(rows, usize::from(*index), *range, out);
                }
                _ => write(samples.row(row, columns), *range, out),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::kept::BlockId;
    use super::*;

    const FILES: [&[u8]; 4] = [
        include_bytes!("../../tests/data/packets/lrcp_parts.j2k"),
        include_bytes!("../../tests/data/packets/lrcp_layers.j2k"),
        include_bytes!("../../tests/data/packets/rpcl_offsets.j2k"),
        include_bytes!("../../tests/data/packets/rlcp_styles.j2k"),
    ];

    /// Keeps all code-blocks, and counts those that were decoded.
    #[derive(Default)]
    struct All {
        blocks: Mutex<HashMap<BlockId, Box<[i32]>>>,
        decoded: AtomicUsize,
    }

    impl Kept for All {
        fn get(&self, block: &BlockId) -> Option<Box<[i32]>> {
            lock(&self.blocks).get(block).cloned()
        }

        fn put(&self, block: BlockId, coefficients: &[i32]) {
            self.decoded.fetch_add(1, Ordering::Relaxed);
            lock(&self.blocks).insert(block, coefficients.into());
        }
    }

    fn samples(codestream: &Codestream<'_>, window: &Area, k: u8, kept: &All) -> Vec<i32> {
        let mut samples = vec![i32::MIN; window.0.len() * window.1.len()];
        let target = Target { samples: &mut samples, row: window.0.len(), component: 0 };
        codestream.decode(window, k, &[0], 1, Some(kept), target).unwrap();
        samples
    }

    #[test]
    fn an_image_that_is_read_row_by_row_decodes_each_code_block_once() {
        for bytes in FILES {
            let codestream = Codestream::new(bytes).unwrap();
            for k in [0, 1] {
                let (columns, rows) = codestream.area(0, k).unwrap();
                let (whole, by_rows) = (All::default(), All::default());
                let right = samples(&codestream, &(columns.clone(), rows.clone()), k, &whole);
                let read = rows.flat_map(|row| samples(&codestream, &(columns.clone(), row..row + 1), k, &by_rows));
                assert_eq!(read.collect::<Vec<_>>(), right);
                let decoded = whole.decoded.into_inner();
                assert!(decoded > 0);
                assert_eq!(by_rows.decoded.into_inner(), decoded, "at 1/2^{k}");
            }
        }
    }
}
