//! The bits of a packet header (T.800 B.10.1).

use crate::error::{Error, Result};

/// The most bytes a packet header may have, since what its reader remembers grows with its bits. A whole Sentinel-2 image
/// in one precinct has 22,000 code-blocks of 64 by 64 samples, which take some bytes each.
const LONGEST_PACKET_HEADER: usize = 1 << 20;

/// A reader of bits, the highest of a byte first. After a byte of FF the highest bit of the next one is stuffed: 0.
#[derive(Debug, Clone)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begins, in bytes from the start of the file.
    base: u64,
    /// The bytes that were begun.
    at: usize,
    /// The byte at hand.
    byte: u8,
    /// How many bits of it are left.
    left: u8,
}

impl<'a> Bits<'a> {
    /// The bits of the header that begins with `bytes`, which stand at `base` in the file.
    pub(super) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, base, at: 0, byte: 0, left: 0 }
    }

    fn malformed(&self, clause: &'static str, what: impl Into<String>) -> Error {
        Error::malformed(self.base.saturating_add(self.at as u64), clause, what)
    }

    fn next_byte(&mut self) -> Result<()> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return Err(self.malformed("B.10.1", "a packet header that its tile-part cuts"));
        };
        if self.at >= LONGEST_PACKET_HEADER {
            return Err(self.malformed("B.10", format!("a packet header of more than {LONGEST_PACKET_HEADER} bytes")));
        }
        let stuffed = self.byte == 0xFF;
        if stuffed && byte & 0x80 != 0 {
            return Err(self.malformed("B.10.1", format!("FF{byte:02X} in a packet header, a marker")));
        }
        (self.at, self.byte, self.left) = (self.at + 1, byte, if stuffed { 7 } else { 8 });
        Ok(())
    }

    /// The next bit, 0 or 1.
    pub(super) fn bit(&mut self) -> Result<u32> {
        if self.left == 0 {
            self.next_byte()?;
        }
        self.left -= 1;
        Ok(u32::from(self.byte >> self.left & 1))
    }

    /// The next `count` bits as a number.
    pub(super) fn number(&mut self, count: u32) -> Result<u32> {
        if count > u32::BITS {
            return Err(self.malformed("B.10.7.1", format!("a codeword segment's length of {count} bits")));
        }
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Ok(value)
    }

    /// The bytes of the header that ends here: filled up to a whole byte, which is not FF.
    pub(super) fn finish(mut self) -> Result<usize> {
        if self.byte == 0xFF {
            self.next_byte()?;
        }
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_after_ff_is_stuffed() {
        let mut bits = Bits::new(&[0xFF, 0x7F, 0x80], 0);
        assert_eq!(bits.number(15).unwrap(), 0x7FFF);
        assert_eq!(bits.bit().unwrap(), 1);
        assert_eq!(bits.finish().unwrap(), 3);
    }

    #[test]
    fn a_header_does_not_end_in_ff() {
        let mut bits = Bits::new(&[0xFF, 0x00, 0x55], 0);
        bits.number(8).unwrap();
        assert_eq!(bits.finish().unwrap(), 2);
        let mut cut = Bits::new(&[0xFF], 0);
        cut.number(8).unwrap();
        assert!(cut.finish().is_err());
    }

    #[test]
    fn markers_and_ends_are_told_with_their_place() {
        let error = Bits::new(&[0xFF, 0x91], 40).number(9).unwrap_err().to_string();
        assert!(error.contains("FF91") && error.contains("at byte 41 (T.800 B.10.1)"), "{error}");
        let error = Bits::new(&[0], 40).number(9).unwrap_err().to_string();
        assert!(error.contains("at byte 41 (T.800 B.10.1)"), "{error}");
        assert!(Bits::new(&[0; 9], 0).number(33).is_err());
        let zeros = vec![0; LONGEST_PACKET_HEADER + 1];
        let mut long = Bits::new(&zeros, 0);
        let error = (0..).find_map(|_| long.number(32).err()).unwrap().to_string();
        assert!(error.contains("header of more than 1048576 bytes"), "{error}");
    }
}
