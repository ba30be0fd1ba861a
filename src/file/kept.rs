//! What the process keeps decoded: code-blocks, so that a scene that is read row by row decodes each once, and tiles of a
//! virtual TIFF that were decoded ahead of their reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::decode::{BlockId, Kept};
use crate::lru::Lru;
use crate::process::{PerProcess, lock};
use crate::source::count_decoded;

/// What an entry weighs besides its values.
const OVERHEAD: u64 = 128;

/// What is kept of all files: by a file's number.
struct All(Mutex<Lru<(u64, Key), Value>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// A code-block of the codestream of the image at 1/2^k.
    Block(u8, BlockId),
    /// A tile of a level.
    Tile(usize, u64),
}

#[derive(Clone)]
enum Value {
    Block(Arc<[i16]>),
    Tile(Bytes),
}

impl Default for All {
    fn default() -> Self {
        Self(Mutex::new(Lru::new(0)))
    }
}

static ALL: PerProcess<All> = PerProcess::new();

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What is kept of a file.
pub(super) struct KeptOfFile {
    file: u64,
    /// The most bytes that is kept of all files together.
    limit: u64,
}

impl KeptOfFile {
    /// Nothing yet.
    pub(super) fn new(limit: u64) -> Self {
        Self { file: NEXT.fetch_add(1, Ordering::Relaxed), limit }
    }

    /// The code-blocks of the codestream of the image at 1/2^k.
    pub(super) fn blocks(&self, k: u8) -> impl Kept {
        Blocks { file: self, k }
    }

    /// A tile of a level.
    pub(super) fn tile(&self, level: usize, number: u64) -> Option<Bytes> {
        match self.get(Key::Tile(level, number)) {
            Some(Value::Tile(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Keeps a tile.
    pub(super) fn put_tile(&self, level: usize, number: u64, bytes: Bytes) {
        let length = bytes.len() as u64;
        self.put(Key::Tile(level, number), Value::Tile(bytes), length);
    }

    fn get(&self, key: Key) -> Option<Value> {
        lock(&ALL.get().0).get(&(self.file, key)).cloned()
    }

    fn put(&self, key: Key, value: Value, bytes: u64) {
        let mut all = lock(&ALL.get().0);
        let mut gone = all.limit(self.limit);
        gone.extend(all.put((self.file, key), value, OVERHEAD + bytes));
        let kept = all.bytes();
        drop(all);
        count_decoded(kept);
        drop(gone);
    }
}

struct Blocks<'a> {
    file: &'a KeptOfFile,
    k: u8,
}

impl Kept for Blocks<'_> {
    fn get(&self, block: &BlockId) -> Option<Box<[i32]>> {
        match self.file.get(Key::Block(self.k, *block)) {
            Some(Value::Block(kept)) => Some(kept.iter().map(|coefficient| i32::from(*coefficient)).collect()),
            _ => None,
        }
    }

    /// Coefficients of more than 16 bits are not kept.
    fn put(&self, block: BlockId, coefficients: &[i32]) {
        let narrow: Option<Arc<[i16]>> = coefficients.iter().map(|value| i16::try_from(*value).ok()).collect();
        let Some(narrow) = narrow else { return };
        let bytes = 2 * narrow.len() as u64;
        self.file.put(Key::Block(self.k, block), Value::Block(narrow), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_share_one_bound_and_nothing_else() {
        let limit = 10 * (1000 + OVERHEAD);
        let (one, other) = (KeptOfFile::new(limit), KeptOfFile::new(limit));
        one.put_tile(0, 7, Bytes::from(vec![1; 1000]));
        assert_eq!(one.tile(0, 7).map(|bytes| bytes.len()), Some(1000));
        assert!(one.tile(1, 7).is_none() && one.tile(0, 8).is_none() && other.tile(0, 7).is_none());
        for number in 0..10 {
            other.put_tile(0, number, Bytes::from(vec![2; 1000]));
        }
        assert!(one.tile(0, 7).is_none() && other.tile(0, 0).is_some());
    }
}
