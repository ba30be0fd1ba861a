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

    /// The sample of a signal that has one (F.3.6), `odd` where it is a high-pass one.
    fn single(sample: Self::Sample, odd: bool) -> Self::Sample;
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

    fn single(sample: i32, odd: bool) -> i32 {
        if odd { sample / 2 } else { sample }
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

    /// Such a signal is not scaled: what was done before is undone.
    fn single(sample: f32, odd: bool) -> f32 {
        if odd { sample / (2.0 * HIGH) } else { sample / LOW }
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
    if height == 1 {
        samples.iter_mut().for_each(|sample| *sample = F::single(*sample, odd == 1));
    }
    Plane { area: area.clone(), samples }
}

/// Transforms one row. `low` and `high` have a place before and one behind their samples; `odd` is whether the first sample
/// is a high-pass one.
#[inline(always)]
fn along<F: Filter>(low: &mut [F::Sample], high: &mut [F::Sample], odd: bool, out: &mut [F::Sample]) {
    let (lows, highs) = (low.len() - 2, high.len() - 2);
    if lows + highs == 1 {
        out[0] = if lows == 1 { F::single(low[1], false) } else { F::single(high[1], true) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// F.3.6 to F.3.8 sample by sample, on a signal that is interleaved and mirrored at its ends.
    fn naive(signal: &mut [i64], start: i64) {
        let length = signal.len() as i64;
        if length == 1 {
            if start % 2 == 1 {
                signal[0] /= 2;
            }
            return;
        }
        let mirrored = |at: i64| if at < 0 { -at } else { at.min(2 * (length - 1) - at) } as usize;
        for odd in [0, 1] {
            for at in (0..length).filter(|at| (at + start) % 2 == odd) {
                let sum = signal[mirrored(at - 1)] + signal[mirrored(at + 1)];
                signal[at as usize] += if odd == 0 { -((sum + 2) >> 2) } else { sum >> 1 };
            }
        }
    }

    /// F.3.8.2 likewise, with the scaling that is its first two steps.
    fn naive_irreversible(signal: &mut [f64], start: i64) {
        const K: f64 = 1.230_174_104_914_001;
        const FACTORS: [f64; 4] =
            [-1.586_134_342_059_924, -0.052_980_118_572_961, 0.882_911_075_530_934, 0.443_506_852_043_971];
        let length = signal.len() as i64;
        if length == 1 {
            if start % 2 == 1 {
                signal[0] /= 2.0;
            }
            return;
        }
        let mirrored = |at: i64| if at < 0 { -at } else { at.min(2 * (length - 1) - at) } as usize;
        for (at, sample) in signal.iter_mut().enumerate() {
            *sample *= if (at as i64 + start) % 2 == 0 { K } else { 1.0 / K };
        }
        for (odd, factor) in [0, 1, 0, 1].into_iter().zip(FACTORS.into_iter().rev()) {
            for at in (0..length).filter(|at| (at + start) % 2 == odd) {
                let sum = signal[mirrored(at - 1)] + signal[mirrored(at + 1)];
                signal[at as usize] -= factor * sum;
            }
        }
    }

    /// The samples `area` in two dimensions: along the rows, then along the columns (F.3.2).
    fn naive_2d<T: Copy>(area: &Area, sample: impl Fn(u32, u32) -> T, naive: impl Fn(&mut [T], i64)) -> Vec<T> {
        let mut samples: Vec<Vec<T>> = area.1.clone().map(|y| area.0.clone().map(|x| sample(x, y)).collect()).collect();
        samples.iter_mut().for_each(|row| naive(row, area.0.start.into()));
        for column in 0..samples[0].len() {
            let mut signal: Vec<T> = samples.iter().map(|row| row[column]).collect();
            naive(&mut signal, area.1.start.into());
            samples.iter_mut().zip(signal).for_each(|(row, value)| row[column] = value);
        }
        samples.concat()
    }

    fn synthesized<F: Filter>(area: &Area, sample: impl Fn(u32, u32) -> F::Sample) -> Plane<F::Sample> {
        let (low, high) = halves(&area.0);
        synthesize::<F>(area, |is_high, row, lows, highs| {
            let y = 2 * row + u32::from(is_high);
            lows.iter_mut().zip(low.clone()).for_each(|(to, x)| *to = sample(2 * x, y));
            highs.iter_mut().zip(high.clone()).for_each(|(to, x)| *to = sample(2 * x + 1, y));
        })
    }

    fn coefficient(x: u32, y: u32) -> i32 {
        ((x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)) >> 20) as i32 - 2048
    }

    proptest! {
        #[test]
        fn the_reversible_transform_is_that_of_the_standard(
            x in 0u32..9, y in 0u32..9, width in 1u32..20, height in 1u32..20,
        ) {
            let area = (x..x + width, y..y + height);
            let plane = synthesized::<Reversible>(&area, coefficient);
            let right = naive_2d(&area, |x, y| i64::from(coefficient(x, y)), naive);
            let right: Vec<i32> = right.into_iter().map(|value| value as i32).collect();
            prop_assert_eq!(plane.samples, right);
        }

        #[test]
        fn the_irreversible_transform_is_that_of_the_standard(
            x in 0u32..9, y in 0u32..9, width in 1u32..20, height in 1u32..20,
        ) {
            let area = (x..x + width, y..y + height);
            // Coefficients come scaled.
            let scale = |place: u32| if place.is_multiple_of(2) { LOW } else { HIGH };
            let plane =
                synthesized::<Irreversible>(&area, |x, y| coefficient(x, y) as f32 * scale(x) * scale(y));
            let right = naive_2d(&area, |x, y| f64::from(coefficient(x, y)), naive_irreversible);
            for (is, right) in plane.samples.iter().zip(right) {
                prop_assert!((f64::from(*is) - right).abs() < 1.0, "{is} {right}");
            }
        }

        /// Within the filter's reach of its ends a window may be wrong, and nowhere else.
        #[test]
        fn windows_are_parts_of_the_whole(
            x in 0u32..5, y in 0u32..5, width in 30u32..40, height in 30u32..40, at in (4u32..12, 4u32..12),
        ) {
            let whole = (x..x + width, y..y + height);
            let part = (x + at.0..x + at.0 + 17, y + at.1..y + at.1 + 15);
            let inner = |reach: u32| (part.0.start + reach..part.0.end - reach, part.1.start + reach..part.1.end - reach);
            let (all, of_part) = (synthesized::<Reversible>(&whole, coefficient), synthesized::<Reversible>(&part, coefficient));
            let (columns, rows) = inner(2);
            for row in rows {
                prop_assert_eq!(all.row(row, &columns), of_part.row(row, &columns));
            }
            let float = |x: u32, y: u32| coefficient(x, y) as f32;
            let (all, of_part) = (synthesized::<Irreversible>(&whole, float), synthesized::<Irreversible>(&part, float));
            let (columns, rows) = inner(4);
            for row in rows {
                prop_assert_eq!(all.row(row, &columns), of_part.row(row, &columns));
            }
        }
    }
}
