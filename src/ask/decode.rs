//! Decoding of what a program has in memory.

use serde::Deserialize;
use serde_json::json;

use super::text;
use crate::error::{Error, Result};
use crate::file::{self, Samples};
use crate::path::Window;

/// What is to be decoded.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Whether the data is a main header and the tile-parts of one tile.
    #[serde(default)]
    tile: bool,
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
/// samples where that worked.
pub(crate) fn decode(bytes: &[u8], wanted: &str) -> (String, Option<Samples>) {
    let decode = || -> Result<Samples> {
        let wanted: Wanted = serde_json::from_str(wanted)
            .map_err(|error| Error::Question { what: format!("it is not what decoding takes ({error})") })?;
        let window = wanted.window.map(|(x, y, width, height)| Window { x, y, width, height });
        let threads = wanted.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let decode = if wanted.tile { file::decode_tile } else { file::decode_bytes };
        decode(bytes, window.as_ref(), wanted.reduce, wanted.bands.as_deref(), threads)
    };
    match decode() {
        Ok(samples) => {
            let answer = json!({"shape": samples.shape, "dtype": samples.values.dtype()});
            (text(&Ok(answer)), Some(samples))
        }
        Err(error) => (text(&Err(error)), None),
    }
}
