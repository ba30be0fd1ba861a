//! The column `packets`: the lengths in bytes of all packets of a file.
//!
//! A value leaves out what the row records already: the packets of a tile-part take all bytes behind its SOD marker, and
//! where `resolution_ends` are known (see [`super::blob`]) those of a resolution all bytes up to its end. So the bytes of a
//! tile-part are a list of *sections*, one a resolution, or one in all, and the last packet of a section is what the others
//! leave. One byte of version, 1, then planes ([`super::planes`]):
//!
//! 1. for s = 0, 1, … how many packets section s has, of the tile-parts that have so many sections, in the order of
//!    `index`. A tile-part of which nothing is known has 0 in all of them;
//! 2. for s = 0, 1, … and in each for b = 0, 1, …, 32 a plane of the sections s whose packets have ⌊bytes / packets⌋ of b
//!    bits: of each of their packets but the last what its length differs from ⌊rest / left⌋ by, rest being the bytes and
//!    left the number of packets from this one on. Lengths vary in proportion to what they are, so each plane has
//!    differences of one size.
//!
//! Nothing is allocated that the bytes do not pay for: a value has at most [`PACKETS_A_BYTE`] packets a byte.

use super::columns::MOST_VALUE;
use super::planes::{BitReader, BitWriter};
use crate::jp2::TilePart;

/// The lengths of more packets than this are not kept: a file of 16 million packets has no small overview.
pub(crate) const MOST_PACKETS: usize = 16 << 20;
/// The version of a value.
const VERSION: u8 = 1;
/// More packets than this for a byte are neither written nor read. Masks without anything in them have some fifty.
const PACKETS_A_BYTE: usize = 512;

/// The bytes of each section of a tile-part; none where its head is not known, or is longer than the tile-part.
fn sections(part: &TilePart) -> Vec<u32> {
    let Some(head) = part.head.as_ref().filter(|head| head.packets <= part.length) else { return Vec::new() };
    let ends = match head.resolution_ends.last() {
        Some(last) if *last == part.length => head.resolution_ends.as_slice(),
        _ => &[part.length],
    };
    let starts = std::iter::once(&head.packets).chain(ends);
    ends.iter().zip(starts).map(|(end, start)| end.saturating_sub(*start)).collect()
}

/// A section that has packets.
struct Section {
    /// The tile-part's number.
    part: usize,
    bytes: u32,
    packets: u32,
}

impl Section {
    /// By which its plane is found.
    fn bits(&self) -> u32 {
        u32::BITS - (self.bytes / self.packets).leading_zeros()
    }
}

/// The sections with number `s` that have packets.
fn numbered(s: usize, bytes: &[Vec<u32>], counts: &[Vec<u32>]) -> Vec<Section> {
    let section = |(part, (bytes, counts)): (usize, (&Vec<u32>, &Vec<u32>))| {
        let (bytes, packets) = (*bytes.get(s)?, *counts.get(s)?);
        (packets > 0).then_some(Section { part, bytes, packets })
    };
    bytes.iter().zip(counts).enumerate().filter_map(section).collect()
}

/// What the next of `left` packets is foretold to have, of `rest` bytes.
fn foretold(rest: u32, left: u32) -> i64 {
    (rest / left.max(1)).into()
}

/// The number of packets and the value for tile-parts whose packets have these lengths.
///
/// # Errors
/// Why there is none.
pub(crate) fn build_packets(parts: &[TilePart], lengths: &[Vec<u32>]) -> Result<(u32, Vec<u8>), String> {
    let count = lengths.iter().map(Vec::len).sum::<usize>();
    if count == 0 || lengths.len() != parts.len() {
        return Err("how long they are is not known (no PLT, or one that is wrong)".to_owned());
    }
    let bytes: Vec<_> = parts.iter().map(sections).collect();
    let counts = bytes.iter().zip(lengths).map(|(bytes, lengths)| packets_of(bytes, lengths));
    let counts: Vec<_> = counts.collect::<Option<_>>().ok_or("they do not end where their tile-part does")?;
    let most = bytes.iter().map(Vec::len).max().unwrap_or(0);
    let mut out = BitWriter::default();
    for s in 0..most {
        out.plane(&counts.iter().filter_map(|counts| counts.get(s)).map(|count| (*count).into()).collect::<Vec<_>>());
    }
    let mut lengths: Vec<_> = lengths.iter().map(|lengths| lengths.iter()).collect();
    for s in 0..most {
        let numbered = numbered(s, &bytes, &counts);
        for bits in 0..=u32::BITS {
            let mut plane = Vec::new();
            for section in numbered.iter().filter(|section| section.bits() == bits) {
                let mut rest = section.bytes;
                for (left, length) in (1..=section.packets).rev().zip(&mut lengths[section.part]) {
                    if left > 1 {
                        plane.push(i64::from(*length) - foretold(rest, left));
                        rest -= length;
                    }
                }
            }
            out.plane(&plane);
        }
    }
    let value = [&[VERSION], &out.into_bytes()[..]].concat();
    if count > MOST_PACKETS || count > value.len() * PACKETS_A_BYTE || value.len() as u64 > MOST_VALUE {
        return Err(format!("{count} of them in {} bytes are too many", value.len()));
    }
    Ok((u32::try_from(count).unwrap_or(u32::MAX), value))
}

/// How many of a tile-part's packets are of each section of so many bytes: none where nothing is known of them. `None`
/// where they do not end with the sections.
fn packets_of(bytes: &[u32], lengths: &[u32]) -> Option<Vec<u32>> {
    let mut counts = vec![0; bytes.len()];
    let mut lengths = lengths.iter().peekable();
    if lengths.peek().is_none() {
        return Some(counts);
    }
    let last = bytes.len().checked_sub(1)?;
    for (s, (bytes, count)) in bytes.iter().zip(&mut counts).enumerate() {
        let mut rest = *bytes;
        // Packets of no bytes at the very end are of the last section.
        while let Some(length) = lengths.next_if(|_| rest > 0 || s == last) {
            rest = rest.checked_sub(*length)?;
            *count += 1;
        }
        if rest > 0 {
            return None;
        }
    }
    Some(counts)
}

/// The lengths of the packets of `parts`, by the value of a row that has `count` of them.
///
/// # Errors
/// Why the value is not valid.
pub(crate) fn parse_packets(value: &[u8], count: u32, parts: &[TilePart]) -> Result<Vec<Vec<u32>>, String> {
    let planes = match value {
        [VERSION, planes @ ..] => planes,
        [version, ..] => return Err(format!("version {version}, which this program does not know")),
        [] => return Err("an empty value".to_owned()),
    };
    let cut = || "they are cut".to_owned();
    let mut input = BitReader::new(planes);
    let bytes: Vec<_> = parts.iter().map(sections).collect();
    let most = bytes.iter().map(Vec::len).max().unwrap_or(0);
    let mut counts = vec![Vec::new(); parts.len()];
    for s in 0..most {
        let with_section = || bytes.iter().map(|bytes| s < bytes.len());
        let mut plane = input.plane(with_section().filter(|has| *has).count()).ok_or_else(cut)?;
        for (_, counts) in with_section().zip(&mut counts).filter(|(has, _)| *has) {
            let count = plane.next().ok_or_else(cut)?;
            counts.push(u32::try_from(count).map_err(|_| format!("{count} packets in a tile-part"))?);
        }
    }
    let total = counts.iter().flatten().map(|count| u64::from(*count)).sum::<u64>();
    if total != u64::from(count) || total > value.len() as u64 * PACKETS_A_BYTE as u64 {
        return Err(format!("{total} packets in {} bytes, by its packet_count {count}", value.len()));
    }
    let mut lengths: Vec<Vec<u32>> = vec![Vec::new(); parts.len()];
    for s in 0..most {
        let numbered = numbered(s, &bytes, &counts);
        for bits in 0..=u32::BITS {
            let of_bits = || numbered.iter().filter(|section| section.bits() == bits);
            let differences = of_bits().map(|section| section.packets as usize - 1).sum();
            let mut plane = input.plane(differences).ok_or_else(cut)?;
            for section in of_bits() {
                let mut rest = section.bytes;
                for left in (2..=section.packets).rev() {
                    let length = foretold(rest, left).checked_add(plane.next().ok_or_else(cut)?);
                    let length = length.and_then(|length| u32::try_from(length).ok()).filter(|length| *length <= rest);
                    let length = length.ok_or("a packet that ends outside its tile-part")?;
                    lengths[section.part].push(length);
                    rest -= length;
                }
                lengths[section.part].push(rest);
            }
        }
    }
    let sum = |numbers: &[u32]| numbers.iter().map(|number| u64::from(*number)).sum::<u64>();
    if lengths.iter().zip(&bytes).any(|(lengths, bytes)| !lengths.is_empty() && sum(lengths) != sum(bytes)) {
        return Err("they do not end where their tile-part does".to_owned());
    }
    if input.is_at_end() { Ok(lengths) } else { Err("bytes left over".to_owned()) }
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
