//! A map that forgets what was not asked for longest, bounded by a cost that the caller counts.

use std::collections::HashMap;
use std::hash::Hash;

/// The map. Its values are cheap to clone: `Bytes`, `Arc`.
pub(super) struct Recent<K, V> {
    entries: HashMap<K, Entry<V>>,
    cost: usize,
    most: usize,
    clock: u64,
}

struct Entry<V> {
    value: V,
    cost: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// An empty map that keeps entries of `most` together.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), cost: 0, most, clock: 0 }
    }

    /// The value, which is now the one used last.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// Keeps `value`, unless it alone costs more than all may.
    pub(super) fn put(&mut self, key: K, value: V, cost: usize) {
        self.remove(&key);
        if cost > self.most {
            return;
        }
        self.clock += 1;
        self.cost += cost;
        self.entries.insert(key, Entry { value, cost, used: self.clock });
        while self.cost > self.most {
            // A walk over all entries: there are at most some thousands, and something large was just read.
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
            else {
                return;
            };
            self.remove(&oldest);
        }
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.cost -= entry.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_asked_for_longest_goes() {
        let mut recent = Recent::new(10);
        recent.put('a', 1, 4);
        recent.put('b', 2, 4);
        assert_eq!(recent.get(&'a'), Some(1));
        recent.put('c', 3, 4);
        assert_eq!((recent.get(&'a'), recent.get(&'b'), recent.get(&'c')), (Some(1), None, Some(3)));
        recent.put('d', 4, 11);
        assert_eq!((recent.get(&'d'), recent.get(&'a')), (None, Some(1)));
        recent.put('a', 5, 10);
        assert_eq!((recent.get(&'a'), recent.get(&'c'), recent.cost), (Some(5), None, 10));
    }
}
