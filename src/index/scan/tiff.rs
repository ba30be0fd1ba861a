//! Reading a TIFF's header, once, to make its index row.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::source::{Meta, Source, SourceOffset};
use crate::tiff::{Parsed, Pieces, parse};

/// What one read of a file brings at least, in bytes: the header of a COG of 10980 px, with all of its overviews, has 15 kB.
const STEP: u64 = 64 << 10;

/// More reads for one header are not made: directories that lie one by one all over the file.
const MOST_READS: usize = 1024;

/// What a scan of a TIFF found.
#[derive(Debug, Clone)]
pub(crate) struct ScannedTiff {
    /// Size, ETag and date of the file as it was read.
    pub(crate) meta: Meta,
    /// The ranges that opening the file takes: in order, and apart from each other.
    pub(crate) ranges: Vec<Range<u64>>,
    /// Their bytes, one after the other.
    pub(crate) header: Bytes,
    /// The file, where its first read brought all of it.
    pub(crate) whole: Option<Bytes>,
}

/// Reads a TIFF's header, wherever in the file that stands.
///
/// # Errors
/// [`Error::Malformed`] where it is no TIFF, or is cut or damaged; [`Error::Changed`] where the file does not stay what it is;
/// whatever `source` fails with.
pub(crate) fn scan_tiff(source: &dyn Source) -> Result<ScannedTiff> {
    let first = source.read_up_to(SourceOffset(0), STEP)?;
    let meta = match source.seen() {
        Some(meta) => meta,
        None => source.head()?,
    };
    let whole = Some(first.clone()).filter(|bytes| bytes.len() as u64 == meta.size);
    let mut pieces = Pieces::new(meta.size);
    pieces.add(0, first);
    for _ in 0..MOST_READS {
        match parse(&pieces)? {
            Parsed::Done(head) => {
                head.check(meta.size)?;
                let mut header = Vec::new();
                for range in &head.ranges {
                    header.extend_from_slice(pieces.get(range).unwrap_or_default());
                }
                source.check_unchanged(&meta)?;
                return Ok(ScannedTiff { meta, ranges: head.ranges, header: header.into(), whole });
            }
            Parsed::Needs(range) => {
                let length = (range.end - range.start).max(STEP).min(meta.size - range.start);
                let bytes = source.read_up_to(SourceOffset(range.start), length)?;
                if (bytes.len() as u64) < range.end - range.start {
                    let what = format!("{} bytes at {} of a file of {} bytes", bytes.len(), range.start, meta.size);
                    return Err(Error::Changed { what });
                }
                pieces.add(range.start, bytes);
            }
        }
    }
    Err(Error::malformed(0, "TIFF 6.0, section 2", format!("a header in more than {MOST_READS} places")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::memory::Memory;
    use crate::tiff::made::Made;

    #[test]
    fn a_header_is_read_by_few_requests_wherever_it_stands() {
        let images = [(10_980, 10_980, 500), (5490, 5490, 120)];
        for (at, size, reads) in [(8, 5_000_000, 1), (4_900_000, 5_000_000, 2), (70_000, 80_000, 2), (8, 20_000, 1)] {
            let file = Made { is_big_endian: at % 3 == 0, is_big: false, at, size }.bytes(&images);
            let source = Memory::new("mem://scan", file.clone());
            let scanned = scan_tiff(&source).unwrap();
            assert_eq!(source.cost().0, reads, "{at}");
            assert_eq!(scanned.meta.size, size as u64);
            let bytes: Vec<u8> = scanned
                .ranges
                .iter()
                .flat_map(|range| &file[range.start as usize..range.end as usize])
                .copied()
                .collect();
            assert_eq!(scanned.header, bytes);
            assert!(scanned.header.len() < 20_000, "{}", scanned.header.len());
            assert_eq!(scanned.whole.is_some(), size <= 65_536);
        }
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_refused() {
        let file = Made { is_big_endian: false, is_big: false, at: 4_900_000, size: 5_000_000 }.bytes(&[(9, 9, 4)]);
        let source = Memory::new("mem://scan-changes", file);
        source.changes_after(1);
        assert!(matches!(scan_tiff(&source), Err(Error::Changed { .. })));
    }

    #[test]
    fn directories_all_over_the_file_are_given_up() {
        // Each directory, of one entry, leads to one that lies further on than a read brings.
        let step = STEP + 4096;
        let mut file = vec![0; (step * 1200) as usize];
        file[..8].copy_from_slice(b"II\x2A\0\x08\0\0\0");
        for number in 0..1023u64 {
            let at = if number == 0 { 8 } else { number * step } as usize;
            file[at] = 1;
            file[at + 2..at + 10].copy_from_slice(&[0, 1, 3, 0, 1, 0, 0, 0]);
            file[at + 14..at + 18].copy_from_slice(&((number + 1) * step).to_le_bytes()[..4]);
        }
        let source = Memory::new("mem://scan-far", file);
        assert!(matches!(scan_tiff(&source), Err(Error::Malformed { .. })));
        assert!(source.cost().0 <= MOST_READS + 1);
    }
}
