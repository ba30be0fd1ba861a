//! The inverse wavelet transforms on windows (T.800 Annex F): the reversible 5-3 filter and the irreversible 9-7 one.
//!
//! Both are lifting steps that take turns: the even samples by the odd ones beside them, the odd ones by the even ones, and
//! so on. One level is done row by row: each row of the sub-bands is transformed along itself, and then, as soon as the rows
//! below it are there, across them; so rows are in the processor's cache when they are needed again.
//!
//! A window is transformed as if it were the whole signal, mirrored at its ends (F.3.7). What is wrong by that lies
//! within the filter's reach of the ends, which [`crate::jp2::areas`] has added there.

use std::ops::Range;

use crate::jp2::Area;

/// A filter.
pub(super) trait Filter {
    /// A sample.
    type Sample: Copy + Default;
    /// How many lifting steps it has.
    const STEPS: usize;

    /// Step `number`, of which even ones change even samples: `own` by the samples on both of its sides.
    fn step(number: usize, own: &mut [Self::Sample], one: &[Self::Sample], other: &[Self::Sample]);

    /// The sample of a signal that has one, at an odd place (F.3.6).
    fn single(sample: Self::Sample) -> Self::Sample;
}

/// The reversible 5-3 filter (F.3.8.1). Words of 16 bits would be read and written faster, but the transform is a
/// hundredth of a tile's decoding.
pub(super) struct Reversible;

impl Filter for Reversible {
    type Sample = i32;
    const STEPS: usize = 2;

    #[inline(always)]
    fn step(number: usize, own: &mut [i32], one: &[i32], other: &[i32]) {
        for ((own, one), other) in own.iter_mut().zip(one).zip(other) {
            let sum = one.wrapping_add(*other);
            *own = if number == 0 { own.wrapping_sub(sum.wrapping_add(2) >> 2) } else { own.wrapping_add(sum >> 1) };
        }
    }

    fn single(sample: i32) -> i32 {
        sample / 2
    }
}

/// The irreversible 9-7 filter (F.3.8.2). Its first two steps, scaling by K and 1/K, are done where coefficients are
/// dequantized ([`LOW`], [`HIGH`]).
pub(super) struct Irreversible;

/// What low-pass samples are scaled by: K (Table F.4).
pub(super) const LOW: f32 = 1.230_174_1;
/// What high-pass samples are scaled by: 1/K as OpenJPEG has it, which is 1/30,000 less. Its pixels are what users compare
/// with, and in samples of 16 bits the two can be told apart.
pub(super) const HIGH: f32 = 1.625_732_4 / 2.0;

impl Filter for Irreversible {
    type Sample = f32;
    const STEPS: usize = 4;

    #[inline(always)]
    fn step(number: usize, own: &mut [f32], one: &[f32], other: &[f32]) {
        // Delta, gamma, beta, alpha of Table F.4.
        const FACTORS: [f32; 4] = [0.443_506_85, 0.882_911_1, -0.052_980_12, -1.586_134_3];
        let factor = FACTORS[number & 3];
        for ((own, one), other) in own.iter_mut().zip(one).zip(other) {
            *own -= factor * (one + other);
        }
    }

    fn single(sample: f32) -> f32 {
        sample / 2.0
    }
}

/// Samples of a resolution, row by row.
pub(super) struct Plane<T> {
    pub(super) area: Area,
    pub(super) samples: Vec<T>,
}

impl<T> Plane<T> {
    /// The samples `columns` of row `row`, all in coordinates of the resolution.
    pub(super) fn row(&self, row: u32, columns: &Range<u32>) -> &[T] {
        let width = self.area.0.len();
        let start = (row.saturating_sub(self.area.1.start)) as usize * width;
        let from = columns.start.saturating_sub(self.area.0.start) as usize;
        self.samples.get(start + from..start + from + columns.len()).unwrap_or_default()
    }
}

/// The low-pass and the high-pass samples among the interleaved samples `range`, in coordinates of their sub-bands.
pub(super) fn halves(range: &Range<u32>) -> (Range<u32>, Range<u32>) {
    (range.start.div_ceil(2)..range.end.div_ceil(2), range.start / 2..range.end / 2)
}

/// The samples `area` of a resolution, of which those within the filter's reach of its ends are wrong, unless the
/// resolution ends there. `fill` writes a row of the sub-bands: of LL and HL, or with `true` of LH and HH; that of this
/// number in its sub-band.
pub(super) fn synthesize<F: Filter>(
    area: &Area,
    mut fill: impl FnMut(bool, u32, &mut [F::Sample], &mut [F::Sample]),
) -> Plane<F::Sample> {
    let (width, height) = (area.0.len(), area.1.len());
    let mut samples = vec![F::Sample::default(); width * height];
    let (low, high) = halves(&area.0);
    // One place before and one behind, for what is mirrored.
    let mut low_row = vec![F::Sample::default(); low.len() + 2];
    let mut high_row = vec![F::Sample::default(); high.len() + 2];
    let odd = (area.1.start & 1) as usize;
    for y in 0..height + F::STEPS {
        if y < height {
            let place = area.1.start as usize + y;
            let is_high = place % 2 == 1;
            fill(is_high, (place / 2) as u32, &mut low_row[1..=low.len()], &mut high_row[1..=high.len()]);
            along::<F>(&mut low_row, &mut high_row, area.0.start % 2 == 1, &mut samples[y * width..][..width]);
        }
        // The row at hand is an odd one: an even row, then an odd one above it, and so on, have all that their step needs.
        if (y + odd) % 2 == 1 && height > 1 {
            for step in 0..F::STEPS {
                if let Some(row) = y.checked_sub(step + 1).filter(|row| *row < height) {
                    across::<F>(step, &mut samples, width, row);
                }
            }
        }
    }
    if height == 1 && odd == 1 {
        samples.iter_mut().for_each(|sample| *sample = F::single(*sample));
    }
    Plane { area: area.clone(), samples }
}

/// Transforms one row. `low` and `high` have a place before and one behind their samples; `odd` is whether the first sample
/// is a high-pass one.
#[inline(always)]
fn along<F: Filter>(low: &mut [F::Sample], high: &mut [F::Sample], odd: bool, out: &mut [F::Sample]) {
    let (lows, highs) = (low.len() - 2, high.len() - 2);
    if lows + highs == 1 {
        out[0] = if lows == 1 { low[1] } else { F::single(high[1]) };
        return;
    }
    let odd = usize::from(odd);
    for step in 0..F::STEPS {
        if step % 2 == 0 {
            (high[0], high[highs + 1]) = (high[1], high[highs]);
            F::step(step, &mut low[1..=lows], &high[odd..], &high[odd + 1..]);
        } else {
            (low[0], low[lows + 1]) = (low[1], low[lows]);
            F::step(step, &mut high[1..=highs], &low[1 - odd..], &low[2 - odd..]);
        }
    }
    let (first, second) =
        if odd == 0 { (&low[1..=lows], &high[1..=highs]) } else { (&high[1..=highs], &low[1..=lows]) };
    let pairs = out.len() / 2;
    for ((pair, first), second) in out.chunks_exact_mut(2).zip(first).zip(second) {
        (pair[0], pair[1]) = (*first, *second);
    }
    if out.len() % 2 == 1 {
        out[2 * pairs] = first[pairs];
    }
}

/// Does a step on row `row`, by the rows above and below it.
#[inline(always)]
fn across<F: Filter>(step: usize, samples: &mut [F::Sample], width: usize, row: usize) {
    let (above, rest) = samples.split_at_mut(row * width);
    let (own, below) = rest.split_at_mut(width);
    let last_above = &above[above.len().saturating_sub(width)..];
    let first_below = below.get(..width).unwrap_or(last_above);
    F::step(step, own, if row == 0 { first_below } else { last_above }, first_below);
}
