//! Ranges of bytes from wherever a file lies. Nothing here knows what a JP2 is.
//!
//! ```text
//! fetch_units ─► cache ─► single-flight ─► merge ─► Source::read_each ─► turns ─► transport
//! ```
//!
//! Each room imports from those below it in this table, never from those above:
//!
//! | room | what |
//! |---|---|
//! | `testing` | what tests read from, and the suite that every source passes |
//! | `caller` | whoever asks: resolves options, opens locations |
//! | `open` | from a location, as a caller reaches it, to a source |
//! | `remote` | HTTP and the object stores |
//! | `cache` | units: fetched once and kept, merged into requests |
//! | `local` | files of this machine |
//! | `contract` | what every source does |
//! | `runtime` | threads that a process shares |
//! | `host` | one host: who may ask it next, what requests to it cost, what was asked |
//! | `range` | where bytes lie in a file |
//! | `identity` | whose what was obtained is |
//!
//! What a process shares is made at its first use, and once more in a child after fork() ([`crate::process::PerProcess`]):
//! what is shared is such a static: `HOSTS`, `ENGINE`, `CACHE`, `CLIENTS`, `METAS`, `REGIONS` and `NUMBERS`. What outlives a
//! fork (an open source) asks for them anew at every request, and keeps no lock of its own.

mod cache;
mod caller;
mod contract;
mod host;
mod identity;
mod local;
mod open;
mod range;
mod remote;
mod runtime;
#[cfg(test)]
mod testing;

pub(crate) use cache::{
    Fetched, count_decoded, fetch_units, fetch_units_async, is_under_way, keep, merge_gap, peek, prefetch,
};
pub(crate) use caller::Caller;
#[cfg(test)]
pub(crate) use caller::OpenBy;
pub(crate) use contract::{HostFiles, Meta, Source, same_etag};
pub(crate) use host::{Host, Link, host, statistics, statistics_json};
pub(crate) use identity::{Access, Identity};
pub(crate) use local::meta as local_meta;
pub(crate) use open::{list, put, read_whole};
pub(crate) use range::{SourceOffset, SourceRange};
pub(crate) use runtime::{Blocking, spawn};
#[cfg(test)]
pub(crate) use testing::{memory, mock};
