//! Threads of GDAL's that fail behind the program's back.
//!
//! JP2OpenJPEG reads several tiles by threads (`PreloadBlocks`): each opens the file by its name and, for every tile, puts
//! a block with whatever memory holds into GDAL's cache, decodes into it, unlocks it and goes on; at the end it closes the
//! file. GDAL's main thread waits for them. Where one has failed, the driver hides it: `JP2OPJLikeDataset::IRasterIO` does
//! not look at what `PreloadBlocks` gives and hands out what the cache has, and `JP2OPJLikeRasterBand::IRasterIO` gives a
//! CE_Failure whose error was raised on another thread, for which rasterio raises no exception.
//!
//! So a thread's read that fails for good gives an empty tile, and the thread goes on; when it closes the file, the last
//! moment before the main thread goes on too, GDAL's cache of blocks is emptied. The main thread finds no block and reads
//! by itself: right pixels where the fault has passed, or a read of its own fails, with an error that every program sees.
//!
//! A thread opens the name, and under that another version of the file may lie by now, or none. So a handle that decodes
//! what an earlier one has opened gets that one's file: its pixels are of one version, or the read fails.
//!
//! Such a thread has no options of its own: those that rasterio.Env sets hold on the thread that reads. So a thread without
//! options that opens a name which another identity has open is not asked for its own credentials until its first read: a
//! decoder's, which begins at the codestream, is of the file that is open; any other caller opens the file anew. Where
//! callers of several identities have it open, nothing shows for which of them the thread decodes: it is given empty tiles,
//! for which nothing is asked, and the main thread reads by itself.
//!
//! Where no empty tile can stand in, because the file's tile-parts are not known or the read has failed within one, the
//! read fails, and the block is taken away as well. `PreloadBlocks` must then be kept from starting threads once more, which
//! it does where the tiles do not fit into the cache: its limit is lowered until the file's earlier handle, the main
//! thread's, is used again. That helps reads of datasets; of a single band the CE_Failure is the outcome.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::host::Host;
use crate::file::{FileId, Lease};
use crate::process::{PerProcess, lock};

static STATE: PerProcess<State> = PerProcess::new();

#[derive(Default)]
struct State {
    files: Mutex<Files>,
    /// How many files wait for their main thread, so that reads need no lock where none does.
    waiting: AtomicUsize,
    opened: AtomicUsize,
}

#[derive(Default)]
struct Files {
    /// The open handles of each name that were read from the start, and what they read.
    mains: HashMap<Key, BTreeMap<usize, Arc<Lease>>>,
    /// Files whose cache is kept small, and the last handle that has failed.
    waiting: HashMap<Key, usize>,
}

/// What a handle's reads have left undone, the lesser first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    /// Nothing.
    None,
    /// A tile that an empty one stands in for.
    Filled,
    /// A read has failed.
    Open,
}

/// The address of a libgdal and a name as it was opened: the threads open the name that the main thread did.
type Key = (usize, String);

/// A handle's place among those of its file.
pub(super) struct Place {
    key: Key,
    number: usize,
    is_main: bool,
}

impl Place {
    /// That of a handle that is opened now.
    pub(super) fn new(host: &'static dyn Host, name: &str) -> Self {
        let key = (std::ptr::from_ref(host).addr(), name.to_owned());
        Self { key, number: STATE.get().opened.fetch_add(1, Ordering::Relaxed), is_main: false }
    }

    /// The handle, which reads `file`, is read from the start, without a seek.
    pub(super) fn read_from_start(&mut self, file: &Arc<Lease>) {
        if !self.is_main {
            self.is_main = true;
            let mut files = lock(&STATE.get().files);
            files.mains.entry(self.key.clone()).or_default().insert(self.number, file.clone());
        }
    }

    /// What the handles read that the name was opened by before this one, and that are open still; the earliest first.
    pub(super) fn main_files(&self) -> Vec<Arc<Lease>> {
        let files = lock(&STATE.get().files);
        let mains = files.mains.get(&self.key).into_iter().flatten();
        mains.take_while(|(number, _)| **number < self.number).map(|(_, file)| file.clone()).collect()
    }

    /// The first of them that was opened by the caller of `id`.
    pub(super) fn main_file(&self, id: &FileId) -> Option<Arc<Lease>> {
        self.main_files().into_iter().find(|file| file.id().is_of_the_same_caller(id))
    }

    /// The handle is used. Where it is what a failure waited for, the host's cache gets its limit back.
    pub(super) fn used(&self, host: &dyn Host) {
        let state = STATE.get();
        if self.is_main && state.waiting.load(Ordering::Acquire) > 0 {
            self.restore(host, state, &mut lock(&state.files));
        }
    }

    fn restore(&self, host: &dyn Host, state: &State, files: &mut Files) {
        if files.waiting.get(&self.key).is_some_and(|failed| self.number < *failed) {
            files.waiting.remove(&self.key);
            state.waiting.store(files.waiting.len(), Ordering::Release);
            if !files.waiting.keys().any(|key| key.0 == self.key.0) {
                host.restore_cache();
            }
        }
    }

    /// Whether the handle is that of a thread which reads for the main thread's: not one itself, and opened after one.
    pub(super) fn is_workers(&self) -> bool {
        !self.is_main && self.is_after_main(&lock(&STATE.get().files))
    }

    fn is_after_main(&self, files: &Files) -> bool {
        files.mains.get(&self.key).is_some_and(|mains| mains.keys().next() < Some(&self.number))
    }

    /// The handle is closed, with what its reads have left.
    pub(super) fn closed(self, host: &dyn Host, gap: Gap) {
        let state = STATE.get();
        if gap > Gap::None {
            host.forget_blocks(); // writes what is dirty, hence not under the lock
        }
        let mut files = lock(&state.files);
        if self.is_main {
            self.restore(host, state, &mut files);
            let mains = files.mains.get_mut(&self.key);
            let file = mains.and_then(|mains| mains.remove(&self.number));
            if files.mains.get(&self.key).is_some_and(BTreeMap::is_empty) {
                files.mains.remove(&self.key);
            }
            drop(files);
            drop(file); // closes it, which must not happen under the lock
        } else if gap == Gap::Open && self.is_after_main(&files) {
            files.waiting.insert(self.key, self.number);
            state.waiting.store(files.waiting.len(), Ordering::Release);
            host.shrink_cache();
        }
    }
}
