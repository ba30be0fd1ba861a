//! The runtime of a process.
//!
//! Invariants:
//! - Nothing starts at load. The engine is made at its first use, its runtime at the first remote request.
//! - After fork() the child has an engine of its own ([`PerProcess`]). Whatever outlives a fork (an open source) asks for
//!   the engine anew at every request.
//! - Callers block on a std channel, never inside the runtime, so that they may be on a thread of any other runtime.

use std::future::Future;
use std::sync::{OnceLock, mpsc};

use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Error, Result};
use crate::process::PerProcess;
use crate::source::runtime::blocking::{Blocking, panicked};

/// Threads of the runtime. They only move bytes: decoding is the callers' work.
const WORKERS: usize = 2;

/// Threads that read at the same time, where a source has no way of reading without one.
const READERS: usize = 4;

/// Threads that look up the names of hosts at the same time.
const RESOLVERS: usize = 4;

static ENGINE: PerProcess<Engine> = PerProcess::new();

/// This process's engine.
pub(crate) fn current() -> &'static Engine {
    ENGINE.get()
}

/// What runs requests, and reads that block.
#[derive(Default)]
pub(crate) struct Engine {
    runtime: OnceLock<Result<Runtime>>,
    /// What reads for tasks, where a source has no other way.
    pub(crate) readers: Blocking<READERS>,
}

impl Engine {
    fn runtime(&self) -> Result<&Runtime> {
        self.runtime
            .get_or_init(|| {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(WORKERS)
                    .max_blocking_threads(RESOLVERS)
                    .thread_name("vsitlm")
                    .enable_all()
                    .build()
                    .map_err(|error| Error::read(format!("cannot start the threads for network requests: {error}")))
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Runs `future` on the runtime and waits for what it gives. A panic in it is an error here.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            // Nobody waits any more only when the caller is gone with its thread.
            let _ = sender.send(future.await);
        });
        receiver.recv().map_err(|_| panicked())
    }

    /// Runs `futures` side by side and gives each outcome with its number as soon as it is there. The first failure ends
    /// the others.
    pub(crate) fn run_each<T: Send + 'static>(
        &self,
        futures: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
        each: &mut dyn FnMut(usize, T),
    ) -> Result<()> {
        let runtime = self.runtime()?;
        let (sender, receiver) = mpsc::channel();
        let mut tasks = JoinSet::new();
        for (number, future) in futures.enumerate() {
            let sender = sender.clone();
            tasks.spawn_on(
                async move {
                    // Nobody waits any more only after a failure.
                    let _ = sender.send((number, future.await));
                },
                runtime.handle(),
            );
        }
        drop(sender);
        for _ in 0..tasks.len() {
            let (number, outcome) = receiver.recv().map_err(|_| panicked())?;
            each(number, outcome?); // an error drops the tasks, which aborts them
        }
        Ok(())
    }

    /// Runs `future` on the runtime, without waiting.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle> {
        Ok(self.runtime()?.spawn(future).abort_handle())
    }
}

/// The same as [`Engine::run_each`] for a task of the runtime. A failure, one of `each` too, ends the others, as does
/// dropping the future.
pub(crate) async fn join_each<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
    each: &mut (dyn FnMut(usize, T) -> Result<()> + Send),
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for (number, future) in futures.enumerate() {
        tasks.spawn(async move { future.await.map(|outcome| (number, outcome)) });
    }
    while let Some(joined) = tasks.join_next().await {
        let (number, outcome) = joined.map_err(|_| panicked())??;
        each(number, outcome)?;
    }
    Ok(())
}

/// Runs `future` on the runtime of this process, without waiting for it.
///
/// # Errors
/// [`Error::Read`] where the system gives no threads.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle> {
    current().spawn(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_request_is_an_error() {
        let outcome: Result<()> = current().run(async { panic!("on purpose") });
        let error: Error = outcome.unwrap_err();
        assert!(error.to_string().contains("panic"), "{error}");
    }

    #[test]
    fn blocks_on_a_thread_of_another_runtime() {
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let answer = other.block_on(async { current().run(async { 7 }) });
        assert_eq!(answer.unwrap(), 7);
    }
}
