//! What was used last, kept up to a number of bytes: every cache of this program.

use std::borrow::Borrow;
use std::hash::Hash;

use ::lru::LruCache;

/// Values by key, the least recently used of which go when all together weigh more than the limit.
///
/// What goes is handed to the caller, who can drop it when no lock is held.
pub(crate) struct Lru<K: Hash + Eq, V> {
    entries: LruCache<K, (V, u64)>,
    bytes: u64,
    limit: u64,
}

impl<K: Hash + Eq, V> Lru<K, V> {
    /// An empty cache of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, limit }
    }

    /// The value, which is now the one used last.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// Keeps `value`, which weighs `bytes`, in place of an earlier one, unless it alone is more than the limit. Gives what
    /// goes for it.
    #[must_use = "what goes may be dropped under a lock otherwise"]
    pub(crate) fn put(&mut self, key: K, value: V, bytes: u64) -> Vec<V> {
        let mut gone = Vec::new();
        if bytes > self.limit {
            gone.extend(self.remove(&key));
            gone.push(value);
            return gone;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some((_, (value, bytes))) = self.entries.push(key, (value, bytes)) {
            self.bytes = self.bytes.saturating_sub(bytes);
            gone.push(value);
        }
        gone.extend(self.shrink());
        gone
    }

    /// Forgets `key`.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (value, bytes) = self.entries.pop(key)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(value)
    }

    /// Sets the limit in bytes, and gives what goes for it.
    #[must_use = "what goes may be dropped under a lock otherwise"]
    pub(crate) fn limit(&mut self, bytes: u64) -> Vec<V> {
        self.limit = bytes;
        self.shrink()
    }

    /// The entries, the one used last first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (value, _))| (key, value))
    }

    /// What all values weigh together in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn shrink(&mut self) -> Vec<V> {
        let mut gone = Vec::new();
        while self.bytes > self.limit {
            let Some((_, (value, bytes))) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(bytes);
            gone.push(value);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes() {
        let mut cache = Lru::new(10);
        assert_eq!(cache.put('a', 1, 4), [0; 0]);
        assert_eq!(cache.put('b', 2, 4), [0; 0]);
        assert_eq!(cache.get(&'a'), Some(&1));
        assert_eq!(cache.put('c', 3, 4), [2]);
        assert_eq!(cache.iter().map(|(key, _)| *key).collect::<String>(), "ca");
        assert_eq!(cache.put('d', 4, 11), [4], "it alone is more than the limit");
        assert_eq!(cache.put('a', 5, 10), [1, 3]);
        assert_eq!(cache.get(&'a'), Some(&5));
        assert_eq!(cache.get(&'c'), None);
        assert_eq!(cache.bytes(), 10);
        assert_eq!(cache.put('a', 6, 11), [5, 6], "an earlier value is not left in its place");
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn a_lower_limit_and_a_removal_give_bytes_back() {
        let mut cache = Lru::<i32, i32>::new(10);
        for key in 0..5 {
            assert_eq!(cache.put(key, key, 2), [0; 0]);
        }
        assert_eq!(cache.remove(&3), Some(3));
        assert_eq!(cache.limit(4), [0, 1]);
        assert_eq!((cache.bytes(), cache.remove(&0)), (4, None));
    }
}
