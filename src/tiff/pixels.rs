//! Samples of a window of a real TIFF: its tiles are unpacked by async-tiff, which undoes predictors and the order of bytes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use async_tiff::error::{AsyncTiffError, AsyncTiffResult};
use async_tiff::reader::{AsyncFileReader, Endianness};
use async_tiff::tags::Tag;
use async_tiff::{ImageFileDirectory, TagValue, TypedArray};
use bytes::Bytes;

use super::stored::{Numeric, Prediction, StoredLevel};
use super::unpack::{CUSTOM, Fault, registry};
use crate::decode::{Samples, Values, spread};
use crate::error::{Error, Result};
use crate::jp2::Area;

/// A type of samples.
trait Sample: Copy + Default + Send {
    /// The samples of a tile; none where they are of another type.
    fn of(array: &TypedArray) -> Option<&[Self]>;

    /// The value that a text stands for, where it is exactly one of this type: GDAL rounds and clamps others.
    fn parse(text: &str) -> Option<Self>;
}

macro_rules! sample {
    ($type:ty, $kind:ident, $parse:expr) => {
        impl Sample for $type {
            fn of(array: &TypedArray) -> Option<&[Self]> {
                match array {
                    TypedArray::$kind(values) => Some(values),
                    _ => None,
                }
            }

            fn parse(text: &str) -> Option<Self> {
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(text)
            }
        }
    };
}

/// A number as C's strtod and GDAL understand it too: "-nan" they take for another one.
fn real(text: &str) -> Option<f64> {
    let is_number = text.chars().all(|letter| letter.is_ascii_digit() || "+-.eE".contains(letter));
    if is_number || ["nan", "inf"].contains(&text) { text.parse().ok() } else { None }
}

/// A number without a fraction, however it is written.
fn whole<T: TryFrom<i64>>(text: &str) -> Option<T> {
    let value = real(text)?;
    // So that the conversion is exact.
    let is_whole = value.fract() == 0.0 && value.abs() <= f64::from(u32::MAX);
    if is_whole { T::try_from(value as i64).ok() } else { None }
}

sample!(u8, UInt8, whole);
sample!(i8, Int8, whole);
sample!(u16, UInt16, whole);
sample!(i16, Int16, whole);
sample!(u32, UInt32, whole);
sample!(i32, Int32, whole);
sample!(u64, UInt64, |text| text.parse().ok());
sample!(i64, Int64, |text| text.parse().ok());
sample!(f32, Float32, |text| {
    let value = real(text)?;
    let narrow = value as f32;
    (narrow.is_finite() || !value.is_finite()).then_some(narrow)
});
sample!(f64, Float64, real);

/// The samples of one row and one band of a tile that a window has.
struct Part<'a, T> {
    /// The first one's place in the tile.
    first: usize,
    out: &'a mut [T],
}

/// A tile that a window touches, and all that it gives to it.
struct Unit<'a, T> {
    tile: usize,
    rows: u32,
    /// `None` where the file has no bytes for it.
    packed: Option<(Bytes, u64)>,
    parts: Vec<Part<'a, T>>,
}

impl StoredLevel {
    /// Decodes a window: bands numbered from 1, all of them where there is no choice. `fetched` are the bytes of the ranges that
    /// [`StoredLevel::plan`] gives for it.
    ///
    /// # Errors
    /// Those of [`StoredLevel::plan`]; [`Error::Malformed`] where tiles are not what they are to be; [`Error::Undecoded`] where
    /// GDAL is to be asked.
    pub(crate) fn decode(
        &self,
        window: &Area,
        bands: Option<&[u16]>,
        fetched: &[Bytes],
        threads: usize,
    ) -> Result<Samples> {
        self.check(window)?;
        let bands = self.wanted(bands)?;
        let shape = [bands.len(), window.1.len(), window.0.len()];
        let read = Read { level: self, window, bands: &bands, fetched, threads };
        let values = match self.sample {
            Numeric::U8 => Values::U8(read.values()?),
            Numeric::I8 => Values::I8(read.values()?),
            Numeric::U16 => Values::U16(read.values()?),
            Numeric::I16 => Values::I16(read.values()?),
            Numeric::U32 => Values::U32(read.values()?),
            Numeric::I32 => Values::I32(read.values()?),
            Numeric::U64 => Values::U64(read.values()?),
            Numeric::I64 => Values::I64(read.values()?),
            Numeric::F32 => Values::F32(read.values()?),
            Numeric::F64 => Values::F64(read.values()?),
        };
        Ok(Samples { shape, values })
    }

    /// Unpacks a tile of so many rows, and gives its samples to its parts.
    fn unpack<T: Sample>(&self, unit: Unit<'_, T>) -> Result<()> {
        let Some((packed, offset)) = unit.packed else {
            let fill = match self.nodata.as_deref() {
                None => T::default(),
                Some(text) => T::parse(text).ok_or_else(|| Error::Undecoded {
                    what: format!("a TIFF without a tile, filled with '{text}' as {:?}", self.sample),
                })?,
            };
            unit.parts.into_iter().for_each(|part| part.out.fill(fill));
            return Ok(());
        };
        let tile = unit.tile;
        let failed = |what: &str| Error::malformed(offset, "TIFF 6.0, section 15", format!("tile {tile}: {what}"));
        let array = self.array(packed, unit.rows).map_err(|error| match error {
            AsyncTiffError::External(fault) => match fault.downcast_ref() {
                Some(Fault::Undecoded(what)) => Error::Undecoded { what: (*what).to_owned() },
                _ => failed(&fault.to_string()),
            },
            other => failed(&other.to_string()),
        })?;
        let samples = T::of(&array).ok_or_else(|| failed("samples of another type"))?;
        for part in unit.parts {
            let from = samples.get(part.first..).unwrap_or_default();
            let step = usize::from(self.interleaved());
            if step == 1 {
                let from = from.get(..part.out.len()).ok_or_else(|| failed("too few samples"))?;
                part.out.copy_from_slice(from);
            } else {
                part.out.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, from)| *to = *from);
            }
        }
        Ok(())
    }

    /// The samples of a tile: for async-tiff, all of an image that has no other.
    fn array(&self, packed: Bytes, rows: u32) -> AsyncTiffResult<TypedArray> {
        let length = self.tile_bytes(rows).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| AsyncTiffError::General("too large".to_owned()))?;
        let bands = self.interleaved();
        let all = |value: u16| TagValue::List(vec![TagValue::Short(value); usize::from(bands)]);
        let format = match self.sample {
            Numeric::U8 | Numeric::U16 | Numeric::U32 | Numeric::U64 => 1,
            Numeric::I8 | Numeric::I16 | Numeric::I32 | Numeric::I64 => 2,
            Numeric::F32 | Numeric::F64 => 3,
        };
        let predictor = match self.prediction {
            Prediction::None => 1,
            Prediction::Horizontal => 2,
            Prediction::FloatingPoint => 3,
        };
        let tags = HashMap::from([
            (Tag::ImageWidth, TagValue::Unsigned(self.tile.0)),
            (Tag::ImageLength, TagValue::Unsigned(rows)),
            (Tag::BitsPerSample, all(8 * self.sample.bytes())),
            (Tag::Compression, TagValue::Short(CUSTOM.to_u16())),
            (Tag::PhotometricInterpretation, TagValue::Short(1)),
            (Tag::SamplesPerPixel, TagValue::Short(bands)),
            (Tag::PlanarConfiguration, TagValue::Short(1)),
            (Tag::Predictor, TagValue::Short(predictor)),
            (Tag::TileWidth, TagValue::Unsigned(self.tile.0)),
            (Tag::TileLength, TagValue::Unsigned(rows)),
            (Tag::TileOffsets, TagValue::UnsignedBig(0)),
            (Tag::TileByteCounts, TagValue::UnsignedBig(packed.len() as u64)),
            (Tag::SampleFormat, all(format)),
        ]);
        let order = if self.is_big_endian { Endianness::BigEndian } else { Endianness::LittleEndian };
        let directory = ImageFileDirectory::from_tags(tags, order)?;
        let tile = at_once(directory.fetch_tile(0, 0, &OneTile(packed)))?;
        Ok(tile.decode(&registry(self.packing, length))?.into_inner().0)
    }
}

/// What is decoded, and how.
struct Read<'a> {
    level: &'a StoredLevel,
    window: &'a Area,
    bands: &'a [u16],
    fetched: &'a [Bytes],
    threads: usize,
}

impl Read<'_> {
    fn values<T: Sample>(&self) -> Result<Vec<T>> {
        let (width, height) = (self.window.0.len(), self.window.1.len());
        let all = width.checked_mul(height).and_then(|plane| plane.checked_mul(self.bands.len()));
        let mut values = Vec::new();
        let no_memory = || Error::read("more samples than there is memory for");
        let all = all.ok_or_else(no_memory)?;
        values.try_reserve_exact(all).map_err(|_| no_memory())?;
        values.resize(all, T::default());
        if all == 0 {
            return Ok(values);
        }
        let units = self.units(&mut values)?;
        let (count, units, failed) = (units.len(), Mutex::new(units.into_iter()), Mutex::new(None));
        spread(self.threads, count, || {
            let next = || units.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(unit) = next() {
                if let Err(error) = self.level.unpack(unit) {
                    units.lock().unwrap_or_else(PoisonError::into_inner).by_ref().for_each(drop);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(values),
            Some(error) => Err(error),
        }
    }

    /// The tiles with their bytes, and the parts of `out` that each fills.
    fn units<'a, T>(&self, out: &'a mut [T]) -> Result<Vec<Unit<'a, T>>> {
        let level = self.level;
        let mut units = BTreeMap::new();
        let mut fetched = self.fetched.iter();
        for (tile, rows) in level.touched(self.window, self.bands) {
            let packed = match level.range(tile, level.tile_bytes(rows).unwrap_or(u64::MAX))? {
                None => None,
                Some(range) => {
                    let bytes = fetched.next().filter(|bytes| bytes.len() as u64 == range.end - range.start);
                    let bytes = bytes.ok_or_else(|| Error::read(format!("tile {tile} was not fetched")))?;
                    Some((bytes.clone(), range.start))
                }
            };
            units.insert(tile, Unit { tile, rows, packed, parts: Vec::new() });
        }
        let lines = out.chunks_mut(self.window.0.len().max(1));
        let rows = self.bands.iter().flat_map(|band| self.window.1.clone().map(move |row| (*band, row)));
        for (mut line, (band, row)) in lines.zip(rows) {
            let mut column = self.window.0.start;
            while !line.is_empty() {
                let (tile, place) = level.tile_at(band, column, row);
                let (x, y) = ((column - place.column) as usize, (row - place.row) as usize);
                let length = (level.tile.0 as usize).saturating_sub(x).min(line.len());
                let (part, rest) = std::mem::take(&mut line).split_at_mut(length);
                let interleaved = usize::from(level.interleaved());
                let sample = if level.is_planar { 0 } else { usize::from(band) };
                let first = (y * level.tile.0 as usize + x) * interleaved + sample;
                if let Some(unit) = units.get_mut(&tile) {
                    unit.parts.push(Part { first, out: part });
                }
                line = rest;
                column = column.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
            }
        }
        Ok(units.into_values().collect())
    }
}

/// The bytes of a tile, as a file that is at hand.
#[derive(Debug)]
struct OneTile(Bytes);

impl AsyncFileReader for OneTile {
    fn get_bytes<'a, 'b>(&'a self, _: Range<u64>) -> Pin<Box<dyn Future<Output = AsyncTiffResult<Bytes>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// What a future gives that waits for nothing.
fn at_once<T>(future: impl Future<Output = AsyncTiffResult<T>>) -> AsyncTiffResult<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => Err(AsyncTiffError::General("it waits".to_owned())),
    }
}

#[cfg(test)]
#[path = "pixels_tests.rs"]
mod tests;
