//! From components to samples: the multiple component transformations and the DC level shift (T.800 Annex G).

use super::tile::Samples;
use crate::jp2::Component;

/// A type of samples that a caller may ask for. Values that it does not have become the nearest one that it has.
pub(crate) trait Sample: Copy + Send {
    /// The sample of this value.
    fn of(value: i32) -> Self;
}

macro_rules! sample {
    ($($kind:ty),*) => {
        $(impl Sample for $kind {
            #[inline(always)]
            fn of(value: i32) -> Self {
                value.clamp(<$kind>::MIN as i32, <$kind>::MAX as i32) as $kind
            }
        })*
    };
}
sample!(i8, u8, u16, i16);

impl Sample for u32 {
    #[inline(always)]
    fn of(value: i32) -> Self {
        u32::try_from(value).unwrap_or(0)
    }
}

impl Sample for i32 {
    #[inline(always)]
    fn of(value: i32) -> Self {
        value
    }
}

impl Sample for f32 {
    #[inline(always)]
    fn of(value: i32) -> Self {
        value as f32
    }
}

/// The values that samples of a component have, and what is added to those that are unsigned (G.1.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    low: i32,
    high: i32,
    shift: i32,
}

impl Range {
    /// That of a component, which has at most 31 bits.
    pub(super) fn of(component: &Component) -> Self {
        let bits = u32::from(component.depth & 0x7F) + 1;
        let half = 1i64 << (bits - 1).min(30);
        let (low, high, shift) =
            if component.depth & 0x80 != 0 { (-half, half - 1, 0) } else { (0, 2 * half - 1, half) };
        // All of them are within 32 bits.
        Self { low: low as i32, high: high as i32, shift: shift as i32 }
    }

    #[inline(always)]
    fn value(self, value: i32) -> i32 {
        value.saturating_add(self.shift).clamp(self.low, self.high)
    }
}

/// A row of a component's samples.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Whole(&'a [i32]),
    Float(&'a [f32]),
}

impl Samples {
    /// The samples `columns` of a row.
    pub(super) fn row(&self, row: u32, columns: &std::ops::Range<u32>) -> Row<'_> {
        match self {
            Self::Whole(plane) => Row::Whole(plane.row(row, columns)),
            Self::Float(plane) => Row::Float(plane.row(row, columns)),
        }
    }
}

/// Writes a row of a component that is transformed by itself.
pub(super) fn write<T: Sample>(row: Row<'_>, range: Range, out: &mut [T]) {
    match row {
        Row::Whole(row) => out.iter_mut().zip(row).for_each(|(out, value)| *out = T::of(range.value(*value))),
        Row::Float(row) => out.iter_mut().zip(row).for_each(|(out, value)| *out = T::of(range.value(round(*value)))),
    }
}

/// Writes a row of component `number` (0 to 2) by the rows of the three that were transformed together (G.2, G.3).
pub(super) fn write_transformed<T: Sample>(rows: [Row<'_>; 3], number: usize, range: Range, out: &mut [T]) {
    match rows {
        [Row::Whole(y), Row::Whole(u), Row::Whole(v)] => {
            for (((out, y), u), v) in out.iter_mut().zip(y).zip(u).zip(v) {
                let green = y.wrapping_sub(u.wrapping_add(*v) >> 2);
                let value = match number {
                    0 => v.wrapping_add(green),
                    1 => green,
                    _ => u.wrapping_add(green),
                };
                *out = T::of(range.value(value));
            }
        }
        [Row::Float(y), Row::Float(u), Row::Float(v)] => {
            for (((out, y), u), v) in out.iter_mut().zip(y).zip(u).zip(v) {
                let value = match number {
                    0 => y + 1.402 * v,
                    1 => y - 0.344_13 * u - 0.714_14 * v,
                    _ => y + 1.772 * u,
                };
                *out = T::of(range.value(round(value)));
            }
        }
        // The three have one wavelet.
        _ => {}
    }
}

/// The nearest whole number; of two the even one, as in OpenJPEG.
#[inline(always)]
fn round(value: f32) -> i32 {
    value.round_ties_even() as i32
}
