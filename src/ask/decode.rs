//! Decoding of what a program has in memory.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::text;
use crate::decode::Samples;
use crate::error::{Error, Result};
use crate::file::{self, TiffLevel, TiffRow, TiffTile};
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A strip of four samples, compressed by a number. All of the file is its header.
    fn strips(compression: u16) -> Vec<u8> {
        let mut file = b"II\x2A\0\x10\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08".to_vec();
        let tags = [(256, 4), (257, 1), (258, 8), (259, compression), (273, 8), (278, 1), (279, 4)];
        file.push(tags.len() as u8);
        file.push(0);
        for (tag, value) in tags {
            for number in [tag, 3, 1, 0, value, 0] {
                file.extend_from_slice(&u16::to_le_bytes(number));
            }
        }
        file.extend_from_slice(&[0; 4]);
        file
    }

    /// The answer for a row of which so many bytes of the header are there.
    fn told(file: &[u8], header: usize) -> Value {
        let size = file.len() as u8;
        let index = [&b"TIFF\x01"[..], &[size, 0, size]].concat();
        let row = [&index, &file[..header]].concat();
        let (told, samples) = decode(&row, &json!({"tiff_row": index.len()}).to_string());
        assert!(samples.is_none());
        serde_json::from_str(&told).unwrap()
    }

    #[test]
    fn what_a_tiff_is_is_told_by_its_row_and_decodes_its_tiles() {
        let file = strips(1);
        let answer = told(&file, file.len());
        let coding =
            json!({"compression": "none", "predictor": 1, "dtype": "uint8", "endian": "little", "tile": [4, 1]});
        let level = json!({"factor": 1, "shape": [1, 4], "tile_shape": [1, 4], "coding": coding});
        let expected = json!({"count": 1, "dtype": "uint8", "nodata": null, "refused": null, "levels": [level]});
        assert_eq!(answer, expected);
        let (shape, samples) = decode(&file[8..12], &json!({"tiff_tile": coding}).to_string());
        assert_eq!(shape, json!({"shape": [1, 1, 4], "dtype": "uint8"}).to_string());
        assert_eq!(samples.unwrap().rectangle((0, 0), (4, 1)), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_not_decoded_is_told_with_its_reason() {
        let file = strips(7);
        let answer = told(&file, file.len());
        assert_eq!((&answer["refused"]["kind"], &answer["levels"][0]["coding"]), (&json!("Undecoded"), &Value::Null));
        assert!(answer["refused"]["message"].as_str().unwrap().contains("JPEG"), "{answer}");
    }

    #[test]
    fn rows_and_codings_that_are_none_are_errors() {
        let file = strips(1);
        assert_eq!(told(&file, file.len() - 1)["error"]["kind"], "Row");
        let refused = |bytes: &[u8], wanted: Value| decode(bytes, &wanted.to_string()).0;
        assert!(refused(b"TIFF", json!({"tiff_row": 5})).contains("Question"));
        assert!(refused(b"JP2?", json!({"tiff_row": 4})).contains("Row"));
        assert!(refused(&[1; 4], json!({"tiff_tile": {"tile": [4, 1]}})).contains("Question"));
    }
}
