//! Caches of the index: each is one for the process, and shared by its threads.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use crate::lru::Lru;
use crate::process::{PerProcess, lock};

/// What was used last, up to `BYTES`. Its values are cheap to clone: `Bytes`, `Arc`.
pub(super) struct Cache<K: Hash + Eq, V, const BYTES: u64>(PerProcess<Shared<K, V, BYTES>>);

struct Shared<K: Hash + Eq, V, const BYTES: u64>(Mutex<Lru<K, V>>);

impl<K: Hash + Eq, V, const BYTES: u64> Default for Shared<K, V, BYTES> {
    fn default() -> Self {
        Self(Mutex::new(Lru::new(BYTES)))
    }
}

impl<K: Hash + Eq + Clone, V: Clone, const BYTES: u64> Cache<K, V, BYTES> {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self(PerProcess::new())
    }

    fn lock(&self) -> MutexGuard<'_, Lru<K, V>> {
        lock(&self.0.get().0)
    }

    /// The value, which is now the one used last.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.lock().get(key).cloned()
    }

    /// The same; where there is none, an empty one that weighs `bytes` is made and kept.
    pub(super) fn get_or_default(&self, key: &K, bytes: u64) -> V
    where
        V: Default,
    {
        let mut cache = self.lock();
        if let Some(value) = cache.get(key) {
            return value.clone();
        }
        let value = V::default();
        let gone = cache.put(key.clone(), value.clone(), bytes);
        drop(cache);
        drop(gone);
        value
    }

    /// Keeps `value`, which weighs `bytes`, unless that alone is too much.
    pub(super) fn put(&self, key: K, value: V, bytes: u64) {
        let gone = self.lock().put(key, value, bytes);
        drop(gone);
    }

    /// Forgets `key`.
    pub(super) fn remove(&self, key: &K) {
        let gone = self.lock().remove(key);
        drop(gone);
    }
}
