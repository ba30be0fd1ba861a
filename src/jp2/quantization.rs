//! How coefficients are quantized: the QCD and QCC marker segments (T.800 A.6.4, A.6.5), those of a tile's first tile-part
//! before those of the main header.

use std::collections::BTreeMap;

use super::codes::{QCC, QCD};
use super::cursor::Cursor;
use super::markers::segment_body;
use crate::error::{Error, Result};

/// How one component of a tile is quantized (Table A.28).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quantization {
    /// G: the number of guard bits.
    pub(crate) guard: u8,
    /// Whether one step is told, that of the LL sub-band, from which the others are derived.
    derived: bool,
    /// Exponent and mantissa of each sub-band's step, LL first, then HL, LH and HH of each resolution.
    steps: Vec<(u8, u16)>,
}

impl Quantization {
    fn parse(body: &[u8], offset: u64, clause: &'static str) -> Result<Self> {
        let bad = |what: String| Error::malformed(offset, clause, what);
        let Some((style, list)) = body.split_first() else { return Err(bad("an empty marker segment".into())) };
        let wide = |pair: &[u8]| {
            let value = pair.iter().fold(0u16, |value, byte| value << 8 | u16::from(*byte));
            (u8::try_from(value >> 11).unwrap_or(0), value & 0x7FF)
        };
        let (derived, steps): (bool, Vec<(u8, u16)>) = match style & 31 {
            0 => (false, list.iter().map(|byte| (byte >> 3, 0)).collect()),
            1 => (true, list.chunks_exact(2).take(1).map(wide).collect()),
            2 => (false, list.chunks_exact(2).map(wide).collect()),
            other => return Err(bad(format!("quantization style {other}, which Table A.28 does not have"))),
        };
        if steps.is_empty() {
            return Err(bad("no step size".into()));
        }
        Ok(Self { guard: style >> 5, derived, steps })
    }

    /// Exponent and mantissa of a sub-band's step (E-3, E-5): `band` counts from 0 in its resolution. `None` where they are
    /// not told.
    pub(crate) fn step(&self, resolution: u8, band: u8) -> Option<(u8, u16)> {
        let coarser = resolution.saturating_sub(1);
        if self.derived {
            let (exponent, mantissa) = *self.steps.first()?;
            return Some((exponent.saturating_sub(coarser), mantissa));
        }
        let at = if resolution == 0 { 0 } else { 3 * usize::from(coarser) + 1 + usize::from(band) };
        self.steps.get(at).copied()
    }
}

/// The quantization of all components.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quantizations {
    default: Option<Quantization>,
    exceptions: BTreeMap<u16, Quantization>,
}

impl Quantizations {
    /// Takes in the marker segments of a header, whatever others are among them. `offset` is where they stand, for
    /// messages; `components` is Csiz. What is told here comes before what was told by headers taken in before (A.6.4): a
    /// tile's QCD comes before the main header's QCC.
    ///
    /// # Errors
    /// [`Error::Malformed`] where they are cut, or tell of what Table A.28 does not have.
    pub(crate) fn take(&mut self, segments: &[u8], offset: u64, components: usize) -> Result<()> {
        let mut cursor = Cursor::new(segments, offset);
        let mut exceptions = BTreeMap::new();
        while !cursor.is_empty() {
            let at = cursor.offset();
            let cut = || Error::malformed(at, "A.1.1", "marker segments that are cut");
            let code = cursor.u16().map_err(|_| cut())?;
            let body = segment_body(&mut cursor, code, at).map_err(|_| cut())??;
            match code {
                QCD => {
                    self.default = Some(Quantization::parse(body, at, "A.6.4")?);
                    self.exceptions.clear();
                }
                QCC => {
                    // Cqcc has one byte where Csiz < 257, else two.
                    let (index, rest) = body.split_at_checked(if components < 257 { 1 } else { 2 }).ok_or_else(cut)?;
                    let index = index.iter().fold(0u16, |index, byte| index << 8 | u16::from(*byte));
                    exceptions.insert(index, Quantization::parse(rest, at, "A.6.5")?);
                }
                _ => {}
            }
        }
        self.exceptions.extend(exceptions);
        Ok(())
    }

    /// That of the component of this index; `None` without a QCD and a QCC of its own.
    pub(crate) fn component(&self, index: u16) -> Option<&Quantization> {
        self.exceptions.get(&index).or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(code: u16, body: &[u8]) -> Vec<u8> {
        let length = body.len() as u16 + 2;
        [&code.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn steps_are_told_or_derived() {
        let mut all = Quantizations::default();
        let none = segment(QCD, &[0x40, 8 << 3, 9 << 3, 9 << 3, 10 << 3]);
        all.take(&[none, segment(QCC, &[1, 0x22, 0x48, 0x03, 0x50, 0])].concat(), 0, 3).unwrap();
        let first = all.component(0).unwrap();
        assert_eq!((first.guard, first.step(0, 0), first.step(1, 2)), (2, Some((8, 0)), Some((10, 0))));
        assert_eq!(first.step(2, 0), None);
        let second = all.component(1).unwrap();
        assert_eq!((second.guard, second.step(0, 0), second.step(1, 0)), (1, Some((9, 3)), Some((10, 0))));
        // A tile's QCD comes before the main header's QCC.
        all.take(&segment(QCD, &[0x21, 0x48, 0x03]), 0, 3).unwrap();
        let derived = all.component(1).unwrap();
        assert_eq!(
            [derived.step(0, 0), derived.step(1, 1), derived.step(3, 0)],
            [Some((9, 3)), Some((9, 3)), Some((7, 3))]
        );
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        for body in [&[][..], &[0x40], &[0x41, 0x48], &[0x43, 1, 2]] {
            assert!(Quantizations::default().take(&segment(QCD, body), 0, 3).is_err(), "{body:?}");
        }
        assert!(Quantizations::default().take(&segment(QCC, &[]), 0, 3).is_err());
        assert!(Quantizations::default().take(&[0xFF], 0, 3).is_err());
    }
}
