//! The header of a tile-part, and where each resolution's packets end (T.800 A.4.2, A.7.3, B.12).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Progress;
use super::coding::{CodingSegments, TileCoding};
use super::cursor::{Cursor, Short};
use super::markers::{COC, COD, MainHeader, POC, SOT_LENGTH, Siz, hindrance, segment_body};
use super::pointers::parse_plt;
use super::precincts::packet_counts;
use crate::error::{Error, Result};

/// Start of data (A.4.3).
const SOD: u16 = 0xFF93;
/// Packet lengths of a tile-part (A.7.3).
const PLT: u16 = 0xFF58;
/// Comment (A.9.2).
const COM: u16 = 0xFF64;

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

/// The header of a tile-part, understood. Numbers are bytes from the SOT marker's first byte.
#[derive(Debug, Clone)]
pub(crate) struct TilePartHeader<'a> {
    /// Where the marker segments that a merged tile must keep end: at the first PLT or COM, or at SOD.
    pub(crate) kept: u32,
    /// Where the packets begin: just after the SOD marker.
    pub(crate) packets: u32,
    /// Whether nothing but PLT and COM stands between `kept` and SOD, so that dropping it loses nothing.
    pub(crate) droppable: bool,
    /// The markers of the header.
    pub(crate) markers: BTreeSet<u16>,
    /// The packets' lengths in bytes; empty where PLT does not tell.
    pub(crate) lengths: Vec<u32>,
    /// How the tile is coded by the main header and this one, which for COD and COC must be the tile's first (A.6.1);
    /// an error where its COD or COC is none.
    #[cfg_attr(not(test), expect(dead_code, reason = "reduced views are to use it"))]
    pub(crate) coding: Result<Cow<'a, TileCoding>>,
}

impl TilePartHeader<'_> {
    /// The name of a marker of this header that forbids views of fewer packets.
    #[cfg_attr(not(test), expect(dead_code, reason = "reduced views are to use it"))]
    pub(crate) fn hindrance(&self) -> Option<&'static str> {
        hindrance(|code| self.markers.contains(&code))
    }

    fn resolution_ends(&self, end: u32, tile: u16, main: &MainHeader) -> Option<Vec<u32>> {
        let uniform = main.is_uniform() && ![COD, COC, POC].iter().any(|code| self.markers.contains(code));
        if uniform { resolution_ends(&self.lengths, self.packets, end, tile, main) } else { None }
    }
}

/// Parses the header of a tile-part for a table: see [`parse_tile_part_header`]. The tile-part belongs to `tile`.
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
    Ok(match parse_tile_part_header(bytes, offset, length, main)? {
        Progress::Need(need) => Progress::Need(need),
        Progress::Done(header) => {
            let resolution_ends = header.resolution_ends(length, tile, main).unwrap_or_default();
            let TilePartHeader { kept, packets, droppable, .. } = header;
            Progress::Done(TilePartHead { kept, packets, droppable, resolution_ends })
        }
    })
}

/// Parses the header of a tile-part. `bytes` is a prefix of the tile-part, whose SOT marker stands at `offset` of the file
/// and which has `length` bytes. [`Progress::Need`] is an offset of the file.
///
/// # Errors
/// [`Error::Malformed`] where no SOD marker is found inside the tile-part.
pub(crate) fn parse_tile_part_header<'a>(
    bytes: &[u8],
    offset: u64,
    length: u32,
    main: &'a MainHeader,
) -> Result<Progress<TilePartHeader<'a>>> {
    let end = offset.saturating_add(u64::from(length));
    let mut cursor = Cursor::new(bytes, offset);
    match walk(&mut cursor, main) {
        Ok(parsed) => parsed.map(Progress::Done),
        Err(Short(need)) if need > end => Err(Error::malformed(offset, "A.4.3", "a tile-part without an SOD marker")),
        Err(short) => Ok(short.into()),
    }
}

fn walk<'a>(cursor: &mut Cursor<'_>, main: &'a MainHeader) -> Result<Result<TilePartHeader<'a>>, Short> {
    let start = cursor.offset();
    let from_sot = |offset: u64| u32::try_from(offset - start).unwrap_or(u32::MAX);
    let (mut kept, mut droppable) = (None, true);
    let mut markers = BTreeSet::new();
    let mut plt = Ok(Vec::new());
    let mut coding = Ok(CodingSegments::default());
    cursor.seek(start + SOT_LENGTH)?;
    loop {
        let at = cursor.offset();
        let code = cursor.u16()?;
        if code == SOD {
            let packets = from_sot(cursor.offset());
            return Ok(Ok(TilePartHeader {
                kept: kept.unwrap_or(packets - 2),
                packets,
                droppable,
                markers,
                lengths: plt.unwrap_or_default(),
                coding: coding.map(|segments| match segments.is_empty() {
                    true => Cow::Borrowed(&main.coding),
                    false => Cow::Owned(segments.into_tile(&main.coding)),
                }),
            }));
        }
        let body = match segment_body(cursor, code, at)? {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        markers.insert(code);
        match code {
            PLT | COM => {
                kept.get_or_insert(from_sot(at));
                if let (PLT, Ok(lengths)) = (code, &mut plt)
                    && let Err(error) = parse_plt(body, at, lengths)
                {
                    plt = Err(error);
                }
            }
            _ => {
                droppable &= kept.is_none();
                if let Ok(segments) = &mut coding
                    && let Err(error) = segments.take(code, body, at, main.siz.components.len())
                {
                    coding = Err(error);
                }
            }
        }
    }
}

/// Where each resolution ends, from every packet's length; `None` where the lengths do not tell.
fn resolution_ends(lengths: &[u32], head: u32, end: u32, tile: u16, main: &MainHeader) -> Option<Vec<u32>> {
    // One layer makes LRCP what RLCP is: the packets of resolution 0 first, then those of 1, … (B.12.1).
    let by_resolution = matches!((main.coding.progression, main.coding.layers), (0, 1) | (1 | 2, _));
    if !by_resolution || lengths.is_empty() {
        return None;
    }
    let counts = packet_counts(&main.siz, &main.coding, tile.into());
    if counts.iter().fold(0, |sum, count| u64::saturating_add(sum, *count)) != lengths.len() as u64 {
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
    fn resolutions_end_where_plt_says() {
        let file = made::File { plt: true, ..made::File::default() };
        let (bytes, main) = parsed(&file);
        let at = main.end as usize;
        let length = u32::from_be_bytes(bytes[at + 6..at + 10].try_into().unwrap());
        let head = parse_tile_part_head(&bytes[at..], main.end, length, 0, &main).unwrap();
        let Progress::Done(head) = head else { panic!("all is there") };
        assert_eq!(head.resolution_ends.len(), usize::from(main.coding.default.levels) + 1);
        assert_eq!(*head.resolution_ends.last().unwrap(), length);
        assert!(head.resolution_ends.is_sorted() && head.droppable && head.kept == 12);
    }

    #[test]
    fn a_tiles_own_coding_is_found() {
        let (bytes, main) = parsed(&made::File { plt: true, ..made::File::default() });
        let at = main.end as usize;
        let with = |segments: &[u8]| {
            let bytes = [&bytes[at..at + 12], segments, &bytes[at + 12..]].concat();
            let parsed = parse_tile_part_header(&bytes, main.end, bytes.len() as u32, &main).unwrap();
            let Progress::Done(header) = parsed else { panic!("all is there") };
            header
        };
        let plain = with(&[]);
        assert!(matches!(plain.coding, Ok(Cow::Borrowed(coding)) if *coding == main.coding));
        assert_eq!(plain.lengths.len() as u64, super::super::precincts::packet_count(&main.siz, &main.coding, 0));
        assert_eq!(plain.hindrance(), None);
        let own = with(&[0xFF, 0x53, 0, 9, 0, 0, 1, 4, 4, 0, 1, 0xFF, 0x5E, 0, 5, 0, 0, 1]);
        assert_eq!(own.coding.as_ref().unwrap().component(0).levels, 1);
        assert_eq!(own.hindrance(), Some("RGN"));
        // A coding that is none leaves the rest of the header readable.
        let broken = with(&[0xFF, 0x53, 0, 9, 1, 0, 1, 4, 4, 0, 1]);
        let error = broken.coding.unwrap_err().to_string();
        assert!(error.contains(&format!("at byte {} (T.800 A.6.2)", at + 12)), "{error}");
        assert_eq!(broken.lengths, plain.lengths);
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
