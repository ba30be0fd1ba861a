//! The lengths of all packets, carried in the index: views smaller than a tile then know which bytes they need.
//!
//! Two columns, which an index has only where a row of it has packets:
//!
//! - `packet_count`: how many packets the row tells of, null where it does not. A look-up reads it.
//! - `packets`: their lengths in bytes, below. A look-up never reads it: see [`crate::index::file::pages`].
//!
//! A value takes for granted what the row tells already: the packets of a tile-part take all bytes behind its SOD marker,
//! and where `resolution_ends` are known (see [`crate::index::format::blob`]) those of a resolution all bytes up to its end. So the bytes
//! of a tile-part are a list of *sections*, one a resolution, or one in all, and the last packet of a section is what the
//! others leave. One byte of version, 1, then planes ([`crate::index::format::planes`]):
//!
//! 1. for s = 0, 1, … how many packets section s has, of the tile-parts that have so many sections, in the order of
//!    `index`. A tile-part of which nothing is known has 0 in all of them;
//! 2. for s = 0, 1, … and in each for b = 0, 1, …, 32 a plane of the sections s whose packets have ⌊bytes / packets⌋ of b
//!    bits: of each of their packets but the last what its length differs from ⌊rest / left⌋ by, rest being the bytes and
//!    left the number of packets from this one on. Lengths vary in proportion to what they are, so each plane has
//!    differences of one size.
//!
//! Nothing is allocated that the bytes do not pay for: a value tells of at most [`PACKETS_A_BYTE`] packets a byte.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::index::file::groups::Paged;
use crate::index::file::pages::{MOST_VALUE, PagedValue};
use crate::index::file::read::IndexFile;
use crate::index::format::planes::{Reader, Writer};
use crate::index::scan::heads::MOST_PACKETS;
use crate::jp2::TilePart;

/// The version of a value.
const VERSION: u8 = 1;
/// More packets than this for a byte are neither written nor read. Masks without anything in them have some fifty.
const PACKETS_A_BYTE: usize = 512;

/// Where the lengths of a row's packets lie. Cheap: nothing of them has been read.
#[derive(Clone, PartialEq)]
pub(crate) struct PacketLengths {
    count: u32,
    value: PagedValue,
}

impl fmt::Debug for PacketLengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lengths of {} packets: {:?}", self.count, self.value)
    }
}

impl PacketLengths {
    /// Those that the headers of a file's tile-parts tell: of each of `parts`, which have their heads, every packet's
    /// length in bytes, or none.
    ///
    /// # Errors
    /// Why a row cannot tell them.
    pub(crate) fn new(parts: &[TilePart], lengths: &[Vec<u32>]) -> Result<Self, String> {
        let (count, value) = build_packets(parts, lengths)?;
        Ok(Self::of_bytes(count, value.into()))
    }

    /// The value of a row that waits to be written.
    pub(crate) fn of_bytes(count: u32, value: Bytes) -> Self {
        Self { count, value: PagedValue::of_bytes(Paged::Packets, value) }
    }

    /// Those of a row of an index, by its `packet_count`.
    pub(crate) fn of_row(file: &Arc<IndexFile>, group: usize, row: usize, count: i64) -> Result<Self> {
        let known = u32::try_from(count).ok().filter(|count| (1..=MOST_PACKETS).contains(&(*count as usize)));
        let count =
            known.ok_or_else(|| file.bad(format!("row {row} of row group {group}: packet_count is {count}")))?;
        Ok(Self { count, value: PagedValue::of_row(Paged::Packets, file, group, row) })
    }

    /// How many packets they are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Every packet's length in bytes, of each of the row's tile-parts in their order; empty where it is not known. They
    /// add up to the bytes from the tile-part's first packet to its end, and to its `resolution_ends`. Reads them: see
    /// [`PagedValue::read`].
    ///
    /// # Errors
    /// [`crate::error::Error::Index`] where they are corrupt or not those of `parts`; whatever reading them fails with.
    pub(crate) fn lengths(&self, parts: &[TilePart]) -> Result<Vec<Vec<u32>>> {
        parse_packets(&self.value.read()?, self.count, parts).map_err(|what| self.value.bad(what))
    }

    /// The value as the column has it.
    pub(crate) fn value(&self) -> Result<Bytes> {
        self.value.read()
    }
}

/// The bytes of each section of a tile-part; none where its head is not known.
fn sections(part: &TilePart) -> Vec<u32> {
    let Some(head) = &part.head else { return Vec::new() };
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
fn build_packets(parts: &[TilePart], lengths: &[Vec<u32>]) -> Result<(u32, Vec<u8>), String> {
    let count = lengths.iter().map(Vec::len).sum::<usize>();
    if count == 0 || lengths.len() != parts.len() {
        return Err("how long they are is not known (no PLT, or one that is wrong)".to_owned());
    }
    let bytes: Vec<_> = parts.iter().map(sections).collect();
    let counts = bytes.iter().zip(lengths).map(|(bytes, lengths)| packets_of(bytes, lengths));
    let counts: Vec<_> = counts.collect::<Option<_>>().ok_or("they do not end where their tile-part does")?;
    let most = bytes.iter().map(Vec::len).max().unwrap_or(0);
    let mut out = Writer::default();
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
/// Why the value is none.
fn parse_packets(value: &[u8], count: u32, parts: &[TilePart]) -> Result<Vec<Vec<u32>>, String> {
    let planes = match value {
        [VERSION, planes @ ..] => planes,
        [version, ..] => return Err(format!("version {version}, which this program does not know")),
        [] => return Err("an empty value".to_owned()),
    };
    let cut = || "they are cut".to_owned();
    let mut input = Reader::new(planes);
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
    let told = counts.iter().flatten().map(|count| u64::from(*count)).sum::<u64>();
    if told != u64::from(count) || told > value.len() as u64 * PACKETS_A_BYTE as u64 {
        return Err(format!("{told} packets in {} bytes, by its packet_count {count}", value.len()));
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
