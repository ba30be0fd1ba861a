//! What a process shares, and what fork() does to it; threads for what must not wait there.

pub(super) mod blocking;
pub(super) mod engine;

pub(crate) use blocking::Blocking;
pub(crate) use engine::{host, spawn, statistics, statistics_json};
