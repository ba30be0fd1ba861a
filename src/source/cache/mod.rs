//! Fetched units: one cache for the process.
//!
//! | file | what |
//! |---|---|
//! | `units` | units: fetched once and kept, merged into requests |
//! | `store` | which units are at hand, and which are under way; its locks are those of `sync`, which a test replaces |
//! | `merge` | which ranges are fetched together |
//! | `buffer` | memory for bodies and for what is kept of them |

pub(super) mod buffer;
mod merge;
mod store;
mod sync;
pub(super) mod units;

pub(crate) use units::{
    Fetched, count_decoded, fetch_units, fetch_units_async, is_under_way, keep, merge_gap, peek, prefetch,
};
