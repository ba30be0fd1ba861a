//! The questions of a process that have no answer yet, and the threads that work on them.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::task::AbortHandle;

use crate::decode::Samples;
use crate::process::PerProcess;
use crate::source::Blocking;

/// Takes an answer, and the samples that it tells of.
pub(crate) type Answer = Box<dyn FnOnce(String, Option<Samples>) + Send>;

/// Files that are opened or looked at at the same time: that may block.
const OPENERS: usize = 3;

/// Files that are decoded at the same time, at most.
const DECODERS: usize = 1024;

pub(super) static STATE: PerProcess<State> = PerProcess::new();

#[derive(Default)]
pub(super) struct State {
    pub(super) pending: Mutex<HashMap<u64, Pending>>,
    pub(super) openers: Blocking<OPENERS>,
    pub(super) decoders: Blocking<DECODERS>,
    pub(super) teller: Blocking<1>,
}

/// A question without an answer.
pub(super) struct Pending {
    pub(super) answer: Answer,
    /// What works on it; not yet known at first.
    pub(super) task: Option<AbortHandle>,
}
