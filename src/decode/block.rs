//! Code-blocks: from codeword segments to quantized coefficients (T.800 Annex D).
//!
//! A code-block is scanned in stripes of four rows, column by column (D.1). A word of 64 bits is 16 columns of a stripe in
//! the order of the scan: bit 4c + r is row r of column c. So what a pass has to visit is a mask, found for 64 coefficients
//! at a time, and its lowest bit is what comes next. Beside the masks there is one word for every column of a stripe, with
//! the significance and the signs of the 3 × 6 coefficients around it: by it the contexts are looked up.
//!
//! Words and columns have a frame of zeros around them, so that every one has neighbours.

use super::arithmetic::{Contexts, INITIAL, REFINEMENT, RUN_LENGTH, Registers, UNIFORM};
use super::codeword::Codeword;
use super::contexts::{CROSS, Orientation, SIGN};
use crate::jp2::BYPASS;

/// Code-block styles of Table A.19, beside the one that decides how packets divide.
const RESET: u8 = 0x02;
const CAUSAL: u8 = 0x08;
const SYMBOLS: u8 = 0x20;

/// The most columns of stripes with their frame, of words of masks with theirs, rounded up to a power of two: a
/// code-block has at most 4,096 coefficients, and at most 1,024 in a row or a column.
const COLUMNS: usize = 4096;
const WORDS: usize = 1024;

/// The most magnitude bit-planes (Mb; E.1), so that a coefficient and a bit below it fit a word.
pub(super) const MOST_PLANES: u32 = 30;

/// The bits of row 0 and of row 3 in all columns of a word.
const TOP: u64 = 0x1111_1111_1111_1111;
const BOTTOM: u64 = TOP << 3;

/// What one packet has of a codeword segment (B.10.7).
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) passes: u32,
    /// Whether the segment was begun by the piece before it.
    pub(super) continues: bool,
    pub(super) bytes: &'a [u8],
}

/// What is to be known of a code-block to decode it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockCoding {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) orientation: Orientation,
    /// The code-block style (Table A.19).
    pub(super) style: u8,
    /// How many magnitude bit-planes are coded: Mb less those that are zero (B.10.5).
    pub(super) planes: u32,
    /// Whether coefficients are whole numbers; else there is a bit below them.
    pub(super) reversible: bool,
}

/// Why a code-block cannot be decoded: the clause, and what is wrong.
pub(super) type Refused = (&'static str, String);

/// The workspace in which code-blocks are decoded, one after the other.
pub(super) struct Workspace {
    /// For each column of a stripe: bit 3(r + 1) + 1 is whether row r is significant, the bits beside it are the columns left
    /// and right of it; r is -1 to 4. 32 bits above each stands whether it is negative.
    columns: Box<[u64; COLUMNS]>,
    /// What is significant.
    significant: Box<[u64; WORDS]>,
    /// What was coded in this bit-plane's significance pass.
    visited: Box<[u64; WORDS]>,
    /// What was refined before.
    refined: Box<[u64; WORDS]>,
    /// What is negative.
    negative: Box<[u64; WORDS]>,
    /// What is within the code-block.
    valid: Box<[u64; WORDS]>,
    /// The magnitudes' bits, plane by plane, the least significant first.
    planes: Vec<u64>,
    codeword: Codeword,
    contexts: Contexts,
    registers: Registers,
}

/// The measures of a code-block in columns, stripes and words.
#[derive(Debug, Clone, Copy)]
struct Measures {
    stripes: usize,
    /// The words of a stripe.
    across: usize,
    /// From a column or word to the one below it, frames included.
    column_stride: usize,
    word_stride: usize,
}

impl Measures {
    fn new(width: usize, height: usize) -> Self {
        let across = width.div_ceil(16);
        Self { stripes: height.div_ceil(4), across, column_stride: width + 2, word_stride: across + 2 }
    }

    /// All words with their frame.
    fn words(&self) -> usize {
        (self.stripes + 2) * self.word_stride
    }

    fn columns(&self) -> usize {
        (self.stripes + 2) * self.column_stride
    }

    /// The index of each word, and that of its first column.
    #[inline(always)]
    fn each(self) -> impl Iterator<Item = (usize, usize)> {
        (1..=self.stripes).flat_map(move |stripe| {
            (0..self.across)
                .map(move |word| (stripe * self.word_stride + word + 1, stripe * self.column_stride + word * 16 + 1))
        })
    }
}

/// The words around one: of significance, by their rows spread to the rows above and below.
#[inline(always)]
fn around(significant: &[u64; WORDS], at: usize, stride: usize, causal: bool) -> (u64, u64) {
    let rows = |at: usize| {
        let own = significant[at % WORDS];
        let above = significant[(at - stride) % WORDS] >> 3 & TOP;
        let below = if causal { 0 } else { significant[(at + stride) % WORDS] << 3 & BOTTOM };
        ((own << 1 & !TOP) | (own >> 1 & !BOTTOM) | above | below, own)
    };
    let (beside, own) = rows(at);
    let (left, left_own) = rows(at - 1);
    let (right, right_own) = rows(at + 1);
    let spread = beside | own;
    let near = beside | spread << 4 | spread >> 4 | (left | left_own) >> 60 | (right | right_own) << 60;
    (near, own)
}

/// Bits at and behind which neighbours of bit `at` stand in its word, in the order of the scan: those that come after it.
#[inline(always)]
fn later(at: u32) -> u64 {
    // Below it, and in the next column: above, beside and below.
    const ROWS: [u64; 4] = [0b11_0010, 0b11_1010, 0b11_1010, 0b01_1000];
    ROWS[(at & 3) as usize] << at
}

/// What a pass works with, in registers of the machine as far as they go.
struct Pass<'w> {
    columns: &'w mut [u64; COLUMNS],
    contexts: &'w mut Contexts,
    codeword: &'w Codeword,
    registers: Registers,
    zero_coding: &'static [u8; 512],
    column_stride: usize,
    causal: bool,
}

impl Pass<'_> {
    /// The significance and the signs around row `at & 3` of a column.
    #[inline(always)]
    fn neighbourhood(&self, column: usize, at: u32) -> u64 {
        self.columns[column % COLUMNS] >> (3 * (at & 3))
    }

    #[inline(always)]
    fn decide(&mut self, context: u8) -> u32 {
        self.registers.decode(&mut self.contexts[usize::from(context & 31)], self.codeword)
    }

    /// Whether the coefficient becomes significant (D.3.1).
    #[inline(always)]
    fn zero_coding(&mut self, column: usize, at: u32) -> bool {
        let context = self.zero_coding[(self.neighbourhood(column, at) & 0x1FF) as usize];
        self.decide(context) != 0
    }

    /// Decodes the sign of a coefficient that has become significant (D.3.2), and tells its neighbours: 1 is negative.
    #[inline(always)]
    fn sign(&mut self, column: usize, at: u32) -> u64 {
        let around = self.neighbourhood(column, at);
        let entry = SIGN[((around & CROSS) | (around >> 33 & (CROSS >> 1))) as usize & 0xFF];
        let negative = u64::from(self.decide(entry & 31) ^ u32::from(entry >> 7));
        self.tell(column, at, negative);
        negative
    }

    /// Tells the columns around it that a coefficient is significant.
    #[inline(always)]
    fn tell(&mut self, column: usize, at: u32, negative: u64) {
        let told = 1 | negative << 32;
        let row = at & 3;
        let mut tell = |column: usize, place: u32| {
            self.columns[(column - 1) % COLUMNS] |= told << (place + 2);
            self.columns[column % COLUMNS] |= told << (place + 1);
            self.columns[(column + 1) % COLUMNS] |= told << place;
        };
        tell(column, 3 * (row + 1));
        if row == 0 && !self.causal {
            tell(column - self.column_stride, 15);
        }
        if row == 3 {
            tell(column + self.column_stride, 0);
        }
    }
}

macro_rules! pass {
    ($self:ident, $coding:ident) => {
        Pass {
            columns: &mut $self.columns,
            contexts: &mut $self.contexts,
            codeword: &$self.codeword,
            registers: $self.registers,
            zero_coding: $coding.orientation.zero_coding(),
            column_stride: Measures::new($coding.width, $coding.height).column_stride,
            causal: $coding.style & CAUSAL != 0,
        }
    };
}

impl Workspace {
    pub(super) fn new() -> Self {
        let words = || Box::new([0; WORDS]);
        let codeword = Codeword::default();
        Self {
            columns: Box::new([0; COLUMNS]),
            significant: words(),
            visited: words(),
            refined: words(),
            negative: words(),
            valid: words(),
            planes: Vec::new(),
            registers: Registers::new(&codeword),
            codeword,
            contexts: INITIAL,
        }
    }

    /// Makes room for a code-block.
    fn clear(&mut self, coding: &BlockCoding) {
        let measures = Measures::new(coding.width, coding.height);
        self.columns[..measures.columns()].fill(0);
        let words = measures.words();
        for mask in [&mut self.significant, &mut self.visited, &mut self.refined, &mut self.negative, &mut self.valid] {
            mask[..words].fill(0);
        }
        self.planes.clear();
        self.planes.resize((coding.planes as usize + 1) * words, 0);
        for (number, (at, _)) in measures.each().enumerate() {
            let (stripe, word) = (number / measures.across, number % measures.across);
            let rows = (coding.height - 4 * stripe).min(4);
            let columns = (coding.width - 16 * word).min(16);
            let column = TOP.wrapping_mul((1 << rows) - 1);
            self.valid[at] = if columns == 16 { column } else { column & ((1 << (4 * columns)) - 1) };
        }
        self.contexts = INITIAL;
    }

    /// The significance pass of a bit-plane (D.3.1).
    #[inline(always)]
    pub(super) fn significance_with(&mut self, coding: &BlockCoding, plane: usize) {
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        let bits = &mut self.planes[plane * words..][..words];
        let mut pass = pass!(self, coding);
        for (at, first) in measures.each() {
            let (near, before) = around(&self.significant, at, measures.word_stride, pass.causal);
            let open = self.valid[at % WORDS] & !before;
            let mut candidates = near & open;
            let (mut visited, mut found, mut negative) = (0, 0, 0);
            while candidates != 0 {
                let place = candidates.trailing_zeros();
                visited |= 1 << place;
                candidates &= candidates - 1;
                let column = first + (place >> 2) as usize;
                if pass.zero_coding(column, place) {
                    found |= 1 << place;
                    negative |= pass.sign(column, place) << place;
                    candidates |= later(place) & open & !visited;
                }
            }
            self.significant[at % WORDS] = before | found;
            self.visited[at % WORDS] = visited;
            self.negative[at % WORDS] |= negative;
            bits[at] |= found;
        }
        self.registers = pass.registers;
    }

    /// The magnitude refinement pass of a bit-plane (D.3.3).
    #[inline(always)]
    pub(super) fn refinement_with(&mut self, coding: &BlockCoding, plane: usize) {
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        let bits = &mut self.planes[plane * words..][..words];
        let causal = coding.style & CAUSAL != 0;
        let mut registers = self.registers;
        let mut states = [self.contexts[REFINEMENT], self.contexts[REFINEMENT + 1], self.contexts[REFINEMENT + 2], 0];
        for (at, _) in measures.each() {
            let (near, significant) = around(&self.significant, at, measures.word_stride, causal);
            let members = significant & !self.visited[at % WORDS];
            let refined = self.refined[at % WORDS];
            let mut left = members;
            let mut ones = 0;
            while left != 0 {
                let bit = left & left.wrapping_neg();
                left ^= bit;
                let is_again = refined & bit != 0;
                let is_near = near & bit != 0;
                let which = if is_again { 2 } else { usize::from(is_near) };
                let decision = registers.decode(&mut states[which & 3], &self.codeword);
                ones |= bit & u64::from(decision).wrapping_neg();
            }
            self.refined[at % WORDS] = refined | members;
            bits[at] |= ones;
        }
        self.contexts[REFINEMENT..REFINEMENT + 3].copy_from_slice(&states[..3]);
        self.registers = registers;
    }

    /// The cleanup pass of a bit-plane (D.3.4).
    #[inline(always)]
    pub(super) fn cleanup_with(&mut self, coding: &BlockCoding, plane: usize) {
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        let bits = &mut self.planes[plane * words..][..words];
        let mut pass = pass!(self, coding);
        for (at, first) in measures.each() {
            let (mut near, before) = around(&self.significant, at, measures.word_stride, pass.causal);
            let mut left = self.valid[at % WORDS] & !(before | self.visited[at % WORDS]);
            let (mut found, mut negative) = (0, 0);
            while left != 0 {
                let mut place = left.trailing_zeros();
                let column = first + (place >> 2) as usize;
                // A whole column of which nothing is coded and that has no significant neighbour.
                if (left >> place) & 0xF == 0xF && place & 3 == 0 && (near >> place) & 0xF == 0 {
                    if pass.decide(RUN_LENGTH as u8) == 0 {
                        left &= !(0xF << place);
                        continue;
                    }
                    let row = pass.decide(UNIFORM as u8) << 1;
                    let row = row | pass.decide(UNIFORM as u8);
                    left &= !(((2 << row) - 1) << place);
                    place += row;
                } else {
                    left &= left - 1;
                    if !pass.zero_coding(column, place) {
                        continue;
                    }
                }
                found |= 1 << place;
                negative |= pass.sign(column, place) << place;
                near |= later(place);
            }
            self.significant[at % WORDS] = before | found;
            self.visited[at % WORDS] = 0;
            self.negative[at % WORDS] |= negative;
            bits[at] |= found;
        }
        self.registers = pass.registers;
    }
}

/// The passes in the order in which a bit-plane has them (D.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Significance,
    Refinement,
    Cleanup,
}

/// The pass of number `pass`, the first bit-plane's cleanup being 0: its kind, and how many bit-planes are begun with it.
fn pass(pass: u32) -> (Kind, u32) {
    let kind = [Kind::Significance, Kind::Refinement, Kind::Cleanup][(pass as usize + 2) % 3];
    (kind, pass.div_ceil(3) + 1)
}

/// Whether a pass is raw by the style BYPASS: those of significance and refinement from the fifth bit-plane on (Table D.9).
fn is_raw(style: u8, number: u32) -> bool {
    style & BYPASS != 0 && number >= 10 && pass(number).0 != Kind::Cleanup
}

impl Workspace {
    /// Decodes a code-block into `out`, row by row, with half of what the last bit-plane that was decoded leaves open (E.1.1:
    /// r is one half). Irreversible coefficients are twice as large, so that they have room for that.
    ///
    /// # Errors
    /// Where its segments are none that an encoder writes.
    #[inline(always)]
    pub(super) fn decode(
        &mut self,
        coding: &BlockCoding,
        pieces: &[Piece<'_>],
        out: &mut [i32],
        passes: &impl Passes,
    ) -> Result<(), Refused> {
        let count = pieces.iter().fold(0u32, |sum, piece| sum.saturating_add(piece.passes));
        if count == 0 {
            out.fill(0);
            return Ok(());
        }
        if coding.planes > MOST_PLANES {
            return Err(("E.1", format!("{} bit-planes, more than {MOST_PLANES}", coding.planes)));
        }
        let (last, begun) = pass(count - 1);
        if begun > coding.planes {
            return Err(("B.10.6", format!("{count} coding passes for {} bit-planes", coding.planes)));
        }
        self.clear(coding);
        let mut number = 0;
        for segment in pieces.chunk_by(|_, next| next.continues) {
            let pieces = segment.iter().map(|piece| piece.bytes);
            let raw = is_raw(coding.style, number);
            if raw {
                self.codeword.take_raw(pieces);
            } else {
                self.codeword.take_arithmetic(pieces);
                self.registers = Registers::new(&self.codeword);
            }
            let mut bit = 0;
            for _ in 0..segment.iter().map(|piece| piece.passes).sum() {
                let (kind, begun) = pass(number);
                let plane = (coding.planes - begun + 1) as usize;
                match (kind, raw) {
                    (Kind::Significance, false) => passes.significance(self, coding, plane),
                    (Kind::Refinement, false) => passes.refinement(self, coding, plane),
                    (Kind::Significance, true) => self.raw_significance(coding, plane, &mut bit),
                    (Kind::Refinement, true) => self.raw_refinement(coding, plane, &mut bit),
                    (Kind::Cleanup, _) => {
                        passes.cleanup(self, coding, plane);
                        self.symbol(coding)?;
                    }
                }
                if coding.style & RESET != 0 {
                    self.contexts = INITIAL;
                }
                number += 1;
            }
        }
        self.halve(coding, (coding.planes - begun + 1) as usize, last);
        passes.collect(self, coding, out);
        Ok(())
    }

    /// Checks the segmentation symbol at the end of a cleanup pass (D.5).
    fn symbol(&mut self, coding: &BlockCoding) -> Result<(), Refused> {
        if coding.style & SYMBOLS == 0 {
            return Ok(());
        }
        let state = &mut self.contexts[UNIFORM];
        let symbol = (0..4).fold(0, |symbol, _| symbol << 1 | self.registers.decode(state, &self.codeword));
        if symbol == 0xA { Ok(()) } else { Err(("D.5", format!("{symbol:#X} for the segmentation symbol 0xA"))) }
    }

    /// Adds half of what is left open by the last plane, which ended with a pass of this kind.
    fn halve(&mut self, coding: &BlockCoding, plane: usize, last: Kind) {
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        for at in 0..words {
            // A plane that ends with its significance pass has told of no coefficient that was significant before.
            let told = if last == Kind::Significance { self.visited[at] } else { u64::MAX };
            self.planes[plane * words + at] |= self.significant[at] & !told;
            self.planes[(plane - 1) * words + at] |= self.significant[at] & told;
        }
    }

    /// Writes the coefficients.
    #[inline(always)]
    pub(super) fn collect_with(&self, coding: &BlockCoding, out: &mut [i32]) {
        let shift = u32::from(coding.reversible);
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        for (number, (at, _)) in measures.each().enumerate() {
            let (stripe, word) = (number / measures.across, number % measures.across);
            let mut magnitudes = [0u32; 64];
            if self.significant[at % WORDS] != 0 {
                for (up, planes) in (0..).step_by(8).zip(self.planes.chunks(8 * words)) {
                    let mut rows = [0u64; 8];
                    for (row, plane) in rows.iter_mut().zip(planes.chunks_exact(words)) {
                        *row = plane[at];
                    }
                    transpose(&mut rows);
                    for (bytes, row) in magnitudes.chunks_exact_mut(8).zip(rows) {
                        for (magnitude, byte) in bytes.iter_mut().zip(row.to_le_bytes()) {
                            *magnitude |= u32::from(byte) << up;
                        }
                    }
                }
            }
            let negative = self.negative[at % WORDS];
            let columns = (coding.width - 16 * word).min(16);
            for row in 0..(coding.height - 4 * stripe).min(4) {
                let start = (4 * stripe + row) * coding.width + 16 * word;
                for (column, out) in out[start..start + columns].iter_mut().enumerate() {
                    let place = 4 * column + row;
                    let magnitude = (magnitudes[place & 63] >> shift) as i32;
                    let sign = -((negative >> place & 1) as i32);
                    *out = (magnitude ^ sign) - sign;
                }
            }
        }
    }

    /// The raw significance pass (D.6).
    fn raw_significance(&mut self, coding: &BlockCoding, plane: usize, bit: &mut usize) {
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        let bits = &mut self.planes[plane * words..][..words];
        let mut pass = pass!(self, coding);
        let mut read = *bit;
        for (at, first) in measures.each() {
            let (near, before) = around(&self.significant, at, measures.word_stride, pass.causal);
            let open = self.valid[at % WORDS] & !before;
            let mut candidates = near & open;
            let (mut visited, mut found, mut negative) = (0, 0, 0);
            while candidates != 0 {
                let place = candidates.trailing_zeros();
                visited |= 1 << place;
                candidates &= candidates - 1;
                read += 1;
                if pass.codeword.bit(read - 1) != 0 {
                    let sign = u64::from(pass.codeword.bit(read));
                    read += 1;
                    pass.tell(first + (place >> 2) as usize, place, sign);
                    found |= 1 << place;
                    negative |= sign << place;
                    candidates |= later(place) & open & !visited;
                }
            }
            self.significant[at % WORDS] = before | found;
            self.visited[at % WORDS] = visited;
            self.negative[at % WORDS] |= negative;
            bits[at] |= found;
        }
        *bit = read;
    }

    /// The raw refinement pass (D.6).
    fn raw_refinement(&mut self, coding: &BlockCoding, plane: usize, bit: &mut usize) {
        let measures = Measures::new(coding.width, coding.height);
        let words = measures.words();
        for (at, _) in measures.each() {
            let members = self.significant[at % WORDS] & !self.visited[at % WORDS];
            let mut left = members;
            while left != 0 {
                let place = left.trailing_zeros();
                left &= left - 1;
                self.planes[plane * words + at] |= u64::from(self.codeword.bit(*bit)) << place;
                *bit += 1;
            }
            self.refined[at % WORDS] |= members;
        }
    }
}

/// Turns eight words of one bit-plane each into eight words of eight coefficients each: byte by byte, then bit by bit.
#[inline(always)]
fn transpose(rows: &mut [u64; 8]) {
    for (distance, mask) in [(4, 0x0000_0000_FFFF_FFFFu64), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF)] {
        for at in 0..8 {
            if at & distance == 0 {
                let (one, other) = (rows[at], rows[at | distance]);
                let swapped = (one >> (8 * distance) ^ other) & mask;
                rows[at | distance] = other ^ swapped;
                rows[at] = one ^ swapped << (8 * distance);
            }
        }
    }
    for row in rows {
        for (distance, mask) in
            [(7, 0x00AA_00AA_00AA_00AAu64), (14, 0x0000_CCCC_0000_CCCC), (28, 0x0000_0000_F0F0_F0F0)]
        {
            let swapped = (*row ^ *row >> distance) & mask;
            *row ^= swapped ^ swapped << distance;
        }
    }
}

/// The passes, compiled for what the machine has.
pub(super) trait Passes {
    fn significance(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize);
    fn refinement(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize);
    fn cleanup(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize);
    fn collect(&self, workspace: &Workspace, coding: &BlockCoding, out: &mut [i32]);
}
