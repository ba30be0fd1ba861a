//! Reading a reduced view: which of its tiles are fetched together.
//!
//! What a view needs of a tile is a small part of a tile-part, so requests cost more than bytes: a small view is fetched
//! whole by its first read. Of a large one the tile that is read is fetched; where its neighbours have been read, others
//! probably follow, and are sent for while this one is decoded: to the right along the row, and where the row above has
//! been read, the same columns of this row and the next.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::VirtualFile;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::options::Options;
use crate::source::{SourceRange, fetch_units, peek, prefetch};

/// What is sent for at most while one tile is decoded, as a part of the cache: it must still be there when it is read.
const AHEAD_IN_CACHE: u64 = 4;

/// Rows that are sent for below the one that is read.
const ROWS_AHEAD: u32 = 2;

/// Whether a view is fetched whole by its first read.
pub(super) fn is_small(view: &Layout, options: &Options) -> bool {
    view.unit_bytes() <= options.overview_prefetch.min(options.cache_size / AHEAD_IN_CACHE)
}

impl VirtualFile {
    /// The bytes of one unit of a view with `across` tiles in a row.
    pub(super) fn fetch_of_view(&self, number: usize, across: u32) -> Result<Bytes> {
        let units = self.layout.units();
        let unit = units.get(number).ok_or_else(|| Error::read("a unit that the view does not have"))?;
        let held = peek(&*self.source, &unit.range);
        let is_new = self.read_tiles.get(unit.tile as usize).is_some_and(|read| !read.swap(true, Ordering::Relaxed));
        // What is at hand is looked up alone: a view may have thousands of units.
        if held.is_none() || is_new {
            self.send_for(unit.tile, across, held.is_none());
        }
        let bytes = match held {
            Some(bytes) => Some(bytes),
            None => fetch_units(&self.source, std::slice::from_ref(&unit.range), &self.options)?.pop(),
        };
        self.confirm()?;
        let bytes = bytes.ok_or_else(|| Error::read("a read gave fewer ranges than asked for"))?;
        self.check_sot(number, &bytes)?;
        Ok(bytes)
    }

    /// Begins to fetch what is read together with `tile`, which is `missing` or not, and what is probably read after it.
    fn send_for(&self, tile: u32, across: u32, missing: bool) {
        let units = self.layout.units();
        let ranges = |of_tile: &dyn Fn(u32) -> bool| -> Vec<SourceRange> {
            units.iter().filter(|unit| of_tile(unit.tile)).map(|unit| unit.range.clone()).collect()
        };
        if is_small(&self.layout, &self.options) {
            if missing {
                prefetch(&self.source, &ranges(&|_| true), &self.options);
            }
            return;
        }
        if missing {
            prefetch(&self.source, &ranges(&|other| other == tile), &self.options);
        }
        let ahead = self.tiles_after(tile, across);
        if !ahead.is_empty() {
            let mut budget = self.options.cache_size / AHEAD_IN_CACHE;
            let mut wanted = ranges(&|tile| ahead.contains(&tile));
            wanted.retain(|range| {
                let length = range.end.0 - range.start.0;
                let fits = length <= budget;
                budget -= if fits { length } else { 0 };
                fits
            });
            prefetch(&self.source, &wanted, &self.options);
        }
    }

    /// The tiles that are probably read after `tile`.
    fn tiles_after(&self, tile: u32, across: u32) -> Vec<u32> {
        let is_read = |tile: u32| self.read_tiles.get(tile as usize).is_some_and(|read| read.load(Ordering::Relaxed));
        let (row, column) = (tile / across, tile % across);
        let mut after = Vec::new();
        // A run of tiles to the left: as many again, and one more.
        let run = (0..column).rev().take_while(|column| is_read(row * across + column)).count();
        if run > 0 {
            let run = u32::try_from(run).unwrap_or(across);
            after.extend((column + 1..across.min(column.saturating_add(run) + 2)).map(|column| row * across + column));
        }
        // What has been read of the row above tells how wide the window is.
        if let Some(above) = row.checked_sub(1).filter(|above| is_read(above * across + column)) {
            let columns: Vec<u32> = (0..across).filter(|column| is_read(above * across + column)).collect();
            for row in row..=row + ROWS_AHEAD {
                after.extend(columns.iter().map(|column| row * across + column));
            }
        }
        after.retain(|other| *other != tile && !is_read(*other));
        after
    }
}
