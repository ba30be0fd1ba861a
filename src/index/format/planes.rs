//! Numbers that are much alike, in few bits: Rice codes around a usual value.
//!
//! A plane is a usual value and a parameter k, then for each number its difference d to the usual one, folded (0, −1, 1,
//! −2, … as 0, 1, 2, 3, …): the part above its last k bits as so many zeros and a one, then those k bits. Where all are
//! equal, nothing follows. Lengths of packets differ by noise alone once what can be foretold is taken off; no general
//! compressor takes less for noise, and most take more, since their symbols are bytes.
//!
//! Bits are written from the highest of a byte on.

use super::bytes::{unzigzag, zigzag};

/// Bits of a usual value's length, and of k. A k of [`EQUAL`] says that all numbers are the usual one.
const HEAD: u32 = 6;
const EQUAL: u64 = (1 << HEAD) - 1;
/// After so many zeros a number follows as it is, in [`WIDE`] bits: one that is out of the ordinary.
const MOST_ZEROS: u32 = 24;
/// Differences of numbers of 32 bits have 33, folded 34.
const WIDE: u32 = 34;

/// Writes bits.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u32,
}

impl BitWriter {
    /// The bytes, the last one filled up with zeros.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The last `count` bits of `value`.
    pub(crate) fn bits(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << self.free;
            }
        }
    }

    /// A plane of numbers of 33 bits and a sign at most.
    pub(crate) fn plane(&mut self, values: &[i64]) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let Some(usual) = sorted.get(sorted.len() / 2).copied() else { return };
        let length = u64::BITS - zigzag(usual).leading_zeros();
        self.bits(length.into(), HEAD);
        self.bits(zigzag(usual), length);
        if sorted.first() == sorted.last() {
            return self.bits(EQUAL, HEAD);
        }
        let folded: Vec<u64> = values.iter().map(|value| zigzag(value - usual)).collect();
        let bits = |value: u64, k: u32| match value >> k {
            zeros if zeros < u64::from(MOST_ZEROS) => zeros + 1 + u64::from(k),
            _ => u64::from(MOST_ZEROS + WIDE),
        };
        let cost = |k: u32| folded.iter().map(|value| bits(*value, k)).sum::<u64>();
        let k = (0..WIDE).min_by_key(|k| cost(*k)).unwrap_or(0);
        self.bits(k.into(), HEAD);
        for value in folded {
            match value >> k {
                zeros if zeros < u64::from(MOST_ZEROS) => {
                    self.bits(1, zeros as u32 + 1);
                    self.bits(value, k);
                }
                _ => {
                    self.bits(0, MOST_ZEROS);
                    self.bits(value, WIDE);
                }
            }
        }
    }
}

/// Reads what [`BitWriter`] has written.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether nothing but the rest of the last byte is left, all zeros.
    pub(crate) fn is_at_end(&self) -> bool {
        let rest = self.bytes.len() * 8 - self.at;
        let last = self.bytes.last().map_or(0, |last| u32::from(*last) & ((1 << rest.min(8)) - 1));
        rest < 8 && last == 0
    }

    /// `count` bits, at most 64; `None` where there are no more.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u64> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A plane of `count` numbers; `None` where it is cut.
    pub(crate) fn plane(&mut self, count: usize) -> Option<Plane<'_, 'a>> {
        if count == 0 {
            return Some(Plane { reader: self, usual: 0, k: EQUAL as u32 });
        }
        let length = self.bits(HEAD)? as u32;
        let usual = unzigzag(self.bits(length)?);
        let k = self.bits(HEAD)? as u32;
        (k < WIDE || u64::from(k) == EQUAL).then_some(Plane { reader: self, usual, k })
    }
}

/// The numbers of a plane, read one by one: nothing is allocated that the bytes do not pay for.
pub(crate) struct Plane<'r, 'a> {
    reader: &'r mut BitReader<'a>,
    usual: i64,
    k: u32,
}

impl Plane<'_, '_> {
    /// The next number; `None` where the plane is cut.
    pub(crate) fn next(&mut self) -> Option<i64> {
        if u64::from(self.k) == EQUAL {
            return Some(self.usual);
        }
        let mut zeros = 0;
        while zeros < MOST_ZEROS && self.reader.bits(1)? == 0 {
            zeros += 1;
        }
        let folded = match zeros {
            MOST_ZEROS => self.reader.bits(WIDE)?,
            _ => u64::from(zeros) << self.k | self.reader.bits(self.k)?,
        };
        self.usual.checked_add(unzigzag(folded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], planes: &[Vec<i64>]) -> Option<Vec<Vec<i64>>> {
        let mut reader = BitReader::new(bytes);
        let mut out = Vec::new();
        for plane in planes {
            let mut values = reader.plane(plane.len())?;
            out.push(plane.iter().map(|_| values.next()).collect::<Option<Vec<_>>>()?);
        }
        reader.is_at_end().then_some(out)
    }

    proptest! {
        #[test]
        fn planes_are_read_as_they_are_written(
            planes in prop::collection::vec(
                (0u32..33, prop::collection::vec(any::<i64>(), 0..40)).prop_map(|(bits, values)| {
                    values.into_iter().map(|value| value >> (64 - bits.max(1))).collect::<Vec<i64>>()
                }),
                0..5,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut writer = BitWriter::default();
            planes.iter().for_each(|plane| writer.plane(plane));
            let bytes = writer.into_bytes();
            prop_assert_eq!(read(&bytes, &planes), Some(planes.clone()));
            prop_assert_eq!(read(&[&bytes[..], &[0]].concat(), &planes), None, "a byte too many");
            if !bytes.is_empty() {
                // Cut within what is zero anyway, nothing is missing.
                let cut = cut.index(bytes.len());
                prop_assert!(read(&bytes[..cut], &planes).is_none());
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), counts in prop::collection::vec(0usize..50, 0..9)) {
            let mut reader = BitReader::new(&bytes);
            for count in counts {
                let Some(mut plane) = reader.plane(count) else { break };
                if (0..count).any(|_| plane.next().is_none()) { break }
            }
            let _ = reader.is_at_end();
        }
    }

    #[test]
    fn noise_takes_its_bits_and_what_is_equal_none() {
        let mut writer = BitWriter::default();
        writer.plane(&[7; 1000]);
        assert!(writer.into_bytes().len() <= 3);
        // 0 to 1023, all as likely: ten bits each are the least.
        let mut noise = 1u64;
        let values: Vec<i64> = (0..1000)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (noise >> 54) as i64
            })
            .collect();
        let mut writer = BitWriter::default();
        writer.plane(&values);
        let bytes = writer.into_bytes().len();
        assert!((1250..1400).contains(&bytes), "{bytes}");
    }
}
