//! Code-blocks that the process keeps decoded, so that a scene that is read row by row decodes each once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::decode::{BlockId, Kept};
use crate::lru::Lru;
use crate::process::{PerProcess, lock};

/// What an entry weighs besides its coefficients.
const OVERHEAD: u64 = 128;

/// The code-blocks of all files.
struct Blocks(Mutex<Lru<Key, Arc<[i16]>>>);

/// A file's number, by which of its codestreams the code-block is numbered, and the code-block.
type Key = (u64, u8, BlockId);

impl Default for Blocks {
    fn default() -> Self {
        Self(Mutex::new(Lru::new(0)))
    }
}

static BLOCKS: PerProcess<Blocks> = PerProcess::new();

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The code-blocks of a file.
pub(super) struct KeptBlocks {
    file: u64,
    /// The most bytes that the code-blocks of all files have.
    limit: u64,
}

impl KeptBlocks {
    /// None yet.
    pub(super) fn new(limit: u64) -> Self {
        Self { file: NEXT.fetch_add(1, Ordering::Relaxed), limit }
    }

    /// Those of the codestream of the image at 1/2^k.
    pub(super) fn of(&self, k: u8) -> impl Kept {
        OfCodestream { blocks: self, k }
    }
}

struct OfCodestream<'a> {
    blocks: &'a KeptBlocks,
    k: u8,
}

impl OfCodestream<'_> {
    fn key(&self, block: &BlockId) -> Key {
        (self.blocks.file, self.k, *block)
    }
}

impl Kept for OfCodestream<'_> {
    fn get(&self, block: &BlockId) -> Option<Box<[i32]>> {
        let kept = lock(&BLOCKS.get().0).get(&self.key(block)).cloned()?;
        Some(kept.iter().map(|coefficient| i32::from(*coefficient)).collect())
    }

    /// Coefficients of more than 16 bits are not kept.
    fn put(&self, block: BlockId, coefficients: &[i32]) {
        let narrow: Option<Arc<[i16]>> = coefficients.iter().map(|value| i16::try_from(*value).ok()).collect();
        let Some(narrow) = narrow else { return };
        let weight = OVERHEAD + 2 * narrow.len() as u64;
        let mut blocks = lock(&BLOCKS.get().0);
        let mut gone = blocks.limit(self.blocks.limit);
        gone.extend(blocks.put(self.key(&block), narrow, weight));
        drop(blocks);
        drop(gone);
    }
}
