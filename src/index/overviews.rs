//! The packets of the coarsest resolutions, carried in the index: an overview then needs no request to the archive.
//!
//! Two columns, which an index has only where a row of it has overviews:
//!
//! - `overview_factor`: N = 2^k, null where the row has none. A look-up reads it.
//! - `overviews`: one byte of version, 1; one byte k; then of each tile-part, in the order of `index`, the packets of
//!   resolutions 0 to levels − k: its bytes from `packets` to `resolution_ends[levels - k]` (see [`super::blob`], which
//!   so tells their lengths). A look-up never reads it.
//!
//! A value is read alone, by the offset index of its column chunk (a few kilobytes) and then its page. Pages have one
//! row each and are neither compressed, since packets are as dense as they get, nor dictionary-encoded; others are
//! refused. The pages are untrusted like all of an index, and parsed here, by the walker of [`super::thrift`] and not
//! the parquet crate, so that nothing is allocated beyond the [`MOST_PAGE`] bytes that were read.
//!
//! Nothing here takes a lock that lives longer than a process: a handle made before fork() works after it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;

use super::read::IndexFile;
use super::thrift::{Page, data_page, page_of_row};
use crate::error::{Error, Result};
use crate::jp2::TilePart;
use crate::options::Options;
use crate::source::{Source, SourceOffset, SourceRange, fetch_units};

/// The version of a value.
const VERSION: u8 = 1;
/// What a value begins with: version and k.
const FIXED: usize = 2;
/// T.800 A.6.1: at most 32 decomposition levels.
const MOST_K: u8 = 32;
/// The largest page that is read, header included, in bytes.
const MOST_PAGE: u64 = 64 << 20;
/// The largest value that is written: its page's header and levels fit beside it.
const MOST_VALUE: u64 = MOST_PAGE - 1024;
/// The longest offset index that is read: that of a row group of 256 rows has about 4 kB.
const MOST_OFFSET_INDEX: u64 = 1 << 20;

/// Where a row's overviews lie. Cheap: nothing of them has been read.
#[derive(Clone, PartialEq)]
pub(crate) struct EmbeddedOverviews {
    k: u8,
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// A value that was just made.
    Bytes(Bytes),
    /// A value that waits for its index to be written.
    Value { source: Arc<dyn Source>, range: SourceRange },
    /// A row of an index file.
    Row { file: Arc<IndexFile>, group: usize, row: usize },
}

/// Two are the same where the same bytes of the same open file are meant.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(bytes), Self::Bytes(others)) => bytes == others,
            (Self::Value { source, range }, Self::Value { source: other, range: others }) => {
                Arc::ptr_eq(source, other) && range == others
            }
            (Self::Row { file, group, row }, Self::Row { file: other, group: others, row: its }) => {
                Arc::ptr_eq(file, other) && group == others && row == its
            }
            _ => false,
        }
    }
}

impl fmt::Debug for EmbeddedOverviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factor = 1u64 << self.k;
        match &self.place {
            Place::Bytes(bytes) => write!(f, "overviews of factor {factor}: {} bytes", bytes.len()),
            Place::Value { source, range } => {
                write!(f, "overviews of factor {factor}: {}..{} of {}", range.start.0, range.end.0, source.origin())
            }
            Place::Row { file, group, row } => {
                write!(f, "overviews of factor {factor}: row {row} of row group {group} of {}", file.name())
            }
        }
    }
}

impl EmbeddedOverviews {
    /// The value that [`build_overviews`] made.
    pub(crate) fn of_bytes(k: u8, value: Bytes) -> Self {
        Self { k, place: Place::Bytes(value) }
    }

    /// The same, in `range` of `source`.
    pub(crate) fn of_value(k: u8, source: Arc<dyn Source>, range: SourceRange) -> Self {
        Self { k, place: Place::Value { source, range } }
    }

    /// Those of a row of an index, by its `overview_factor`.
    pub(super) fn of_row(file: &Arc<IndexFile>, group: usize, row: usize, factor: i64) -> Result<Self> {
        let k = u64::try_from(factor).ok().and_then(|factor| parse_factor(factor).ok());
        let k = k.ok_or_else(|| file.bad(format!("row {row} of row group {group}: overview_factor is {factor}")))?;
        Ok(Self { k, place: Place::Row { file: file.clone(), group, row } })
    }

    /// The finest factor there is, as k of 2^k.
    pub(crate) fn k(&self) -> u8 {
        self.k
    }

    /// Reads them: k, and the packets of all tile-parts, one after the other ([`Self::split`] tells them apart).
    /// Nothing is kept of them. From an index file these are two requests, the second one of about the size of what is
    /// returned; the first is spared for further rows of a row group.
    ///
    /// # Errors
    /// [`Error::Index`] where the index is corrupt; whatever reading it fails with. The row is as good as before.
    pub(crate) fn fetch(&self) -> Result<(u8, Bytes)> {
        let value = self.value()?;
        match *value {
            [VERSION, k, ..] if k == self.k => Ok((k, value.slice(FIXED..))),
            [VERSION, k, ..] => Err(self.bad(format!("k = {k}, where overview_factor tells of {}", self.k))),
            [version, ..] => Err(self.bad(format!("version {version}, which this program does not know"))),
            [] => Err(self.bad("an empty value".to_owned())),
        }
    }

    /// The packets of each of the row's tile-parts, in their order, from what [`Self::fetch`] gave.
    ///
    /// # Errors
    /// [`Error::Index`] where they are not those of `parts`.
    pub(crate) fn split(&self, parts: &[TilePart], packets: &Bytes) -> Result<Vec<Bytes>> {
        let ranges = overview_ranges(parts, self.k).map_err(|what| self.bad(what))?;
        let total = ranges.iter().map(|range| range.end.0 - range.start.0).sum::<u64>();
        let wrong = || self.bad(format!("{} bytes, by its resolution_ends {total}", packets.len()));
        if packets.len() as u64 != total {
            return Err(wrong());
        }
        let mut at = 0;
        let next = |range: SourceRange| {
            let start = at;
            at += range.end.0 - range.start.0;
            slice(packets, start..at).ok_or_else(wrong)
        };
        ranges.into_iter().map(next).collect()
    }

    /// The value as the column has it.
    pub(super) fn value(&self) -> Result<Bytes> {
        match &self.place {
            Place::Bytes(bytes) => Ok(bytes.clone()),
            Place::Value { source, range } => {
                let read = source.read_ranges(std::slice::from_ref(range))?;
                read.into_iter().next().ok_or_else(|| Error::read("no answer to a read"))
            }
            Place::Row { file, group, row } => read_value(file, *group, *row).map_err(|failure| {
                file.doubt();
                match failure {
                    Failure::Corrupt(what) => self.bad(what),
                    Failure::Read(error) => error,
                }
            }),
        }
    }

    fn bad(&self, what: String) -> Error {
        match &self.place {
            Place::Bytes(_) => Error::Index { index: "an index that is being made".to_owned(), what },
            Place::Value { source, .. } => Error::Index { index: source.origin().to_owned(), what },
            Place::Row { file, group, row } => {
                file.bad(format!("the overviews of row {row} of row group {group}: {what}"))
            }
        }
    }
}

/// k of a factor 2^k.
///
/// # Errors
/// What a factor must be.
pub(crate) fn parse_factor(factor: u64) -> Result<u8, String> {
    let k = u8::try_from(factor.trailing_zeros()).ok().filter(|k| factor.is_power_of_two() && (1..=MOST_K).contains(k));
    k.ok_or_else(|| format!("a power of two from 2 to {}", 1u64 << MOST_K))
}

/// Where the packets of resolutions 0 to levels − k lie in the JP2, a range a tile-part.
///
/// # Errors
/// Why they cannot be told apart, or why there are none.
fn overview_ranges(parts: &[TilePart], k: u8) -> Result<Vec<SourceRange>, String> {
    let unknown = || "where its resolutions end is not known (no PLT, or a progression that mixes them)".to_owned();
    let mut levels = None;
    let range = |part: &TilePart| {
        let head = part.head.as_ref().ok_or_else(unknown)?;
        let here = head.resolution_ends.len().checked_sub(1).ok_or_else(unknown)?;
        if *levels.get_or_insert(here) != here {
            return Err(unknown());
        }
        let last = here.checked_sub(usize::from(k));
        let last =
            last.ok_or_else(|| format!("it has {here} decomposition levels, its coarsest factor is {}", 1u64 << here))?;
        let end = *head.resolution_ends.get(last).ok_or_else(unknown)?;
        let at = |offset: u32| SourceOffset(part.offset + u64::from(offset));
        Ok(at(head.packets)..at(end.max(head.packets)))
    };
    let ranges: Vec<_> = parts.iter().map(range).collect::<Result<_, _>>()?;
    if ranges.is_empty() { Err(unknown()) } else { Ok(ranges) }
}

/// The value of the column for a file with these tile-parts, read from `source`, or from `whole` where that is the file;
/// or why it has none.
///
/// # Errors
/// Whatever reading fails with.
pub(crate) fn build_overviews(
    parts: &[TilePart],
    k: u8,
    source: &Arc<dyn Source>,
    whole: Option<&Bytes>,
    options: &Options,
) -> Result<Result<Vec<u8>, String>> {
    let ranges = match overview_ranges(parts, k) {
        Ok(ranges) => ranges,
        Err(why) => return Ok(Err(why)),
    };
    let ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    let length = FIXED as u64 + ranges.iter().map(|range| range.end.0 - range.start.0).sum::<u64>();
    if length > MOST_VALUE {
        return Ok(Err(format!("they have {length} bytes, more than {MOST_VALUE}: choose a greater factor")));
    }
    let packets = match whole {
        Some(whole) => ranges.iter().map(|range| slice(whole, range.start.0..range.end.0)).collect::<Option<Vec<_>>>(),
        None => Some(fetch_units(source, &ranges, options)?),
    };
    let packets = packets.ok_or_else(|| Error::Changed { what: "it ends before its tile-parts do".to_owned() })?;
    let mut value = vec![VERSION, k];
    packets.iter().for_each(|packets| value.extend_from_slice(packets));
    Ok(Ok(value))
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Option<Bytes> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// Why a value cannot be had.
enum Failure {
    Corrupt(String),
    Read(Error),
}

/// One value of the column, by the offset index and its page.
fn read_value(file: &IndexFile, group: usize, row: usize) -> Result<Bytes, Failure> {
    let corrupt = |what: &str| Failure::Corrupt(what.to_owned());
    let chunk = file.overviews(group).ok_or_else(|| corrupt("no such column"))?;
    let nullable = chunk.column_descr().max_def_level() > 0;
    if chunk.compression() != Compression::UNCOMPRESSED {
        return Err(corrupt("a compressed column"));
    }
    let index = chunk.offset_index_offset().zip(chunk.offset_index_length());
    let index = index.and_then(|(offset, length)| span(offset, length.into())).filter(|index| !index.is_empty());
    let index = index.ok_or_else(|| corrupt("a column without an offset index"))?;
    if index.end - index.start > MOST_OFFSET_INDEX || index.end > file.size() {
        return Err(Failure::Corrupt(format!("an offset index said to lie at {index:?}")));
    }
    let index = file.read_offset_index(group, index).map_err(Failure::Read)?;
    let page = page_of_row(&index, row).ok_or_else(|| corrupt("an offset index without its page"))?;
    let range =
        span(page.offset, page.length).ok_or_else(|| Failure::Corrupt(format!("a page said to be {page:?}")))?;
    let bounds = span(chunk.data_page_offset(), chunk.compressed_size()).unwrap_or_default();
    let inside = bounds.start <= range.start && range.end <= bounds.end.min(file.size());
    if !inside || range.end - range.start > MOST_PAGE {
        return Err(Failure::Corrupt(format!("a page said to lie at {range:?} of a column at {bounds:?}")));
    }
    let page = file.read_at(range).map_err(Failure::Read)?;
    value_of_page(&page, nullable).map_err(Failure::Corrupt)
}

/// `length` bytes from `offset` on, where that is possible.
fn span(offset: i64, length: i64) -> Option<Range<u64>> {
    let (start, length) = (u64::try_from(offset).ok()?, u64::try_from(length).ok()?);
    Some(start..start.checked_add(length)?)
}

/// The value of a page that holds one.
fn value_of_page(page: &Bytes, nullable: bool) -> Result<Bytes, String> {
    let (Page { kind, whole, stored, values, encoding, levels }, rest) =
        data_page(page).ok_or("a page header that cannot be read")?;
    // DATA_PAGE of parquet's version 1, PLAIN, RLE
    if (kind, values, encoding, levels) != (0, 1, 0, 3) {
        return Err(format!(
            "a page of type {kind}, {values} values, encoding {encoding}: write it with one plain row"
        ));
    }
    let at = page.len() - rest;
    if whole != stored || u64::try_from(stored).ok() != Some(rest as u64) {
        return Err(format!("a page of {stored} bytes that are {whole} where {rest} are left"));
    }
    let take = |at: usize| {
        let length = page.get(at..)?.first_chunk::<4>()?;
        slice(page, at as u64 + 4..at as u64 + 4 + u64::from(u32::from_le_bytes(*length)))
    };
    let mut value = at;
    if nullable {
        let levels = take(at).ok_or("definition levels that are cut")?;
        // One level of one bit, in a run of its own or packed: the byte after the run's header.
        match *levels {
            [_, level, ..] if level & 1 == 1 => value += 4 + levels.len(),
            [_, _, ..] => return Err("null".to_owned()),
            _ => return Err("definition levels that are cut".to_owned()),
        }
    }
    let bytes = take(value).ok_or("a value that is cut")?;
    if value + 4 + bytes.len() != page.len() {
        return Err(format!("a value of {} bytes in a page of {}", bytes.len(), page.len()));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "overviews_tests.rs"]
mod tests;
