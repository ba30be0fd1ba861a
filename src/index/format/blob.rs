//! The two binary columns that hold a tile-part table.
//!
//! `index`, as the published s2tlm/jp2io files have it, all big-endian: u64 size of the file in bytes, u64 offset of the
//! first SOT marker, u32 length in bytes, then as many bytes of TLM marker segments (T.800 A.7.1), markers included,
//! with one entry a tile-part in source order. Empty where the file has a TLM of its own. A `.tlm` file holds one such
//! blob.
//!
//! `resolution_ends`: what stands before the packets of each tile-part and where each resolution's packets end, all
//! numbers in bytes from the SOT marker's first byte. One byte of version, 2, then planes ([`super::planes`]), each with
//! one number a tile-part in the order of `index`:
//!
//! 1. shape: 0 where nothing is known of a tile-part (it has no number in the planes that follow), else
//!    1 + droppable + 2 × closed + 4 × n, n being the number of resolutions whose ends are known;
//! 2. where the marker segments end that a merged tile must keep;
//! 3. how many bytes after that the packets begin, just behind the SOD marker;
//! 4. how many bytes follow the packets of the last of its resolutions, for the tile-parts with n > 0 that are not closed;
//! 5. for r = most − 2, …, 1, 0, most being the greatest n, the tile-parts with r < n − 1: the packets up to resolution r
//!    take about the same share of those up to r + 1 in every tile-part of a file. That share, s, in 65536ths, comes first,
//!    in 17 bits; then a plane of what differs from it: end(r) − packets − floor(s × (end(r + 1) − packets) / 65536).
//!
//! Nothing is allocated that the bytes do not pay for: a tile-part costs bytes of `index`, and has 33 resolutions at most.

use super::planes::{BitReader, BitWriter};
use crate::error::{Error, Result};
use crate::jp2::{TilePart, TilePartHead, build_tlm, parse_tlm_segments};

/// Bytes before the TLM marker segments.
const FIXED: usize = 20;
/// The version of `resolution_ends`.
const VERSION: u8 = 2;
/// All of what a share is of, and the bits of a share.
const ALL: u32 = 1 << 16;
const SHARE_BITS: u32 = 17;
/// T.800 A.6.1: at most 32 decomposition levels, so 33 resolutions.
const MOST_RESOLUTIONS: u64 = 33;

/// What an `index` blob holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexBlob {
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
pub(crate) fn parse_index_blob(blob: &[u8]) -> Result<Option<IndexBlob>> {
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
        return Err(row(format!("its index column records {length} bytes of TLM and holds {}", tlm.len())));
    }
    let entries = parse_tlm_segments(tlm).map_err(|error| row(format!("its TLM cannot be read: {error}")))?;
    parts_of(&entries, first_sot, file_size).map(|parts| Some(IndexBlob { file_size, first_sot, parts }))
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

/// Builds a `resolution_ends` value; `None` where no tile-part's head is known.
pub(crate) fn build_resolution_ends(parts: &[TilePart]) -> Option<Vec<u8>> {
    if parts.iter().all(|part| part.head.is_none()) {
        return None;
    }
    let heads = || parts.iter().filter_map(|part| part.head.as_ref().map(|head| (part, head)));
    let is_closed = |part: &TilePart, head: &TilePartHead| head.resolution_ends.last() == Some(&part.length);
    let mut out = BitWriter::default();
    let shape = |part: &TilePart| {
        part.head.as_ref().map_or(0, |head| {
            let flags = i64::from(head.droppable) | i64::from(is_closed(part, head)) << 1;
            1 + flags + 4 * head.resolution_ends.len() as i64
        })
    };
    let less = |from: u32, by: u32| i64::from(from) - i64::from(by);
    out.plane(&parts.iter().map(shape).collect::<Vec<_>>());
    out.plane(&heads().map(|(_, head)| head.kept.into()).collect::<Vec<_>>());
    out.plane(&heads().map(|(_, head)| less(head.packets, head.kept)).collect::<Vec<_>>());
    let open = heads().filter(|(part, head)| !is_closed(part, head));
    let rest = open.filter_map(|(part, head)| Some(less(part.length, *head.resolution_ends.last()?)));
    out.plane(&rest.collect::<Vec<_>>());
    let most = heads().map(|(_, head)| head.resolution_ends.len()).max().unwrap_or(0);
    // The bytes of packets up to resolution r, where that is known.
    let packets =
        |head: &TilePartHead, r: usize| head.resolution_ends.get(r).map(|end| end.saturating_sub(head.packets));
    for r in (0..most.saturating_sub(1)).rev() {
        let pairs: Vec<_> = heads().filter_map(|(_, head)| packets(head, r).zip(packets(head, r + 1))).collect();
        let sum = |value: fn(&(u32, u32)) -> u32| pairs.iter().map(|pair| u64::from(value(pair))).sum::<u64>();
        let (lower, upper) = (sum(|(lower, _)| *lower), sum(|(_, upper)| *upper));
        let share = (u128::from(lower) << 16).checked_div(upper.into()).unwrap_or(0).min(ALL.into()) as u32;
        out.bits(share.into(), SHARE_BITS);
        out.plane(&pairs.iter().map(|(lower, upper)| less(*lower, foretold(*upper, share))).collect::<Vec<_>>());
    }
    Some([&[VERSION], &out.into_bytes()[..]].concat())
}

/// What resolutions up to r take, where those up to r + 1 take `upper` bytes and `share` is usual, in 65536ths.
fn foretold(upper: u32, share: u32) -> u32 {
    u32::try_from((u64::from(upper) * u64::from(share)) >> 16).unwrap_or(u32::MAX)
}

/// Gives `parts` the heads of a `resolution_ends` value.
///
/// # Errors
/// [`Error::Row`] where it is cut, has bytes left over, or leaves a tile-part.
pub(crate) fn parse_resolution_ends(bytes: &[u8], parts: &mut [TilePart]) -> Result<()> {
    let Some((&VERSION, bytes)) = bytes.split_first() else {
        return Err(row("its resolution_ends column is of a version that this program does not know"));
    };
    let mut input = BitReader::new(bytes);
    let shapes = parse_shapes(&mut input, parts)?;
    let known = parts.iter().filter(|part| part.head.is_some()).count();
    let mut plane = input.plane(known).ok_or_else(cut)?;
    each_head(parts, &shapes, |_, length, head| {
        head.kept = within(0, plane.next().ok_or_else(cut)?, length)?;
        Ok(())
    })?;
    let mut plane = input.plane(known).ok_or_else(cut)?;
    each_head(parts, &shapes, |_, length, head| {
        head.packets = within(head.kept, plane.next().ok_or_else(cut)?, length)?;
        Ok(())
    })?;
    let open = shapes.iter().filter(|(count, closed)| *count > 0 && !closed).count();
    let mut plane = input.plane(open).ok_or_else(cut)?;
    each_head(parts, &shapes, |(count, closed), length, head| {
        if count > 0 {
            let rest = if closed { 0 } else { plane.next().ok_or_else(cut)? };
            let end = within(0, i64::from(length).saturating_sub(rest), length)?;
            head.resolution_ends.push(within(head.packets, i64::from(end) - i64::from(head.packets), length)?);
        }
        Ok(())
    })?;
    let most = shapes.iter().map(|(count, _)| *count).max().unwrap_or(0);
    for r in (0..most.saturating_sub(1)).rev() {
        let share = input.bits(SHARE_BITS).and_then(|share| u32::try_from(share).ok()).filter(|share| *share <= ALL);
        let share = share.ok_or_else(cut)?;
        let mut plane = input.plane(shapes.iter().filter(|(count, _)| r + 1 < *count).count()).ok_or_else(cut)?;
        each_head(parts, &shapes, |(count, _), _, head| {
            // The finest comes first, and is the last in the end.
            if let Some(upper) = head.resolution_ends.last().copied().filter(|_| r + 1 < count) {
                let foretold = i64::from(foretold(upper - head.packets, share));
                let differs = plane.next().ok_or_else(cut)?;
                head.resolution_ends.push(within(head.packets, foretold.saturating_add(differs), upper)?);
            }
            Ok(())
        })?;
    }
    each_head(parts, &shapes, |_, _, head| {
        head.resolution_ends.reverse();
        Ok(())
    })?;
    if input.is_at_end() { Ok(()) } else { Err(row("bytes left over in its resolution_ends column")) }
}

fn cut() -> Error {
    row("its resolution_ends column is cut")
}

/// How many ends each tile-part has, and whether the last one is its own end. `parts` get heads where they have shapes.
fn parse_shapes(input: &mut BitReader<'_>, parts: &mut [TilePart]) -> Result<Vec<(u64, bool)>> {
    let mut plane = input.plane(parts.len()).ok_or_else(cut)?;
    let shape = |part: &mut TilePart| {
        let shape = plane.next().ok_or_else(cut)?;
        part.head = None;
        let Some(shape) = shape.checked_sub(1).and_then(|shape| u64::try_from(shape).ok()) else {
            return Ok((0, false));
        };
        let (count, closed) = (shape >> 2, shape & 2 != 0);
        if count > MOST_RESOLUTIONS || (count == 0 && closed) {
            return Err(row(format!("{count} resolutions in a tile-part")));
        }
        let droppable = shape & 1 != 0;
        part.head = Some(TilePartHead { kept: 0, packets: 0, droppable, resolution_ends: Vec::new() });
        Ok((count, closed))
    };
    parts.iter_mut().map(shape).collect()
}

/// Calls `each` with the shape, the length and the head of every tile-part that has a head.
fn each_head(
    parts: &mut [TilePart],
    shapes: &[(u64, bool)],
    mut each: impl FnMut((u64, bool), u32, &mut TilePartHead) -> Result<()>,
) -> Result<()> {
    for (part, shape) in parts.iter_mut().zip(shapes) {
        let length = part.length;
        if let Some(head) = &mut part.head {
            each(*shape, length, head)?;
        }
    }
    Ok(())
}

/// `from` and `by` more, which must not be less than `from` nor beyond `end`.
fn within(from: u32, by: i64, end: u32) -> Result<u32> {
    let outside = || row(format!("a resolution's end outside its tile-part, {by} bytes from {from} on, before {end}"));
    u32::try_from(i64::from(from).saturating_add(by)).ok().filter(|at| by >= 0 && *at <= end).ok_or_else(outside)
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
