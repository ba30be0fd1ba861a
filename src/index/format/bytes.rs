//! What several formats are made of: numbers of a variable length, checksums, and parts of a buffer.

use std::ops::Range;

use bytes::Bytes;
use twox_hash::XxHash64;

/// XXH64.
pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// By which an origin is known where its text would be too long. 0 stands for no origin.
pub(crate) fn hash(origin: &str) -> u64 {
    xxh64(origin.as_bytes(), 0).max(1)
}

/// Some of `bytes`, where they have so many.
pub(crate) fn slice(bytes: &Bytes, range: Range<u64>) -> Option<Bytes> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// The first `count` of the bytes that are left, which they then no longer are.
pub(crate) fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(bytes)
}

/// The unsigned LEB128 number that the bytes that are left begin with; `None` where it is cut or has more than 64 bits.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = *take(rest, 1)?.first_chunk()?;
        let bits = u64::from(byte & 0x7F);
        number |= Some(bits << shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Writes a number in LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A signed number as an unsigned one: 0, −1, 1, −2, … as 0, 1, 2, 3, …
pub(crate) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// The number that [`zigzag`] gives `folded` for.
pub(crate) fn unzigzag(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_are_written(number in any::<i64>(), bits in 0u32..64) {
            let number = number >> bits;
            let mut out = Vec::new();
            put_varint(&mut out, zigzag(number));
            let mut rest = &out[..];
            prop_assert_eq!(varint(&mut rest).map(unzigzag), Some(number));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(varint(&mut &out[..out.len() - 1]), None, "cut");
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_none() {
        let most = [&[0xFF; 9][..], &[1]].concat();
        assert_eq!(varint(&mut &most[..]), Some(u64::MAX));
        assert_eq!(varint(&mut &[&[0xFF; 9][..], &[2]].concat()[..]), None);
        assert_eq!(varint(&mut &[&[0x80; 10][..], &[0]].concat()[..]), None);
    }
}
