//! The header of a tile-part, and where each resolution's packets end (T.800 A.4.2, A.7.3, B.6 to B.12).

use std::ops::Range;

use bytes::Bytes;

use super::Progress;
use super::cursor::{Cursor, Short};
use super::markers::{COC, COD, COM, MainHeader, PLT, POC, SOT_LENGTH, Siz, segment_body};
use super::pointers::parse_plt;
use crate::error::{Error, Result};

/// Start of data (A.4.3).
const SOD: u16 = 0xFF93;

/// What stands between a tile-part's SOT marker and its packets, and how its packets divide.
/// All numbers are bytes from the SOT marker's first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TilePartHead {
    /// Where the marker segments that a merged tile must keep end: at the first PLT or COM, or at SOD.
    pub(crate) kept: u32,
    /// Where the packets begin: just after the SOD marker.
    pub(crate) packets: u32,
    /// Whether nothing but PLT and COM stands between `kept` and SOD, so that dropping it loses nothing.
    pub(crate) droppable: bool,
    /// Where each resolution's packets end, the coarsest resolution first; empty where PLT does not tell, where the
    /// progression does not put the resolutions one after the other, or where the tile has other tile-parts.
    pub(crate) resolution_ends: Vec<u32>,
}

/// The packets of one tile-part, as far as reduced views need to know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartPackets {
    /// The marker segments between SOT and the first PLT, COM or SOD, markers included.
    pub(crate) segments: Bytes,
    /// Where the packets begin, in bytes from the SOT marker's first byte.
    pub(crate) packets: u32,
    /// All packets in their order, neighbours of one kind together.
    pub(crate) runs: Vec<Run>,
}

/// Packets that follow each other and are needed by the same views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The image at 1/2^k needs them for k up to this: N_L − r of the resolution r that they are of.
    pub(crate) levels: u8,
    /// Their length in bytes.
    pub(crate) length: u32,
}

impl TilePartHead {
    /// The packets of a tile-part with nothing but PLT and COM in its header, in a file with `levels` decomposition levels;
    /// `None` where it is not known where they end.
    pub(crate) fn by_resolution(&self, levels: u8) -> Option<PartPackets> {
        let ends = &self.resolution_ends;
        if u64::from(self.kept) != SOT_LENGTH || !self.droppable || ends.len() != usize::from(levels) + 1 {
            return None;
        }
        let starts = std::iter::once(&self.packets).chain(ends);
        let runs = ends.iter().zip(starts).zip((0..=levels).rev());
        let runs = runs.map(|((end, start), levels)| Some(Run { levels, length: end.checked_sub(*start)? }));
        Some(PartPackets { segments: Bytes::new(), packets: self.packets, runs: runs.collect::<Option<_>>()? })
    }
}

/// Parses the header of a tile-part. `bytes` is a prefix of the tile-part, whose SOT marker stands at `offset` of the file
/// and which has `length` bytes and belongs to `tile`. [`Progress::Need`] is an offset of the file.
///
/// # Errors
/// [`Error::Malformed`] where no SOD marker is found inside the tile-part.
pub(crate) fn parse_tile_part_head(
    bytes: &[u8],
    offset: u64,
    length: u32,
    tile: u16,
    main: &MainHeader,
) -> Result<Progress<TilePartHead>> {
    let end = offset.saturating_add(u64::from(length));
    let mut cursor = Cursor::new(bytes, offset);
    match walk(&mut cursor, end, tile, main) {
        Ok(parsed) => parsed.map(Progress::Done),
        Err(Short(need)) if need > end => Err(Error::malformed(offset, "A.4.3", "a tile-part without an SOD marker")),
        Err(short) => Ok(short.into()),
    }
}

fn walk(cursor: &mut Cursor<'_>, end: u64, tile: u16, main: &MainHeader) -> Result<Result<TilePartHead>, Short> {
    let start = cursor.offset();
    let from_sot = |offset: u64| u32::try_from(offset - start).unwrap_or(u32::MAX);
    let (mut kept, mut droppable, mut uniform) = (None, true, main.is_uniform());
    let mut lengths = Vec::new();
    let mut told = true;
    cursor.seek(start + SOT_LENGTH)?;
    loop {
        let at = cursor.offset();
        let code = cursor.u16()?;
        if code == SOD {
            let head = from_sot(cursor.offset());
            let ends = if uniform && told { resolution_ends(&lengths, head, from_sot(end), tile, main) } else { None };
            let resolution_ends = ends.unwrap_or_default();
            return Ok(Ok(TilePartHead { kept: kept.unwrap_or(head - 2), packets: head, droppable, resolution_ends }));
        }
        let body = match segment_body(cursor, code, at)? {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        match code {
            PLT | COM => {
                kept.get_or_insert(from_sot(at));
                if code == PLT && parse_plt(body, at, &mut lengths).is_err() {
                    told = false;
                }
            }
            _ => {
                droppable &= kept.is_none();
                uniform &= ![COD, COC, POC].contains(&code);
            }
        }
    }
}

/// The number of packets of each resolution of a tile, all components and layers together (B.6, B.7).
pub(super) fn packet_counts(main: &MainHeader, tile: u16) -> Vec<u64> {
    let (x, y) = main.siz.tile_extent(u32::from(tile));
    let levels = u32::from(main.cod.levels);
    let count = |(resolution, (ppx, ppy)): (usize, &(u8, u8))| {
        let shift = levels - u32::try_from(resolution).unwrap_or(levels).min(levels);
        let per_layer: u64 = main
            .siz
            .components
            .iter()
            .map(|component| {
                let across = precincts(&x, component.dx, shift, *ppx);
                across.saturating_mul(precincts(&y, component.dy, shift, *ppy))
            })
            .fold(0, u64::saturating_add);
        per_layer.saturating_mul(u64::from(main.cod.layers))
    };
    main.cod.precincts.iter().enumerate().map(count).collect()
}

/// numprecinctswide or -high (B-16): `extent` on the reference grid, at 1/2^shift, in precincts of 2^exponent samples.
fn precincts(extent: &Range<u32>, separation: u8, shift: u32, exponent: u8) -> u64 {
    let at = |edge: u32| u64::from(edge.div_ceil(u32::from(separation).max(1))).div_ceil(1 << shift);
    let (low, high) = (at(extent.start), at(extent.end));
    if high > low { high.div_ceil(1 << exponent) - (low >> exponent) } else { 0 }
}

/// Where each resolution ends, from every packet's length; `None` where the lengths do not tell.
fn resolution_ends(lengths: &[u32], head: u32, end: u32, tile: u16, main: &MainHeader) -> Option<Vec<u32>> {
    // One layer makes LRCP what RLCP is: the packets of resolution 0 first, then those of 1, … (B.12.1).
    let by_resolution = matches!((main.cod.progression, main.cod.layers), (0, 1) | (1 | 2, _));
    let counts = packet_counts(main, tile);
    if !by_resolution || counts.iter().fold(0, |sum, count| u64::saturating_add(sum, *count)) != lengths.len() as u64 {
        return None;
    }
    let mut rest = lengths.iter();
    let mut at = head;
    let mut ends = Vec::with_capacity(counts.len());
    for count in counts {
        for length in rest.by_ref().take(usize::try_from(count).ok()?) {
            at = at.checked_add(*length)?;
        }
        ends.push(at);
    }
    (at == end).then_some(ends)
}

impl Siz {
    /// The image's width and height in samples of the reference grid.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.x1 - self.x0, self.y1 - self.y0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::{made, parse_main_header};

    fn parsed(file: &made::File) -> (Vec<u8>, MainHeader) {
        let bytes = file.bytes();
        let Progress::Done(header) = parse_main_header(&bytes, bytes.len() as u64).unwrap() else {
            panic!("all is there")
        };
        (bytes, header)
    }

    #[test]
    fn precincts_are_counted_as_the_standard_has_it() {
        // 0..1024 at full size in precincts of 256: 4; at 1/16 (0..64): 1. An edge tile 10240..10980: 740 wide, 3.
        assert_eq!(precincts(&(0..1024), 1, 0, 8), 4);
        assert_eq!(precincts(&(0..1024), 1, 4, 8), 1);
        assert_eq!(precincts(&(10240..10980), 1, 0, 8), 3);
        // Precincts are anchored at 0, not at the tile: 100..300 touches 0..256 and 256..512.
        assert_eq!(precincts(&(100..300), 1, 0, 8), 2);
        assert_eq!(precincts(&(5..5), 1, 0, 8), 0);
        assert_eq!(precincts(&(0..9), 2, 0, 2), 2);
    }

    #[test]
    fn resolutions_end_where_plt_says() {
        let file = made::File { plt: true, ..made::File::default() };
        let (bytes, main) = parsed(&file);
        let at = main.end as usize;
        let length = u32::from_be_bytes(bytes[at + 6..at + 10].try_into().unwrap());
        let head = parse_tile_part_head(&bytes[at..], main.end, length, 0, &main).unwrap();
        let Progress::Done(head) = head else { panic!("all is there") };
        assert_eq!(head.resolution_ends.len(), usize::from(main.cod.levels) + 1);
        assert_eq!(*head.resolution_ends.last().unwrap(), length);
        assert!(head.resolution_ends.is_sorted() && head.droppable && head.kept == 12);
    }

    #[test]
    fn plt_that_lies_tells_nothing() {
        let (mut bytes, main) = parsed(&made::File { plt: true, ..made::File::default() });
        let at = main.end as usize;
        let length = u32::from_be_bytes(bytes[at + 6..at + 10].try_into().unwrap());
        bytes[at + 12 + 5] ^= 1;
        let head = parse_tile_part_head(&bytes[at..], main.end, length, 0, &main).unwrap();
        let Progress::Done(head) = head else { panic!("all is there") };
        assert!(head.resolution_ends.is_empty());
    }

    #[test]
    fn a_head_asks_for_bytes_up_to_the_tile_parts_end() {
        let (bytes, main) = parsed(&made::File { plt: true, ..made::File::default() });
        let at = main.end as usize;
        for length in 0..14 {
            let head = parse_tile_part_head(&bytes[at..at + length], main.end, 500, 0, &main).unwrap();
            assert!(matches!(head, Progress::Need(need) if need > main.end + length as u64));
        }
        assert!(parse_tile_part_head(&bytes[at..at + 13], main.end, 13, 0, &main).is_err());
    }
}
