//! The main header of a codestream (T.800 A.4 to A.6) and the SOT marker segment (A.4.2).

use std::ops::Range;

use super::Progress;
use super::area::Area;
use super::boxes::{LBox, SIGNATURE, parse_box_header};
use super::codes::{COM, POC, PPM, PPT, RGN, SIZ, SOC, SOT, TLM};
use super::coding::{CodingSegments, TileCoding};
use super::cursor::{Cursor, Short};
use crate::error::{Error, Result};

/// The name of the first marker among those that `has`, if any, by which packets cannot be taken from a tile by their
/// place alone: their order changes (POC), their headers stand elsewhere (PPM, PPT), or their samples are shifted (RGN).
pub(super) fn hindrance(has: impl Fn(u16) -> bool) -> Option<&'static str> {
    [(POC, "POC"), (PPM, "PPM"), (PPT, "PPT"), (RGN, "RGN")]
        .into_iter()
        .find(|(code, _)| has(*code))
        .map(|found| found.1)
}

/// The most bytes a header may have: no real one comes near, and more is never read to look for its end.
pub(crate) const LONGEST_HEADER: u64 = 16 << 20;

/// The bytes of an SOT marker segment, marker included (A.4.2).
pub(crate) const SOT_LENGTH: u64 = 12;

/// Length of an SOD marker in bytes (T.800 A.4.3).
pub(crate) const SOD_LENGTH: u64 = 2;

/// One component of SIZ (A.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Component {
    /// Ssiz: bit depth minus one, the sign in the highest bit.
    pub(crate) depth: u8,
    /// XRsiz: horizontal separation of samples.
    pub(crate) dx: u8,
    /// YRsiz: vertical separation of samples.
    pub(crate) dy: u8,
}

/// Image and tile size (A.5.1), all in samples of the reference grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Siz {
    /// Xsiz: the right edge of the image area.
    pub(crate) x1: u32,
    /// Ysiz: the lower edge of the image area.
    pub(crate) y1: u32,
    /// XOsiz: the left edge of the image area.
    pub(crate) x0: u32,
    /// YOsiz: the upper edge of the image area.
    pub(crate) y0: u32,
    /// XTsiz: the width of a tile.
    pub(crate) tile_width: u32,
    /// YTsiz: the height of a tile.
    pub(crate) tile_height: u32,
    /// XTOsiz: the left edge of the first tile.
    pub(crate) tile_x0: u32,
    /// YTOsiz: the upper edge of the first tile.
    pub(crate) tile_y0: u32,
    /// The components.
    pub(crate) components: Vec<Component>,
}

impl Siz {
    /// numXtiles (B-5).
    pub(crate) fn tiles_across(&self) -> u32 {
        (self.x1 - self.tile_x0).div_ceil(self.tile_width)
    }

    /// numYtiles (B-5).
    pub(crate) fn tiles_down(&self) -> u32 {
        (self.y1 - self.tile_y0).div_ceil(self.tile_height)
    }

    /// The number of tiles, at most 65,535.
    pub(crate) fn tiles(&self) -> u32 {
        self.tiles_across().saturating_mul(self.tiles_down())
    }

    /// The horizontal and vertical extent of a tile on the reference grid (B-7 to B-10).
    pub(crate) fn tile_extent(&self, tile: u32) -> (Range<u32>, Range<u32>) {
        let across = self.tiles_across().max(1);
        let span = |index: u32, first: u32, step: u32, low: u32, high: u32| {
            let start = first.saturating_add(index.saturating_mul(step));
            start.max(low)..start.saturating_add(step).min(high)
        };
        (
            span(tile % across, self.tile_x0, self.tile_width, self.x0, self.x1),
            span(tile / across, self.tile_y0, self.tile_height, self.y0, self.y1),
        )
    }

    /// The samples of a component at 1/2^k, columns and rows (B-1, B-14); `None` where there is no such component.
    pub(crate) fn component_area(&self, component: u16, k: u8) -> Option<Area> {
        self.area_of(&(self.x0..self.x1), &(self.y0..self.y1), component, k)
    }

    /// The samples that a tile has of a component at 1/2^k (B-12, B-14).
    pub(crate) fn tile_area(&self, tile: u32, component: u16, k: u8) -> Option<Area> {
        let (x, y) = self.tile_extent(tile);
        self.area_of(&x, &y, component, k)
    }

    /// The samples of a component at 1/2^k within a part of the reference grid.
    fn area_of(&self, x: &Range<u32>, y: &Range<u32>, component: u16, k: u8) -> Option<Area> {
        let of = self.components.get(usize::from(component))?;
        let span = |range: &Range<u32>, separation: u8| {
            let edge = |edge: u32| {
                let halved = u64::from(edge.div_ceil(separation.max(1).into())).div_ceil(1 << k.min(63));
                u32::try_from(halved).unwrap_or(u32::MAX)
            };
            edge(range.start)..edge(range.end)
        };
        Some((span(x, of.dx), span(y, of.dy)))
    }

    fn parse(body: &[u8], offset: u64) -> Result<Self> {
        let bad = |what: String| Error::malformed(offset, "A.5.1", what);
        let mut cursor = Cursor::new(body, offset);
        let fields = (|| {
            let _capabilities = cursor.u16()?;
            let mut next = || cursor.u32();
            let [x1, y1, x0, y0] = [next()?, next()?, next()?, next()?];
            let [tile_width, tile_height, tile_x0, tile_y0] = [next()?, next()?, next()?, next()?];
            let count = cursor.u16()?;
            let mut components = Vec::with_capacity(usize::from(count).min(body.len()));
            for _ in 0..count {
                components.push(Component { depth: cursor.u8()?, dx: cursor.u8()?, dy: cursor.u8()? });
            }
            Ok(Siz { x1, y1, x0, y0, tile_width, tile_height, tile_x0, tile_y0, components })
        })();
        let siz =
            fields.map_err(|_: Short| bad(format!("a SIZ marker segment of {} bytes is too short", body.len())))?;
        if siz.components.is_empty() || siz.components.iter().any(|c| c.dx == 0 || c.dy == 0) {
            return Err(bad("no components, or components with a sample separation of 0".into()));
        }
        if siz.x0 >= siz.x1 || siz.y0 >= siz.y1 {
            return Err(bad(format!("an image area of {}..{} by {}..{}", siz.x0, siz.x1, siz.y0, siz.y1)));
        }
        // B.3: the first tile must begin at or before the image and reach into it.
        let misses = |t0: u32, step: u32, i0: u32| t0 > i0 || t0.checked_add(step).is_some_and(|end| end <= i0);
        if siz.tile_width == 0
            || siz.tile_height == 0
            || misses(siz.tile_x0, siz.tile_width, siz.x0)
            || misses(siz.tile_y0, siz.tile_height, siz.y0)
        {
            return Err(bad(format!(
                "tiles of {} by {} from {}, {} that do not cover the image",
                siz.tile_width, siz.tile_height, siz.tile_x0, siz.tile_y0
            )));
        }
        let tiles = u64::from(siz.tiles_across()) * u64::from(siz.tiles_down());
        if tiles > 65_535 {
            return Err(bad(format!("{tiles} tiles, more than the 65,535 that Isot can number")));
        }
        Ok(siz)
    }
}

/// A marker segment of the main header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkerSegment {
    /// The marker.
    pub(crate) code: u16,
    /// Where the marker's first byte stands, in bytes from the start of the file.
    pub(crate) offset: u64,
    /// The length in bytes, marker included.
    pub(crate) length: u32,
}

/// A file from its first byte to its first SOT marker, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MainHeader {
    /// The boxes that stand before the codestream: kind, offset and length in bytes.
    pub(crate) boxes: Vec<([u8; 4], u64, u64)>,
    /// Where the jp2c box begins and how it writes its length; `None` for a bare codestream.
    pub(crate) jp2c: Option<(u64, LBox)>,
    /// Where the codestream ends by the jp2c box, in bytes from the start of the file; `None`: at the file's end.
    pub(crate) codestream_end: Option<u64>,
    /// Where the SOC marker stands, in bytes from the start of the file.
    pub(crate) codestream: u64,
    /// Image and tile size.
    pub(crate) siz: Siz,
    /// How tiles are coded whose own headers do not say otherwise.
    pub(crate) coding: TileCoding,
    /// The marker segments in their order.
    pub(crate) segments: Vec<MarkerSegment>,
    /// Where the first SOT marker stands, in bytes from the start of the file.
    pub(crate) end: u64,
}

impl MainHeader {
    /// Whether there is a marker segment of this kind.
    pub(crate) fn has(&self, code: u16) -> bool {
        self.segments.iter().any(|segment| segment.code == code)
    }

    /// The name of a marker of this header that forbids views of fewer packets.
    pub(crate) fn hindrance(&self) -> Option<&'static str> {
        hindrance(|code| self.has(code))
    }

    /// [`Error::NoOverview`] where there is such a marker.
    pub(crate) fn check_hindrance(&self) -> Result<()> {
        match self.hindrance() {
            Some(marker) => Err(Error::NoOverview { what: format!("a marker {marker} in its main header forbids it") }),
            None => Ok(()),
        }
    }

    /// Where the codestream of a file of `file_size` bytes ends, in bytes from the start of the file, exclusive: with the
    /// jp2c box, or with the file where the box claims to be longer. Decoders read such files as far as they go.
    pub(crate) fn codestream_end_in(&self, file_size: u64) -> u64 {
        self.codestream_end.map_or(file_size, |end| end.min(file_size))
    }

    /// Whether the file has a TLM marker of its own.
    pub(crate) fn has_tlm(&self) -> bool {
        self.has(TLM)
    }

    /// Whether packet headers stand in the main header (PPM), in the order of the tile-parts.
    pub(crate) fn has_ppm(&self) -> bool {
        self.has(PPM)
    }

    /// The TLM marker segments, markers included, one after the other.
    pub(crate) fn tlm<'a>(&self, file: &'a [u8]) -> Vec<&'a [u8]> {
        let bounds = |segment: &MarkerSegment| {
            let start = usize::try_from(segment.offset).ok()?;
            file.get(start..start.checked_add(usize::try_from(segment.length).ok()?)?)
        };
        self.segments.iter().filter(|segment| segment.code == TLM).filter_map(bounds).collect()
    }

    /// Turns the TLM marker segments in `file` into comments, which decoders do not look at. Nothing changes its place.
    pub(crate) fn hide_tlm(&self, file: &mut [u8]) {
        for segment in self.segments.iter().filter(|segment| segment.code == TLM) {
            let start = usize::try_from(segment.offset).unwrap_or(usize::MAX);
            if let Some(marker) = file.get_mut(start..start.saturating_add(2)) {
                marker.copy_from_slice(&COM.to_be_bytes());
            }
        }
    }
}

/// Parses a file from its first byte to its first SOT marker. `file` is a prefix of the file, which has `file_size` bytes.
///
/// # Errors
/// [`Error::Malformed`] where the bytes are no JPEG 2000 file, or one that ends before its first tile-part.
pub(crate) fn parse_main_header(file: &[u8], file_size: u64) -> Result<Progress<MainHeader>> {
    let mut cursor = Cursor::new(file, 0);
    match walk(&mut cursor) {
        Ok(parsed) => parsed.map(Progress::Done),
        Err(Short(end)) if end > file_size => Err(Error::malformed(
            file_size,
            "A.3",
            "the file ends before its first tile-part: it is cut, or no JPEG 2000 file",
        )),
        Err(Short(end)) if end > LONGEST_HEADER => {
            Err(Error::malformed(cursor.offset(), "A.3", format!("a header of more than {LONGEST_HEADER} bytes")))
        }
        Err(short) => Ok(short.into()),
    }
}

/// The outer result tells that bytes are missing, the inner one what the bytes say.
fn walk(cursor: &mut Cursor<'_>) -> Result<Result<MainHeader>, Short> {
    macro_rules! check {
        ($result:expr) => {
            match $result {
                Ok(value) => value,
                Err(error) => return Ok(Err(error)),
            }
        };
    }
    let mut boxes = Vec::new();
    let mut jp2c = None;
    let mut codestream_end = None;
    // A bare codestream begins with SOC and SIZ (A.3), a JP2 file with its signature box (I.5.1).
    let start = cursor.take(4)?;
    cursor.seek(0)?;
    if start != [0xFF, 0x4F, 0xFF, 0x51] {
        let signature = if SIGNATURE.starts_with(start) { cursor.take(SIGNATURE.len())? } else { start };
        if signature != SIGNATURE {
            return Ok(Err(Error::malformed(
                0,
                "I.5.1",
                "no JPEG 2000 file: neither a JP2 signature nor a codestream",
            )));
        }
        boxes.push((*b"jP  ", 0, SIGNATURE.len() as u64));
        loop {
            let header = parse_box_header(cursor)?;
            let end = check!(header.end());
            if header.kind == *b"jp2c" {
                jp2c = Some((header.offset, header.length));
                codestream_end = end;
                break;
            }
            let Some(end) = end else {
                return Ok(Err(Error::malformed(
                    header.offset,
                    "I.5.4",
                    "the last box is reached and no codestream (jp2c) was found",
                )));
            };
            boxes.push((header.kind, header.offset, end - header.offset));
            cursor.seek(end)?;
        }
    }
    let codestream = cursor.offset();
    if cursor.u16()? != SOC {
        return Ok(Err(Error::malformed(codestream, "A.4.1", "no SOC marker where the codestream begins")));
    }
    let mut segments = Vec::new();
    let mut siz: Option<Siz> = None;
    let mut coding = CodingSegments::default();
    loop {
        let offset = cursor.offset();
        let code = cursor.u16()?;
        if code == SOT {
            let Some(siz) = siz else {
                return Ok(Err(Error::malformed(offset, "A.5.1", "no SIZ marker segment in the main header")));
            };
            let Some(coding) = coding.into_main() else {
                return Ok(Err(Error::malformed(offset, "A.6.1", "no COD marker segment in the main header")));
            };
            return Ok(Ok(MainHeader { boxes, jp2c, codestream_end, codestream, siz, coding, segments, end: offset }));
        }
        let body = check!(segment_body(cursor, code, offset)?);
        match code {
            SIZ => siz = Some(check!(Siz::parse(body, offset))),
            // SIZ is the first marker segment (A.5.1): the components are known by now.
            _ => check!(coding.take(code, body, offset, siz.as_ref().map_or(0, |siz| siz.components.len()))),
        }
        let length = u32::try_from(cursor.offset() - offset).unwrap_or(u32::MAX);
        segments.push(MarkerSegment { code, offset, length });
    }
}

/// The parameters of the marker segment whose marker `code` at `offset` was just read (A.1.1), without their length.
pub(super) fn segment_body<'a>(cursor: &mut Cursor<'a>, code: u16, offset: u64) -> Result<Result<&'a [u8]>, Short> {
    if !(0xFF01..0xFFFF).contains(&code) || code == 0xFFD9 {
        return Ok(Err(Error::malformed(offset, "A.1", format!("{code:04X} where a marker segment was expected"))));
    }
    if (0xFF30..=0xFF3F).contains(&code) {
        return Ok(Ok(&[])); // markers without parameters (Table A.1)
    }
    let length = cursor.u16()?;
    if length < 2 {
        return Ok(Err(Error::malformed(offset, "A.1.1", format!("a marker segment {code:04X} of {length} bytes"))));
    }
    Ok(Ok(cursor.take(usize::from(length) - 2)?))
}

/// The SOT marker segment (A.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sot {
    /// Isot: the tile's index.
    pub(crate) tile: u16,
    /// Psot: the length of the tile-part from the marker's first byte; 0 in a last tile-part: up to the EOC marker.
    pub(crate) length: u32,
    /// TPsot: the tile-part's index in its tile.
    pub(crate) part: u8,
    /// TNsot: the number of tile-parts of the tile, 0 where it is not told.
    pub(crate) parts: u8,
}

impl std::fmt::Display for Sot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tile, length, part, parts } = self;
        write!(f, "tile-part {part} of tile {tile}, of {length} bytes (TNsot {parts})")
    }
}

impl Sot {
    /// Parses the segment that stands at `offset`; `bytes` holds at least its 12 bytes, or the file ends.
    pub(crate) fn parse(bytes: &[u8], offset: u64) -> Result<Self> {
        let mut cursor = Cursor::new(bytes, offset);
        let fields = (|| {
            Ok((
                cursor.u16()?,
                cursor.u16()?,
                Sot { tile: cursor.u16()?, length: cursor.u32()?, part: cursor.u8()?, parts: cursor.u8()? },
            ))
        })();
        match fields {
            Ok((SOT, 10, sot)) => Ok(sot),
            Ok((marker, _, _)) => {
                Err(Error::malformed(offset, "A.4.2", format!("{marker:04X} where a tile-part (SOT) was expected")))
            }
            Err(Short(_)) => {
                Err(Error::malformed(offset, "A.4.2", "the file ends where a tile-part (SOT) was expected: it is cut"))
            }
        }
    }

    /// Whether it can be that of a tile-part of `tile` with `length` bytes: Psot may be 0 in a last one (A.4.2).
    pub(crate) fn is_of(self, tile: u16, length: u32) -> bool {
        self.tile == tile && (self.length == length || self.length == 0)
    }

    /// The segment's 12 bytes.
    pub(crate) fn build(self) -> [u8; 12] {
        let [t0, t1] = self.tile.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0xFF, 0x90, 0, 10, t0, t1, l0, l1, l2, l3, self.part, self.parts]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::made;

    #[test]
    fn a_made_file_is_understood() {
        let file = made::File { levels: 4, ..made::File::default() };
        let bytes = file.bytes();
        let Progress::Done(header) = parse_main_header(&bytes, bytes.len() as u64).unwrap() else {
            panic!("all is there")
        };
        assert_eq!((header.siz.tiles_across(), header.siz.tiles_down()), (3, 2));
        assert_eq!(header.coding.default.levels, 4);
        assert_eq!(header.coding.default.precincts.len(), 5);
        assert_eq!(&bytes[header.end as usize..][..2], [0xFF, 0x90]);
        assert_eq!(&bytes[header.codestream as usize..][..2], [0xFF, 0x4F]);
        assert!(!header.has_tlm());
    }

    #[test]
    fn every_prefix_asks_for_more_and_never_fails() {
        let bytes = made::File::default().bytes();
        let Progress::Done(header) = parse_main_header(&bytes, bytes.len() as u64).unwrap() else {
            panic!("all is there")
        };
        for length in 0..header.end as usize + 2 {
            match parse_main_header(&bytes[..length], bytes.len() as u64).unwrap() {
                Progress::Need(end) => assert!(end > length as u64 && end <= header.end + 2, "{length} asks for {end}"),
                Progress::Done(_) => panic!("done with {length} bytes"),
            }
        }
    }

    #[test]
    fn a_file_cut_in_its_header_is_named_so() {
        let bytes = made::File::default().bytes();
        for length in 0..60 {
            assert!(parse_main_header(&bytes[..length], length as u64).is_err(), "{length}");
        }
    }

    #[test]
    fn other_files_are_no_jp2() {
        for bytes in [&b"<html>not found</html>"[..], b"II*\0\0\0\0\0\0\0\0\0\0\0\0\0", &[0; 64]] {
            let error = parse_main_header(bytes, bytes.len() as u64).unwrap_err();
            assert!(error.to_string().contains("no JPEG 2000 file"), "{error}");
        }
    }

    #[test]
    fn a_million_tiles_are_refused() {
        let mut bytes = made::File::default().bytes();
        let siz = bytes.windows(4).position(|w| w == [0xFF, 0x4F, 0xFF, 0x51]).unwrap() + 2;
        bytes[siz + 6..siz + 14].copy_from_slice(&[0, 0, 4, 0, 0, 0, 4, 0]);
        bytes[siz + 22..siz + 30].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        let error = parse_main_header(&bytes, bytes.len() as u64).unwrap_err();
        assert!(error.to_string().contains("more than the 65,535"), "{error}");
    }

    #[test]
    fn boxes_that_never_reach_a_codestream_are_refused() {
        for lbox in 2u8..8 {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend_from_slice(&[0, 0, 0, lbox, b'x', b'm', b'l', b' ', 1, 2, 3, 4]);
            assert!(parse_main_header(&bytes, 1 << 30).is_err());
        }
        let mut huge = SIGNATURE.to_vec();
        huge.extend_from_slice(&[0x7F, 0, 0, 0, b'x', b'm', b'l', b' ']);
        let error = parse_main_header(&huge, 1 << 40).unwrap_err();
        assert!(error.to_string().contains("header of more than"), "{error}");
    }

    #[test]
    fn tile_extents_cover_the_image() {
        let bytes = made::File::default().bytes();
        let Progress::Done(header) = parse_main_header(&bytes, bytes.len() as u64).unwrap() else {
            panic!("all is there")
        };
        let (x, y) = header.siz.tile_extent(5);
        assert_eq!((x, y), (64..80, 32..60));
    }

    proptest::proptest! {
        #[test]
        fn an_sot_is_read_as_it_is_built(tile: u16, length: u32, part: u8, parts: u8) {
            let sot = Sot { tile, length, part, parts };
            proptest::prop_assert_eq!(Sot::parse(&sot.build(), 0).unwrap(), sot);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0usize..200) {
            let _ = parse_main_header(&bytes, 1 << 20);
            let good = made::File::default().bytes();
            for (offset, byte) in bytes.drain(..).enumerate() {
                let mut mutated = good.clone();
                if let Some(slot) = mutated.get_mut(at + offset) { *slot = byte; }
                let _ = parse_main_header(&mutated, mutated.len() as u64);
            }
        }
    }
}
