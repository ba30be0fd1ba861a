//! What a process remembers of remote files, besides their bytes: what they were when last seen, and where they lie.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Mutex;

use crate::lru::Lru;
use crate::process::{PerProcess, lock};
use crate::source::contract::Meta;

/// What a process keeps by keys, all together up to `LIMIT`; the least recently used go first.
pub(super) struct Remembered<K: Hash + Eq, V, const LIMIT: u64>(Mutex<Lru<K, V>>);

impl<K: Hash + Eq, V, const LIMIT: u64> Default for Remembered<K, V, LIMIT> {
    fn default() -> Self {
        Self(Mutex::new(Lru::new(LIMIT)))
    }
}

impl<K: Hash + Eq, V: Clone, const LIMIT: u64> Remembered<K, V, LIMIT> {
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        lock(&self.0).get(key).cloned()
    }

    pub(super) fn put(&self, key: K, value: V, weight: u64) {
        let gone = lock(&self.0).put(key, value, weight);
        drop(gone); // when the lock is free
    }
}

/// Sizes and ETags by identity, in bytes: about 60,000 files. One that is forgotten costs a cache miss.
type Metas = Remembered<String, Meta, { 16 << 20 }>;

/// Regions by bucket, in bytes: about 5,000 buckets. One that is forgotten costs a request.
type Regions = Remembered<String, String, { 1 << 20 }>;

static METAS: PerProcess<Metas> = PerProcess::new();
static REGIONS: PerProcess<Regions> = PerProcess::new();

/// What an entry of these texts weighs, roughly, in bytes.
fn weigh(key: &str, value: &str) -> u64 {
    (160 + key.len() + value.len()) as u64
}

/// Size and ETag of the file `identity`, as an earlier source has seen them.
pub(super) fn meta(identity: &str) -> Option<Meta> {
    METAS.get().get(identity)
}

/// Remembers what a response said of the file `identity`.
pub(super) fn remember_meta(identity: &str, meta: &Meta) {
    let weight = weigh(identity, meta.etag.as_deref().unwrap_or_default());
    METAS.get().put(identity.to_owned(), meta.clone(), weight);
}

/// The region that AWS has said `bucket` lies in.
pub(super) fn region(bucket: &str) -> Option<String> {
    REGIONS.get().get(bucket)
}

/// Remembers what AWS has said.
pub(super) fn remember_region(bucket: &str, region: &str) {
    REGIONS.get().put(bucket.to_owned(), region.to_owned(), weigh(bucket, region));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_used_stay() {
        let (metas, regions) = (Metas::default(), Regions::default());
        for number in 0..70_000 {
            let key = number.to_string();
            let meta = Meta { size: number, etag: Some("e".repeat(100)), last_modified: None };
            metas.put(key.clone(), meta, weigh(&key, &"e".repeat(100)));
            regions.put(key.clone(), "eu-central-1".to_owned(), weigh(&key, "eu-central-1"));
            assert!(metas.get("0").is_some() && regions.get("0").is_some());
        }
        assert!(metas.get("69999").is_some() && regions.get("69999").is_some());
        assert!(metas.get("1").is_none() && regions.get("1").is_none());
        assert!(lock(&metas.0).bytes() <= 16 << 20 && lock(&regions.0).bytes() <= 1 << 20);
    }
}
