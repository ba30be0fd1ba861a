//! The two binary columns that hold a tile-part table.
//!
//! `index`, as the published s2tlm/jp2io files have it, all big-endian: u64 size of the file in bytes, u64 offset of the
//! first SOT marker, u32 length in bytes, then as many bytes of TLM marker segments (T.800 A.7.1), markers included,
//! with one entry a tile-part in source order. Empty where the file has a TLM of its own. A `.tlm` file holds one such
//! blob.
//!
//! `resolution_ends`: what stands before the packets of each tile-part and where each resolution's packets end, all
//! numbers in bytes from the SOT marker's first byte, as unsigned LEB128 varints. One byte of version, 1, then plane
//! after plane, each with one value a tile-part in the order of `index` (like values side by side compress best):
//!
//! 1. shape: 0 where nothing is known of a tile-part (it has no value in the planes that follow), else
//!    1 + droppable + 2 × closed + 4 × n, n being the number of resolutions whose ends are known;
//! 2. where the marker segments end that a merged tile must keep;
//! 3. how many bytes after that the packets begin, just behind the SOD marker;
//! 4. for r = 0, 1, …: how many bytes the packets of resolution r have, for the tile-parts with r < n. Where `closed`
//!    is set, those of the last resolution run to the end of the tile-part and are not written.
//!
//! Nothing is allocated that the bytes do not pay for: every tile-part costs a byte of input, every resolution another.

use crate::error::{Error, Result};
use crate::jp2::{TilePart, TilePartHead, build_tlm, parse_tlm_segments};

/// Bytes before the TLM marker segments.
const FIXED: usize = 20;
/// The version of `resolution_ends`.
const VERSION: u8 = 1;
/// T.800 A.6.1: at most 32 decomposition levels, so 33 resolutions.
const MOST_RESOLUTIONS: u64 = 33;

/// What an `index` blob holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// The size of the file in bytes.
    pub(crate) file_size: u64,
    /// Where the first SOT marker stands.
    pub(crate) first_sot: u64,
    /// The tile-parts, without heads.
    pub(crate) parts: Vec<TilePart>,
}

fn row(what: impl Into<String>) -> Error {
    Error::Row { what: what.into() }
}

/// Builds an `index` blob.
pub(crate) fn build_index_blob(file_size: u64, first_sot: u64, parts: &[TilePart]) -> Vec<u8> {
    let entries: Vec<_> = parts.iter().map(|part| (part.tile, part.length)).collect();
    let tlm = build_tlm(&entries);
    let mut out = Vec::with_capacity(FIXED + tlm.len());
    out.extend_from_slice(&file_size.to_be_bytes());
    out.extend_from_slice(&first_sot.to_be_bytes());
    out.extend_from_slice(&u32::try_from(tlm.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&tlm);
    out
}

/// Parses an `index` blob; `None` for an empty one.
///
/// # Errors
/// [`Error::Row`] where it is cut, claims more than it holds, or its tile-parts leave the file.
pub(crate) fn parse_index_blob(blob: &[u8]) -> Result<Option<Table>> {
    if blob.is_empty() {
        return Ok(None);
    }
    let Some((fixed, tlm)) = blob.split_at_checked(FIXED) else {
        return Err(row(format!("its index column has {} bytes, fewer than the {FIXED} it begins with", blob.len())));
    };
    let number = |range: std::ops::Range<usize>| {
        fixed.get(range).unwrap_or_default().iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (file_size, first_sot, length) = (number(0..8), number(8..16), number(16..20));
    if length != tlm.len() as u64 {
        return Err(row(format!("its index column tells of {length} bytes of TLM and holds {}", tlm.len())));
    }
    let entries = parse_tlm_segments(tlm).map_err(|error| row(format!("its TLM cannot be read: {error}")))?;
    parts_of(&entries, first_sot, file_size).map(|parts| Some(Table { file_size, first_sot, parts }))
}

/// The tile-parts of a TLM, which lie one after the other from `first_sot` on (T.800 A.7.1).
pub(crate) fn parts_of(entries: &[(u16, u32)], first_sot: u64, file_size: u64) -> Result<Vec<TilePart>> {
    let mut offset = first_sot;
    let mut parts = Vec::with_capacity(entries.len());
    for (number, (tile, length)) in entries.iter().enumerate() {
        parts.push(TilePart { tile: *tile, offset, length: *length, head: None });
        offset = match offset.checked_add(u64::from(*length)) {
            Some(end) if end <= file_size => end,
            _ => {
                return Err(row(format!(
                    "tile-part {number} ({length} bytes at {offset}) runs past the end of the file at {file_size}"
                )));
            }
        };
    }
    Ok(parts)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Builds a `resolution_ends` value; `None` where no tile-part's head is known.
pub(crate) fn build_resolution_ends(parts: &[TilePart]) -> Option<Vec<u8>> {
    if parts.iter().all(|part| part.head.is_none()) {
        return None;
    }
    let heads = || parts.iter().filter_map(|part| part.head.as_ref().map(|head| (part, head)));
    let is_closed = |part: &TilePart, head: &TilePartHead| head.resolution_ends.last() == Some(&part.length);
    let mut out = vec![VERSION];
    for part in parts {
        let shape = part.head.as_ref().map_or(0, |head| {
            let flags = u64::from(head.droppable) | u64::from(is_closed(part, head)) << 1;
            1 + flags + 4 * head.resolution_ends.len() as u64
        });
        put(&mut out, shape);
    }
    heads().for_each(|(_, head)| put(&mut out, head.kept.into()));
    heads().for_each(|(_, head)| put(&mut out, head.packets.saturating_sub(head.kept).into()));
    let most = heads().map(|(_, head)| head.resolution_ends.len()).max().unwrap_or(0);
    for resolution in 0..most {
        for (part, head) in heads() {
            let Some(end) = head.resolution_ends.get(resolution) else { continue };
            if is_closed(part, head) && resolution + 1 == head.resolution_ends.len() {
                continue;
            }
            let start = resolution.checked_sub(1).and_then(|r| head.resolution_ends.get(r)).unwrap_or(&head.packets);
            put(&mut out, end.saturating_sub(*start).into());
        }
    }
    Some(out)
}

/// Reads varints of 32 bits.
struct Varints<'a> {
    bytes: &'a [u8],
}

impl Varints<'_> {
    fn next(&mut self) -> Result<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let Some((byte, rest)) = self.bytes.split_first() else {
                return Err(row("its resolution_ends column is cut"));
            };
            self.bytes = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| row("a number of more than 32 bits in resolution_ends"));
            }
        }
        Err(row("a number of more than 32 bits in resolution_ends"))
    }
}

/// Gives `parts` the heads of a `resolution_ends` value.
///
/// # Errors
/// [`Error::Row`] where it is cut, has bytes left over, or leaves a tile-part.
pub(crate) fn parse_resolution_ends(bytes: &[u8], parts: &mut [TilePart]) -> Result<()> {
    let Some((&VERSION, bytes)) = bytes.split_first() else {
        return Err(row("its resolution_ends column is of a version that this program does not know"));
    };
    let mut input = Varints { bytes };
    let mut closed = vec![false; parts.len()];
    let mut counts = vec![0; parts.len()];
    for ((part, closed), count) in parts.iter_mut().zip(&mut closed).zip(&mut counts) {
        let shape = input.next()?;
        if let Some(shape) = shape.checked_sub(1) {
            let resolutions = u64::from(shape >> 2);
            *closed = shape & 2 != 0;
            if resolutions > MOST_RESOLUTIONS || (*closed && resolutions == 0) {
                return Err(row(format!("{resolutions} resolutions in a tile-part")));
            }
            *count = resolutions;
            part.head =
                Some(TilePartHead { kept: 0, packets: 0, droppable: shape & 1 != 0, resolution_ends: Vec::new() });
        } else {
            part.head = None;
        }
    }
    for part in parts.iter_mut() {
        let length = part.length;
        let Some(head) = &mut part.head else { continue };
        head.kept = input.next()?;
        if head.kept > length {
            return Err(row(format!("a tile-part of {length} bytes whose kept segments end at {}", head.kept)));
        }
    }
    for part in parts.iter_mut() {
        let length = part.length;
        let Some(head) = &mut part.head else { continue };
        head.packets = advance(head.kept, input.next()?, length)?;
    }
    for resolution in 0..counts.iter().copied().max().unwrap_or(0) {
        for ((part, closed), count) in parts.iter_mut().zip(&closed).zip(&counts) {
            let length = part.length;
            let Some(head) = part.head.as_mut().filter(|_| resolution < *count) else { continue };
            let start = head.resolution_ends.last().copied().unwrap_or(head.packets);
            let is_last = resolution + 1 == *count;
            head.resolution_ends.push(if is_last && *closed { length } else { advance(start, input.next()?, length)? });
        }
    }
    if input.bytes.is_empty() { Ok(()) } else { Err(row("bytes left over in its resolution_ends column")) }
}

fn advance(from: u32, by: u32, length: u32) -> Result<u32> {
    from.checked_add(by)
        .filter(|end| *end <= length)
        .ok_or_else(|| row(format!("a resolution's end outside its tile-part of {length} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts() -> impl Strategy<Value = Vec<TilePart>> {
        let head = (12u32..200, 2u32..300, any::<bool>(), prop::collection::vec(0u32..50_000, 0..7), any::<bool>());
        let part = (any::<u16>(), prop::option::weighted(0.9, head), 0u32..1000);
        prop::collection::vec(part, 1..80).prop_map(|list| {
            let mut offset = 2_300;
            list.into_iter()
                .map(|(tile, head, rest)| {
                    let mut length = 14 + rest;
                    let head = head.map(|(kept, gap, droppable, deltas, open)| {
                        let packets = kept + gap;
                        let mut at = packets;
                        let resolution_ends: Vec<u32> = deltas
                            .into_iter()
                            .map(|delta| {
                                at += delta;
                                at
                            })
                            .collect();
                        length = at + if open { rest } else { 0 };
                        TilePartHead { kept, packets, droppable, resolution_ends }
                    });
                    let part = TilePart { tile, offset, length, head };
                    offset = part.end();
                    part
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn both_columns_are_read_as_they_are_built(parts in parts(), beyond in 0u64..5) {
            let size = parts.last().unwrap().end() + beyond;
            let mut table = parse_index_blob(&build_index_blob(size, 2_300, &parts)).unwrap().unwrap();
            prop_assert_eq!((table.file_size, table.first_sot), (size, 2_300));
            match build_resolution_ends(&parts) {
                Some(ends) => parse_resolution_ends(&ends, &mut table.parts).unwrap(),
                None => prop_assert!(parts.iter().all(|part| part.head.is_none())),
            }
            prop_assert_eq!(table.parts, parts);
        }

        #[test]
        fn a_cut_or_longer_value_is_refused(parts in parts(), at in any::<prop::sample::Index>()) {
            let blob = build_index_blob(u64::MAX, 2_300, &parts);
            let cut = at.index(blob.len() - 1) + 1;
            prop_assert!(parse_index_blob(&blob[..cut]).is_err() || cut == blob.len());
            if let Some(mut ends) = build_resolution_ends(&parts) {
                let mut read = parts.clone();
                let cut = at.index(ends.len());
                prop_assert!(parse_resolution_ends(&ends[..cut], &mut read).is_err());
                ends.push(0);
                prop_assert!(parse_resolution_ends(&ends, &mut read).is_err());
            }
        }

        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), mut parts in parts()) {
            let _ = parse_index_blob(&bytes);
            let _ = parse_resolution_ends(&bytes, &mut parts);
            let _ = parse_resolution_ends(&[&[VERSION], &bytes[..]].concat(), &mut parts);
        }
    }

    #[test]
    fn the_published_layout_is_kept() {
        let part = |tile, offset, length| TilePart { tile, offset, length, head: None };
        let blob = build_index_blob(0x0102_0304, 0x0506, &[part(0, 0x0506, 100), part(1, 0x056A, 70_000)]);
        assert_eq!(blob[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(blob[8..16], [0, 0, 0, 0, 0, 0, 5, 6]);
        assert_eq!(blob[16..20], [0, 0, 0, 16]);
        assert_eq!(blob[20..], [0xFF, 0x55, 0, 14, 0, 0x50, 0, 0, 0, 0, 100, 1, 0, 1, 0x11, 0x70]);
        assert_eq!(parse_index_blob(&[]).unwrap(), None);
    }

    #[test]
    fn petabytes_are_refused() {
        let part = TilePart { tile: 0, offset: 100, length: 50, head: None };
        let mut blob = build_index_blob(1 << 50, (1 << 50) - 10, &[part]);
        assert!(parse_index_blob(&blob).unwrap_err().to_string().contains("past the end"));
        blob[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(parse_index_blob(&blob).unwrap_err().to_string().contains("4294967295 bytes of TLM"));
    }
}
