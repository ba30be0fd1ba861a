//! Columns that a look-up never reads: each value is read alone, when it is wanted.
//!
//! A value is read by the offset index of its column chunk (a few kilobytes) and then its page. Pages have one row each
//! and are neither compressed, since the values are as dense as they get, nor dictionary-encoded; others are refused. The
//! pages are untrusted like all of an index, and parsed here, by the walker of [`crate::index::format::thrift`] and not the parquet
//! crate, so that nothing is allocated beyond the [`MOST_PAGE`] bytes that were read.
//!
//! Nothing here takes a lock that lives longer than a process: a handle made before fork() works after it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;

use super::groups::span;
use super::read::IndexFile;
use crate::error::{Error, Result};
use crate::index::format::bytes::slice;
use crate::index::format::columns::{MOST_PAGE, Paged};
use crate::index::format::thrift::{PageHeader, page_of_row};
use crate::source::{Source, SourceRange};

/// The longest offset index that is read: that of a row group of 256 rows has about 4 kB.
const MOST_OFFSET_INDEX: u64 = 1 << 20;
/// The most pages that are read at once, in bytes: 256 rows of packets have 0.9 MB.
const MOST_AHEAD: u64 = 4 << 20;

/// Where a value of such a column lies. Cheap: nothing of it has been read.
#[derive(Clone, PartialEq)]
pub(crate) struct PagedValue {
    column: Paged,
    from: ReadFrom,
}

#[derive(Clone)]
enum ReadFrom {
    /// A value that was just made.
    Bytes(Bytes),
    /// A value that waits for its index to be written.
    Source { source: Arc<dyn Source>, range: SourceRange },
    /// A row of an index file.
    Row { file: Arc<IndexFile>, group: usize, row: usize },
}

/// Two are the same where the same bytes of the same open file are meant.
impl PartialEq for ReadFrom {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(bytes), Self::Bytes(others)) => bytes == others,
            (Self::Source { source, range }, Self::Source { source: other, range: others }) => {
                Arc::ptr_eq(source, other) && range == others
            }
            (Self::Row { file, group, row }, Self::Row { file: other, group: others, row: its }) => {
                Arc::ptr_eq(file, other) && group == others && row == its
            }
            _ => false,
        }
    }
}

impl fmt::Debug for PagedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            ReadFrom::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            ReadFrom::Source { source, range } => {
                write!(f, "{}..{} of {}", range.start.0, range.end.0, source.origin())
            }
            ReadFrom::Row { file, group, row } => write!(f, "row {row} of row group {group} of {}", file.name()),
        }
    }
}

impl PagedValue {
    /// A value of `column` that was just made.
    pub(crate) fn of_bytes(column: Paged, value: Bytes) -> Self {
        Self { column, from: ReadFrom::Bytes(value) }
    }

    /// The same, in `range` of `source`.
    pub(crate) fn of_source(column: Paged, source: Arc<dyn Source>, range: SourceRange) -> Self {
        Self { column, from: ReadFrom::Source { source, range } }
    }

    /// That of a row of an index.
    pub(crate) fn of_row(column: Paged, file: &Arc<IndexFile>, group: usize, row: usize) -> Self {
        Self { column, from: ReadFrom::Row { file: file.clone(), group, row } }
    }

    /// Reads it; nothing is kept of it. From an index file these are two requests, the second one of about the size of
    /// what is returned; the first is spared for further rows of a row group, both where the file is in memory.
    ///
    /// # Errors
    /// [`Error::Index`] where the index is corrupt; whatever reading it fails with. The row is as good as before.
    pub(crate) fn read(&self) -> Result<Bytes> {
        match &self.from {
            ReadFrom::Bytes(bytes) => Ok(bytes.clone()),
            ReadFrom::Source { source, range } => {
                let read = source.read_ranges(std::slice::from_ref(range))?;
                read.into_iter().next().ok_or_else(|| Error::read("no answer to a read"))
            }
            ReadFrom::Row { file, group, row } => read_value(file, self.column, *group, *row).map_err(|failure| {
                file.doubt();
                match failure {
                    Failure::Corrupt(what) => self.bad(what),
                    Failure::Read(error) => error,
                }
            }),
        }
    }

    /// An error that names the index, the row and the column.
    pub(crate) fn bad(&self, what: String) -> Error {
        match &self.from {
            ReadFrom::Bytes(_) => Error::Index { index: "an index that is being made".to_owned(), what },
            ReadFrom::Source { source, .. } => Error::Index { index: source.origin().to_owned(), what },
            ReadFrom::Row { file, group, row } => {
                file.bad(format!("the {} of row {row} of row group {group}: {what}", self.column.name()))
            }
        }
    }
}

/// Why a value cannot be had.
enum Failure {
    Corrupt(String),
    Read(Error),
}

/// One value of a column, by the offset index and its page.
fn read_value(file: &IndexFile, column: Paged, group: usize, row: usize) -> Result<Bytes, Failure> {
    let corrupt = |what: &str| Failure::Corrupt(what.to_owned());
    let chunk = file.paged(group, column).ok_or_else(|| corrupt("no such column"))?;
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
    let index = file.read_offset_index(group, column, index).map_err(Failure::Read)?;
    let page = page_of_row(&index, row).ok_or_else(|| corrupt("an offset index without its page"))?;
    let range =
        span(page.offset, page.length).ok_or_else(|| Failure::Corrupt(format!("a page said to be {page:?}")))?;
    let bounds = span(chunk.data_page_offset(), chunk.compressed_size()).unwrap_or_default();
    let inside = bounds.start <= range.start && range.end <= bounds.end.min(file.size());
    if !inside || range.end - range.start > MOST_PAGE {
        return Err(Failure::Corrupt(format!("a page said to lie at {range:?} of a column at {bounds:?}")));
    }
    let page = file.read_page(group, column, &bounds, range).map_err(Failure::Read)?;
    value_of_page(&page, nullable).map_err(Failure::Corrupt)
}

/// Reads all values of a column in a row group at once, where they are little: reading them one after the other then makes
/// no request for each.
///
/// # Errors
/// Whatever reading them fails with.
pub(crate) fn read_ahead(file: &IndexFile, group: usize, column: Paged) -> Result<()> {
    let chunk = file.paged(group, column);
    let pages = chunk.and_then(|chunk| span(chunk.data_page_offset(), chunk.compressed_size()));
    match pages.filter(|pages| pages.end <= file.size() && pages.end - pages.start <= MOST_AHEAD) {
        Some(pages) => file.read_pages(group, column, pages).map(drop),
        None => Ok(()),
    }
}

/// The value of a page that holds one.
pub(crate) fn value_of_page(page: &Bytes, nullable: bool) -> Result<Bytes, String> {
    let (header, rest) = PageHeader::parse(page).ok_or("a page header that cannot be read")?;
    let PageHeader { kind, whole, stored, values, encoding, levels, .. } = header;
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
