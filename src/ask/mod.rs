//! Questions of programs: what a file is, where it lies in an index, that it be fetched. JSON in, JSON out; see
//! `vsitlm_ask` in include/vsitlm.h.
//!
//! ```text
//! ask ─► Question::parse ─► task of the engine's runtime ─► answer ─► tell
//! ```
//!
//! Invariants:
//! - A question is answered once, or cancelled: whoever takes it out of the table does that. What failed is an answer too,
//!   be it by a panic.
//! - Nothing waits on the caller's thread, and nothing blocks on the runtime's: what may block has a few threads of its
//!   own, and so have the answers, told one after the other, since who is told may wait for a lock of the program's.
//! - After fork() the child has a table of its own: it answers none of its parent's questions. Their numbers are never
//!   given again.

mod answer;
mod asker;
mod decode;
mod question;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::error::{Error, Result};
pub(crate) use asker::Asker;
pub(crate) use state::Answer;

use crate::process::lock;
use crate::source;
use answer::Answered;
pub(crate) use decode::decode;
use question::Question;
use state::{Pending, STATE};
pub(crate) use table::table;

/// Asks `question`, and gives its number: never 0.
pub(crate) fn ask(question: &str, asker: Arc<dyn Asker>, answer: Answer) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let question = match Question::parse(question) {
        Ok(question) => Arc::new(question),
        Err(error) => {
            answer(text(&Err(error)), None);
            return number;
        }
    };
    let state = STATE.get();
    lock(&state.pending).insert(number, Pending { answer, task: None });
    let task = source::spawn(async move {
        let _panic = Unanswered(number);
        let told = answer::answer(question, asker).await;
        let _ = STATE.get().teller.run(move || tell(number, told)).await;
    });
    match task {
        Ok(task) => {
            if let Some(pending) = lock(&state.pending).get_mut(&number) {
                pending.task = Some(task);
            }
        }
        Err(error) => tell(number, Err(error)),
    }
    number
}

/// Ends the question `number`: whether it will never be answered.
pub(crate) fn cancel(number: u64) -> bool {
    let Some(pending) = lock(&STATE.get().pending).remove(&number) else { return false };
    pending.task.inspect(AbortHandle::abort);
    true
}

/// Answers the question, unless that was done or it was cancelled.
fn tell(number: u64, told: Result<Answered>) {
    let pending = lock(&STATE.get().pending).remove(&number);
    if let Some(pending) = pending {
        let (told, samples) = match told {
            Ok(Answered { json, samples }) => (Ok(json), samples),
            Err(error) => (Err(error), None),
        };
        (pending.answer)(text(&told), samples);
    }
}

/// A question that is worked on: answered in any case.
struct Unanswered(u64);

impl Drop for Unanswered {
    fn drop(&mut self) {
        let error = Error::read("the question ended by a panic, which is an error of this program: report it");
        tell(self.0, Err(error));
    }
}

/// An error as an answer.
pub(crate) fn error_json(error: Error) -> String {
    text(&Err(error))
}

/// An answer as it is told.
fn text(outcome: &Result<Value>) -> String {
    match outcome {
        Ok(answer) => answer.clone(),
        Err(error) => json!({"error": {"kind": error.kind(), "message": error.chain()}}),
    }
    .to_string()
}
