//! Pointer marker segments: TLM (T.800 A.7.1) and PLT (A.7.3).

use super::codes::TLM;
use super::cursor::{Cursor, Short};
use crate::error::{Error, Result};

/// The longest marker segment's length field (A.1.1), which counts itself.
const LONGEST: usize = 65_535;

/// Builds the TLM marker segments of tile-parts, given in codestream order as tile index and length in bytes.
///
/// Ttlm has one byte where the indexes allow it, else two; Ptlm two bytes where the lengths allow it, else four. Ttlm is
/// never left out: that would promise that the tiles are in order. As many segments as needed, Ztlm counting them; with
/// more than 256 it starts again at 0, which readers do not mind, since the order of the segments is what counts.
pub(crate) fn build_tlm(entries: &[(u16, u32)]) -> Vec<u8> {
    let wide_tiles = entries.iter().any(|(tile, _)| *tile > 255);
    let wide_lengths = entries.iter().any(|(_, length)| *length > 65_535);
    let entry = if wide_tiles { 2 } else { 1 } + if wide_lengths { 4 } else { 2 };
    let stlm: u8 = if wide_tiles { 0x20 } else { 0x10 } | if wide_lengths { 0x40 } else { 0 };
    let mut out = Vec::with_capacity(entries.len() * entry + 6);
    for (number, chunk) in entries.chunks((LONGEST - 4) / entry).enumerate() {
        out.extend_from_slice(&TLM.to_be_bytes());
        out.extend_from_slice(&u16::try_from(4 + chunk.len() * entry).unwrap_or(u16::MAX).to_be_bytes());
        out.push(u8::try_from(number % 256).unwrap_or(0));
        out.push(stlm);
        for (tile, length) in chunk {
            let (tile, length) = (tile.to_be_bytes(), length.to_be_bytes());
            out.extend_from_slice(tile.get(if wide_tiles { 0 } else { 1 }..).unwrap_or_default());
            out.extend_from_slice(length.get(if wide_lengths { 0 } else { 2 }..).unwrap_or_default());
        }
    }
    out
}

/// Parses TLM marker segments, markers included, that stand one after the other: tile index and length in bytes of
/// every tile-part, in codestream order.
///
/// # Errors
/// [`Error::Malformed`] with offsets from the first segment's first byte.
pub(crate) fn parse_tlm_segments(bytes: &[u8]) -> Result<Vec<(u16, u32)>> {
    let mut cursor = Cursor::new(bytes, 0);
    let mut entries = Vec::new();
    while !cursor.is_empty() {
        let offset = cursor.offset();
        let bad = |what: &str| Error::malformed(offset, "A.7.1", what);
        let cut = |_: Short| bad("a TLM marker segment that is cut");
        if cursor.u16().map_err(cut)? != TLM {
            return Err(bad("no TLM marker where one was expected"));
        }
        let length = usize::from(cursor.u16().map_err(cut)?);
        let body = cursor
            .take(length.checked_sub(2).ok_or_else(|| bad("a TLM marker segment without contents"))?)
            .map_err(cut)?;
        let mut body = Cursor::new(body, offset);
        let _ztlm = body.u8().map_err(cut)?;
        let stlm = body.u8().map_err(cut)?;
        let [tile_width, wide_lengths] = [(stlm >> 4) & 3, (stlm >> 6) & 1];
        while !body.is_empty() {
            let tile = match tile_width {
                // Tiles in order, one tile-part each (Table A.33).
                0 => u16::try_from(entries.len()).map_err(|_| bad("more tile-parts than Isot can number")),
                1 => Ok(body.u8().map_err(cut)?.into()),
                2 => Ok(body.u16().map_err(cut)?),
                _ => Err(bad("an Stlm with a size of Ttlm that does not exist")),
            }?;
            let length = if wide_lengths == 1 { body.u32() } else { body.u16().map(u32::from) };
            entries.push((tile, length.map_err(cut)?));
        }
    }
    Ok(entries)
}

/// Appends the packet lengths of one PLT marker segment's parameters to `lengths`; `offset` is its place for messages.
pub(super) fn parse_plt(body: &[u8], offset: u64, lengths: &mut Vec<u32>) -> Result<()> {
    let Some((_zplt, packed)) = body.split_first() else {
        return Err(Error::malformed(offset, "A.7.3", "a PLT marker segment without an index"));
    };
    let mut length: u32 = 0;
    let mut open = false;
    for byte in packed {
        if length >> 25 != 0 {
            return Err(Error::malformed(offset, "A.7.3", "a packet length of more than 32 bits"));
        }
        length = length << 7 | u32::from(byte & 0x7F);
        open = byte & 0x80 != 0;
        if !open {
            lengths.push(length);
            length = 0;
        }
    }
    if open {
        return Err(Error::malformed(offset, "A.7.3", "a packet length that does not end in its segment"));
    }
    Ok(())
}

/// Builds one PLT marker segment, marker included, numbered `zplt`. For tests: the program itself never writes any.
#[cfg(any(test, fuzzing))]
pub(crate) fn build_plt(zplt: u8, lengths: &[u32]) -> Vec<u8> {
    let mut body = vec![zplt];
    for length in lengths {
        let groups = (32 - length.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            body.push(((length >> (7 * group)) & 0x7F) as u8 | if group > 0 { 0x80 } else { 0 });
        }
    }
    let mut out = vec![0xFF, 0x58];
    out.extend_from_slice(&(body.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_as_small_as_the_values_allow() {
        assert_eq!(build_tlm(&[(0, 14), (1, 0xFFFF)]), [0xFF, 0x55, 0, 10, 0, 0x10, 0, 0, 14, 1, 0xFF, 0xFF]);
        assert_eq!(build_tlm(&[(1, 0x1_0000)]), [0xFF, 0x55, 0, 9, 0, 0x50, 1, 0, 1, 0, 0]);
        assert_eq!(build_tlm(&[(256, 14)]), [0xFF, 0x55, 0, 8, 0, 0x20, 1, 0, 0, 14]);
        assert_eq!(build_tlm(&[(256, 0x1_0000)]), [0xFF, 0x55, 0, 10, 0, 0x60, 1, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_segment_holds_what_openjpeg_reads_of_it() {
        // 10,921 entries with 16-bit indexes and 32-bit lengths: the eleventh thousand opens a second segment.
        let entries: Vec<_> = (0..10_922).map(|tile| (tile, 100_000)).collect();
        let bytes = build_tlm(&entries);
        let first = 4 + 10_921 * 6;
        assert_eq!(bytes[2..5], [(first >> 8) as u8, first as u8, 0]);
        assert_eq!(bytes[2 + first..], [0xFF, 0x55, 0, 10, 1, 0x60, 0x2A, 0xA9, 0, 1, 0x86, 0xA0]);
        assert_eq!(parse_tlm_segments(&bytes).unwrap(), entries);
    }

    #[test]
    fn tlm_without_indexes_counts_the_tiles() {
        let bytes = [0xFF, 0x55, 0, 8, 0, 0x00, 0, 14, 0, 15];
        assert_eq!(parse_tlm_segments(&bytes).unwrap(), [(0, 14), (1, 15)]);
    }

    #[test]
    fn what_is_no_tlm_is_refused() {
        for bytes in [
            &[0xFF, 0x55][..],
            &[0xFF, 0x55, 0, 1],
            &[0xFF, 0x55, 0, 9, 0, 0x10, 0, 0, 14],
            &[0xFF, 0x55, 0, 6, 0, 0x30, 0, 0],
            &[0xFF, 0x58, 0, 4, 0, 0x10],
            &[0xFF, 0x55, 0, 6, 0, 0x10, 0, 0],
        ] {
            assert!(parse_tlm_segments(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn plt_lengths_end_in_their_segment_and_fit_32_bits() {
        let mut lengths = Vec::new();
        parse_plt(&[0, 0x81, 0x00, 0x7F], 0, &mut lengths).unwrap();
        assert_eq!(lengths, [128, 127]);
        assert!(parse_plt(&[], 0, &mut lengths).is_err());
        assert!(parse_plt(&[0, 0x81], 0, &mut lengths).is_err());
        assert!(parse_plt(&[0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], 0, &mut lengths).is_err());
    }

    proptest! {
        #[test]
        fn tlm_is_read_as_it_is_built(entries in prop::collection::vec((any::<u16>(), any::<u32>()), 1..500), narrow: bool) {
            let entries: Vec<_> = entries.into_iter().map(|(t, l)| if narrow { (t % 256, l % 65_536) } else { (t, l) }).collect();
            prop_assert_eq!(parse_tlm_segments(&build_tlm(&entries)).unwrap(), entries);
        }

        #[test]
        fn plt_is_read_as_it_is_built(lengths in prop::collection::vec(any::<u32>(), 0..2000)) {
            let segment = build_plt(0, &lengths);
            let mut read = Vec::new();
            parse_plt(&segment[4..], 0, &mut read).unwrap();
            prop_assert_eq!(read, lengths);
        }

        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse_tlm_segments(&bytes);
            let _ = parse_plt(&bytes, 0, &mut Vec::new());
            let _ = parse_tlm_segments(&[&[0xFF, 0x55], &bytes[..]].concat());
        }
    }
}
