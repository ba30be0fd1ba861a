//! Decoding of what a program has in memory.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::text;
use crate::error::{Error, Result};
use crate::file::{self, Samples, TiffLevel, TiffRow, TiffTile};
use crate::path::Window;

/// What is to be decoded.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Whether the data is a main header and the tile-parts of one tile.
    #[serde(default)]
    tile: bool,
    /// That the data is the columns `index`, of so many bytes, and `header` of a TIFF's row: what it is, is told.
    #[serde(default)]
    tiff_row: Option<usize>,
    /// How the data is packed, where it is a tile of a TIFF.
    #[serde(default)]
    tiff_tile: Option<TiffTile>,
    /// Column, row, width and height in pixels of the image, or of the tile, at 1/2^reduce; all of it where there is none.
    #[serde(default)]
    window: Option<(u32, u32, u32, u32)>,
    #[serde(default)]
    reduce: u8,
    /// Numbers from 1 on; where there are none, all bands of an image, and the first of a tile.
    #[serde(default)]
    bands: Option<Vec<u16>>,
    /// How many threads decode; as many as the process may use cores where it is not told.
    #[serde(default)]
    threads: Option<usize>,
}

/// Decodes a JP2, a bare codestream or a tile by itself on the calling thread, with others: the answer in JSON, and the
/// samples where that worked. Of the row of a TIFF there are none.
pub(crate) fn decode(bytes: &[u8], wanted: &str) -> (String, Option<Samples>) {
    let decode = || -> Result<(Value, Option<Samples>)> {
        let wanted: Wanted = serde_json::from_str(wanted)
            .map_err(|error| Error::Question { what: format!("it is not what decoding takes ({error})") })?;
        if let Some(length) = wanted.tiff_row {
            return Ok((tiff_row(bytes, length)?, None));
        }
        let window = wanted.window.map(|(x, y, width, height)| Window { x, y, width, height });
        let threads = wanted.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let decode = if wanted.tile { file::decode_tile } else { file::decode_bytes };
        let samples = match wanted.tiff_tile {
            Some(coding) => coding.decode(bytes)?,
            None => decode(bytes, window.as_ref(), wanted.reduce, wanted.bands.as_deref(), threads)?,
        };
        Ok((json!({"shape": samples.shape, "dtype": samples.values.dtype()}), Some(samples)))
    };
    match decode() {
        Ok((answer, samples)) => (text(&Ok(answer)), samples),
        Err(error) => (text(&Err(error)), None),
    }
}

/// What a TIFF is, by its row.
fn tiff_row(bytes: &[u8], length: usize) -> Result<Value> {
    let columns = bytes.split_at_checked(length);
    let (index, header) = columns.ok_or_else(|| Error::Question { what: "a row that is cut".to_owned() })?;
    let TiffRow { bands, dtype, nodata, levels, refused } = file::tiff_of_row(index, &Bytes::copy_from_slice(header))?;
    let level = |level: &TiffLevel| {
        let TiffLevel { factor, size, tile, coding } = level;
        json!({
            "factor": factor, "shape": [size.1, size.0], "tile_shape": [tile[1], tile[0]], "coding": coding,
        })
    };
    let refused = refused.map(|error| json!({"kind": error.kind(), "message": error.chain()}));
    let levels: Vec<Value> = levels.iter().map(level).collect();
    Ok(json!({"count": bands, "dtype": dtype, "nodata": nodata, "levels": levels, "refused": refused}))
}
