//! The packets of the coarsest resolutions, carried in the index: an overview then needs no request to the archive.
//!
//! Two columns, which an index has only where a row of it has overviews:
//!
//! - `overview_factor`: N = 2^k, null where the row has none. A look-up reads it.
//! - `overviews`: the packets ([`crate::index::format::overviews`]). A look-up never reads it: see
//!   [`crate::index::file::pages`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::index::file::pages::PagedValue;
use crate::index::file::read::IndexFile;
use crate::index::format::bytes::slice;
use crate::index::format::columns::{MOST_VALUE, Paged};
use crate::index::format::overviews::{FIXED, VERSION, overview_ranges, parse_factor};
use crate::jp2::TilePart;
use crate::options::Options;
use crate::source::{Source, SourceRange, fetch_units};

/// Where a row's overviews lie. Cheap: nothing of them has been read.
#[derive(Clone, PartialEq)]
pub(crate) struct EmbeddedOverviews {
    k: u8,
    value: PagedValue,
}

impl fmt::Debug for EmbeddedOverviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overviews of factor {}: {:?}", 1u64 << self.k, self.value)
    }
}

impl EmbeddedOverviews {
    /// The value that [`build_overviews`] made.
    pub(crate) fn of_bytes(k: u8, value: Bytes) -> Self {
        Self { k, value: PagedValue::of_bytes(Paged::Overviews, value) }
    }

    /// The same, in `range` of `source`.
    pub(crate) fn of_value(k: u8, source: Arc<dyn Source>, range: SourceRange) -> Self {
        Self { k, value: PagedValue::of_source(Paged::Overviews, source, range) }
    }

    /// Those of a row of an index, by its `overview_factor`.
    pub(crate) fn of_row(file: &Arc<IndexFile>, group: usize, row: usize, factor: i64) -> Result<Self> {
        let k = u64::try_from(factor).ok().and_then(|factor| parse_factor(factor).ok());
        let k = k.ok_or_else(|| file.bad(format!("row {row} of row group {group}: overview_factor is {factor}")))?;
        Ok(Self { k, value: PagedValue::of_row(Paged::Overviews, file, group, row) })
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
        let value = self.value.read()?;
        match *value {
            [VERSION, k, ..] if k == self.k => Ok((k, value.slice(FIXED..))),
            [VERSION, k, ..] => Err(self.value.bad(format!("k = {k}, by overview_factor it is {}", self.k))),
            [version, ..] => Err(self.value.bad(format!("version {version}, which this program does not know"))),
            [] => Err(self.value.bad("an empty value".to_owned())),
        }
    }

    /// The packets of each of the row's tile-parts, in their order, from what [`Self::fetch`] gave.
    ///
    /// # Errors
    /// [`Error::Index`] where they are not those of `parts`.
    pub(crate) fn split(&self, parts: &[TilePart], packets: &Bytes) -> Result<Vec<Bytes>> {
        let ranges = overview_ranges(parts, self.k).map_err(|what| self.value.bad(what))?;
        let total = ranges.iter().map(|range| range.end.0 - range.start.0).sum::<u64>();
        let wrong = || self.value.bad(format!("{} bytes, by its resolution_ends {total}", packets.len()));
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
    pub(crate) fn value(&self) -> Result<Bytes> {
        self.value.read()
    }
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

#[cfg(test)]
#[path = "overviews_tests.rs"]
mod tests;
