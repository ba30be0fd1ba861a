//! Debug messages, for `CPL_DEBUG=VSITLM` in a GDAL program.
//!
//! The rooms below `vsi` know no GDAL, and their messages come up on threads that the host knows nothing of. So they wait
//! here, and `vsi` tells them on a thread of the host's.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::{PerProcess, lock};

/// The most messages that wait. Past that the oldest give way: nobody may ever come for them.
const MOST: usize = 10_000;

/// Whether anybody reads the messages. Asked on the host's threads when they open a file.
static LISTENS: AtomicBool = AtomicBool::new(false);

static WAITING: PerProcess<Mutex<VecDeque<String>>> = PerProcess::new();

/// Takes note of whether anybody reads the messages from now on.
pub(crate) fn listen(listens: bool) {
    LISTENS.store(listens, Ordering::Relaxed);
}

/// Keeps the message that `make` makes, when somebody listens.
pub(crate) fn debug(make: impl FnOnce() -> String) {
    if LISTENS.load(Ordering::Relaxed) {
        keep(&WAITING, make());
    }
}

fn keep(waiting: &PerProcess<Mutex<VecDeque<String>>>, message: String) {
    let mut waiting = lock(waiting.get());
    if waiting.len() == MOST {
        waiting.pop_front();
    }
    waiting.push_back(message);
}

/// The message that has waited longest, when somebody listens.
pub(crate) fn take() -> Option<String> {
    LISTENS.load(Ordering::Relaxed).then(|| lock(WAITING.get()).pop_front()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_messages_wait() {
        static MESSAGES: PerProcess<Mutex<VecDeque<String>>> = PerProcess::new();
        for number in 0..MOST + 5 {
            keep(&MESSAGES, number.to_string());
        }
        let waiting = lock(MESSAGES.get());
        assert_eq!((waiting.len(), waiting.front().map(String::as_str)), (MOST, Some("5")));
    }
}
