//! Work that is spread over threads: as many as were asked for, and no more than that in the whole process.
//!
//! Threads live as long as the call that has work for them. So there is nothing that a fork() could leave without them, and
//! nothing to end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::process::PerProcess;

/// How many threads decode now.
static DECODING: PerProcess<AtomicUsize> = PerProcess::new();

/// Threads that decode, until it is dropped: the caller's, and others.
struct Threads {
    others: usize,
}

impl Threads {
    /// The caller's, and as many others as keep all that decode within `most`.
    fn take(most: usize) -> Self {
        let mut others = 0;
        let take = |now: usize| {
            others = most.saturating_sub(now + 1);
            Some(now + 1 + others)
        };
        let _ = DECODING.get().fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Self { others }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        DECODING.get().fetch_sub(1 + self.others, Ordering::Relaxed);
    }
}

/// Calls `work` on this thread and on up to `threads` - 1 others, and waits for all of them: on fewer where other calls of
/// the process have threads already, and `units` of work at most.
pub(crate) fn spread(threads: usize, units: usize, work: impl Fn() + Sync) {
    let threads = Threads::take(threads.min(units));
    thread::scope(|scope| {
        for _ in 0..threads.others {
            // Where there are no more threads to be had, fewer do the work.
            if thread::Builder::new().name("vsitlm-decode".into()).spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}
