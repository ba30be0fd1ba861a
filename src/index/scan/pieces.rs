//! What has been read of a file, and reading what has not.
//!
//! Pieces are held by their offsets until the walk has passed them. They may overlap, and then agree: a source whose bytes
//! change fails ([`Error::Changed`]).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::source::{Link, Meta, Source, SourceOffset, SourceRange};

/// The first read of a local file, in bytes: real headers have about 2.3 kB.
const FIRST: u64 = 8 << 10;
/// The first read of a remote one: what costs no more than another request, so that small files come with it.
const FIRST_REMOTE: u64 = 256 << 10;
/// Remote files up to this size are read whole at once: that costs less than hopping through them.
const SMALL_FILE: u64 = 1 << 20;
/// One hop, in bytes: an SOT segment, PLT, SOD.
pub(super) const HOP: u64 = 1 << 10;
/// The longest hop: a file whose tile-parts have longer headers is read on for each.
const LONGEST_HOP: u64 = 64 << 10;
/// Who jumps over fewer bytes reads on.
const NEAR: u64 = 16 << 10;
/// One read of many that follow each other, in bytes: a 60 m band of 2.7 MB takes three reads in all.
pub(super) const BLOCK: u64 = 3 << 19;

/// The pieces of one file.
pub(super) struct Pieces<'a> {
    source: &'a dyn Source,
    meta: Meta,
    held: BTreeMap<u64, Bytes>,
    hop: u64,
    /// Where the last read ended, and how many bytes it took.
    last: (u64, u64),
    /// So many blocks are read at once, up to there.
    stream: Option<(usize, u64)>,
}

impl<'a> Pieces<'a> {
    /// Reads the first piece, of a small remote file all of it.
    pub(super) fn new(source: &'a dyn Source) -> Result<Self> {
        let first = if source.is_cheap() { FIRST } else { FIRST_REMOTE };
        let bytes = source.read_up_to(SourceOffset(0), first)?;
        let meta = match source.seen() {
            Some(meta) => meta,
            None => source.head()?,
        };
        let last = (bytes.len() as u64, HOP);
        let mut pieces = Self { source, meta, held: BTreeMap::from([(0, bytes)]), hop: HOP, last, stream: None };
        if pieces.meta.size <= SMALL_FILE && !source.is_cheap() {
            pieces.at(0, pieces.meta.size)?;
        }
        Ok(pieces)
    }

    /// The file's size, ETag and date.
    pub(super) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Whether a read costs next to nothing.
    pub(super) fn is_cheap(&self) -> bool {
        self.source.is_cheap()
    }

    /// What requests and bytes cost.
    pub(super) fn link(&self) -> Link {
        self.source.link()
    }

    /// The file, where it was read whole.
    pub(super) fn whole(&self) -> Option<Bytes> {
        self.held.get(&0).filter(|bytes| bytes.len() as u64 == self.meta.size).cloned()
    }

    /// What is at hand from `offset` on, without a read.
    pub(super) fn held(&self, offset: u64) -> &[u8] {
        let Some((start, bytes)) = self.held.range(..=offset).next_back() else { return &[] };
        usize::try_from(offset - start).ok().and_then(|from| bytes.get(from..)).unwrap_or_default()
    }

    /// What is at hand from `offset` on: at least `least` bytes, which are read where they are not; fewer only where the
    /// file ends.
    ///
    /// # Errors
    /// [`Error::Changed`] where the file ends sooner than it did; whatever the source fails with.
    pub(super) fn at(&mut self, offset: u64, least: u64) -> Result<&[u8]> {
        let wanted = offset.saturating_add(least).min(self.meta.size);
        loop {
            let have = offset.saturating_add(self.held(offset).len() as u64);
            if have >= wanted {
                return Ok(self.held(offset));
            }
            if self.held(have).is_empty() {
                self.fetch(have, wanted)?;
            }
            if have > offset {
                let more = self.held(have);
                let more = &more[..more.len().min(usize::try_from(wanted - have).unwrap_or(usize::MAX))];
                let joined = [self.held(offset), more].concat();
                self.put(offset, joined.into());
            }
        }
    }

    /// Takes a piece that was read elsewhere.
    pub(super) fn put(&mut self, offset: u64, bytes: Bytes) {
        let place = self.held.entry(offset).or_default();
        if place.len() < bytes.len() {
            *place = bytes;
        }
    }

    /// Gives up what lies before `offset`.
    pub(super) fn forget(&mut self, offset: u64) {
        while let Some(first) = self.held.first_entry()
            && first.key() + first.get().len() as u64 <= offset
        {
            first.remove();
        }
    }

    /// From now on what is missing is read in blocks up to `end`, so many at the same time.
    pub(super) fn stream(&mut self, requests: usize, end: u64) {
        self.stream = Some((requests, end));
    }

    /// How many bytes one hop reads.
    pub(super) fn hop(&self) -> u64 {
        self.hop
    }

    /// Takes note of a tile-part header of so many bytes: the next hops shall bring as many.
    pub(super) fn expect_header(&mut self, length: u32) {
        self.hop = self.hop.max(u64::from(length).next_multiple_of(HOP).min(LONGEST_HOP));
    }

    /// Reads all of `ranges`, which lie inside the file, at the same time.
    pub(super) fn read_all(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        self.source.read_ranges(ranges)
    }

    /// Reads from `from` on, by `wanted` or further.
    fn fetch(&mut self, from: u64, wanted: u64) -> Result<()> {
        if let Some((requests, end)) = self.stream
            && from < end
        {
            return self.fetch_blocks(from, end, requests);
        }
        // Who reads on where the last read ended will do so again: small tile-parts side by side, and long headers, cost
        // few reads. Who jumps over packets needs a header alone.
        let (last_end, last) = self.last;
        let reads_on = from.checked_sub(last_end).is_some_and(|gap| gap <= last.min(NEAR));
        let length = if reads_on { last.saturating_mul(2).min(BLOCK) } else { self.hop };
        let end = wanted.max(from.saturating_add(length)).min(self.meta.size);
        let bytes = self.read(from, end - from)?;
        self.put(from, bytes);
        self.last = (end, length);
        Ok(())
    }

    fn fetch_blocks(&mut self, from: u64, end: u64, requests: usize) -> Result<()> {
        let left = end - from;
        let count = left.div_ceil(BLOCK).min(requests.max(1) as u64);
        // The last ones are of one size: they arrive together.
        let length = left.div_ceil(count).min(BLOCK);
        let ranges: Vec<SourceRange> = (0..count)
            .map(|number| from + number * length)
            .map(|start| SourceOffset(start)..SourceOffset((start + length).min(end)))
            .collect();
        let blocks = match &ranges[..] {
            [_] => vec![self.read(from, length)?],
            _ => self.read_all(&ranges)?,
        };
        ranges.iter().zip(blocks).for_each(|(range, bytes)| self.put(range.start.0, bytes));
        Ok(())
    }

    fn read(&self, offset: u64, length: u64) -> Result<Bytes> {
        let bytes = self.source.read_up_to(SourceOffset(offset), length)?;
        if bytes.len() as u64 != length {
            return Err(Error::Changed {
                what: format!("{} bytes at {offset} of a file of {} bytes", bytes.len(), self.meta.size),
            });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::memory::Memory;

    fn numbers(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn what_is_read_on_grows_and_what_is_jumped_to_does_not() {
        let bytes = numbers(8 << 20);
        let source = Memory::new("https://h/x", bytes.clone());
        let mut pieces = Pieces::new(&source).unwrap();
        let mut at = FIRST_REMOTE;
        while at < 4 << 20 {
            assert_eq!(pieces.at(at, 100).unwrap()[..100], bytes[at as usize..][..100]);
            at += 1000;
        }
        let (reads, _) = source.cost();
        assert!(reads < 16, "{reads} reads of all of 4 MB, 1000 bytes apart");
        for at in [6 << 20, 7 << 20, (7 << 20) + 100_000] {
            pieces.at(at, 12).unwrap();
        }
        assert_eq!(source.reads.lock().unwrap()[reads..].iter().map(|read| read.1).collect::<Vec<_>>(), [HOP; 3]);
    }

    #[test]
    fn pieces_are_joined_wherever_they_end() {
        let bytes = numbers(3 << 20);
        let source = Memory::new("https://h/x", bytes.clone());
        let mut pieces = Pieces::new(&source).unwrap();
        pieces.stream(4, bytes.len() as u64);
        for at in (0..bytes.len()).step_by(4999) {
            let least = 9000.min(bytes.len() - at);
            assert_eq!(pieces.at(at as u64, least as u64).unwrap()[..least], bytes[at..at + least], "{at}");
            pieces.forget(at as u64);
        }
        assert_eq!((source.cost(), source.rounds()), ((3, bytes.len() as u64), 1));
        assert!(pieces.at(bytes.len() as u64, 12).unwrap().is_empty());
    }

    #[test]
    fn what_lies_behind_is_given_up() {
        let source = Memory::new("https://h/x", numbers(40 << 20));
        let mut pieces = Pieces::new(&source).unwrap();
        pieces.stream(2, 40 << 20);
        for at in (0..40 << 20).step_by(50_000) {
            pieces.at(at, 1000).unwrap();
            pieces.forget(at);
            let held: usize = pieces.held.values().map(Bytes::len).sum();
            assert!(held as u64 <= 3 * BLOCK, "{held}");
        }
    }
}
