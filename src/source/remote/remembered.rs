//! What a process remembers of remote files, besides their bytes: what they were when last seen, and where they lie.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::process::{PerProcess, lock};
use crate::source::contract::Meta;

/// Files whose size and ETag are remembered. Past that all are forgotten, which costs a cache miss each.
const MAX_KNOWN: usize = 65_536;

static REMEMBERED: PerProcess<Remembered> = PerProcess::new();

#[derive(Default)]
struct Remembered {
    /// By identity.
    metas: Mutex<HashMap<String, Meta>>,
    /// By bucket.
    regions: Mutex<HashMap<String, String>>,
}

/// Size and ETag of the file `identity`, as an earlier source has seen them.
pub(super) fn meta(identity: &str) -> Option<Meta> {
    lock(&REMEMBERED.get().metas).get(identity).cloned()
}

/// Remembers what a response said of the file `identity`.
pub(super) fn remember_meta(identity: &str, meta: &Meta) {
    let mut metas = lock(&REMEMBERED.get().metas);
    if metas.len() >= MAX_KNOWN {
        metas.clear();
    }
    metas.insert(identity.to_owned(), meta.clone());
}

/// The region that AWS has said `bucket` lies in.
pub(super) fn region(bucket: &str) -> Option<String> {
    lock(&REMEMBERED.get().regions).get(bucket).cloned()
}

/// Remembers what AWS has said.
pub(super) fn remember_region(bucket: &str, region: &str) {
    lock(&REMEMBERED.get().regions).insert(bucket.to_owned(), region.to_owned());
}
