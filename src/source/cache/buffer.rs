//! Memory for the bodies of responses, and for what the cache keeps of them.
//!
//! Large ones are mapped by themselves: what is given up goes back to the system at once, in pages. In the heap of the
//! program that this one lives in they would leave holes, so that a cache of 64 MB took twice that in the end (measured by
//! `make soak`).

use bytes::{Bytes, BytesMut};
use memmap2::MmapMut;

/// From this length on a buffer is mapped, in bytes: of a page's length that is lost, a sixteenth at most.
const MAPPED: usize = 64 << 10;

/// A buffer that is written from its start on.
pub(crate) enum Buffer {
    /// So many bytes of it are written.
    Mapped(MmapMut, usize),
    Heap(BytesMut),
}

impl Buffer {
    /// An empty buffer in which `length` bytes are expected. It takes more as well.
    pub(crate) fn with_capacity(length: usize) -> Self {
        // The system allows so many maps a process: past that the heap has to do.
        match (length >= MAPPED).then(|| MmapMut::map_anon(length)) {
            Some(Ok(map)) => Self::Mapped(map, 0),
            _ => Self::Heap(BytesMut::with_capacity(length)),
        }
    }

    /// The bytes written so far.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Mapped(_, written) => *written,
            Self::Heap(bytes) => bytes.len(),
        }
    }

    /// Writes on.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if let Self::Mapped(map, written) = self {
            let end = written.saturating_add(bytes.len());
            if let Some(place) = map.get_mut(*written..end) {
                place.copy_from_slice(bytes);
                *written = end;
                return;
            }
            *self = Self::Heap(BytesMut::from(map.get(..*written).unwrap_or_default()));
        }
        if let Self::Heap(heap) = self {
            heap.extend_from_slice(bytes);
        }
    }

    /// What was written.
    pub(crate) fn freeze(self) -> Bytes {
        match self {
            Self::Mapped(map, written) => Bytes::from_owner(map).slice(..written),
            Self::Heap(bytes) => bytes.freeze(),
        }
    }
}

/// A copy that keeps nothing else alive.
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    let mut buffer = Buffer::with_capacity(bytes.len());
    buffer.extend(bytes);
    buffer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_written() {
        for capacity in [0, 10, MAPPED - 1, MAPPED, 3 * MAPPED] {
            for length in [0, 10, MAPPED, 2 * MAPPED + 1] {
                let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                let mut buffer = Buffer::with_capacity(capacity);
                for chunk in bytes.chunks(7000) {
                    buffer.extend(chunk);
                }
                assert_eq!(buffer.len(), length);
                assert!(buffer.freeze() == bytes, "{capacity} {length}");
                assert!(copy(&bytes) == bytes);
            }
        }
    }

    #[test]
    fn large_ones_are_mapped() {
        assert!(matches!(Buffer::with_capacity(MAPPED), Buffer::Mapped(..)));
        assert!(matches!(Buffer::with_capacity(MAPPED - 1), Buffer::Heap(_)));
    }
}
