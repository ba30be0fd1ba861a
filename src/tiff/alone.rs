//! A tile of a real TIFF by itself, of one band, as references to it have it: how it is packed is all that is known of it.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::stored::{LARGEST_TILE, Numeric, Prediction, StoredLevel};
use super::unpack::Packing;
use crate::decode::Samples;
use crate::error::{Error, Result};

/// How the tiles of a level are packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TileCoding {
    /// `none`, `lzw`, `deflate`, `packbits` or `zstd`.
    compression: String,
    /// As the tag has it: 1 for none, 2 for differences, 3 for those of floating point numbers.
    predictor: u8,
    /// numpy's name for the type of samples.
    dtype: String,
    /// `little` or `big`: which byte of samples comes first.
    endian: String,
    /// Columns and rows.
    tile: (u32, u32),
}

const PACKINGS: [(&str, Packing); 5] = [
    ("none", Packing::None),
    ("lzw", Packing::Lzw),
    ("deflate", Packing::Deflate),
    ("packbits", Packing::PackBits),
    ("zstd", Packing::Zstd),
];

const SAMPLES: [(&str, Numeric); 10] = [
    ("uint8", Numeric::U8),
    ("int8", Numeric::I8),
    ("uint16", Numeric::U16),
    ("int16", Numeric::I16),
    ("uint32", Numeric::U32),
    ("int32", Numeric::I32),
    ("uint64", Numeric::U64),
    ("int64", Numeric::I64),
    ("float32", Numeric::F32),
    ("float64", Numeric::F64),
];

const PREDICTIONS: [(u8, Prediction); 3] =
    [(1, Prediction::None), (2, Prediction::Horizontal), (3, Prediction::FloatingPoint)];

/// Where a tile by itself stands in what is taken for its file.
const AT: u64 = 1;

impl TileCoding {
    /// That of the tiles of a level; `None` where tiles are of several bands, or the last strip has fewer rows.
    pub(crate) fn of(level: &StoredLevel) -> Option<Self> {
        let is_regular = level.is_tiled || level.size.1.is_multiple_of(level.tile.1);
        if level.bands > 1 || !is_regular {
            return None;
        }
        let (compression, _) = PACKINGS.into_iter().find(|(_, packing)| *packing == level.packing)?;
        let (dtype, _) = SAMPLES.into_iter().find(|(_, sample)| *sample == level.sample)?;
        let (predictor, _) = PREDICTIONS.into_iter().find(|(_, prediction)| *prediction == level.prediction)?;
        let endian = if level.is_big_endian { "big" } else { "little" };
        Some(Self {
            compression: compression.to_owned(),
            predictor,
            dtype: dtype.to_owned(),
            endian: endian.to_owned(),
            tile: level.tile,
        })
    }

    /// Decodes a tile that is packed so.
    ///
    /// # Errors
    /// [`Error::Question`] for what is no such coding; those of [`StoredLevel::decode`].
    pub(crate) fn decode(&self, packed: &[u8]) -> Result<Samples> {
        let unknown = || Error::Question { what: format!("no tile of a TIFF is packed so: {self:?}") };
        fn find<K: PartialEq, V>(known: impl IntoIterator<Item = (K, V)>, key: &K) -> Option<V> {
            known.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
        }
        let packing = find(PACKINGS, &self.compression.as_str()).ok_or_else(unknown)?;
        let sample = find(SAMPLES, &self.dtype.as_str()).ok_or_else(unknown)?;
        let prediction = find(PREDICTIONS, &self.predictor).ok_or_else(unknown)?;
        let is_big_endian = find([("little", false), ("big", true)], &self.endian.as_str()).ok_or_else(unknown)?;
        let is_of_reals = matches!(sample, Numeric::F32 | Numeric::F64);
        let may_be_predicted = prediction == Prediction::None || packing.has_predictor();
        if !may_be_predicted || (prediction == Prediction::FloatingPoint && !is_of_reals) {
            return Err(unknown());
        }
        let level = StoredLevel {
            size: self.tile,
            bands: 1,
            sample,
            tile: self.tile,
            is_tiled: true,
            is_planar: false,
            nodata: None,
            is_big_endian,
            packing,
            prediction,
            tiles: vec![(AT, packed.len() as u64)],
            file_size: AT + packed.len() as u64,
        };
        if !level.tile_bytes(self.tile.1).is_some_and(|bytes| (1..=LARGEST_TILE).contains(&bytes)) {
            return Err(unknown());
        }
        let whole = (0..self.tile.0, 0..self.tile.1);
        let ranges: Vec<Range<u64>> = level.plan(&whole, None)?;
        let bytes = |range: &Range<u64>| packed.get((range.start - AT) as usize..(range.end - AT) as usize);
        let fetched: Vec<Bytes> = ranges.iter().filter_map(bytes).map(Bytes::copy_from_slice).collect();
        level.decode(&whole, None, &fetched, 1)
    }
}

impl StoredLevel {
    /// Where the tiles lie that the file has, each with its number.
    ///
    /// # Errors
    /// [`Error::Malformed`] where tiles do not lie within the file.
    pub(crate) fn places(&self) -> Result<Vec<(u32, Range<u64>)>> {
        let whole = (0..self.size.0, 0..self.size.1);
        let mut places = Vec::with_capacity(self.tiles.len());
        for (tile, rows) in self.touched(&whole, &self.wanted(None)?) {
            if let Some(range) = self.range(tile, self.tile_bytes(rows).unwrap_or(u64::MAX))? {
                let number = u32::try_from(tile).map_err(|_| Error::read("more tiles than can be numbered"))?;
                places.push((number, range));
            }
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(compression: &str, predictor: u8, dtype: &str) -> TileCoding {
        TileCoding {
            compression: compression.into(),
            predictor,
            dtype: dtype.into(),
            endian: "big".into(),
            tile: (3, 2),
        }
    }

    #[test]
    fn a_tile_is_unpacked_by_what_is_told_of_it() {
        let bytes: Vec<u8> = (1..=6u16).flat_map(u16::to_be_bytes).collect();
        let pixels = coding("none", 1, "uint16").decode(&bytes).unwrap();
        assert_eq!(pixels.shape, [1, 2, 3]);
        assert_eq!(pixels.values, crate::decode::Values::U16(vec![1, 2, 3, 4, 5, 6]));
        let packed = zstd::bulk::compress(&bytes, 3).unwrap();
        let pixels = coding("zstd", 2, "uint16").decode(&packed).unwrap();
        // Sums along rows.
        assert_eq!(pixels.values, crate::decode::Values::U16(vec![1, 3, 6, 4, 9, 15]));
    }

    #[test]
    fn what_no_tile_can_be_is_refused() {
        for (compression, predictor, dtype) in [
            ("jpeg", 1, "uint8"),
            ("none", 2, "uint8"),
            ("zstd", 3, "uint16"),
            ("zstd", 4, "uint8"),
            ("none", 1, "bool"),
        ] {
            let refused = coding(compression, predictor, dtype).decode(&[0; 12]).unwrap_err();
            assert_eq!(refused.kind(), "Question", "{compression} {predictor} {dtype}");
        }
        for tile in [(0, 1), (1, 0), (u32::MAX, u32::MAX)] {
            let refused = TileCoding { tile, ..coding("zstd", 1, "uint8") }.decode(&[0; 12]).unwrap_err();
            assert_eq!(refused.kind(), "Question", "{tile:?}");
        }
        for packed in [&[][..], &[0; 11][..]] {
            assert_eq!(coding("none", 1, "uint16").decode(packed).unwrap_err().kind(), "Malformed");
        }
        // Nothing of that size is made of a few bytes.
        let large = TileCoding { tile: (30_000, 30_000), ..coding("deflate", 1, "uint8") };
        assert_eq!(large.decode(&[0; 12]).unwrap_err().kind(), "Malformed");
    }
}
