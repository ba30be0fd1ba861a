//! Work that is spread over threads: as many as were asked for, and no more than that in the whole process.
//!
//! Threads live as long as the call that has work for them. So there is nothing that a fork() could leave without them, and
//! nothing to end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::process::PerProcess;

/// How many threads help callers now.
static HELPING: PerProcess<AtomicUsize> = PerProcess::new();

/// Threads that may help, until it is dropped.
struct Helpers(usize);

impl Helpers {
    /// Up to `wanted`, such that no more than that help at the same time in the process.
    fn take(wanted: usize) -> Self {
        let mut taken = 0;
        let take = |now: usize| {
            taken = wanted.saturating_sub(now);
            Some(now + taken)
        };
        let _ = HELPING.get().fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Self(taken)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPING.get().fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Calls `work` on this thread and on up to `threads` - 1 others, and waits for all of them.
pub(super) fn spread(threads: usize, work: impl Fn() + Sync) {
    let helpers = Helpers::take(threads.saturating_sub(1));
    thread::scope(|scope| {
        for _ in 0..helpers.0 {
            // Where there are no more threads to be had, fewer do the work.
            if thread::Builder::new().name("vsitlm-decode".into()).spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}
