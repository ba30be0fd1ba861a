//! The decoded view of a JP2, or of a window of it: a virtual GeoTIFF, whose tiles are decoded as they are read.
//!
//! GDAL's GTiff driver asks for all tiles of a window at once (`read_multi_range`). So what is decoded is a rectangle of
//! tiles: its packets are fetched together, and its code-blocks spread over all threads. A read that is longer than one
//! such call comes tile by tile: where one follows another, the tiles up to the end of their row are decoded with it; and
//! where that has gone on for a whole row, those of the rows that come out of the same tiles of the JP2.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use once_cell::race::OnceBox;

use super::kept::KeptOfFile;
use super::samples::left_out;
use super::virtual_file::{Decoded, VirtualFile};
use super::window::exponent;
use crate::error::{Error, Result, ResultExt};
use crate::jp2::MainHeader;
use crate::layout::{self, colours, palette};
use crate::options::OverviewList;
use crate::path::{View, Window};
use crate::tiff::{Image, SampleType, Tiff};

/// Columns and rows of a tile of the TIFF. Larger ones hold more that a window does not need, smaller ones cost GDAL more:
/// docs/benchmarks.md has 32, 64 and 128.
const TILE: u32 = 32;

/// What code-blocks may take, and tiles that wait to be read, as a part of the cache.
const SHARE_OF_CACHE: u64 = 4;

/// A tile of a level.
type TileId = (usize, u64);

/// See the module.
struct DecodedTiff {
    tiff: Tiff,
    /// The file that it shows.
    whole: Arc<VirtualFile>,
    levels: Vec<Halved>,
    /// What it shows of its only level; all of its levels where there is none.
    window: Option<Window>,
    kept: KeptOfFile,
    turn: Turn,
}

/// A level of the image.
struct Halved {
    /// How often it is halved.
    k: u8,
    /// What has that level in fewer bytes than the file has, if anything has, made when it is first read.
    view: OnceBox<Option<VirtualFile>>,
}

/// How tiles have been read so far, where they were read one by one. No lock: a fork may come at any time, and threads that
/// read at the same time are not in turn.
struct Turn {
    /// Where the tile begins that comes next.
    next: AtomicU64,
    /// How many were read, one after the other.
    reads: AtomicU64,
}

impl DecodedTiff {
    /// A view of a file.
    ///
    /// # Errors
    /// [`Error::Undecoded`] where the file has what a TIFF does not show or what the decoder leaves out; [`Error::Window`]
    /// for a window that is not within the image, [`Error::NoOverview`] for a factor that the image does not have.
    fn new(whole: Arc<VirtualFile>, view: View) -> Result<Self> {
        let undecoded = |what: &str| Error::Undecoded { what: what.to_owned() };
        let known = whole.known.as_ref().ok_or_else(|| undecoded("a file whose structure is not known"))?;
        let header = &known.structure.header;
        let main = &header.main;
        if let Some(what) = left_out(main) {
            return Err(Error::Undecoded { what });
        }
        let (factor, window) = match view {
            View::Whole | View::Overviews => (1, None),
            View::Reduced(factor) => (factor, None),
            View::Window(factor, window) => (factor, Some(window)),
        };
        let first = exponent(factor, main)?;
        layout::check_palette(header, first)?;
        let palette = match palette(header) {
            Some(entries) if entries.iter().any(|entry| entry[3] != 255) => {
                return Err(undecoded("a palette with opacities"));
            }
            Some(entries) => Some(entries.iter().map(|[red, green, blue, _]| [*red, *green, *blue]).collect()),
            None if header.has_palette() => return Err(undecoded("a palette that makes several bands of one")),
            None => None,
        };
        let colours = colours(header);
        let is_widened = |(index, colour): (usize, &Option<&str>)| {
            *colour == Some("Alpha") && main.siz.components.get(index).is_some_and(|component| component.depth == 0)
        };
        if colours.iter().enumerate().any(is_widened) {
            return Err(undecoded("an opacity of one bit"));
        }
        let size = layout::size_at(main, first)?;
        window.map_or(Ok(()), |window| window.check(size))?;
        let origin = window.map_or((0, 0), |window| (window.x, window.y));
        let georeference = match whole.georeference(known, size, origin) {
            Err(Error::NoOverview { what }) => return Err(Error::Undecoded { what }),
            georeference => georeference?,
        };
        if georeference.as_ref().is_some_and(|place| place.is_geographic().is_none()) {
            return Err(undecoded("a reference system whose kind its code does not tell"));
        }
        let halved = match window {
            Some(_) => vec![first],
            None => halvings(main, first, whole.access.options.overviews, palette.is_some()),
        };
        let levels = match window {
            Some(window) => vec![(window.width, window.height)],
            None => halved.iter().map(|k| layout::size_at(main, *k)).collect::<Result<Vec<_>>>()?,
        };
        // What is said of the whole image is not true of another.
        let metadata = match view {
            View::Whole => whole.metadata(known)?.ok_or_else(|| undecoded("metadata that GDAL alone understands"))?,
            _ => Vec::new(),
        };
        let sample = sample_type(main);
        let image = Image { levels, sample, colours, palette, georeference, metadata, tile: TILE };
        let tiff = Tiff::new(&image).ok_or_else(|| undecoded("an image of no pixels, or of too many bands"))?;
        let levels = halved.into_iter().map(|k| Halved { k, view: OnceBox::new() }).collect();
        let turn = Turn { next: AtomicU64::new(0), reads: AtomicU64::new(0) };
        let share = whole.access.options.cache_size / SHARE_OF_CACHE;
        Ok(Self { tiff, whole, levels, window, kept: KeptOfFile::new(share), turn })
    }

    /// What has a level in fewer bytes than the file has: the packets of the window, or those of the reduced image. `None`
    /// for the whole image, and where it is not known which packets these are.
    fn view<'a>(&self, level: &'a Halved) -> Result<Option<&'a VirtualFile>> {
        let known = self.whole.structure()?;
        if (level.k == 0 && self.window.is_none()) || self.whole.source.is_cheap() {
            return Ok(None);
        }
        if let Some(view) = level.view.get() {
            return Ok(view.as_ref());
        }
        // A failure to read is not kept.
        let view = match &self.window {
            Some(window) => self.whole.packets_of(1 << level.k, std::slice::from_ref(window))?,
            None => match self.whole.reduced_view(known, 1 << level.k) {
                Err(Error::NoOverview { .. }) => None,
                view => Some(view?),
            },
        };
        Ok(level.view.get_or_init(|| Box::new(view)).as_ref())
    }

    /// Fills each buffer from its offset on, all of which lie within the file. Where they are read `in_turn`, one after the
    /// other, what comes after them is decoded, too.
    fn fill(&self, ranges: &mut [(u64, &mut [u8])], in_turn: bool) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for (offset, buffer) in &*ranges {
            for tiles in self.tiff.tiles(&(*offset..offset.saturating_add(buffer.len() as u64))) {
                wanted.extend(tiles.numbers.map(|number| (tiles.level, number)));
            }
        }
        let tiles = self.tiles(wanted, in_turn)?;
        for (offset, buffer) in ranges {
            let header = self.tiff.read(*offset, buffer);
            let from = offset.saturating_add(header as u64);
            let rest = buffer.get_mut(header..).unwrap_or_default();
            for tiles_of in self.tiff.tiles(&(from..from.saturating_add(rest.len() as u64))) {
                for number in tiles_of.numbers {
                    let start = self.tiff.tile_start(tiles_of.level, number);
                    let Some(tile) = tiles.get(&(tiles_of.level, number)) else { continue };
                    let skip = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX);
                    let to = usize::try_from(start.saturating_sub(from)).unwrap_or(usize::MAX);
                    let (Some(tile), Some(rest)) = (tile.get(skip..), rest.get_mut(to..)) else { continue };
                    let length = tile.len().min(rest.len());
                    let (tile, rest) = (tile.get(..length), rest.get_mut(..length));
                    rest.unwrap_or_default().copy_from_slice(tile.unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// The bytes of these tiles. Where they are read `in_turn`, others may be decoded with them.
    fn tiles(&self, mut wanted: BTreeSet<TileId>, in_turn: bool) -> Result<HashMap<TileId, Bytes>> {
        let more = match (in_turn, wanted.first(), wanted.last()) {
            (true, Some(first), Some(last)) => self.takes_its_turn(*first, *last),
            _ => Vec::new(),
        };
        let mut tiles = HashMap::new();
        wanted.retain(|(level, number)| match self.kept.tile(*level, *number) {
            Some(bytes) => tiles.insert((*level, *number), bytes).is_some(),
            None => true,
        });
        if wanted.is_empty() {
            return Ok(tiles);
        }
        let all: BTreeSet<TileId> = wanted.iter().chain(&more).copied().collect();
        match self.decode_all(&all, &mut tiles) {
            // What nobody has asked for yet fails nothing.
            Err(_) if !more.is_empty() => self.decode_all(&wanted, &mut tiles)?,
            outcome => outcome?,
        }
        for (level, number) in more {
            if let Some(bytes) = tiles.get(&(level, number)) {
                self.kept.put_tile(level, number, bytes.clone());
            }
        }
        Ok(tiles)
    }

    /// Notes that tiles are read by themselves, and gives those that are probably read after them.
    fn takes_its_turn(&self, first: TileId, last: TileId) -> Vec<TileId> {
        let next = self.tiff.tile_start(last.0, last.1 + 1);
        let expected = self.turn.next.swap(next, Ordering::Relaxed);
        // A tile may be read in pieces.
        if expected == next {
            return Vec::new();
        }
        let before = match expected == self.tiff.tile_start(first.0, first.1) {
            true => self.turn.reads.fetch_add(1, Ordering::Relaxed) + 1,
            false => {
                self.turn.reads.store(0, Ordering::Relaxed);
                0
            }
        };
        self.after(last, before)
    }

    /// The tiles that are probably read after this one, which follows as many reads in turn.
    fn after(&self, (level, number): TileId, in_turn: u64) -> Vec<TileId> {
        let (Some(of), Some(halved)) = (self.tiff.levels().get(level), self.levels.get(level)) else {
            return Vec::new();
        };
        let (across, down) = (u64::from(of.across), u64::from(of.down));
        let row = number / across;
        let rows = match in_turn {
            0 => return Vec::new(),
            few if few < across => 1,
            _ => {
                let rows = u64::from(self.rows_of_a_tile(halved.k));
                rows - row % rows
            }
        };
        // Half of those that wait may be of the row before.
        let most = self.whole.access.options.cache_size / SHARE_OF_CACHE / 2 / self.tiff.tile_bytes().max(1);
        let end = ((row + rows).min(down) * across).min((number + 1).saturating_add(most));
        (number + 1..end).map(|number| (level, number)).collect()
    }

    /// Decodes these tiles.
    fn decode_all(&self, wanted: &BTreeSet<TileId>, out: &mut HashMap<TileId, Bytes>) -> Result<()> {
        let across = |level: usize| self.tiff.levels().get(level).map_or(1, |of| of.across);
        let mut rectangles = rectangles(wanted, across).into_iter();
        rectangles.try_for_each(|(level, columns, rows)| self.decode_rectangle(level, &columns, &rows, out))
    }

    /// Decodes a rectangle of tiles, given in columns and rows of tiles: those of a row of the JP2's tiles while those of
    /// the next ones are fetched.
    fn decode_rectangle(
        &self,
        level: usize,
        columns: &Range<u32>,
        rows: &Range<u32>,
        out: &mut HashMap<TileId, Bytes>,
    ) -> Result<()> {
        let Some(halved) = self.levels.get(level) else { return Ok(()) };
        let height = self.rows_of_a_tile(halved.k);
        if rows.len() as u32 > height && !self.whole.source.is_cheap() {
            let window = self.window_of(level, columns, rows);
            self.whole.send_for_window(halved.k, &window, self.view(halved)?)?;
        }
        let mut row = rows.start;
        while row < rows.end {
            let next = (row - row % height + height).min(rows.end);
            self.decode(level, columns, &(row..next), out)?;
            row = next;
        }
        Ok(())
    }

    /// How many rows of tiles come out of a row of the JP2's tiles in the image at 1/2^k, at least.
    fn rows_of_a_tile(&self, k: u8) -> u32 {
        let height = self.whole.header.as_ref().map_or(1, |header| header.main.siz.tile_height);
        ((height >> k) / TILE).max(1)
    }

    /// The part of the image at a level's size that these tiles show.
    fn window_of(&self, level: usize, columns: &Range<u32>, rows: &Range<u32>) -> Window {
        let size = self.tiff.levels().get(level).map_or((0, 0), |of| of.size);
        let span = |tiles: &Range<u32>, size: u32| tiles.start * TILE..(tiles.end.saturating_mul(TILE)).min(size);
        let (x, y) = (span(columns, size.0), span(rows, size.1));
        let origin = self.window.map_or((0, 0), |window| (window.x, window.y));
        let (width, height) = (x.end - x.start, y.end - y.start);
        Window { x: origin.0 + x.start, y: origin.1 + y.start, width, height }
    }

    /// Decodes a rectangle of tiles that come out of a row of the JP2's tiles, likewise.
    fn decode(
        &self,
        level: usize,
        columns: &Range<u32>,
        rows: &Range<u32>,
        out: &mut HashMap<TileId, Bytes>,
    ) -> Result<()> {
        let (Some(of), Some(halved)) = (self.tiff.levels().get(level), self.levels.get(level)) else { return Ok(()) };
        let window = self.window_of(level, columns, rows);
        let samples = self.whole.samples_of_window(halved.k, &window, self.view(halved)?, &self.kept)?;
        for row in rows.clone() {
            for column in columns.clone() {
                let at = |tiles: u32| (tiles * TILE) as usize;
                let from = (at(column - columns.start), at(row - rows.start));
                let tile = samples.rectangle(from, (TILE as usize, TILE as usize));
                let number = u64::from(row) * u64::from(of.across) + u64::from(column);
                out.insert((level, number), tile.into());
            }
        }
        Ok(())
    }
}

impl Decoded for DecodedTiff {
    fn size(&self) -> u64 {
        self.tiff.size()
    }

    fn weight(&self) -> Option<u64> {
        // The packets of a window are found when it is read, and may be many.
        let views = (self.levels.len() as u64 - 1) * self.whole.layout.weight();
        self.window.is_none().then_some(self.tiff.weight() + views)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let length = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        self.fill(&mut [(offset, buffer)], true)?;
        Ok(length)
    }

    fn read_ranges(&self, ranges: &mut [(u64, &mut [u8])]) -> Result<()> {
        self.fill(ranges, false)
    }
}

/// The tiles as rectangles of columns and rows.
fn rectangles(tiles: &BTreeSet<TileId>, across: impl Fn(usize) -> u32) -> Vec<(usize, Range<u32>, Range<u32>)> {
    let mut found: Vec<(usize, Range<u32>, Range<u32>)> = Vec::new();
    let mut runs: Vec<(usize, Range<u32>, u32)> = Vec::new();
    for (level, number) in tiles {
        let wide = u64::from(across(*level).max(1));
        let (column, row) = ((number % wide) as u32, (number / wide) as u32);
        match runs.last_mut() {
            Some((of, columns, line)) if of == level && *line == row && columns.end == column => columns.end += 1,
            _ => runs.push((*level, column..column + 1, row)),
        }
    }
    for (level, columns, row) in runs {
        let above = found.iter_mut().find(|(of, wide, rows)| *of == level && *wide == columns && rows.end == row);
        match above {
            Some((_, _, rows)) => rows.end += 1,
            None => found.push((level, columns, row..row + 1)),
        }
    }
    found
}

/// How often the image is halved, by level: `first` times, and as often as the overviews that GDAL lists for the JP2.
fn halvings(main: &MainHeader, first: u8, wanted: OverviewList, has_palette: bool) -> Vec<u8> {
    let count = match wanted {
        // Averages of indexes are none.
        _ if has_palette => 0,
        // Without a list of overviews GDAL has its own.
        OverviewList::None | OverviewList::OfGdal => layout::listed_by_gdal(main),
        OverviewList::All => main.coding.default.levels,
    };
    // GDAL takes an overview's size from the image's.
    let (width, height) = main.siz.size();
    let is_of_gdal = |k: &u8| {
        let half = |size: u32| (u64::from(size) + (1 << *k) - 1) >> *k;
        layout::size_at(main, *k).is_ok_and(|(x, y)| (u64::from(x), u64::from(y)) == (half(width), half(height)))
    };
    std::iter::once(first).chain((1..=count.min(30)).take_while(is_of_gdal).skip(first.into())).collect()
}

fn sample_type(main: &MainHeader) -> SampleType {
    let all = layout::data_type(main);
    SampleType { bits: all.bits(), signed: all.is_signed() }
}

impl VirtualFile {
    /// A decoded view of a whole file.
    ///
    /// # Errors
    /// [`Error::Undecoded`] where the file has what a TIFF does not show or what the decoder leaves out; [`Error::Window`]
    /// for a window that is not within the image.
    pub(super) fn decoded(whole: Arc<VirtualFile>, view: View) -> Result<Self> {
        let decoded = DecodedTiff::new(whole.clone(), view);
        let decoded = decoded.inspect_err(|error| whole.doubt_row(error)).in_file(&whole.name)?;
        Ok(Self { decoded: Some(Box::new(decoded)), ..whole.part(layout::text(&[])) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_decoded_by_rectangles() {
        let of = |tiles: &[TileId]| rectangles(&tiles.iter().copied().collect(), |level| [4, 2][level]);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[(0, 1), (0, 2), (0, 5), (0, 6), (0, 9), (0, 10)]), [(0, 1..3, 0..3)]);
        // A row that is not as wide as the one above.
        assert_eq!(of(&[(0, 1), (0, 2), (0, 4), (0, 5), (0, 6)]), [(0, 1..3, 0..1), (0, 0..3, 1..2)]);
        // The last tile of a row and the first of the next.
        assert_eq!(of(&[(0, 3), (0, 4)]), [(0, 3..4, 0..1), (0, 0..1, 1..2)]);
        assert_eq!(of(&[(0, 0), (1, 0), (1, 2)]), [(0, 0..1, 0..1), (1, 0..1, 0..2)]);
    }
}
