//! The arithmetic decoder (T.800 C.3), without branches that depend on data.
//!
//! The registers A and C of Figure C.20 stand at the upper ends of words: A in 32 bits, C in 64, so that a refill lasts for
//! some 48 bits. Which of the four outcomes of a decision it is, is selected, not branched on.

use std::hint::select_unpredictable;

use super::codeword::Codeword;

/// The contexts of Table D.7, by their first label: zero coding.
pub(super) const ZERO_CODING: usize = 0;
/// Sign coding.
pub(super) const SIGN_CODING: usize = 9;
/// Magnitude refinement.
pub(super) const REFINEMENT: usize = 14;
/// Run-length coding.
pub(super) const RUN_LENGTH: usize = 17;
/// The uniform context.
pub(super) const UNIFORM: usize = 18;

/// Table C.2: Qe, NMPS, NLPS, SWITCH.
const STATES: [(u16, u8, u8, bool); 47] = [
    (0x5601, 1, 1, true),
    (0x3401, 2, 6, false),
    (0x1801, 3, 9, false),
    (0x0AC1, 4, 12, false),
    (0x0521, 5, 29, false),
    (0x0221, 38, 33, false),
    (0x5601, 7, 6, true),
    (0x5401, 8, 14, false),
    (0x4801, 9, 14, false),
    (0x3801, 10, 14, false),
    (0x3001, 11, 17, false),
    (0x2401, 12, 18, false),
    (0x1C01, 13, 20, false),
    (0x1601, 29, 21, false),
    (0x5601, 15, 14, true),
    (0x5401, 16, 14, false),
    (0x5101, 17, 15, false),
    (0x4801, 18, 16, false),
    (0x3801, 19, 17, false),
    (0x3401, 20, 18, false),
    (0x3001, 21, 19, false),
    (0x2801, 22, 19, false),
    (0x2401, 23, 20, false),
    (0x2201, 24, 21, false),
    (0x1C01, 25, 22, false),
    (0x1801, 26, 23, false),
    (0x1601, 27, 24, false),
    (0x1401, 28, 25, false),
    (0x1201, 29, 26, false),
    (0x1101, 30, 27, false),
    (0x0AC1, 31, 28, false),
    (0x09C1, 32, 29, false),
    (0x08A1, 33, 30, false),
    (0x0521, 34, 31, false),
    (0x0441, 35, 32, false),
    (0x02A1, 36, 33, false),
    (0x0221, 37, 34, false),
    (0x0141, 38, 35, false),
    (0x0111, 39, 36, false),
    (0x0085, 40, 37, false),
    (0x0049, 41, 38, false),
    (0x0025, 42, 39, false),
    (0x0015, 43, 40, false),
    (0x0009, 44, 41, false),
    (0x0005, 45, 42, false),
    (0x0001, 45, 43, false),
    (0x5601, 46, 46, false),
];

/// A context's state: Qe in the upper half, the index of Table C.2 above the lowest bit, and in that the MPS.
pub(super) type State = u32;

const fn state(index: u8, mps: u32) -> State {
    (STATES[index as usize].0 as u32) << 16 | (index as u32) << 1 | mps
}

/// What follows a state: after an MPS, and after an LPS.
static NEXT: [[State; 2]; 128] = {
    let mut next = [[0; 2]; 128];
    let mut at = 0;
    while at < 2 * STATES.len() {
        let (_, nmps, nlps, switch) = STATES[at / 2];
        let mps = at as u32 & 1;
        next[at] = [state(nmps, mps), state(nlps, mps ^ switch as u32)];
        at += 1;
    }
    next
};

/// The states of all contexts, 32 so that an index of five bits is within.
pub(super) type Contexts = [State; 32];

/// The states with which a code-block begins (Table D.7).
pub(super) const INITIAL: Contexts = {
    let mut contexts = [state(0, 0); 32];
    contexts[ZERO_CODING] = state(4, 0);
    contexts[RUN_LENGTH] = state(3, 0);
    contexts[UNIFORM] = state(46, 0);
    contexts
};

/// The registers of the decoder. A pass has its own copy, so that they stand in registers of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registers {
    /// A, in the upper half.
    a: u32,
    /// C: Chigh in the upper 16 bits, below it bits to come, and behind these a one that shows where they end.
    c: u64,
    /// The byte of the codeword from which C is filled next.
    at: usize,
}

impl Registers {
    /// INITDEC (C.3.5).
    pub(super) fn new(codeword: &Codeword) -> Self {
        // Chigh begins with a zero. Seven bytes, and the one behind them.
        Self { a: 0x8000 << 16, c: (codeword.word(0) & !0xFF | 0x80) >> 1, at: 7 }
    }

    /// DECODE of Figure C.15 and what follows it: the decision, 0 or 1, with `state` for its context.
    #[inline(always)]
    pub(super) fn decode(&mut self, state: &mut State, codeword: &Codeword) -> u32 {
        let old = *state;
        let [after_mps, after_lps] = NEXT[(old & 0x7F) as usize];
        let qe = old & 0xFFFF_0000;
        let wide = u64::from(qe) << 32;
        let rest = self.a.wrapping_sub(qe);
        let lower = self.c < wide;
        // The sub-interval of the LPS is the lower one, unless it is the greater (C.3.2).
        let lps = lower ^ (rest < qe);
        let c = select_unpredictable(lower, self.c, self.c.wrapping_sub(wide));
        let a = select_unpredictable(lower, qe, rest);
        let shift = a.leading_zeros();
        let stays = select_unpredictable(shift > 0, after_mps, old);
        *state = select_unpredictable(lps, after_lps, stays);
        self.a = a.wrapping_shl(shift);
        self.c = c.wrapping_shl(shift);
        // A decision shifts by 15 bits at most.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is looked at")]
        if self.c as u32 == 0 {
            self.fill(codeword);
        }
        (old & 1) ^ u32::from(lps)
    }

    #[inline(always)]
    fn fill(&mut self, codeword: &Codeword) {
        // At or above bit 32, and below Chigh.
        let end = self.c.trailing_zeros() & 63;
        let bytes = end / 8;
        self.c ^= 1 << end;
        self.c |= codeword.word(self.at) >> (64 - 8 * bytes) << (end + 1 - 8 * bytes) | 1 << (end - 8 * bytes);
        self.at += bytes as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The flow charts of C.3, box by box.
    struct Naive<'a> {
        bytes: &'a [u8],
        at: usize,
        a: u32,
        c: u32,
        ct: u32,
    }

    impl<'a> Naive<'a> {
        fn byte(&self, at: usize) -> u8 {
            self.bytes.get(at).copied().unwrap_or(0xFF)
        }

        fn new(bytes: &'a [u8]) -> Self {
            let mut decoder = Self { bytes, at: 0, a: 0, c: 0, ct: 0 };
            decoder.c = u32::from(decoder.byte(0)) << 16;
            decoder.byte_in();
            decoder.c <<= 7;
            decoder.ct -= 7;
            decoder.a = 0x8000;
            decoder
        }

        fn byte_in(&mut self) {
            if self.byte(self.at) == 0xFF {
                if self.byte(self.at + 1) > 0x8F {
                    self.c += 0xFF00;
                    self.ct = 8;
                } else {
                    self.at += 1;
                    self.c += u32::from(self.byte(self.at)) << 9;
                    self.ct = 7;
                }
            } else {
                self.at += 1;
                self.c += u32::from(self.byte(self.at)) << 8;
                self.ct = 8;
            }
        }

        fn decode(&mut self, index: &mut u8, mps: &mut u32) -> u32 {
            let (qe, nmps, nlps, switch) = STATES[usize::from(*index)];
            let qe = u32::from(qe);
            self.a -= qe;
            let decision;
            if self.c >> 16 < qe {
                decision = if self.a < qe {
                    *index = nmps;
                    *mps
                } else {
                    let lps = 1 - *mps;
                    *mps ^= u32::from(switch);
                    *index = nlps;
                    lps
                };
                self.a = qe;
            } else {
                self.c -= qe << 16;
                if self.a & 0x8000 != 0 {
                    return *mps;
                }
                decision = if self.a < qe {
                    let lps = 1 - *mps;
                    *mps ^= u32::from(switch);
                    *index = nlps;
                    lps
                } else {
                    *index = nmps;
                    *mps
                };
            }
            while self.a & 0x8000 == 0 {
                if self.ct == 0 {
                    self.byte_in();
                }
                self.a <<= 1;
                self.c <<= 1;
                self.ct -= 1;
            }
            decision
        }
    }

    proptest! {
        #[test]
        fn decisions_are_those_of_the_flow_charts(
            // No encoder writes a carry into FF (C.2.7): there, and only there, the two may differ.
            segment in prop::collection::vec(prop_oneof![Just(0xFFu8), 0u8..=0x7F, 0u8..=0xFE], 0..60),
            contexts in prop::collection::vec(0usize..19, 1..2000),
        ) {
            let carries = segment.windows(2).any(|pair| pair[0] == 0xFF && (0x80..=0x8F).contains(&pair[1]));
            prop_assume!(!carries);
            let mut naive = Naive::new(&segment);
            let mut states = [(0u8, 0u32); 19];
            states[ZERO_CODING].0 = 4;
            states[RUN_LENGTH].0 = 3;
            states[UNIFORM].0 = 46;
            let mut codeword = Codeword::default();
            codeword.take_arithmetic(std::iter::once(&segment[..]));
            let mut registers = Registers::new(&codeword);
            let mut contexts_of = INITIAL;
            for context in contexts {
                let (index, mps) = &mut states[context];
                let expected = naive.decode(index, mps);
                prop_assert_eq!(registers.decode(&mut contexts_of[context], &codeword), expected);
            }
        }
    }
}
