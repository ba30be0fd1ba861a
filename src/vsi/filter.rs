//! The filter `vsitlm.jp2_tile` of GDAL's Zarr driver: a chunk is the tile-parts of one tile of a JP2.
//!
//! Its configuration in Zarr's metadata is the main header that they need, `header` in base64, and how often the image is
//! halved, `reduce`. GDAL gives it as options.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::error::{Error, Result};
use crate::file::WholeTile;

/// The most bytes of a decoded chunk: GDAL takes no larger one.
const MOST_BYTES: u64 = i32::MAX as u64;

/// A chunk with what its metadata say of it.
pub(super) struct Chunk {
    /// A main header and tile-parts.
    bytes: Vec<u8>,
    reduce: u8,
}

impl Chunk {
    /// The chunk `parts`, by options of the form NAME=VALUE, in which case does not matter.
    ///
    /// # Errors
    /// [`Error::Option`] where one of them cannot be.
    pub(super) fn new<'a>(options: impl Iterator<Item = &'a str>, parts: &[u8]) -> Result<Self> {
        let (mut header, mut reduce) = ("", "0");
        for (name, value) in options.filter_map(|option| option.split_once('=')) {
            match name {
                _ if name.eq_ignore_ascii_case("header") => header = value,
                _ if name.eq_ignore_ascii_case("reduce") => reduce = value,
                _ => {}
            }
        }
        let wrong = |name: &'static str, value: &str, expected: &'static str| Error::Option {
            name,
            value: value.chars().take(40).collect(),
            expected,
        };
        let decoded = BASE64_STANDARD.decode(header).ok().filter(|bytes| !bytes.is_empty());
        let mut bytes = decoded.ok_or_else(|| wrong("header", header, "the files' main header in base64"))?;
        bytes.extend_from_slice(parts);
        let reduce = reduce.parse().map_err(|_| wrong("reduce", reduce, "how often the image is halved, 0 to 31"))?;
        Ok(Self { bytes, reduce })
    }

    /// Its tile, and the bytes that it decodes to.
    ///
    /// # Errors
    /// As [`WholeTile::new`]; [`Error::Undecoded`] for one that is larger than any that GDAL takes.
    pub(super) fn tile(&self) -> Result<(WholeTile<'_>, usize)> {
        let tile = WholeTile::new(&self.bytes, self.reduce)?;
        match usize::try_from(tile.bytes()) {
            Ok(bytes) if tile.bytes() <= MOST_BYTES => Ok((tile, bytes)),
            _ => Err(Error::Undecoded { what: format!("a tile of {} bytes, more than {MOST_BYTES}", tile.bytes()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = include_bytes!("../../tests/data/packets/rlcp_styles.j2k");

    /// The main header in base64, with `change` made to it, and the tile-parts.
    fn apart(change: impl Fn(&mut Vec<u8>)) -> (String, &'static [u8]) {
        let at = FILE.windows(4).position(|four| four == [0xFF, 0x90, 0, 10]).unwrap();
        let mut header = FILE[..at].to_vec();
        change(&mut header);
        (BASE64_STANDARD.encode(header), &FILE[at..])
    }

    fn told(options: &[&str], parts: &[u8]) -> Result<usize> {
        Chunk::new(options.iter().copied(), parts)?.tile().map(|(_, bytes)| bytes)
    }

    #[test]
    fn a_chunk_is_as_large_as_a_tile() {
        let (header, parts) = apart(|_| ());
        let header = format!("HEADER={header}");
        for (reduce, bytes) in [("reduce=0", 48 * 40), ("Reduce=1", 24 * 20), ("reduce=2", 12 * 10)] {
            assert_eq!(told(&["id=vsitlm.jp2_tile", &header, reduce], parts).unwrap(), bytes);
        }
        assert_eq!(told(&[&header], parts).unwrap(), 48 * 40);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let (header, parts) = apart(|_| ());
        let header = format!("header={header}");
        let why = |options: &[&str], parts: &[u8]| told(options, parts).unwrap_err().to_string();
        assert!(why(&[], parts).contains("header"));
        assert!(why(&["header=?"], parts).contains("header=? is not valid"));
        for reduce in ["reduce=-1", "reduce=256", "reduce=x"] {
            assert!(why(&[&header, reduce], parts).contains(reduce));
        }
        assert!(why(&[&header, "reduce=3"], parts).contains("the factors are 2, 4"));
        assert!(why(&[&header], b"").contains("T.800"));
        // XTsiz and YTsiz are what a header claims; nobody else bounds them.
        let (huge, parts) = apart(|header| header[24..32].copy_from_slice(&[0x7F; 8]));
        assert!(why(&[&format!("header={huge}")], parts).contains("more than 2147483647"));
    }
}
