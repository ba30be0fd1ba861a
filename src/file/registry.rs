//! The files that are open, those that were just closed, and what has been found out about rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::VirtualFile;
use crate::lru::Lru;
use crate::options::Options;
use crate::path::{Location, Request, View};
use crate::process::{PerProcess, lock};
use crate::source::{Access, Caller, Identity};
use crate::{source, trace};

/// How many bytes closed files may weigh that are kept, so that opening one again costs no look-up: each view of a JP2 is
/// one, too.
const RECENT: u64 = 16 << 20;

/// The least that a local file weighs: it has a descriptor open.
const LIGHTEST: u64 = RECENT / 128;

/// What a file weighs besides its layout: names, options, its header.
const LIGHT: u64 = 4 << 10;

/// How many bytes findings about rows may weigh. One that goes costs a request.
const FINDINGS: u64 = 4 << 20;

static REGISTRY: PerProcess<Registry> = PerProcess::new();

/// This process's registry.
pub(super) fn get() -> &'static Registry {
    REGISTRY.get()
}

/// An open file. Handles share it, and with it the options of the first of them; the file may outlive it in
/// [`State::recent`].
pub(crate) struct Lease {
    file: Arc<VirtualFile>,
    id: FileId,
}

impl Lease {
    /// The file.
    pub(crate) fn file(&self) -> Arc<VirtualFile> {
        self.file.clone()
    }

    /// What it was opened as.
    pub(crate) fn id(&self) -> &FileId {
        &self.id
    }
}

impl std::ops::Deref for Lease {
    type Target = VirtualFile;

    fn deref(&self) -> &VirtualFile {
        &self.file
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        trace::debug(|| {
            let so_far = source::statistics();
            format!(
                "{}: closed. The process so far: {} requests, {} bytes, {} units from the cache, {} shared, {} retries, \
                 {} failures",
                self.file.name,
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

/// An open file as a caller knows it: by its name, and by the identities that opening it took.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    name: String,
    identities: Vec<Identity>,
}

impl FileId {
    /// What `request` names to `caller`, who reaches the file with `access`. The identity of an index is part of it: what
    /// it has of the file is given to those alone who can read it.
    pub(super) fn new(request: &Request, access: &Access, caller: &Caller<'_>) -> Self {
        let mut identities = vec![access.identity.clone()];
        identities.extend(caller.identities(&access.options.index));
        if let (Location::Product { .. }, Some(store)) = (&request.location, &access.options.store) {
            identities.extend(caller.identities(&[store.join("", None)]));
        }
        Self { name: name(request), identities }
    }

    /// The same caller's of another view of the file.
    pub(super) fn with(&self, request: &Request) -> Self {
        Self { name: name(request), identities: self.identities.clone() }
    }

    /// Whether it was opened with the same identities as `other`.
    pub(crate) fn is_of_the_same_caller(&self, other: &Self) -> bool {
        self.identities == other.identities
    }
}

/// The list of a file's overviews is not the file of that name which may lie beside it.
fn name(request: &Request) -> String {
    match request.view {
        View::Overviews => format!("{}\0", request.name()),
        _ => request.name(),
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<State>);

/// What has been found out about a row of the file at an origin, for callers with an identity.
type Finding = (Identity, String, u64);

struct State {
    open: HashMap<FileId, Weak<Lease>>,
    recent: Lru<FileId, Arc<VirtualFile>>,
    /// Files whose index row was found wrong.
    set_aside: Lru<Finding, ()>,
    /// Files of these sizes that rows made elsewhere are of, as a request has shown.
    confirmed: Lru<Finding, ()>,
    /// Warnings that were given: each is given once, not at every open.
    warned: Lru<String, ()>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            recent: Lru::new(RECENT),
            set_aside: Lru::new(FINDINGS),
            confirmed: Lru::new(FINDINGS),
            warned: Lru::new(FINDINGS),
        }
    }
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// The file that is open by this name.
    pub(super) fn live(&self, id: &FileId) -> Option<Arc<Lease>> {
        self.state().open.get(id)?.upgrade()
    }

    /// The file that was open by this name, with the same options, a moment ago.
    pub(super) fn recent(&self, id: &FileId, options: &Options) -> Option<Arc<VirtualFile>> {
        self.state().recent.get(id).filter(|file| *file.access.options == *options).cloned()
    }

    /// Opens a file by this name; where another thread has done so meanwhile, that one is it.
    pub(super) fn lease(&self, id: FileId, file: Arc<VirtualFile>) -> Arc<Lease> {
        let mut state = self.state();
        if let Some(other) = state.open.get(&id).and_then(Weak::upgrade) {
            return other;
        }
        let lease = Arc::new(Lease { file: file.clone(), id: id.clone() });
        state.open.retain(|_, lease| lease.strong_count() > 0);
        state.open.insert(id.clone(), Arc::downgrade(&lease));
        // What it holds of the index is to go with the last handle.
        if let Some(weight) = file.weight().filter(|_| file.embedded.is_none()) {
            let gone = state.recent.put(id, file, weight);
            drop(state);
            drop(gone); // closes files, which must not happen under the lock
        }
        lease
    }

    /// Makes the next open of this file a new one, and those of its views, which are made of the same row.
    pub(super) fn forget(&self, file: &VirtualFile) {
        let is_same = |other: &VirtualFile| other.source.identity() == file.source.identity();
        let mut state = self.state();
        // What is dropped closes a file, which must not happen under the lock.
        let mut leases = Vec::new();
        state.open.retain(|_, lease| {
            let lease = lease.upgrade();
            let kept = lease.as_ref().is_some_and(|lease| !is_same(lease));
            leases.extend(lease);
            kept
        });
        let ids: Vec<FileId> =
            state.recent.iter().filter(|(_, other)| is_same(other)).map(|(id, _)| id.clone()).collect();
        let dropped: Vec<_> = ids.iter().filter_map(|id| state.recent.remove(id)).collect();
        drop(state);
        drop((leases, dropped));
    }

    /// Remembers that the index's row for this file is wrong.
    pub(super) fn set_aside(&self, identity: &Identity, origin: &str) {
        insert(&mut self.state().set_aside, finding(identity, origin, 0));
    }

    /// Whether the index's row for this file was found wrong.
    pub(super) fn is_set_aside(&self, identity: &Identity, origin: &str) -> bool {
        self.state().set_aside.get(&finding(identity, origin, 0)).is_some()
    }

    /// Remembers that the file has the size that a row made elsewhere records.
    pub(super) fn confirm(&self, identity: &Identity, origin: &str, size: u64) {
        insert(&mut self.state().confirmed, finding(identity, origin, size));
    }

    /// Whether [`Registry::confirm`] was called for this.
    pub(super) fn is_confirmed(&self, identity: &Identity, origin: &str, size: u64) -> bool {
        self.state().confirmed.get(&finding(identity, origin, size)).is_some()
    }

    /// Whether this warning is given for the first time.
    pub(super) fn is_news(&self, warning: &str) -> bool {
        insert(&mut self.state().warned, warning.to_owned())
    }
}

impl VirtualFile {
    /// What keeping it takes, roughly, in bytes; `None` for what is not kept once it is closed.
    fn weight(&self) -> Option<u64> {
        let decoded = self.decoded.as_ref().map_or(Some(0), |decoded| decoded.weight())?;
        let stored = self.tiff.as_ref().map_or(0, |tiff| tiff.weight());
        let weight = LIGHT + self.layout.weight() + decoded + stored;
        Some(if self.source.is_cheap() { weight.max(LIGHTEST) } else { weight })
    }
}

fn finding(identity: &Identity, origin: &str, number: u64) -> Finding {
    (identity.clone(), origin.to_owned(), number)
}

/// What an entry weighs: a name of a file, or a warning that names one.
const WEIGHT: u64 = 256;

/// Whether the value is new.
fn insert<K: std::hash::Hash + Eq>(set: &mut Lru<K, ()>, value: K) -> bool {
    let is_new = set.get(&value).is_none();
    drop(set.put(value, (), WEIGHT));
    is_new
}
