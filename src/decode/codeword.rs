//! Codeword segments as plain strings of bits: without the bits that are stuffed behind FF (T.800 C.3.4, D.6).

/// Bytes of ones behind a segment's last: where a decoder reads when the segment is used up (C.3.4, D.4.1).
const PADDING: usize = 16;

/// A string of bits, the highest of a byte first. Behind its end there are ones, as many as are asked for.
///
/// One is made of one segment after the other, so that its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Codeword {
    bytes: Vec<u8>,
}

impl Codeword {
    /// Takes the segment's bytes as an arithmetic decoder adds them up (C.3.4): the byte after FF stands one bit further
    /// left, so that its highest bit is a carry. A marker (FF90 and above) ends the segment.
    pub(super) fn take_arithmetic<'a>(&mut self, segment: impl Iterator<Item = &'a [u8]> + Clone) {
        self.take(segment, 0x8F, |bytes, carry| {
            let mut at = bytes.len();
            let mut carry = carry;
            while carry && at > 0 {
                at -= 1;
                let (sum, over) = bytes[at].overflowing_add(1);
                (bytes[at], carry) = (sum, over);
            }
        });
    }

    /// Takes the segment's bytes as they stand in a raw segment (D.6): the bit after FF is stuffed.
    pub(super) fn take_raw<'a>(&mut self, segment: impl Iterator<Item = &'a [u8]> + Clone) {
        self.take(segment, 0xFF, |_, _| {});
    }

    /// `highest` is the highest byte that may follow FF. `carry` adds one to what stands before it.
    fn take<'a>(
        &mut self,
        segment: impl Iterator<Item = &'a [u8]> + Clone,
        highest: u8,
        carry: impl Fn(&mut [u8], bool),
    ) {
        let length: usize = segment.clone().map(<[u8]>::len).sum();
        self.bytes.clear();
        self.bytes.reserve(length + PADDING + 1);
        // The bits of the last byte that are taken, 0 to 7; the others are zeros.
        let mut used = 0u32;
        let mut stuffed = false;
        'all: for piece in segment {
            let mut rest = piece;
            while let Some((&first, _)) = rest.split_first() {
                if stuffed {
                    if first > highest {
                        break 'all;
                    }
                    // Seven bits; the eighth is added to the bit before them.
                    if first & 0x80 != 0 {
                        self.add_carry(used, &carry);
                    }
                    self.push(first << 1, 7, &mut used);
                    rest = &rest[1..];
                    stuffed = false;
                    // Seven bits can be no FF.
                    continue;
                }
                let run = rest.iter().position(|byte| *byte == 0xFF).map_or(rest.len(), |at| at + 1);
                let (run, next) = rest.split_at(run);
                self.append(run, used);
                stuffed = run.last() == Some(&0xFF);
                rest = next;
            }
        }
        if used > 0
            && let Some(last) = self.bytes.last_mut()
        {
            *last |= 0xFF >> used;
        }
        self.bytes.resize(self.bytes.len() + PADDING, 0xFF);
    }

    /// Adds one to the number that the bits so far are, at the last of them.
    fn add_carry(&mut self, used: u32, carry: &impl Fn(&mut [u8], bool)) {
        match self.bytes.split_last_mut() {
            Some((last, before)) if used > 0 => {
                let (sum, over) = last.overflowing_add(1 << (8 - used));
                *last = sum;
                carry(before, over);
            }
            _ => carry(&mut self.bytes, true),
        }
    }

    /// Appends the `count` highest bits of `bits`.
    fn push(&mut self, bits: u8, count: u32, used: &mut u32) {
        match self.bytes.last_mut() {
            Some(last) if *used > 0 => {
                *last |= bits >> *used;
                if *used + count > 8 {
                    self.bytes.push(bits << (8 - *used));
                }
            }
            _ => self.bytes.push(bits),
        }
        *used = (*used + count) % 8;
    }

    /// Appends whole bytes.
    fn append(&mut self, run: &[u8], used: u32) {
        let (Some((first, _)), Some(last)) = (run.split_first(), self.bytes.last_mut().filter(|_| used > 0)) else {
            self.bytes.extend_from_slice(run);
            return;
        };
        *last |= first >> used;
        let shift = 8 - used;
        self.bytes.extend(run.windows(2).map(|pair| pair[0] << shift | pair[1] >> used));
        self.bytes.extend(run.last().map(|last| last << shift));
    }

    /// The eight bytes from byte `at` on, or the last eight.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u64 {
        let at = at.min(self.bytes.len().saturating_sub(8));
        match self.bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => u64::from_be_bytes(bytes),
            None => u64::MAX,
        }
    }

    /// The bit at `at`, 0 or 1.
    pub(super) fn bit(&self, at: usize) -> u32 {
        self.bytes.get(at / 8).map_or(1, |byte| u32::from(byte >> (7 - at % 8) & 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The number that an arithmetic decoder adds up, byte by byte (Figure C.19), as bits.
    fn naive(segment: &[u8]) -> (Vec<u32>, bool) {
        let mut bits: Vec<u32> = Vec::new();
        let mut before = 0;
        let mut overflow = false;
        for &byte in segment {
            if before == 0xFF {
                if byte > 0x8F {
                    break;
                }
                if byte & 0x80 != 0 {
                    let zero = bits.iter().rposition(|bit| *bit == 0);
                    overflow |= zero.is_none();
                    let from = zero.unwrap_or(0);
                    bits[from..].iter_mut().for_each(|bit| *bit ^= 1);
                }
                bits.extend((0..7).rev().map(|at| u32::from(byte >> at & 1)));
            } else {
                bits.extend((0..8).rev().map(|at| u32::from(byte >> at & 1)));
            }
            before = byte;
        }
        (bits, overflow)
    }

    proptest! {
        #[test]
        fn segments_become_the_bits_of_the_standard(
            segment in prop::collection::vec(prop_oneof![Just(0xFFu8), Just(0x8F), Just(0x7F), 0u8..], 0..40),
            cut in 0usize..40,
        ) {
            let (bits, overflow) = naive(&segment);
            prop_assume!(!overflow);
            let mut codeword = Codeword::default();
            let (one, other) = segment.split_at(cut.min(segment.len()));
            codeword.take_arithmetic([one, other].into_iter());
            for (at, bit) in bits.iter().enumerate() {
                prop_assert_eq!(codeword.bit(at), *bit);
            }
            for at in bits.len()..bits.len() + 300 {
                prop_assert_eq!(codeword.bit(at), 1);
            }
            for at in 0..segment.len() + 20 {
                let word = (0..64).fold(0u64, |word, bit| word << 1 | u64::from(codeword.bit(at * 8 + bit)));
                prop_assert_eq!(codeword.word(at), word);
            }
        }
    }
}
