//! Where bytes lie in a source file.

use std::ops::Range;

/// A half-open range of bytes of a source file. The virtual file's offsets are another type
/// ([`crate::layout::VirtualOffset`]): mixing them is this program's typical bug.
pub(crate) type SourceRange = Range<SourceOffset>;

/// An offset in a source file, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceOffset(pub(crate) u64);

/// A range from plain numbers, in bytes.
#[cfg(test)]
pub(crate) fn range(start: u64, end: u64) -> SourceRange {
    SourceOffset(start)..SourceOffset(end)
}
