//! A tile without packets, in place of one that could not be read.
//!
//! GDAL's threads hide what fails (see `vsi::hidden_failures`), so a thread of theirs gets a tile that decodes to nothing, and its
//! pixels are thrown away. In a tile-part's body that is SOD and then empty packets: a packet header whose first bit is 0
//! (T.800 B.10.3), with EPH behind it where the main header asks for that (A.8.2).

use std::ops::Range;

use bytes::Bytes;

use super::VirtualFile;
use crate::jp2::{EOC, SOD, SOT_LENGTH, empty_packet};
use crate::layout::{Content, VirtualOffset};

const SOC_SIZ: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
const SOT: [u8; 4] = [0xFF, 0x90, 0, 10];

/// The body of a tile-part that has no packets.
pub(crate) struct EmptyTile {
    /// Its bytes of the virtual file.
    pub(crate) body: Range<u64>,
    /// What stands before the packets.
    head: &'static [u8],
    packet: Vec<u8>,
}

impl EmptyTile {
    /// Fills `buffer` from `offset` on, which lies in the body, up to the body's end, and gives the number of bytes.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let length = usize::try_from(self.body.end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let first = usize::try_from(offset.saturating_sub(self.body.start)).unwrap_or(usize::MAX);
        let made_up = self.head.iter().chain(self.packet.iter().cycle());
        // Neither has more bytes than SOD and one packet, but for the cycle's period.
        let skip = match first.checked_sub(self.head.len()) {
            Some(packets) => self.head.len() + packets % self.packet.len(),
            None => first,
        };
        for (byte, made_up) in buffer.iter_mut().take(length).zip(made_up.skip(skip)) {
            *byte = *made_up;
        }
        length
    }
}

impl VirtualFile {
    /// Whether the codestream begins at `offset`, and its structure is known.
    pub(crate) fn is_codestream_start(&self, offset: u64) -> bool {
        !self.layout.units().is_empty() && self.inline_from(offset).is_some_and(|bytes| bytes.starts_with(&SOC_SIZ))
    }

    /// Fills `buffer` with the inline bytes from `offset` on, as far as they go, and gives their number; `None` where none is
    /// inline there.
    pub(crate) fn read_inline(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let bytes = self.inline_from(offset).filter(|bytes| !bytes.is_empty())?;
        let length = bytes.len().min(buffer.len());
        buffer.get_mut(..length)?.copy_from_slice(bytes.get(..length)?);
        Some(length)
    }

    /// The inline bytes from `offset` to the end of their segment.
    fn inline_from(&self, offset: u64) -> Option<Bytes> {
        match self.layout.segments_from(VirtualOffset(offset)).next() {
            Some((start, Content::Inline(bytes))) => {
                let skip = usize::try_from(offset.checked_sub(start.0)?).ok()?;
                (skip <= bytes.len()).then(|| bytes.slice(skip..))
            }
            _ => None,
        }
    }

    /// The empty tile that can stand in for the one that a read from `offset` on comes to first: where that read has not
    /// begun within the tile's body, which would be half of one tile and half of another, and where the body lies between
    /// two markers that are known.
    pub(crate) fn empty_tile(&self, offset: u64) -> Option<EmptyTile> {
        let start = match self.layout.segments_from(VirtualOffset(offset)).next()? {
            (start, Content::Inline(bytes)) => start.0 + bytes.len() as u64,
            (start, Content::Source(_)) => Some(start.0).filter(|start| *start == offset)?,
        };
        let before = self.layout.segments_from(VirtualOffset(start.checked_sub(1)?)).next();
        let Some((inline, Content::Inline(before))) = before else { return None };
        let packet = empty_packet(None, self.header.as_ref()?.main.coding.eph);
        let tile = |body, head| (!self.layout.units().is_empty()).then_some(EmptyTile { body, head, packet });
        if let Some(at) = before.windows(SOT.len()).rposition(|marker| marker == SOT) {
            let (head, length) = parse_header(before.get(at..)?)?;
            let end = inline.0 + at as u64 + u64::from(length);
            return tile((start < end && end <= self.size()).then_some(start..end)?, head);
        }
        if !before.ends_with(&SOD) {
            return None;
        }
        let mut segments = self.layout.segments_from(VirtualOffset(start));
        let end = segments.find_map(|(start, content)| match content {
            Content::Inline(bytes) => (bytes.starts_with(&SOT) || bytes.starts_with(&EOC)).then_some((start.0, true)),
            Content::Source(range) => self.unit_at(range.start.0).is_none().then_some((start.0, false)),
        });
        let (end, true) = end? else { return None };
        tile(start..end, &[])
    }
}

/// What a tile-part of which this much is inline still needs before its packets, and its length in bytes (Psot). Behind SOD
/// a window's view may have empty packets already. `None` where its header is not whole.
fn parse_header(tile_part: &[u8]) -> Option<(&'static [u8], u32)> {
    let length = u32::from_be_bytes(tile_part.get(6..10)?.try_into().ok()?);
    let mut rest = tile_part.get(usize::try_from(SOT_LENGTH).ok()?..)?;
    if rest.is_empty() {
        return Some((&SOD, length));
    }
    while !rest.starts_with(&SOD) {
        let segment = u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?);
        rest = rest.get(2 + usize::from(segment)..)?;
    }
    Some((&[], length))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, case_of};
    use super::*;
    use crate::jp2::{LBox, made};
    use crate::path::Window;

    /// Where the bodies begin: behind the SOT marker segments of a file without a TLM of its own.
    fn bodies(case: &Case) -> Vec<u64> {
        let all = case.file.layout.segments_from(VirtualOffset(0));
        all.filter(|(_, content)| matches!(content, Content::Source(_))).map(|(start, _)| start.0).collect()
    }

    #[test]
    fn stands_in_for_a_tile_from_its_start_to_the_next_one() {
        let case = case_of(
            "empty",
            &made::File { plt: true, jp2c: Some(LBox::Short(0)), trailer: vec![7; 300], ..made::File::default() },
        );
        let starts = bodies(&case);
        let (trailer, bodies) = starts.split_last().unwrap();
        for (number, start) in bodies.iter().enumerate() {
            let tile = case.file.empty_tile(*start).unwrap();
            let next = bodies.get(number + 1).map_or(trailer - 2, |next| next - 12);
            assert_eq!(tile.body, *start..next);
            // The first tile-part's SOD is inline.
            let (header, head) = if number == 0 { (14, &[][..]) } else { (12, &SOD[..]) };
            assert_eq!(case.file.empty_tile(start - header).unwrap().body, tile.body, "from its SOT on");
            assert!(case.file.empty_tile(start + 1).is_none(), "within its body");
            let mut buffer = vec![0xEE; 9000];
            let length = tile.read(*start, &mut buffer);
            assert_eq!(length as u64, next - start);
            assert!(buffer.starts_with(head) && buffer[head.len()..length].iter().all(|byte| *byte == 0));
            assert!(buffer[length..].iter().all(|byte| *byte == 0xEE));
        }
        assert!(case.file.empty_tile(*trailer).is_none(), "a box is no tile");
        assert!(case.file.empty_tile(case.file.size()).is_none());
    }

    #[test]
    fn stands_in_for_a_tile_of_a_window_that_begins_with_empty_packets() {
        let made = made::File {
            plt: true,
            tile: 64,
            width: 160,
            height: 130,
            precincts: 2,
            packet: 300,
            ..made::File::default()
        };
        let case = case_of("empty-window", &made);
        let window = Window { x: 40, y: 50, width: 50, height: 30 };
        let view = case.file.packets_of(1, &[window]).unwrap().unwrap();
        let bytes = super::super::tests::materialise(&view, &made.bytes());
        let sots: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&SOT)).collect();
        assert_eq!(sots.len(), 4);
        let mut begin_empty = 0;
        for sot in sots {
            let end = sot + u32::from_be_bytes(bytes[sot + 6..sot + 10].try_into().unwrap()) as usize;
            let tile = view.empty_tile(sot as u64).unwrap();
            assert_eq!(tile.body.end, end as u64);
            begin_empty += usize::from(bytes[..tile.body.start as usize].ends_with(&[0]));
            assert!(view.empty_tile(tile.body.start + 1).is_none(), "within its body");
        }
        assert!(begin_empty > 0);
    }

    #[test]
    fn any_piece_of_it_is_the_same() {
        for (head, eph) in [(&SOD[..], true), (&[][..], true), (&SOD[..], false)] {
            let packet = empty_packet(None, eph);
            let tile = EmptyTile { body: 100..140, head, packet: packet.clone() };
            let mut whole = [0xEE; 40];
            assert_eq!(tile.read(100, &mut whole), 40);
            assert!(whole.starts_with(&[head, &packet, &packet].concat()));
            for offset in 100..140 {
                let mut piece = [0xEE; 7];
                let length = tile.read(offset, &mut piece);
                assert_eq!(piece[..length], whole[offset as usize - 100..][..length]);
                assert_eq!(length as u64, (140 - offset).min(7));
            }
        }
    }

    #[test]
    fn inline_bytes_are_read_without_the_source() {
        let case = case_of("inline", &made::File { plt: true, ..made::File::default() });
        let (body, mut buffer) = (bodies(&case)[0], vec![0xEE; case.oracle.len()]);
        for offset in [0, body - 20, body - 1] {
            assert_eq!(case.file.read_inline(offset, &mut buffer), Some((body - offset) as usize));
            assert_eq!(buffer[..(body - offset) as usize], case.oracle[offset as usize..body as usize]);
        }
        assert_eq!(case.file.read_inline(body, &mut buffer), None);
        assert_eq!(case.file.read_inline(body - 20, &mut buffer[..3]), Some(3));
        assert_eq!(case.memory.cost().0, 0);
    }

    #[test]
    fn the_codestream_begins_at_one_place() {
        let case = case_of("soc", &made::File::default());
        let starts: Vec<_> = (0..case.file.size()).filter(|at| case.file.is_codestream_start(*at)).collect();
        assert_eq!(starts.len(), 1);
    }
}
