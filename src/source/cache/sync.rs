//! The locks of `store`, by the names under which a test replaces them.

pub(super) use std::sync::{Arc, Condvar, Mutex};
use std::sync::{MutexGuard, PoisonError};

pub(super) use crate::process::lock;

/// Waits until `condition` is false.
pub(super) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_while(guard, condition).unwrap_or_else(PoisonError::into_inner)
}
