//! The header of a tile-part, and where each resolution's packets end (T.800 A.4.2, A.7.3, B.12).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Progress;
use super::codes::{COM, PLT};
use super::coding::{CodingSegments, TileCoding};
use super::cursor::{Cursor, Short};
use super::markers::{MainHeader, SOD_LENGTH, SOT_LENGTH, Siz, hindrance, segment_body};
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
    /// Where each resolution's packets end, the coarsest resolution first; empty where that is not known, or where the
    /// resolutions do not stand one after the other.
    pub(crate) resolution_ends: Vec<u32>,
}

impl TilePartHead {
    /// Whether nothing but PLT and COM stands between SOT and SOD.
    pub(crate) fn is_plain(&self) -> bool {
        u64::from(self.kept) == SOT_LENGTH && self.droppable
    }

    /// Whether nothing at all stands between them.
    pub(crate) fn is_bare(&self) -> bool {
        u64::from(self.packets) == SOT_LENGTH + SOD_LENGTH
    }
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
    pub(crate) coding: Result<Cow<'a, TileCoding>>,
}

impl TilePartHeader<'_> {
    /// What a row keeps of it.
    pub(crate) fn head(&self, resolution_ends: Vec<u32>) -> TilePartHead {
        TilePartHead { kept: self.kept, packets: self.packets, droppable: self.droppable, resolution_ends }
    }

    /// Whether there is a PLT, be it right or wrong.
    pub(crate) fn has_plt(&self) -> bool {
        self.markers.contains(&PLT)
    }

    /// The name of a marker of this header that forbids views of fewer packets.
    pub(crate) fn hindrance(&self) -> Option<&'static str> {
        hindrance(|code| self.markers.contains(&code))
    }

    /// [`Error::NoOverview`] where there is such a marker in this header, of a tile-part of `tile`.
    pub(crate) fn check_hindrance(&self, tile: u16) -> Result<()> {
        match self.hindrance() {
            Some(marker) => Err(Error::NoOverview { what: format!("a marker {marker} in tile {tile} forbids it") }),
            None => Ok(()),
        }
    }
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

/// A packet with a header of one zero bit (B.10.3), between the markers that the coding style allows: SOP, by the packet's
/// number (A.8.1), and EPH (A.8.2).
pub(crate) fn empty_packet(sop: Option<u64>, eph: bool) -> Vec<u8> {
    let mut packet = Vec::with_capacity(9);
    if let Some(number) = sop {
        packet.extend_from_slice(&[0xFF, 0x91, 0, 4]);
        packet.extend_from_slice(&u16::try_from(number % 65_536).unwrap_or(0).to_be_bytes());
    }
    packet.push(0);
    if eph {
        packet.extend_from_slice(&[0xFF, 0x92]);
    }
    packet
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
    fn empty_packets_have_the_markers_of_the_others() {
        assert_eq!(empty_packet(None, false), [0]);
        assert_eq!(empty_packet(None, true), [0, 0xFF, 0x92]);
        assert_eq!(empty_packet(Some(65_538), true), [0xFF, 0x91, 0, 4, 0, 2, 0, 0xFF, 0x92]);
    }

    #[test]
    fn a_head_asks_for_bytes_up_to_the_tile_parts_end() {
        let (bytes, main) = parsed(&made::File { plt: true, ..made::File::default() });
        let at = main.end as usize;
        for length in 0..14 {
            let head = parse_tile_part_header(&bytes[at..at + length], main.end, 500, &main).unwrap();
            assert!(matches!(head, Progress::Need(need) if need > main.end + length as u64));
        }
        assert!(parse_tile_part_header(&bytes[at..at + 13], main.end, 13, &main).is_err());
    }
}
