//! The images of a real TIFF: which directory is which, how its samples are stored, and where its tiles lie.
//!
//! A strip is a tile as wide as the image (TIFF 6.0, sections 3 and 15), and is called one here.

use std::collections::BTreeSet;
use std::ops::Range;

use super::read::{Directory, Head, Value, number, numbers};
use super::tags::{
    BITS_PER_SAMPLE, COMPRESSION, FILL_ORDER, GDAL_NODATA, IMAGE_LENGTH, IMAGE_WIDTH, MASK, NEW_SUBFILE_TYPE,
    PHOTOMETRIC, PLANAR_CONFIGURATION, PREDICTOR, REDUCED, ROWS_PER_STRIP, SAMPLE_FORMAT, SAMPLES_PER_PIXEL,
    STRIP_BYTE_COUNTS, STRIP_OFFSETS, TILE_BYTE_COUNTS, TILE_LENGTH, TILE_OFFSETS, TILE_WIDTH,
};
use super::unpack::Packing;
use crate::error::{Error, Result};
use crate::jp2::Area;

/// The most bytes of a tile, unpacked.
pub(super) const LARGEST_TILE: u64 = 1 << 30;

/// The images of a file, as far as GDAL takes them for one: other pages are left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredImage {
    /// The whole image, then its overviews in the order of the file.
    pub(crate) levels: Vec<StoredLevel>,
    /// Columns and rows of the masks of the image and its overviews, which are applied to nothing here.
    pub(crate) masks: Vec<(u32, u32)>,
}

/// The type of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numeric {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// What has been done to rows before they were packed (TIFF 6.0, section 14; TIFF Technical Note 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prediction {
    None,
    Horizontal,
    FloatingPoint,
}

/// An image, as its directory describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredLevel {
    /// Columns and rows.
    pub(crate) size: (u32, u32),
    pub(crate) bands: u16,
    pub(crate) sample: Numeric,
    /// Columns and rows of a tile; of strips, the last one may have fewer rows.
    pub(crate) tile: (u32, u32),
    pub(crate) is_tiled: bool,
    /// Whether each band has tiles of its own.
    pub(crate) is_planar: bool,
    /// GDAL's text for the value of pixels that there are none of.
    pub(crate) nodata: Option<String>,
    pub(super) is_big_endian: bool,
    pub(super) packing: Packing,
    pub(super) prediction: Prediction,
    /// Where tiles begin and how many bytes they have: plane by plane, row by row.
    pub(super) tiles: Vec<(u64, u64)>,
    pub(super) file_size: u64,
}

/// What part of a level a tile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) column: u32,
    pub(super) row: u32,
    /// How many rows it stores: those of a tile beyond the image too.
    pub(super) rows: u32,
}

fn malformed(what: impl Into<String>) -> Error {
    Error::malformed(0, "TIFF 6.0, section 8", what)
}

fn undecoded(what: impl Into<String>) -> Error {
    Error::Undecoded { what: format!("a TIFF with {}", what.into()) }
}

/// The value of a tag that has a default.
fn one(directory: &Directory, tag: u16, default: u64) -> u64 {
    number(directory, tag).unwrap_or(default)
}

/// The value of all samples, where it is the same for all.
fn same(directory: &Directory, tag: u16, bands: u16) -> Result<u64> {
    let values = numbers(directory, tag).unwrap_or(&[1]);
    let first = values.first().copied().unwrap_or(1);
    let is_of_all = values.len() == 1 || values.len() == usize::from(bands);
    if is_of_all && values.iter().all(|value| *value == first) {
        Ok(first)
    } else {
        Err(undecoded(format!("tag {tag} of {} values for {bands} bands, not all {first}", values.len())))
    }
}

fn side(directory: &Directory, tag: u16) -> Result<u32> {
    let value = one(directory, tag, 0);
    u32::try_from(value).ok().filter(|side| *side > 0).ok_or_else(|| malformed(format!("{value} as tag {tag}")))
}

impl Numeric {
    fn of(bits: u64, format: u64) -> Option<Self> {
        Some(match (format, bits) {
            (1, 8) => Self::U8,
            (1, 16) => Self::U16,
            (1, 32) => Self::U32,
            (1, 64) => Self::U64,
            (2, 8) => Self::I8,
            (2, 16) => Self::I16,
            (2, 32) => Self::I32,
            (2, 64) => Self::I64,
            (3, 32) => Self::F32,
            (3, 64) => Self::F64,
            _ => return None,
        })
    }

    /// The bytes of a sample.
    pub(crate) fn bytes(self) -> u16 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl StoredImage {
    /// The images of a file of so many bytes.
    ///
    /// # Errors
    /// [`Error::Undecoded`] where GDAL is to be asked, [`Error::Malformed`] where directories contradict themselves.
    pub(crate) fn of(head: &Head, file_size: u64) -> Result<Self> {
        let (mut levels, mut masks): (Vec<StoredLevel>, _) = (Vec::new(), Vec::new());
        for (number, directory) in head.directories.iter().enumerate() {
            let kind = one(directory, NEW_SUBFILE_TYPE, 0);
            if number > 0 && kind & MASK != 0 {
                masks.push((side(directory, IMAGE_WIDTH)?, side(directory, IMAGE_LENGTH)?));
                continue;
            }
            // The first one is the image for GDAL, whatever it says.
            if number > 0 && kind & REDUCED == 0 {
                continue;
            }
            let level = StoredLevel::of(directory, head.is_big_endian, file_size)?;
            match levels.first() {
                Some(first) if (level.bands, level.sample) != (first.bands, first.sample) => {
                    return Err(undecoded("an overview that is unlike its image"));
                }
                _ => levels.push(level),
            }
        }
        Ok(Self { levels, masks })
    }
}

impl StoredLevel {
    fn of(directory: &Directory, is_big_endian: bool, file_size: u64) -> Result<Self> {
        let size = (side(directory, IMAGE_WIDTH)?, side(directory, IMAGE_LENGTH)?);
        let bands = one(directory, SAMPLES_PER_PIXEL, 1);
        let bands = u16::try_from(bands).ok().filter(|bands| *bands > 0);
        let bands = bands.ok_or_else(|| malformed("no bands, or more than 65535"))?;
        let packing = Packing::of(one(directory, COMPRESSION, 1))?;
        let (bits, format) = (same(directory, BITS_PER_SAMPLE, bands)?, same(directory, SAMPLE_FORMAT, bands)?);
        let sample = Numeric::of(bits, format)
            .ok_or_else(|| undecoded(format!("samples of {bits} bits in sample format {format}")))?;
        match one(directory, PHOTOMETRIC, 1) {
            // White or black is zero, RGB, palette: GDAL gives their samples as they are. It makes RGBA of separated ones.
            0..=3 => {}
            other => return Err(undecoded(format!("photometric interpretation {other}"))),
        }
        if one(directory, FILL_ORDER, 1) != 1 {
            return Err(undecoded("the lowest bits of bytes first"));
        }
        let is_planar = match one(directory, PLANAR_CONFIGURATION, 1) {
            1 => false,
            2 => bands > 1,
            other => return Err(malformed(format!("planar configuration {other}"))),
        };
        let prediction = match one(directory, PREDICTOR, 1) {
            _ if !packing.has_predictor() => Prediction::None,
            1 => Prediction::None,
            2 => Prediction::Horizontal,
            3 if matches!(sample, Numeric::F32 | Numeric::F64) => Prediction::FloatingPoint,
            other => return Err(undecoded(format!("predictor {other} for {sample:?}"))),
        };
        let is_tiled = directory.contains_key(&TILE_WIDTH) || directory.contains_key(&TILE_LENGTH);
        let tile = if is_tiled {
            (side(directory, TILE_WIDTH)?, side(directory, TILE_LENGTH)?)
        } else {
            // One strip where there is no such tag (TIFF 6.0, section 3).
            let rows = u32::try_from(one(directory, ROWS_PER_STRIP, u64::from(u32::MAX))).unwrap_or(u32::MAX);
            (size.0, rows.min(size.1))
        };
        if tile.1 == 0 {
            return Err(malformed("strips of no rows"));
        }
        let nodata = match directory.get(&GDAL_NODATA) {
            Some(Value::Text(text)) => Some(text.trim().to_owned()),
            _ => None,
        };
        let (offsets, counts) =
            if is_tiled { (TILE_OFFSETS, TILE_BYTE_COUNTS) } else { (STRIP_OFFSETS, STRIP_BYTE_COUNTS) };
        let offsets = numbers(directory, offsets).unwrap_or_default();
        let counts = numbers(directory, counts).unwrap_or_default();
        let tiles = offsets.iter().copied().zip(counts.iter().copied()).collect();
        let level = Self {
            size,
            bands,
            sample,
            tile,
            is_tiled,
            is_planar,
            nodata,
            is_big_endian,
            packing,
            prediction,
            tiles,
            file_size,
        };
        let (across, down) = level.grid();
        let planes = if is_planar { u64::from(bands) } else { 1 };
        let tiles = (u64::from(across) * u64::from(down)).checked_mul(planes);
        if tiles != Some(offsets.len() as u64) || offsets.len() != counts.len() {
            let (offsets, counts) = (offsets.len(), counts.len());
            return Err(malformed(format!(
                "{offsets} offsets and {counts} byte counts of {across} x {down} tiles in {planes} planes"
            )));
        }
        match level.tile_bytes(tile.1).filter(|bytes| *bytes <= LARGEST_TILE) {
            Some(_) => Ok(level),
            None => Err(undecoded(format!("tiles of {} x {} pixels in {bands} bands", tile.0, tile.1))),
        }
    }

    /// The bands that lie side by side in a tile.
    pub(super) fn interleaved(&self) -> u16 {
        if self.is_planar { 1 } else { self.bands }
    }

    /// Columns and rows of tiles.
    fn grid(&self) -> (u32, u32) {
        (self.size.0.div_ceil(self.tile.0), self.size.1.div_ceil(self.tile.1))
    }

    /// The bytes of a tile of so many rows, unpacked.
    pub(super) fn tile_bytes(&self, rows: u32) -> Option<u64> {
        let pixels = u64::from(self.tile.0) * u64::from(rows);
        pixels.checked_mul(u64::from(self.interleaved()) * u64::from(self.sample.bytes()))
    }

    /// The bands of a read, from 0 on; all of them where there is no choice.
    pub(super) fn wanted(&self, bands: Option<&[u16]>) -> Result<Vec<u16>> {
        let Some(bands) = bands else { return Ok((0..self.bands).collect()) };
        let of = |band: &u16| band.checked_sub(1).filter(|place| *place < self.bands);
        let missing = |band: &u16| Error::Band { band: usize::from(*band), count: usize::from(self.bands) };
        bands.iter().map(|band| of(band).ok_or_else(|| missing(band))).collect()
    }

    /// The tile that has a column and a row of a band, and which part of the image that is.
    pub(super) fn tile_at(&self, band: u16, column: u32, row: u32) -> (usize, Place) {
        let (across, down) = self.grid();
        let (x, y) = (column / self.tile.0, row / self.tile.1);
        let plane = if self.is_planar { usize::from(band) * down as usize * across as usize } else { 0 };
        let (column, row) = (x * self.tile.0, y * self.tile.1);
        let rows = if self.is_tiled { self.tile.1 } else { self.tile.1.min(self.size.1.saturating_sub(row)) };
        (plane + y as usize * across as usize + x as usize, Place { column, row, rows })
    }

    /// Where the bytes of a tile of `unpacked` bytes lie; `None` where the file has none for it (GDAL's SPARSE_OK).
    ///
    /// # Errors
    /// [`Error::Malformed`] where they are not all in the file, or cannot be those of such a tile.
    pub(super) fn range(&self, tile: usize, unpacked: u64) -> Result<Option<Range<u64>>> {
        let (offset, count) = self.tiles.get(tile).copied().unwrap_or_default();
        if (offset, count) == (0, 0) {
            return Ok(None);
        }
        let lies = |what: String| Err(Error::malformed(offset, "TIFF 6.0, section 15", what));
        let end = offset.checked_add(count).filter(|end| *end <= self.file_size);
        let Some(end) = end.filter(|_| offset > 0) else {
            return lies(format!("tile {tile} of {count} bytes at {offset}, the file has {}", self.file_size));
        };
        if !self.packing.may_be(count, unpacked) {
            return lies(format!("tile {tile} has {count} bytes for {unpacked}"));
        }
        // What is behind the samples is none of them.
        Ok(Some(if self.packing == Packing::None { offset..offset + unpacked } else { offset..end }))
    }

    /// Whether this level has all of a window.
    ///
    /// # Errors
    /// [`Error::Window`] where not.
    pub(super) fn check(&self, window: &Area) -> Result<()> {
        let fits = |span: &Range<u32>, side: u32| span.start <= span.end && span.end <= side;
        if fits(&window.0, self.size.0) && fits(&window.1, self.size.1) {
            return Ok(());
        }
        let length = |span: &Range<u32>| span.end.saturating_sub(span.start);
        Err(Error::Window {
            x: window.0.start,
            y: window.1.start,
            width: length(&window.0),
            height: length(&window.1),
            image: self.size,
        })
    }

    /// The tiles that a window of some bands touches, in order, and how many rows each stores.
    pub(super) fn touched(&self, window: &Area, bands: &[u16]) -> Vec<(usize, u32)> {
        let planes: BTreeSet<u16> = if self.is_planar { bands.iter().copied().collect() } else { BTreeSet::from([0]) };
        let firsts = |span: &Range<u32>, side: u32| {
            let tiles = if span.is_empty() { 0..0 } else { span.start / side..span.end.div_ceil(side) };
            tiles.map(move |tile| tile * side)
        };
        let mut touched = Vec::new();
        for plane in planes {
            for row in firsts(&window.1, self.tile.1) {
                for column in firsts(&window.0, self.tile.0) {
                    let (tile, place) = self.tile_at(plane, column, row);
                    touched.push((tile, place.rows));
                }
            }
        }
        touched
    }

    /// The bytes of the file that decoding a window takes, tile by tile: of all bands where there is no choice. Tiles that the
    /// file does not have have no range.
    ///
    /// # Errors
    /// [`Error::Window`] and [`Error::Band`] for what this level does not have, [`Error::Malformed`] where tiles do not lie
    /// within the file.
    pub(crate) fn plan(&self, window: &Area, bands: Option<&[u16]>) -> Result<Vec<Range<u64>>> {
        self.check(window)?;
        let bands = self.wanted(bands)?;
        let ranges = self.touched(window, &bands).into_iter();
        ranges.filter_map(|(tile, rows)| self.range(tile, self.tile_bytes(rows)?).transpose()).collect()
    }
}
