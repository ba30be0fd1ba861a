//! Compressed tiles, unpacked to the length that their directory gives them: never to what they claim themselves.

use async_tiff::decoder::{Decoder, DecoderRegistry};
use async_tiff::error::{AsyncTiffError, AsyncTiffResult};
use async_tiff::tags::{Compression, PhotometricInterpretation};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use weezl::{BitOrder, LzwStatus};

use crate::error::{Error, Result};

/// How the bytes of tiles are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
}

impl Packing {
    /// That of a value of the tag Compression.
    ///
    /// # Errors
    /// [`Error::Undecoded`] with the name of another one.
    pub(super) fn of(compression: u64) -> Result<Self> {
        let what = match compression {
            1 => return Ok(Self::None),
            5 => return Ok(Self::Lzw),
            // Adobe's number, and that of before it had one.
            8 | 32_946 => return Ok(Self::Deflate),
            32_773 => return Ok(Self::PackBits),
            50_000 => return Ok(Self::Zstd),
            2 => "CCITT RLE".to_owned(),
            3 => "CCITT Group 3".to_owned(),
            4 => "CCITT Group 4".to_owned(),
            // The samples of lossy codecs are not those of GDAL's libraries to the last bit.
            6 => "old-style JPEG".to_owned(),
            7 => "JPEG".to_owned(),
            34_712 => "JPEG 2000 within a TIFF".to_owned(),
            34_887 => "LERC".to_owned(),
            34_925 => "LZMA".to_owned(),
            50_001 => "WebP".to_owned(),
            50_002 | 52_546 => "JPEG XL".to_owned(),
            number => format!("compression {number}"),
        };
        Err(Error::Undecoded { what: format!("TIFF compression: {what}") })
    }

    /// Whether a predictor may have been applied before: for libtiff the tag means nothing to the others.
    pub(super) fn has_predictor(self) -> bool {
        matches!(self, Self::Lzw | Self::Deflate | Self::Zstd)
    }

    /// To how many bytes one can be unpacked at most.
    fn ratio(self) -> u64 {
        match self {
            Self::None => 1,
            // Two bytes are up to 128.
            Self::PackBits => 64,
            // A match of 258 bytes in two bits.
            Self::Deflate => 1032,
            // A string of at most 4096 bytes in a code of 9 bits or more.
            Self::Lzw => 4096,
            // A block of 128 KiB in four bytes (RFC 8878, 3.1.1.2).
            Self::Zstd => 1 << 15,
        }
    }

    /// Whether so many bytes can be a tile of `unpacked`: neither too few nor more than any encoder makes of it.
    pub(super) fn may_be(self, packed: u64, unpacked: u64) -> bool {
        packed.saturating_mul(self.ratio()) >= unpacked
            && (self == Self::None || packed <= unpacked.saturating_mul(2) + (64 << 10))
    }

    /// Fills `out` from the beginning of what `packed` is.
    fn unpack(self, packed: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        let broken = |error: &dyn std::fmt::Display| Fault::Broken(error.to_string());
        let length = out.len();
        let unpacked = match self {
            Self::None => copy(packed, out),
            Self::PackBits => pack_bits(packed, out),
            Self::Lzw => lzw(packed, out)?,
            Self::Deflate => {
                let mut stream = Decompress::new(true);
                let status = stream.decompress(packed, out, FlushDecompress::Finish).map_err(|error| broken(&error))?;
                if status != Status::StreamEnd && stream.total_out() == length as u64 {
                    return Err(LONGER);
                }
                usize::try_from(stream.total_out()).unwrap_or(usize::MAX)
            }
            Self::Zstd => {
                let mut stream = zstd::bulk::Decompressor::new().map_err(|error| broken(&error))?;
                stream.decompress_to_buffer(packed, out).map_err(|error| broken(&error))?
            }
        };
        if unpacked == length { Ok(()) } else { Err(Fault::Broken(format!("{unpacked} bytes of {length}"))) }
    }
}

/// Why a tile is not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Broken(String),
    /// GDAL is to be asked.
    #[error("{0}")]
    Undecoded(&'static str),
}

/// Of such a stream libdeflate, in libtiff, may give less than all that would fit.
const LONGER: Fault = Fault::Undecoded("a deflate stream that does not end where its tile ends");

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    to.iter_mut().zip(from).map(|(to, from)| *to = *from).count()
}

/// TIFF 6.0, section 9.
fn pack_bits(mut packed: &[u8], out: &mut [u8]) -> usize {
    let mut at = 0;
    while let Some((head, rest)) = packed.split_first()
        && at < out.len()
    {
        let to = out.get_mut(at..).unwrap_or_default();
        let count = match *head {
            0..=127 => usize::from(*head) + 1,
            // No operation.
            128 => 0,
            129..=255 => 257 - usize::from(*head),
        };
        packed = match (*head, rest.split_first()) {
            (0..=127, _) => {
                let literal = rest.get(..count).unwrap_or(rest);
                at += copy(literal, to);
                rest.get(count..).unwrap_or_default()
            }
            (129..=255, Some((byte, rest))) => {
                at += to.iter_mut().take(count).map(|to| *to = *byte).count();
                rest
            }
            _ => rest,
        };
    }
    at
}

/// TIFF 6.0, section 13.
fn lzw(mut packed: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
    // Codes with their lowest bit first, of libtiff's first releases. The code that all begin with, 256, tells.
    if packed.first() == Some(&0) && packed.get(1).is_some_and(|byte| byte & 1 != 0) {
        return Err(Fault::Undecoded("LZW codes with their lowest bit first"));
    }
    let mut stream = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut at = 0;
    while at < out.len() {
        let step = stream.decode_bytes(packed, out.get_mut(at..).unwrap_or_default());
        packed = packed.get(step.consumed_in..).unwrap_or_default();
        at += step.consumed_out;
        match step.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::Done | LzwStatus::NoProgress) => break,
            Err(error) => return Err(Fault::Broken(error.to_string())),
        }
    }
    Ok(at)
}

/// What unpacks tiles of `length` bytes.
#[derive(Debug)]
struct Unpacker {
    packing: Packing,
    length: usize,
}

impl Decoder for Unpacker {
    fn decode_tile(
        &self,
        buffer: Bytes,
        _: PhotometricInterpretation,
        _: Option<&[u8]>,
        _: u16,
        _: u16,
        _: Option<&[u32]>,
    ) -> AsyncTiffResult<Vec<u8>> {
        let failed = |fault: Fault| AsyncTiffError::External(Box::new(fault));
        let mut out = Vec::new();
        out.try_reserve_exact(self.length).map_err(|error| failed(Fault::Broken(error.to_string())))?;
        out.resize(self.length, 0);
        self.packing.unpack(&buffer, &mut out).map_err(failed)?;
        Ok(out)
    }
}

/// A registry of the one decoder that is in use, which async-tiff's own are not: these unpack whatever a tile claims, panic where
/// LZW codes are wrong, and give what is too short for its predictor.
pub(super) fn registry(packing: Packing, length: usize) -> DecoderRegistry {
    let mut registry = DecoderRegistry::empty();
    registry.as_mut().insert(CUSTOM, Box::new(Unpacker { packing, length }));
    registry
}

/// The compression by whose number async-tiff finds what unpacks: any will do.
pub(super) const CUSTOM: Compression = Compression::None;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn unpacked(packing: Packing, packed: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0xEE; length];
        packing.unpack(packed, &mut out).map(|()| out)
    }

    fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        match packing {
            Packing::None => bytes.to_vec(),
            Packing::PackBits => bytes.chunks(128).flat_map(|run| [&[run.len() as u8 - 1], run].concat()).collect(),
            Packing::Lzw => weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(bytes).unwrap(),
            Packing::Deflate => {
                let mut stream = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                stream.write_all(bytes).unwrap();
                stream.finish().unwrap()
            }
            Packing::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
        }
    }

    const ALL: [Packing; 5] = [Packing::None, Packing::Lzw, Packing::Deflate, Packing::PackBits, Packing::Zstd];

    #[test]
    fn a_tile_is_all_of_its_bytes_and_no_more() {
        let bytes: Vec<u8> = (0..20_000u32).map(|number| ((number * number) >> 7) as u8).collect();
        for packing in ALL {
            let packed = packed(packing, &bytes);
            assert_eq!(unpacked(packing, &packed, bytes.len()).unwrap(), bytes, "{packing:?}");
            assert!(packing.may_be(packed.len() as u64, bytes.len() as u64));
            // A strip that is longer than its rows.
            let shorter = unpacked(packing, &packed, 77);
            match packing {
                Packing::Deflate => assert!(matches!(shorter, Err(Fault::Undecoded(_)))),
                Packing::Zstd => assert!(shorter.is_err()),
                _ => assert_eq!(shorter.unwrap(), bytes[..77], "{packing:?}"),
            }
            assert!(unpacked(packing, &packed, bytes.len() + 1).is_err(), "{packing:?}");
            assert!(unpacked(packing, &packed[..packed.len() / 2], bytes.len()).is_err(), "{packing:?}");
            assert!(unpacked(packing, &[], 1).is_err(), "{packing:?}");
        }
    }

    #[test]
    fn pack_bits_has_runs_literals_and_pauses() {
        // The example of TIFF 6.0, section 9, with a no-operation in it.
        let example = [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0x80, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA];
        let whole =
            [&[0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22][..], &[0xAA; 10]]
                .concat();
        assert_eq!(unpacked(Packing::PackBits, &example, 24).unwrap(), whole);
    }

    #[test]
    fn what_cannot_be_a_tile_is_known_before_memory_is_taken() {
        for (packing, packed, may_be) in [
            (Packing::None, 100, true),
            (Packing::None, 99, false),
            (Packing::None, 1 << 40, true),
            (Packing::PackBits, 1, false),
            (Packing::Deflate, 1 << 40, false),
        ] {
            assert_eq!(packing.may_be(packed, 100), may_be, "{packing:?} {packed}");
        }
        for packing in ALL {
            let zeros = packed(packing, &vec![0; 1 << 22]);
            assert!(packing.may_be(zeros.len() as u64, 1 << 22), "{packing:?} {}", zeros.len());
            assert!(!packing.may_be(20, 1 << 30), "{packing:?}");
        }
    }

    #[test]
    fn codes_of_the_old_way_are_told() {
        assert!(matches!(unpacked(Packing::Lzw, &[0, 1, 2, 3], 2), Err(Fault::Undecoded(_))));
    }

    #[test]
    fn others_are_refused_by_name() {
        for (number, name) in [(7, "JPEG"), (4, "CCITT Group 4"), (34_887, "LERC"), (12_345, "compression 12345")] {
            let error = Packing::of(number).unwrap_err();
            assert_eq!(error.kind(), "Undecoded");
            assert!(error.to_string().ends_with(name), "{error}");
        }
    }
}
