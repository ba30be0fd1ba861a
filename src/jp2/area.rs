//! Rectangles.

use std::ops::Range;

/// A rectangle of samples of a component, or of one of its resolutions: columns and rows.
pub(crate) type Area = (Range<u32>, Range<u32>);

/// Whether two rectangles have samples in common.
pub(crate) fn overlap(one: &Area, other: &Area) -> bool {
    let along = |one: &Range<u32>, other: &Range<u32>| one.start.max(other.start) < one.end.min(other.end);
    along(&one.0, &other.0) && along(&one.1, &other.1)
}
