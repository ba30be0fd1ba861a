//! The column `overviews`: the packets of a file's coarsest resolutions.
//!
//! One byte of version, 1; one byte k, which the column `overview_factor` has as 2^k; then of each tile-part, in the order
//! of `index`, the packets of resolutions 0 to levels − k: its bytes from `packets` to `resolution_ends[levels - k]` (see
//! [`super::blob`], which so gives their lengths).

use crate::jp2::TilePart;
use crate::source::{SourceOffset, SourceRange};

/// The version of a value.
pub(crate) const VERSION: u8 = 1;
/// What a value begins with: version and k.
pub(crate) const FIXED: usize = 2;
/// T.800 A.6.1: at most 32 decomposition levels.
const MOST_K: u8 = 32;

/// k of a factor 2^k.
///
/// # Errors
/// What a factor must be.
pub(crate) fn parse_factor(factor: u64) -> Result<u8, String> {
    let k = u8::try_from(factor.trailing_zeros()).ok().filter(|k| factor.is_power_of_two() && (1..=MOST_K).contains(k));
    k.ok_or_else(|| format!("a power of two from 2 to {}", 1u64 << MOST_K))
}

/// Where the packets of resolutions 0 to levels − k lie in the JP2, a range a tile-part.
///
/// # Errors
/// Why their ends are not known, or why there are none.
pub(crate) fn overview_ranges(parts: &[TilePart], k: u8) -> Result<Vec<SourceRange>, String> {
    let unknown = || "where its resolutions end is not known (no PLT, or a progression that mixes them)".to_owned();
    let mut levels = None;
    let range = |part: &TilePart| {
        let head = part.head.as_ref().ok_or_else(unknown)?;
        let here = head.resolution_ends.len().checked_sub(1).ok_or_else(unknown)?;
        if *levels.get_or_insert(here) != here {
            return Err(unknown());
        }
        let last = here.checked_sub(usize::from(k));
        let last =
            last.ok_or_else(|| format!("it has {here} decomposition levels, its coarsest factor is {}", 1u64 << here))?;
        let end = *head.resolution_ends.get(last).ok_or_else(unknown)?;
        let at = |offset: u32| SourceOffset(part.offset + u64::from(offset));
        Ok(at(head.packets)..at(end.max(head.packets)))
    };
    let ranges: Vec<_> = parts.iter().map(range).collect::<Result<_, _>>()?;
    if ranges.is_empty() { Err(unknown()) } else { Ok(ranges) }
}
