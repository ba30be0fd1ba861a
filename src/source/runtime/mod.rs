//! Threads that a process shares: those of the runtime, and those for work that must not wait in it.

pub(super) mod blocking;
pub(super) mod engine;

pub(crate) use blocking::Blocking;
pub(crate) use engine::spawn;
