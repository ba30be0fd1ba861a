//! What a process remembers of remote files, besides their bytes: what they were when last seen, and where they lie.

use std::sync::Mutex;

use crate::lru::Lru;
use crate::process::{PerProcess, lock};
use crate::source::contract::Meta;

/// Bytes of sizes and ETags that are remembered: about 60,000 files. One that is forgotten costs a cache miss.
const METAS: u64 = 16 << 20;

/// Bytes of regions that are remembered: about 5,000 buckets. One that is forgotten costs a request.
const REGIONS: u64 = 1 << 20;

/// What an entry costs besides its texts, roughly, in bytes.
const OVERHEAD: usize = 160;

static REMEMBERED: PerProcess<Remembered> = PerProcess::new();

struct Remembered {
    /// By identity.
    metas: Mutex<Lru<String, Meta>>,
    /// By bucket.
    regions: Mutex<Lru<String, String>>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { metas: Mutex::new(Lru::new(METAS)), regions: Mutex::new(Lru::new(REGIONS)) }
    }
}

/// Size and ETag of the file `identity`, as an earlier source has seen them.
pub(super) fn meta(identity: &str) -> Option<Meta> {
    lock(&REMEMBERED.get().metas).get(identity).cloned()
}

/// Remembers what a response said of the file `identity`.
pub(super) fn remember_meta(identity: &str, meta: &Meta) {
    REMEMBERED.get().remember_meta(identity, meta);
}

/// The region that AWS has said `bucket` lies in.
pub(super) fn region(bucket: &str) -> Option<String> {
    lock(&REMEMBERED.get().regions).get(bucket).cloned()
}

/// Remembers what AWS has said.
pub(super) fn remember_region(bucket: &str, region: &str) {
    REMEMBERED.get().remember_region(bucket, region);
}

impl Remembered {
    fn remember_meta(&self, identity: &str, meta: &Meta) {
        let etag = meta.etag.as_deref().unwrap_or_default();
        let cost = OVERHEAD + identity.len() + etag.len();
        drop(lock(&self.metas).put(identity.to_owned(), meta.clone(), cost as u64));
    }

    fn remember_region(&self, bucket: &str, region: &str) {
        let cost = OVERHEAD + bucket.len() + region.len();
        drop(lock(&self.regions).put(bucket.to_owned(), region.to_owned(), cost as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        let remembered = Remembered::default();
        let meta = Meta { size: 1, etag: Some("e".repeat(1 << 20)), last_modified: None };
        for file in 0..100 {
            remembered.remember_meta(&file.to_string(), &meta);
            assert!(lock(&remembered.metas).get("0").is_some(), "it was used last but for {file}");
        }
        assert!(lock(&remembered.metas).bytes() <= METAS);
        assert_eq!(lock(&remembered.metas).iter().count(), 15);
        for bucket in 0..20_000 {
            remembered.remember_region(&format!("bucket-{bucket}"), "eu-central-1");
        }
        assert!(lock(&remembered.regions).bytes() <= REGIONS);
        assert_eq!(lock(&remembered.regions).get("bucket-19999").map(String::as_str), Some("eu-central-1"));
        assert!(lock(&remembered.regions).get("bucket-0").is_none());
    }
}
