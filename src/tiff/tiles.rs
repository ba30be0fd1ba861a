//! Where the tiles and strips of a real TIFF lie.

use std::ops::Range;

use super::read::{Directory, Head, number, numbers};
use super::tags::{
    COMPRESSION, IMAGE_LENGTH, IMAGE_WIDTH, PLANAR_CONFIGURATION, ROWS_PER_STRIP, SAMPLES_PER_PIXEL, STRIP_BYTE_COUNTS,
    STRIP_OFFSETS, TILE_BYTE_COUNTS, TILE_LENGTH, TILE_OFFSETS, TILE_WIDTH,
};
use crate::error::{Error, Result};

/// More tiles are not told apart.
const MOST_TILES: usize = 1 << 16;

/// JPEG as TIFF 6.0, section 22, has it, which need not have offsets of strips.
const OLD_JPEG: u64 = 6;

/// How a directory's image is divided.
pub(super) struct Division {
    /// In pixels.
    pub(super) size: [u64; 2],
    /// Whether it is in tiles, and not in strips.
    pub(super) is_tiled: bool,
    /// Columns and rows of a tile or strip.
    pub(super) tile: [u64; 2],
    /// Whether each band has tiles of its own.
    pub(super) is_planar: bool,
}

impl Division {
    pub(super) fn of(directory: &Directory) -> Self {
        let of = |tag: u16| number(directory, tag);
        let size = [of(IMAGE_WIDTH).unwrap_or(0), of(IMAGE_LENGTH).unwrap_or(0)];
        let is_tiled = directory.contains_key(&TILE_WIDTH);
        let tile = match is_tiled {
            true => [of(TILE_WIDTH).unwrap_or(0), of(TILE_LENGTH).unwrap_or(0)],
            false => [size[0], of(ROWS_PER_STRIP).unwrap_or(size[1]).min(size[1])],
        };
        Self { size, is_tiled, tile, is_planar: of(PLANAR_CONFIGURATION) == Some(2) }
    }
}

/// Where a directory's tiles or strips begin; 0 for those that the file does not have.
pub(super) fn offsets(directory: &Directory) -> &[u64] {
    let tag = if directory.contains_key(&TILE_OFFSETS) { TILE_OFFSETS } else { STRIP_OFFSETS };
    numbers(directory, tag).unwrap_or_default()
}

/// How many bytes they have.
pub(super) fn counts(directory: &Directory) -> &[u64] {
    let tag = if directory.contains_key(&TILE_OFFSETS) { TILE_BYTE_COUNTS } else { STRIP_BYTE_COUNTS };
    numbers(directory, tag).unwrap_or_default()
}

impl Head {
    /// Where the tiles and strips of all directories lie in a file of `size` bytes, in order, apart from each other: what is
    /// worth fetching and keeping by itself. Nothing where they are too many.
    pub(crate) fn tiles(&self, size: u64) -> Vec<Range<u64>> {
        let mut all: Vec<Range<u64>> = Vec::new();
        for directory in &self.directories {
            let tiles = offsets(directory).iter().zip(counts(directory));
            let ranges = tiles.filter_map(|(start, count)| Some(*start..start.checked_add(*count)?));
            all.extend(ranges.filter(|tile| tile.start < tile.end && tile.end <= size));
        }
        if all.len() > MOST_TILES {
            return Vec::new();
        }
        all.sort_unstable_by_key(|tile| tile.start);
        let starts: Vec<u64> = all.iter().map(|tile| tile.start).skip(1).collect();
        all.iter_mut().zip(starts).for_each(|(tile, next)| tile.end = tile.end.min(next));
        all.retain(|tile| tile.start < tile.end);
        all
    }

    /// Checks that every image is in as many tiles as it takes, and that these lie in a file of `size` bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] for the first that does not: the file is cut, or claims what it does not have.
    pub(crate) fn check(&self, size: u64) -> Result<()> {
        self.directories.iter().enumerate().try_for_each(|(place, directory)| {
            check(directory, size).map_err(|(at, what)| {
                Error::malformed(at, "TIFF 6.0, sections 3 and 15", format!("directory {place}: {what}"))
            })
        })
    }
}

/// What is wrong with a directory, and where.
fn check(directory: &Directory, size: u64) -> std::result::Result<(), (u64, String)> {
    let Division { size: [width, height], is_tiled, tile, is_planar } = Division::of(directory);
    if width == 0 || height == 0 || tile.contains(&0) {
        let [columns, rows] = tile;
        return Err((0, format!("an image of {width} × {height} pixels in tiles of {columns} × {rows}")));
    }
    if number(directory, COMPRESSION) == Some(OLD_JPEG) {
        return Ok(());
    }
    let bands = if is_planar { number(directory, SAMPLES_PER_PIXEL).unwrap_or(1) } else { 1 };
    let count = width.div_ceil(tile[0]).checked_mul(height.div_ceil(tile[1])).and_then(|all| all.checked_mul(bands));
    let (offsets, counts) = (offsets(directory), counts(directory));
    let name = if is_tiled { "tile" } else { "strip" };
    if count.is_none_or(|count| count > offsets.len() as u64) {
        let count = count.map_or_else(|| "more than can be counted".to_owned(), |count| count.to_string());
        return Err((0, format!("{} offsets of {name}s, of which there are {count}", offsets.len())));
    }
    let ends = offsets.iter().zip(counts).map(|(start, count)| (start, count, start.checked_add(*count)));
    let mut outside = ends.enumerate().filter(|(_, (_, _, end))| end.is_none_or(|end| end > size));
    match outside.next() {
        None => Ok(()),
        Some((number, (start, count, _))) => {
            Err((*start, format!("{name} {number} has {count} bytes at {start}, the file has {size}: it is cut")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiff::read::Value;

    /// A directory of 100 by 100 pixels in tiles of 64.
    fn head(tiles: &[(u64, u64)], change: impl Fn(&mut Directory)) -> Head {
        let one = |number: u64| Value::Numbers(vec![number]);
        let mut directory = Directory::from([
            (IMAGE_WIDTH, one(100)),
            (IMAGE_LENGTH, one(100)),
            (TILE_WIDTH, one(64)),
            (TILE_LENGTH, one(64)),
            (TILE_OFFSETS, Value::Numbers(tiles.iter().map(|tile| tile.0).collect())),
            (TILE_BYTE_COUNTS, Value::Numbers(tiles.iter().map(|tile| tile.1).collect())),
        ]);
        change(&mut directory);
        Head { ranges: vec![], end: 0, is_big_endian: false, is_big: false, directories: vec![directory] }
    }

    #[test]
    fn tiles_are_told_apart() {
        let of = |tiles: &[(u64, u64)]| head(tiles, |_| ()).tiles(1000);
        assert_eq!(of(&[(500, 50), (100, 50)]), [100..150, 500..550]);
        assert_eq!(of(&[(100, 50), (100, 50), (120, 50)]), [100..120, 120..170], "tiles that share bytes");
        assert_eq!(
            of(&[(0, 0), (990, 11), (u64::MAX, 2), (2, 95), (200, 9)]),
            [2..97, 200..209],
            "not what is empty or outside"
        );
        assert!(of(&vec![(1, 1); MOST_TILES + 1]).is_empty());
    }

    #[test]
    fn what_a_file_does_not_have_is_refused() {
        let four = [(100, 50), (200, 50), (0, 0), (300, 50)];
        assert!(head(&four, |_| ()).check(350).is_ok(), "one of them is empty");
        let refused = |tiles: &[(u64, u64)], size: u64, change: &dyn Fn(&mut Directory), what: &str| {
            let error = head(tiles, change).check(size).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let with = |tag: u16, number: u64| {
            move |directory: &mut Directory| drop(directory.insert(tag, Value::Numbers(vec![number])))
        };
        refused(&four, 349, &|_| (), "tile 3 has 50 bytes at 300");
        refused(&[(u64::MAX, 2), (1, 1), (1, 1), (1, 1)], 349, &|_| (), "tile 0");
        refused(&four[..3], 350, &|_| (), "3 offsets of tiles, of which there are 4");
        refused(&four, 350, &with(TILE_WIDTH, 0), "tiles of 0 × 64");
        refused(&four, 350, &with(IMAGE_LENGTH, 0), "100 × 0 pixels");
        let vast = |directory: &mut Directory| {
            with(IMAGE_WIDTH, u64::MAX)(directory);
            with(IMAGE_LENGTH, u64::MAX)(directory);
        };
        refused(&four, 350, &vast, "more than can be counted");
        refused(&four, 350, &with(IMAGE_WIDTH, 64_000_000_000), "there are 2000000000");
    }
}
