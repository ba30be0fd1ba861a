//! Which context a coefficient's bits are coded in (T.800 D.3), as tables.
//!
//! A neighbourhood is nine bits, row by row: those of the row above, of the coefficient's own, and of the row below, each from
//! left to right. The middle one is the coefficient itself.

use super::arithmetic::SIGN_CODING;

/// The sub-band of a code-block, which decides in what contexts its significance is coded (Table D.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orientation {
    /// LL, and LH: vertically high-pass.
    Vertical,
    /// HL: horizontally high-pass.
    Horizontal,
    /// HH.
    Diagonal,
}

impl Orientation {
    /// The context of zero coding for each neighbourhood.
    pub(super) fn zero_coding(self) -> &'static [u8; 512] {
        static TABLES: [[u8; 512]; 3] = [zero_coding(0), zero_coding(1), zero_coding(2)];
        &TABLES[self as usize]
    }
}

/// Table D.1 for the sub-bands LL and LH, HL, HH.
const fn zero_coding(orientation: usize) -> [u8; 512] {
    let mut table = [0; 512];
    let mut at = 0;
    while at < 512 {
        let (mut h, mut v) = ((at >> 3 & 1) + (at >> 5 & 1), (at >> 1 & 1) + (at >> 7 & 1));
        let d = (at & 1) + (at >> 2 & 1) + (at >> 6 & 1) + (at >> 8 & 1);
        if orientation == 1 {
            (h, v) = (v, h);
        }
        table[at] = if orientation == 2 {
            match (d, h + v) {
                (3.., _) => 8,
                (2, 1..) => 7,
                (2, 0) => 6,
                (1, 2..) => 5,
                (1, 1) => 4,
                (1, 0) => 3,
                (_, 2..) => 2,
                (_, 1) => 1,
                _ => 0,
            }
        } else {
            match (h, v, d) {
                (2, _, _) => 8,
                (1, 1.., _) => 7,
                (1, 0, 1..) => 6,
                (1, 0, 0) => 5,
                (_, 2, _) => 4,
                (_, 1, _) => 3,
                (_, _, 2..) => 2,
                (_, _, 1) => 1,
                _ => 0,
            }
        };
        at += 1;
    }
    table
}

/// The bits of a neighbourhood by which a sign is predicted: those above, left, right and below.
pub(super) const CROSS: u64 = 0b0_1010_1010;

/// The context of sign coding and the XORbit (Tables D.2 and D.3). An index has significance in the bits of [`CROSS`], and
/// one bit below each whether it is negative. The XORbit stands in the highest bit.
pub(super) static SIGN: [u8; 256] = {
    const fn contribution(at: usize, one: usize, other: usize) -> i32 {
        const fn single(at: usize, place: usize) -> i32 {
            (at >> place & 1) as i32 * (1 - 2 * (at >> (place - 1) & 1) as i32)
        }
        let sum = single(at, one) + single(at, other);
        sum.signum()
    }
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut h, mut v) = (contribution(at, 3, 5), contribution(at, 1, 7));
        let negative = h < 0 || (h == 0 && v < 0);
        if negative {
            (h, v) = (-h, -v);
        }
        let context = match (h, v) {
            (1, 1) => 4,
            (1, 0) => 3,
            (1, _) => 2,
            (_, 1) => 1,
            _ => 0,
        };
        table[at] = (SIGN_CODING as u8 + context) | (negative as u8) << 7;
        at += 1;
    }
    table
};
