//! Reading what a TIFF says of itself, wherever in the file that stands: TIFF 6.0, section 2, and BigTIFF.
//!
//! The file is parsed from stretches of it. Where one is missing, the parser says which; so whoever reads the file decides how
//! much a request brings. What it has looked at in the end is what opening the file takes ([`Head::ranges`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};

/// The bytes that readers look at to find out what a file is, and that GDAL's structural metadata lies within.
const BEGINNING: u64 = 4096;

/// libtiff reads the arrays of offsets and byte counts by pages of this size, from multiples of it on
/// (TIFF_DEFERSTRILELOAD).
const PAGE: u64 = 4096;

/// The most directories of a file: images, their masks and overviews.
const DIRECTORIES: usize = 1024;

/// The most entries of a directory.
const ENTRIES: u64 = 4096;

/// The most bytes of a file's header.
const LARGEST: u64 = 16 << 20;

/// Stretches of a file, and its size.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    size: u64,
    pieces: BTreeMap<u64, Bytes>,
}

impl Pieces {
    /// None yet.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, pieces: BTreeMap::new() }
    }

    /// Adds the bytes from `offset` on. What is known of them already is what they are.
    pub(crate) fn add(&mut self, offset: u64, bytes: Bytes) {
        let is_longer = self.pieces.get(&offset).is_none_or(|known| known.len() < bytes.len());
        if is_longer {
            self.pieces.insert(offset, bytes);
        }
    }

    /// The size of the file in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The stretches in order, each with where it begins.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.pieces.iter().map(|(start, bytes)| (*start, bytes))
    }

    /// The bytes of a range, where one stretch has them all.
    pub(crate) fn get(&self, range: &Range<u64>) -> Option<&[u8]> {
        let mut before = self.pieces.range(..=range.start).rev();
        before.find_map(|(start, bytes)| {
            let from = usize::try_from(range.start - start).ok()?;
            bytes.get(from..from.checked_add(usize::try_from(range.end - range.start).ok()?)?)
        })
    }
}

/// How far a header was understood.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// All of it.
    Done(Head),
    /// Up to bytes that are missing: these pages have them.
    Needs(Range<u64>),
}

/// What a TIFF says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    /// The bytes that opening the file takes: in order, and apart from each other.
    pub(crate) ranges: Vec<Range<u64>>,
    /// Where the last of its directories and values ends.
    pub(crate) end: u64,
    /// Whether numbers, samples too, have their greatest byte first.
    pub(crate) is_big_endian: bool,
    /// Whether it is a BigTIFF.
    pub(crate) is_big: bool,
    /// Its images, masks and overviews, in the order of the file.
    pub(crate) directories: Vec<Directory>,
}

/// A directory's tags in ascending order, with their values.
pub(crate) type Directory = BTreeMap<u16, Value>;

/// The values of a tag, as far as there is a use for them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Of whole numbers without a sign.
    Numbers(Vec<u64>),
    /// Of floating point numbers.
    Reals(Vec<f64>),
    /// Text, without the NUL at its end.
    Text(String),
    /// Others: the number of values.
    Other(u64),
}

/// A tag of whole numbers; `None` where there is no such tag, or it holds something else.
pub(super) fn numbers(directory: &Directory, tag: u16) -> Option<&[u64]> {
    match directory.get(&tag)? {
        Value::Numbers(numbers) => Some(numbers),
        _ => None,
    }
}

/// The first number of such a tag.
pub(super) fn number(directory: &Directory, tag: u16) -> Option<u64> {
    numbers(directory, tag)?.first().copied()
}

/// The bytes of a value of a type (TIFF 6.0, section 2; BigTIFF's are 16 to 18); `None` for types that there are not.
fn width(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}

/// Where a number of the file stands, and of how many bytes it is.
struct Reader<'a> {
    pieces: &'a Pieces,
    is_big_endian: bool,
    is_big: bool,
    ranges: Vec<Range<u64>>,
    total: u64,
}

/// Why a file cannot be parsed, or not yet.
enum Stop {
    Needs(Range<u64>),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn malformed(offset: u64, what: impl Into<String>) -> Stop {
    Stop::Failed(Error::malformed(offset, "TIFF 6.0, section 2", what))
}

impl<'a> Reader<'a> {
    /// The bytes of a range, which is remembered.
    fn take(&mut self, start: u64, length: u64) -> Result<&'a [u8], Stop> {
        let range = self.range(start, length)?;
        let bytes = self.pieces.get(&range).ok_or(Stop::Needs(range.clone()))?;
        self.remember(range)?;
        Ok(bytes)
    }

    /// A range within the file.
    fn range(&self, start: u64, length: u64) -> Result<Range<u64>, Stop> {
        let end = start.checked_add(length).filter(|end| *end <= self.pieces.size);
        let end = end
            .ok_or_else(|| malformed(start, format!("{length} bytes at {start}, the file has {}", self.pieces.size)))?;
        Ok(start..end)
    }

    fn remember(&mut self, range: Range<u64>) -> Result<(), Stop> {
        self.total += range.end - range.start;
        if self.total > LARGEST {
            return Err(malformed(range.start, format!("a header of more than {} MB", LARGEST >> 20)));
        }
        self.ranges.push(range);
        Ok(())
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let digit = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.is_big_endian { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) }
    }

    /// The number of bytes of an offset.
    fn word(&self) -> u64 {
        if self.is_big { 8 } else { 4 }
    }

    /// The directory at an offset, and where the next one stands, or 0.
    fn directory(&mut self, at: u64) -> Result<(Directory, u64), Stop> {
        let (counted, entry) = if self.is_big { (8, 20) } else { (2, 12) };
        let count = self.pieces.get(&self.range(at, counted)?).ok_or_else(|| Stop::Needs(at..at + counted))?;
        let count = self.number(count);
        if count == 0 || count > ENTRIES {
            return Err(malformed(at, format!("a directory of {count} entries")));
        }
        let length = counted + count * entry + self.word();
        let bytes = self.take(at, length)?;
        let mut directory = Directory::new();
        let entries = bytes.get(counted as usize..(counted + count * entry) as usize).unwrap_or_default();
        for (number, of_entry) in (0u64..).zip(entries.chunks_exact(entry as usize)) {
            let field = |from: usize, length: usize| self.number(of_entry.get(from..from + length).unwrap_or_default());
            let word = self.word() as usize;
            let (tag, kind, values) = (field(0, 2) as u16, field(2, 2) as u16, field(4, word));
            let Some(width) = width(kind) else { continue };
            let size = width.checked_mul(values).ok_or_else(|| {
                malformed(at + counted + number * entry, format!("{values} values of {width} bytes of tag {tag}"))
            })?;
            let value = if size <= word as u64 {
                of_entry.get(4 + word..4 + word + size as usize).unwrap_or_default()
            } else {
                let place = field(4 + word, word);
                self.take(place, size)?
            };
            // The first one counts, as for libtiff.
            directory.entry(tag).or_insert_with(|| self.value(kind, width, values, value));
        }
        let next = self.number(bytes.get((length - self.word()) as usize..).unwrap_or_default());
        Ok((directory, next))
    }

    fn value(&self, kind: u16, width: u64, count: u64, bytes: &[u8]) -> Value {
        let values = || bytes.chunks_exact(width as usize);
        match kind {
            1 | 3 | 4 | 13 | 16 | 18 => Value::Numbers(values().map(|bytes| self.number(bytes)).collect()),
            2 => {
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                Value::Text(String::from_utf8_lossy(text).into_owned())
            }
            11 => Value::Reals(values().map(|bytes| f64::from(f32::from_bits(self.number(bytes) as u32))).collect()),
            12 => Value::Reals(values().map(|bytes| f64::from_bits(self.number(bytes))).collect()),
            _ => Value::Other(count),
        }
    }
}

/// What the first four bytes say: whether numbers have their greatest byte first, and whether it is a BigTIFF; `None` where
/// the file is no TIFF.
pub(crate) fn form_of(beginning: &[u8]) -> Option<(bool, bool)> {
    match beginning.get(..4)? {
        b"II\x2A\0" => Some((false, false)),
        b"MM\0\x2A" => Some((true, false)),
        b"II\x2B\0" => Some((false, true)),
        b"MM\0\x2B" => Some((true, true)),
        _ => None,
    }
}

/// Parses the header of a file of which some stretches are known.
///
/// # Errors
/// [`Error::Malformed`] where it is no TIFF, or what it says of itself does not lie within it.
pub(crate) fn parse(pieces: &Pieces) -> Result<Parsed> {
    match parse_or_stop(pieces) {
        Ok(head) => Ok(Parsed::Done(head)),
        Err(Stop::Needs(range)) => Ok(Parsed::Needs(whole_pages(&range, pieces.size))),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn parse_or_stop(pieces: &Pieces) -> Result<Head, Stop> {
    let mut reader = Reader { pieces, is_big_endian: false, is_big: false, ranges: Vec::new(), total: 0 };
    let beginning = reader.take(0, BEGINNING.min(pieces.size))?;
    (reader.is_big_endian, reader.is_big) =
        form_of(beginning).ok_or_else(|| malformed(0, "neither a TIFF nor a BigTIFF"))?;
    let field = |from: usize, length: usize| reader.number(beginning.get(from..from + length).unwrap_or_default());
    if reader.is_big && (field(4, 2), field(6, 2)) != (8, 0) {
        return Err(malformed(4, "a BigTIFF whose offsets are not of 8 bytes"));
    }
    let mut next = if reader.is_big { field(8, 8) } else { field(4, 4) };
    let (mut directories, mut seen) = (Vec::new(), BTreeSet::new());
    while next != 0 {
        if !seen.insert(next) {
            return Err(malformed(next, "directories in a circle"));
        }
        if directories.len() == DIRECTORIES {
            return Err(malformed(next, format!("more than {DIRECTORIES} directories")));
        }
        let (directory, behind) = reader.directory(next)?;
        directories.push(directory);
        next = behind;
    }
    if directories.is_empty() {
        return Err(malformed(0, "no directory"));
    }
    // The first range is the beginning.
    let end = reader.ranges.iter().skip(1).map(|range| range.end).max().unwrap_or(0);
    let ranges = pages(&reader.ranges, pieces.size);
    match ranges.iter().find(|range| pieces.get(range).is_none()) {
        Some(missing) => Err(Stop::Needs(missing.clone())),
        None => {
            let Reader { is_big_endian, is_big, .. } = reader;
            Ok(Head { ranges, end, is_big_endian, is_big, directories })
        }
    }
}

/// The pages that a range touches, in a file of `size` bytes.
fn whole_pages(range: &Range<u64>, size: u64) -> Range<u64> {
    range.start / PAGE * PAGE..range.end.checked_next_multiple_of(PAGE).map_or(size, |end| end.min(size))
}

/// Ranges by whole pages, in order, those that touch each other in one.
fn pages(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = ranges.iter().map(|range| whole_pages(range, size)).collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in all {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
