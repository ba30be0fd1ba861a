//! Reading a view: which of its tiles are fetched together.
//!
//! What a view needs of a tile is a small part of a tile-part, so requests cost more than bytes: a small view is fetched
//! whole by its first read. Of a large one the tile that is read is fetched; where its neighbours have been read, others
//! probably follow, and are sent for while this one is decoded.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::VirtualFile;
use crate::error::{Error, Result};
use crate::layout::{Content, Layout, VirtualOffset};
use crate::options::Options;
use crate::source::{SourceRange, fetch_units, peek, prefetch};

/// What is sent for at most while one tile is decoded, as a part of the cache: it must still be there when it is read.
const AHEAD_IN_CACHE: u64 = 4;

/// Lines of tiles that are sent for beyond the one that is read, at most.
const LINES_AHEAD: usize = 3;

/// Whether a view is fetched whole by its first read.
pub(super) fn is_small(view: &Layout, options: &Options) -> bool {
    view.unit_bytes() <= options.overview_prefetch.min(options.cache_size / AHEAD_IN_CACHE)
}

impl VirtualFile {
    /// The bytes of one unit of a view with `across` tiles in a row, and where it is read `ahead` what is probably read
    /// after it.
    pub(super) fn fetch_of_view(&self, number: usize, across: u32, ahead: bool) -> Result<Bytes> {
        let units = self.layout.units();
        let unit = units.get(number).ok_or_else(|| Error::read("a unit that the view does not have"))?;
        let held = peek(&*self.source, &unit.range);
        let is_new = self.read_tiles.get(unit.tile as usize).is_some_and(|read| !read.swap(true, Ordering::Relaxed));
        // What is at hand is looked up alone: a view may have thousands of units.
        if ahead && (held.is_none() || is_new) {
            self.send_for(unit.tile, across, held.is_none());
        }
        let bytes = match held {
            Some(bytes) => Some(bytes),
            None => fetch_units(&self.source, std::slice::from_ref(&unit.range), &self.fetching())?.pop(),
        };
        self.confirm()?;
        let bytes = bytes.ok_or_else(|| Error::read("a read gave fewer ranges than asked for"))?;
        self.check_sot(number, &bytes)?;
        Ok(bytes)
    }

    /// Begins to fetch what is read of a view that is not small.
    pub(super) fn send_for_ranges(&self, ranges: &[std::ops::Range<u64>]) {
        if self.source.is_cheap() || is_small(&self.layout, &self.access.options) {
            return;
        }
        let mut numbers = BTreeSet::new();
        for range in ranges {
            let segments = self.layout.segments_from(VirtualOffset(range.start));
            for (_, content) in segments.take_while(|(start, _)| start.0 < range.end) {
                numbers.extend(match content {
                    Content::Source(range) => self.unit_at(range.start.0),
                    Content::Inline(_) => None,
                });
            }
        }
        let units: Vec<SourceRange> = numbers.into_iter().map(|number| self.unit_range(number)).collect();
        prefetch(&self.source, &units, &self.fetching());
    }

    /// Begins to fetch what is read together with `tile`, which is `missing` or not, and what is probably read after it.
    fn send_for(&self, tile: u32, across: u32, missing: bool) {
        let (units, options) = (self.layout.units(), self.fetching());
        let ranges = |of_tile: &dyn Fn(u32) -> bool| -> Vec<SourceRange> {
            units.iter().filter(|unit| of_tile(unit.tile)).map(|unit| unit.range.clone()).collect()
        };
        if is_small(&self.layout, &self.access.options) {
            if missing {
                prefetch(&self.source, &ranges(&|_| true), &options);
            }
            return;
        }
        if missing {
            prefetch(&self.source, &ranges(&|other| other == tile), &options);
        }
        let ahead = self.tiles_after(tile, across);
        if !ahead.is_empty() {
            let mut budget = self.access.options.cache_size / AHEAD_IN_CACHE;
            let mut wanted = ranges(&|tile| ahead.contains(&tile));
            wanted.retain(|range| {
                let length = range.end.0 - range.start.0;
                let fits = length <= budget;
                budget -= if fits { length } else { 0 };
                fits
            });
            prefetch(&self.source, &wanted, &options);
        }
    }

    /// The tiles that are probably read after `tile`, judged by those that have been: no more than a read of a few tiles
    /// can bear, and enough to keep the connections busy once a line across the whole image has been read. GDAL reads row
    /// by row with one thread, and column by column with several.
    ///
    /// In the first line of a read: one tile after two, twice as many as have been read after more. In further lines the
    /// one before tells how wide the read is: the rest of this line, and as many lines beyond as have been read before it
    /// but one; where the line is the image's, [`LINES_AHEAD`].
    fn tiles_after(&self, tile: u32, across: u32) -> Vec<u32> {
        let down = u32::try_from(self.read_tiles.len()).unwrap_or(0).div_ceil(across);
        let is_read = |row: Option<u32>, column: Option<u32>| {
            let tile = row.zip(column.filter(|column| *column < across)).map(|(row, column)| row * across + column);
            tile.and_then(|tile| self.read_tiles.get(tile as usize)).is_some_and(|read| read.load(Ordering::Relaxed))
        };
        let (row, column) = (tile / across, tile % across);
        let (left, above) = (column.checked_sub(1), row.checked_sub(1));
        // Of two lines, the earlier one is the longer one.
        let by_columns = is_read(Some(row + 1), left)
            || (is_read(above, Some(column)) && !is_read(Some(row), left) && !is_read(above, Some(column + 1)));
        let (line, place) = if by_columns { (column, row) } else { (row, column) };
        let (lines, length) = if by_columns { (across, down) } else { (down, across) };
        let here = (line, place);
        let is_read_at = |line: u32, place: u32| {
            if by_columns { is_read(Some(place), Some(line)) } else { is_read(Some(line), Some(place)) }
        };
        let before = (0..line).rev().take_while(|before| is_read_at(*before, place)).count();
        let mut after = Vec::new();
        if let Some(last) = line.checked_sub(1).filter(|_| before > 0) {
            // Together, so that other reads of the same view are not taken for this one.
            let start = (0..place).rev().take_while(|place| is_read_at(last, *place)).last().unwrap_or(place);
            let places: Vec<u32> = (start..length).take_while(|place| is_read_at(last, *place)).collect();
            let beyond = if places.len() == length as usize { LINES_AHEAD } else { LINES_AHEAD.min(before - 1) };
            let end = line.saturating_add(u32::try_from(beyond).unwrap_or(0)).min(lines - 1);
            after.extend((line..=end).flat_map(|line| places.iter().map(move |place| (line, *place))));
        } else {
            let run = (0..place).rev().take_while(|place| is_read_at(line, *place)).count();
            let ahead = u32::try_from(if run > 1 { 2 * run } else { run }).unwrap_or(length);
            let end = place.saturating_add(ahead).min(length - 1);
            after.extend((place + 1..=end).map(|place| (line, place)));
        }
        after.retain(|(line, place)| !is_read_at(*line, *place) && (*line, *place) != here);
        after
            .into_iter()
            .map(|(line, place)| if by_columns { place * across + line } else { line * across + place })
            .collect()
    }
}
