//! Reading a virtual file: plan, fetch, copy.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::virtual_file::Expected;
use super::{VirtualFile, registry};
use crate::error::{Error, Result, ResultExt};
use crate::index;
use crate::jp2::SOT_LENGTH;
use crate::layout::{Content, LOOK, VirtualOffset};
use crate::source::{SourceOffset, SourceRange, fetch_units, is_under_way, merge_gap, peek};

/// The unit of fetching where a file's structure is unknown.
const BLOCK: u64 = 64 << 10;

/// The most bytes that reading on in order fetches at once, and that one read asks for at once.
const LONGEST_RUN: u64 = 8 << 20;

/// A run is at most this part of the cache: what is fetched ahead must not push out what is read now.
const RUNS_IN_CACHE: u64 = 4;

/// What a run of small tile-parts is worth at most: more would cost bytes that a window does not need.
const SMALL_RUN: u64 = 256 << 10;

/// What comes with a run from before it is at most this part of what a run of small tile-parts is worth.
const SHARE_BEFORE: u64 = 2;

/// How a handle has read so far, so that reading on in order fetches ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// The unit that comes next in order.
    next: Option<usize>,
    /// How many runs have been read in order.
    streak: u32,
    /// The bytes of the last run.
    run: u64,
    /// Whether nothing is fetched of a view but what is read.
    is_off: bool,
}

impl Ahead {
    /// Nothing of a view is fetched ahead: who reads it knows all that it needs.
    pub(super) fn none() -> Self {
        Self { is_off: true, ..Self::default() }
    }

    /// The bytes to fetch from the unit `first` on, at least: `base` at first, doubling with every run in order.
    fn budget(&mut self, first: usize, base: u64, longest: u64) -> u64 {
        self.streak = if self.next == Some(first) { self.streak + 1 } else { 0 };
        // The first two runs in order may be a window's: only then the file seems to be read as a whole.
        let doubled = if self.streak < 2 { 0 } else { self.run.saturating_mul(2).min(longest) };
        doubled.max(base)
    }
}

impl VirtualFile {
    /// Reads from `offset` on until `buffer` is full or the file ends, and gives the number of bytes.
    ///
    /// # Errors
    /// What the source reports; [`Error::Changed`] and [`Error::Row`] where the file is not what its row says. Then the
    /// row is set aside, and the next open scans anew.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8], ahead: &mut Ahead) -> Result<usize> {
        if let Some(decoded) = &self.decoded {
            return decoded.read(offset, buffer).in_file(&self.name);
        }
        self.fill(offset, buffer, ahead).inspect_err(|error| self.doubt_row(error)).in_file(&self.name)
    }

    /// Fills each buffer from its offset on: what they need is fetched together.
    ///
    /// # Errors
    /// As [`VirtualFile::read_at`], and where one of them does not lie within the file.
    pub(crate) fn read_ranges(&self, ranges: &mut [(u64, &mut [u8])]) -> Result<()> {
        let is_within = |(offset, buffer): &(u64, &mut [u8])| {
            offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.size())
        };
        if !ranges.iter().all(is_within) {
            return Err(Error::read("a range that does not lie within the file")).in_file(&self.name);
        }
        if let Some(decoded) = &self.decoded {
            return decoded.read_ranges(ranges).in_file(&self.name);
        }
        self.read_ranges_of(ranges).in_file(&self.name)
    }

    /// The same of a file that is not decoded, and of ranges that lie within it.
    pub(super) fn read_ranges_of(&self, ranges: &mut [(u64, &mut [u8])]) -> Result<()> {
        if self.known.is_none()
            && self.layout.view().is_none()
            && !self.source.is_cheap()
            && self.small_file().is_none()
        {
            return self.fill_ranges(ranges).inspect_err(|error| self.doubt_row(error));
        }
        for (offset, buffer) in ranges {
            let filled = self.fill(*offset, buffer, &mut Ahead::default());
            filled.inspect_err(|error| self.doubt_row(error))?;
        }
        Ok(())
    }

    /// Fills each buffer from a file whose bytes are those of its source: all that is not inline is fetched together.
    fn fill_ranges(&self, ranges: &mut [(u64, &mut [u8])]) -> Result<()> {
        let mut wanted: Vec<(u64, &mut [u8])> = Vec::new();
        for (offset, buffer) in ranges {
            let mut rest: &mut [u8] = buffer;
            for (start, content) in self.layout.segments_from(VirtualOffset(*offset)) {
                if rest.is_empty() {
                    break;
                }
                let skip = offset.saturating_sub(start.0);
                let left = usize::try_from(content.len() - skip).unwrap_or(usize::MAX).min(rest.len());
                let (here, after) = rest.split_at_mut(left);
                match content {
                    Content::Inline(bytes) => copy(Some(bytes), skip, here)?,
                    Content::Source(range) => wanted.push((range.start.0 + skip, here)),
                }
                rest = after;
            }
        }
        let stretches = self.stretches(wanted.iter().map(|(offset, buffer)| *offset..offset + buffer.len() as u64));
        let fetched = fetch_units(&self.source, &stretches, &self.access.options)?;
        self.confirm()?;
        for (offset, mut buffer) in wanted {
            let first = stretches.partition_point(|stretch| stretch.end.0 <= offset);
            for (stretch, bytes) in stretches.iter().zip(&fetched).skip(first) {
                if buffer.is_empty() {
                    break;
                }
                let skip = offset.saturating_sub(stretch.start.0);
                let left = usize::try_from(length(stretch) - skip).unwrap_or(usize::MAX).min(buffer.len());
                let (here, after) = buffer.split_at_mut(left);
                copy(Some(bytes), skip, here)?;
                buffer = after;
            }
        }
        Ok(())
    }

    /// What is to be fetched of a file whose bytes are those of its source, for some parts of it: in order, apart from each
    /// other.
    pub(super) fn stretches(&self, parts: impl Iterator<Item = Range<u64>>) -> Vec<SourceRange> {
        let mut stretches: Vec<SourceRange> = Vec::new();
        for part in parts {
            let mut at = part.start;
            while at < part.end {
                let stretch = self.stretch_at(at);
                at = stretch.end.0;
                stretches.push(stretch);
            }
        }
        stretches.sort_unstable_by_key(|stretch| stretch.start.0);
        stretches.dedup();
        match self.small_file() {
            Some(whole) if !stretches.is_empty() => vec![whole],
            _ => stretches,
        }
    }

    /// What is fetched and kept together of the file around `offset`: its unit, else the part of a block that no unit has.
    fn stretch_at(&self, offset: u64) -> SourceRange {
        let units = self.layout.units();
        let next = units.partition_point(|unit| unit.range.end.0 <= offset);
        if let Some(unit) = units.get(next).filter(|unit| unit.range.start.0 <= offset) {
            return unit.range.clone();
        }
        let after = next.checked_sub(1).and_then(|before| units.get(before)).map_or(0, |before| before.range.end.0);
        let before = units.get(next).map_or(self.size(), |next| next.range.start.0);
        let block = offset / BLOCK * BLOCK;
        SourceOffset(after.max(block))..SourceOffset(before.min(block + BLOCK))
    }

    /// Sets the row aside where `error` shows that the file is not what it says.
    pub(super) fn doubt_row(&self, error: &Error) {
        if let Error::Changed { .. } | Error::Row { .. } = error {
            let origin = self.source.origin();
            registry::get().set_aside(&self.access.identity, origin);
            index::learned_forget(&self.access, origin);
            registry::get().forget(self);
        }
    }

    fn fill(&self, offset: u64, buffer: &mut [u8], ahead: &mut Ahead) -> Result<usize> {
        let length = self.size().saturating_sub(offset).min(buffer.len() as u64);
        let Some(mut rest) = usize::try_from(length).ok().and_then(|length| buffer.get_mut(..length)) else {
            return Ok(0);
        };
        // In a view only at open: its first tile-part's header, which is longer than what decoders look at, lies there too.
        let crosses = match self.layout.view() {
            Some(_) => offset == 0,
            None => self.layout.in_header(VirtualOffset(offset)),
        };
        let mut at = offset;
        for (start, content) in self.layout.segments_from(VirtualOffset(offset)) {
            if rest.is_empty() {
                break;
            }
            let skip = at - start.0;
            match content {
                Content::Inline(bytes) => {
                    let from = bytes.get(usize::try_from(skip).unwrap_or(usize::MAX)..).unwrap_or_default();
                    let (here, after) = rest.split_at_mut(from.len().min(rest.len()));
                    here.copy_from_slice(from.get(..here.len()).unwrap_or_default());
                    at += here.len() as u64;
                    rest = after;
                }
                Content::Source(range) => {
                    let from = range.start.0 + skip;
                    let here = usize::try_from(range.end.0 - from).unwrap_or(usize::MAX).min(rest.len());
                    let (here, after) = rest.split_at_mut(here);
                    let wanted = SourceOffset(from)..SourceOffset(from + here.len() as u64);
                    at += here.len() as u64;
                    if self.source.is_cheap() {
                        self.source.read_into(wanted.start, here)?;
                    } else if let Some(bytes) = self.embedded.as_ref().and_then(|embedded| embedded.bytes(&wanted)) {
                        copy(Some(&bytes), 0, here)?;
                    } else if let Some(whole) = self.small_file() {
                        let fetched = fetch_units(&self.source, &[whole], &self.access.options)?;
                        self.confirm()?;
                        self.check_sot_in(fetched.first(), &wanted)?;
                        copy(fetched.first(), wanted.start.0, here)?;
                    } else if crosses && !self.is_at_hand(&wanted) {
                        // GDAL_INGESTED_BYTES_AT_OPEN reads on from the header: it gets what it asks, not the tile-part.
                        // With the beginning of the tile-part that it is of, which tells whether the table is true.
                        let first = self.unit_at(from).unwrap_or(self.units());
                        let start = match self.layout.units() {
                            [] => from,
                            _ if first < self.units() => self.unit_range(first).start.0,
                            _ => from,
                        };
                        let fetched =
                            fetch_units(&self.source, &[SourceOffset(start)..wanted.end], &self.access.options)?;
                        self.confirm()?;
                        let bytes = fetched.first().map(AsRef::as_ref).unwrap_or_default();
                        self.check_sots(first, start, bytes)?;
                        copy(fetched.first(), from - start, here)?;
                    } else {
                        self.read_units(wanted, here, ahead)?;
                    }
                    rest = after;
                }
            }
        }
        usize::try_from(length).map_err(|_| Error::read("a read of more bytes than there is memory"))
    }

    /// Whether the unit that holds `wanted` is at hand.
    fn is_at_hand(&self, wanted: &SourceRange) -> bool {
        let unit = self.unit_at(wanted.start.0).map(|number| self.unit_range(number));
        unit.is_some_and(|unit| wanted.end <= unit.end && peek(&*self.source, &unit).is_some())
    }

    /// The whole file, where it is worth no more than another request: it is fetched at once, for all its views.
    pub(super) fn small_file(&self) -> Option<SourceRange> {
        let size = self.expected.size.filter(|size| *size <= merge_gap(&*self.source, &self.access.options))?;
        Some(SourceOffset(0)..SourceOffset(size))
    }

    /// Holds the tile-part that `wanted` is of against the table; `whole` is the file.
    fn check_sot_in(&self, whole: Option<&Bytes>, wanted: &SourceRange) -> Result<()> {
        let Some(number) = self.unit_at(wanted.start.0) else { return Ok(()) };
        let start = usize::try_from(self.unit_range(number).start.0).unwrap_or(usize::MAX);
        self.check_sot(number, whole.and_then(|whole| whole.get(start..)).unwrap_or_default())
    }

    /// Holds the tile-parts from `first` on whose SOT marker segments are in `bytes`, which lie at `start` of the source,
    /// against the table.
    pub(super) fn check_sots(&self, first: usize, start: u64, bytes: &[u8]) -> Result<()> {
        for number in first..self.layout.units().len() {
            let skip = usize::try_from(self.unit_range(number).start.0.saturating_sub(start)).unwrap_or(usize::MAX);
            match bytes.get(skip..).filter(|sot| sot.len() >= SOT_LENGTH as usize) {
                Some(sot) => self.check_sot(number, sot)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Fills `out` with `wanted`, fetching the units that it touches whole.
    fn read_units(&self, wanted: SourceRange, mut out: &mut [u8], ahead: &mut Ahead) -> Result<()> {
        if let (Some(view), Some(unit)) = (self.layout.view(), self.unit_at(wanted.start.0)) {
            // A stretch of the source in a view is never longer than a unit.
            let bytes = self.fetch_of_view(unit, view.across, !ahead.is_off)?;
            return copy(Some(&bytes), wanted.start.0 - self.unit_range(unit).start.0, out);
        }
        let mut at = wanted.start.0;
        while !out.is_empty() {
            let Some(first) = self.unit_at(at) else {
                // Boxes after the codestream, which no unit holds.
                let fetched = fetch_units(&self.source, &[SourceOffset(at)..wanted.end], &self.access.options)?;
                self.confirm()?;
                return copy(fetched.first(), 0, out);
            };
            // The bytes a decoder peeks at came with the unit before.
            if let Some(next) = self.peek_range(first).filter(|next| wanted.end <= next.end)
                && let Some(bytes) = peek(&*self.source, &next)
            {
                self.confirm()?;
                return copy(Some(&bytes), at - next.start.0, out);
            }
            let last = self.unit_at(wanted.end.0 - 1).unwrap_or(self.units() - 1);
            let fetched = self.fetch(first, last, ahead)?;
            for (number, bytes) in fetched.iter().enumerate() {
                if out.is_empty() {
                    break; // what was fetched ahead
                }
                let unit = self.unit_range(first + number);
                let end = unit.end.0.min(wanted.end.0);
                let (here, after) =
                    out.split_at_mut(usize::try_from(end.saturating_sub(at)).unwrap_or(0).min(out.len()));
                copy(Some(bytes), at - unit.start.0, here)?;
                at += here.len() as u64;
                out = after;
            }
        }
        Ok(())
    }

    /// The bytes of the units from `first` on: of as many up to `last` as one read may fetch, at least of `first`.
    fn fetch(&self, first: usize, last: usize, ahead: &mut Ahead) -> Result<Vec<Bytes>> {
        let mut held = Vec::new();
        for unit in first..=last {
            match peek(&*self.source, &self.unit_range(unit)) {
                Some(bytes) => {
                    self.check_sot(unit, &bytes)?;
                    held.push(bytes);
                }
                None => break,
            }
        }
        if !held.is_empty() {
            // What came with an error is kept, too, and this file is not the one that it is of.
            self.confirm()?;
            return Ok(held);
        }
        if is_under_way(&*self.source, &self.unit_range(first)) {
            // Another thread's run: one of its own would ask for what lies behind that, which nobody has read yet.
            let fetched = fetch_units(&self.source, &[self.unit_range(first)], &self.access.options)?;
            self.confirm()?;
            fetched.iter().try_for_each(|bytes| self.check_sot(first, bytes))?;
            return Ok(fetched);
        }
        let small = merge_gap(&*self.source, &self.access.options).min(SMALL_RUN);
        let budget = ahead.budget(first, small, LONGEST_RUN.min(self.access.options.cache_size / RUNS_IN_CACHE));
        let mut run = vec![self.unit_range(first)];
        let mut total = run.first().map_or(0, length);
        // Threads that read neighbours come in any order: a small one before the first may be wanted too.
        let before = first.checked_sub(1).map(|before| self.unit_range(before));
        let before = before.filter(|before| ahead.streak == 0 && length(before) <= small / SHARE_BEFORE);
        for unit in first + 1..self.units() {
            if total >= if unit <= last { LONGEST_RUN } else { budget } {
                break;
            }
            let range = self.unit_range(unit);
            total += length(&range);
            run.push(range);
        }
        let units = run.len();
        ahead.next = Some(first + units);
        ahead.run = run.iter().map(length).sum();
        run.extend(self.peek_range(first + units));
        let skipped = usize::from(before.is_some());
        run.splice(0..0, before);
        let mut fetched = fetch_units(&self.source, &run, &self.access.options)?;
        fetched.drain(..skipped.min(fetched.len()));
        fetched.truncate(units);
        self.confirm()?;
        for (number, bytes) in fetched.iter().enumerate() {
            self.check_sot(first + number, bytes)?;
        }
        Ok(fetched)
    }

    /// The number of units: tile-parts, or blocks where the file's structure is unknown.
    pub(super) fn units(&self) -> usize {
        match self.layout.units() {
            [] => usize::try_from(self.size().div_ceil(BLOCK)).unwrap_or(usize::MAX),
            units => units.len(),
        }
    }

    /// The unit that holds a byte of the source.
    pub(super) fn unit_at(&self, offset: u64) -> Option<usize> {
        match self.layout.units() {
            [] => usize::try_from(offset / BLOCK).ok(),
            units => {
                let number = units.partition_point(|unit| unit.range.end.0 <= offset);
                units.get(number).filter(|unit| unit.range.start.0 <= offset).map(|_| number)
            }
        }
    }

    /// A unit's range.
    pub(super) fn unit_range(&self, number: usize) -> SourceRange {
        match self.layout.units() {
            [] => {
                let start = (number as u64).saturating_mul(BLOCK);
                SourceOffset(start)..SourceOffset((start + BLOCK).min(self.size()))
            }
            units => units.get(number).map_or(SourceOffset(0)..SourceOffset(0), |unit| unit.range.clone()),
        }
    }

    /// What a decoder peeks at where the tile-part `number` begins: fetched with the one before it, as a unit of its own.
    fn peek_range(&self, number: usize) -> Option<SourceRange> {
        let range = self.layout.units().get(number).filter(|unit| unit.sot.is_some())?.range.clone();
        Some(range.start..SourceOffset((range.start.0 + LOOK).min(range.end.0)))
    }

    /// Holds a fetched tile-part against the table.
    pub(super) fn check_sot(&self, number: usize, bytes: &[u8]) -> Result<()> {
        self.layout.units().get(number).map_or(Ok(()), |unit| unit.check_sot(bytes))
    }

    /// Checks the first response against what the row says. See [`super::open()`] for what is checked against it at open.
    pub(super) fn confirm(&self) -> Result<()> {
        if self.confirmed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(meta) = self.source.seen() else { return Ok(()) };
        match Expected::mismatch(&self.expected, &meta) {
            Some(what) => Err(Error::Changed { what }),
            None => {
                self.confirmed.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

fn length(range: &SourceRange) -> u64 {
    range.end.0 - range.start.0
}

/// Copies from the place `skip` of `bytes` on.
fn copy(bytes: Option<&Bytes>, skip: u64, out: &mut [u8]) -> Result<()> {
    let from = usize::try_from(skip).ok().and_then(|skip| bytes?.get(skip..skip.checked_add(out.len())?));
    match from {
        Some(from) => {
            out.copy_from_slice(from);
            Ok(())
        }
        None => Err(Error::read("a response was shorter than its range")),
    }
}
