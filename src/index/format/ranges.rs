//! The `index` column of a TIFF's row: which ranges of the file its `header` column holds, one after the other.
//!
//! `TIFF`, one byte of version, 1, then numbers in LEB128: the size of the file in bytes, and for each range how far it begins
//! behind the end of the one before it, and how long it is. The `index` of a JP2 begins with the size of the file in eight
//! bytes ([`super::blob`]), which is less than these letters make.

use std::ops::Range;

use super::bytes::{put_varint, varint};
use crate::error::{Error, Result};

/// What it begins with: the letters and the version.
const MAGIC: &[u8] = b"TIFF\x01";

/// Whether an `index` is that of a TIFF.
pub(crate) fn is_of_tiff(index: &[u8]) -> bool {
    index.starts_with(b"TIFF")
}

/// The ranges of a TIFF's header in a file of `size` bytes: in order, and apart from each other.
pub(crate) fn build_ranges(size: u64, ranges: &[Range<u64>]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_varint(&mut out, size);
    let mut end = 0;
    for range in ranges {
        put_varint(&mut out, range.start - end);
        put_varint(&mut out, range.end - range.start);
        end = range.end;
    }
    out
}

/// The size of the file, and the ranges.
///
/// # Errors
/// [`Error::Row`] where it is cut, or a range is empty or leaves the file.
pub(crate) fn parse_ranges(index: &[u8]) -> Result<(u64, Vec<Range<u64>>)> {
    let row = |what: &str| Error::Row { what: format!("its index column, that of a TIFF, {what}") };
    let mut rest = index.strip_prefix(MAGIC).ok_or_else(|| row("is of no version that is known"))?;
    let number = |rest: &mut &[u8]| varint(rest).ok_or_else(|| row("is cut"));
    let size = number(&mut rest)?;
    let (mut ranges, mut end) = (Vec::new(), 0u64);
    while !rest.is_empty() {
        let (gap, length) = (number(&mut rest)?, number(&mut rest)?);
        let start = end.checked_add(gap);
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| length > 0 && range.end <= size).ok_or_else(|| row("leaves the file"))?;
        end = range.end;
        ranges.push(range);
    }
    Ok((size, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        for ranges in
            [vec![Range { start: 0, end: 4096 }], vec![0..4096, 8192..12_288, 5_000_000_000..5_000_000_007], vec![]]
        {
            let index = build_ranges(5_000_000_007, &ranges);
            assert!(is_of_tiff(&index));
            assert_eq!(parse_ranges(&index).unwrap(), (5_000_000_007, ranges.clone()));
            for length in MAGIC.len()..index.len() {
                let cut = parse_ranges(&index[..length]);
                assert!(cut.is_err() || cut.unwrap().1.len() < ranges.len(), "{length}");
            }
        }
    }

    #[test]
    fn what_leaves_the_file_is_refused() {
        let refused = |index: &[u8], what: &str| {
            let error = parse_ranges(index).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        refused(&build_ranges(99, &[Range { start: 0, end: 100 }]), "leaves the file");
        refused(&build_ranges(99, &[Range { start: 5, end: 5 }]), "leaves the file");
        refused(b"TIFF\x02\x01", "no version");
        refused(&[MAGIC, &[10, 0x80]].concat(), "cut");
        let most = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        refused(&[MAGIC, &most, &[1], &most].concat(), "leaves the file");
        // A JP2 of so many bytes that its index began with the letters would be larger than any file.
        assert!(!is_of_tiff(&u64::to_be_bytes(1 << 60)));
    }
}
