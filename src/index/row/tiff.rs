//! The header of a TIFF in its row.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::index::format::ranges::parse_ranges;
use crate::tiff::{Head, Parsed, Pieces, parse};

fn row(what: impl Into<String>) -> Error {
    Error::Row { what: what.into() }
}

/// The header of a TIFF of so many bytes as stretches of the file, and what it says: `header` has the ranges one after the
/// other.
///
/// # Errors
/// [`Error::Row`] and [`Error::Malformed`] where they contradict each other, or the header is not valid.
pub(super) fn head_of(size: u64, header: &Bytes, ranges: &[Range<u64>]) -> Result<(Pieces, Head)> {
    let mut pieces = Pieces::new(size);
    let mut rest = header.clone();
    for range in ranges {
        let length = usize::try_from(range.end - range.start).ok().filter(|length| *length <= rest.len());
        pieces.add(range.start, rest.split_to(length.ok_or_else(|| row("its header is cut"))?));
    }
    match parse(&pieces)? {
        Parsed::Done(head) if rest.is_empty() => Ok((pieces, head)),
        Parsed::Done(_) => Err(row("its header is longer than its ranges")),
        Parsed::Needs(range) => Err(row(format!("its header lacks bytes {} to {}", range.start, range.end))),
    }
}

/// The same by the row's columns `index` and `header`.
///
/// # Errors
/// As above.
pub(crate) fn head_of_columns(index: &[u8], header: &Bytes) -> Result<(Pieces, Head)> {
    let (size, ranges) = parse_ranges(index)?;
    head_of(size, header, &ranges)
}
