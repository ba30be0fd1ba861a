//! The files that are open, those that were just closed, and what has been found out about rows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::VirtualFile;
use crate::options::Options;
use crate::process::{PerProcess, lock};
use crate::{source, trace};

/// How many closed files are kept, so that opening one again costs no look-up: each view of a JP2 is one, too.
const RECENT: usize = 128;

/// How many findings about rows are kept; past that all are forgotten, which costs a HEAD each.
const FINDINGS: usize = 65_536;

static REGISTRY: PerProcess<Registry> = PerProcess::new();

/// This process's registry.
pub(super) fn get() -> &'static Registry {
    REGISTRY.get()
}

/// An open file. Handles share it, and with it the options of the first of them; the file may outlive it in
/// [`State::recent`].
pub(crate) struct Lease(Arc<VirtualFile>);

impl std::ops::Deref for Lease {
    type Target = VirtualFile;

    fn deref(&self) -> &VirtualFile {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        trace::debug(|| {
            let so_far = source::statistics();
            format!(
                "{}: closed. The process so far: {} requests, {} bytes, {} units from the cache, {} shared, {} retries, \
                 {} failures",
                self.0.name,
                so_far.requests,
                so_far.bytes,
                so_far.cache_hits,
                so_far.shared_fetches,
                so_far.retries,
                so_far.read_errors
            )
        });
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<String, Weak<Lease>>,
    /// The most recent one last.
    recent: Vec<(String, Arc<VirtualFile>)>,
    /// Origins whose index row was found wrong.
    set_aside: HashSet<String>,
    /// Origins and sizes of rows made elsewhere that a HEAD has confirmed.
    confirmed: HashSet<(String, u64)>,
    /// Warnings that were given: each is given once, not at every open.
    warned: HashSet<String>,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// The file that is open by this name.
    pub(super) fn live(&self, name: &str) -> Option<Arc<Lease>> {
        self.state().open.get(name)?.upgrade()
    }

    /// The file that was open by this name, with the same options, a moment ago.
    pub(super) fn recent(&self, name: &str, options: &Options) -> Option<Arc<VirtualFile>> {
        let state = self.state();
        let (_, file) = state.recent.iter().find(|(recent, _)| recent == name)?;
        (file.options == *options).then(|| file.clone())
    }

    /// Opens a file by this name; where another thread has done so meanwhile, that one is it.
    pub(super) fn lease(&self, name: &str, file: Arc<VirtualFile>) -> Arc<Lease> {
        let mut state = self.state();
        if let Some(other) = state.open.get(name).and_then(Weak::upgrade) {
            return other;
        }
        let lease = Arc::new(Lease(file.clone()));
        state.open.retain(|_, lease| lease.strong_count() > 0);
        state.open.insert(name.to_owned(), Arc::downgrade(&lease));
        if file.embedded.is_some() {
            return lease; // what it holds of the index is to go with the last handle
        }
        let same = state.recent.iter().position(|(recent, _)| recent == name);
        let full = (state.recent.len() >= RECENT).then_some(0);
        let dropped = same.or(full).map(|place| state.recent.remove(place));
        state.recent.push((name.to_owned(), file));
        drop(state);
        drop(dropped); // closes the file, which must not happen under the lock
        lease
    }

    /// Makes the next open of this file a new one, and those of its views, which are made of the same row.
    pub(super) fn forget(&self, file: &VirtualFile) {
        let is_same = |other: &VirtualFile| other.source.identity() == file.source.identity();
        let mut state = self.state();
        // What is dropped closes a file, which must not happen under the lock.
        let (mut leases, mut dropped) = (Vec::new(), Vec::new());
        state.open.retain(|_, lease| {
            let lease = lease.upgrade();
            let kept = lease.as_ref().is_some_and(|lease| !is_same(lease));
            leases.extend(lease);
            kept
        });
        for (name, other) in std::mem::take(&mut state.recent) {
            let list = if is_same(&other) { &mut dropped } else { &mut state.recent };
            list.push((name, other));
        }
        drop(state);
    }

    /// Remembers that the index's row for this file is wrong.
    pub(super) fn set_aside(&self, origin: &str) {
        insert_bounded(&mut self.state().set_aside, origin.to_owned());
    }

    /// Whether the index's row for this file was found wrong.
    pub(super) fn is_set_aside(&self, origin: &str) -> bool {
        self.state().set_aside.contains(origin)
    }

    /// Remembers that the file has the size that a row made elsewhere tells.
    pub(super) fn confirm(&self, origin: &str, size: u64) {
        insert_bounded(&mut self.state().confirmed, (origin.to_owned(), size));
    }

    /// Whether [`Registry::confirm`] was told so.
    pub(super) fn is_confirmed(&self, origin: &str, size: u64) -> bool {
        self.state().confirmed.contains(&(origin.to_owned(), size))
    }

    /// Whether this warning is given for the first time.
    pub(super) fn is_news(&self, warning: &str) -> bool {
        insert_bounded(&mut self.state().warned, warning.to_owned())
    }
}

/// Whether the value is new.
fn insert_bounded<T: Eq + std::hash::Hash>(set: &mut HashSet<T>, value: T) -> bool {
    if set.len() >= FINDINGS {
        set.clear();
    }
    set.insert(value)
}
