//! Work that blocks, done for tasks of the runtime by threads of its own: at most so many, which are reused and kept, so
//! that a process with thousands of questions has a handful of threads. tokio's own pool starts another one whenever none
//! is idle yet.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::process::lock;

type Job = Box<dyn FnOnce() + Send>;

/// At most `N` threads for work that blocks.
#[derive(Default)]
pub(crate) struct Blocking<const N: usize>(Arc<Pool>);

#[derive(Default)]
struct Pool {
    jobs: Mutex<Jobs>,
    more: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl<const N: usize> Blocking<N> {
    /// Runs `work` when a thread is free. What has begun goes on when the future is dropped. A panic is an error.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.run_on(N, work).await
    }

    /// The same, where no more than `threads` threads are wanted now.
    pub(crate) async fn run_on<T: Send + 'static>(
        &self,
        threads: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        };
        self.push(threads.clamp(1, N), Box::new(job))?;
        receiver.await.map_err(|_| panicked())
    }

    fn push(&self, threads: usize, job: Job) -> Result<()> {
        let mut jobs = lock(&self.0.jobs);
        jobs.waiting.push_back(job);
        if jobs.waiting.len() > jobs.idle && jobs.threads < threads {
            let pool = self.0.clone();
            let started = std::thread::Builder::new().name("vsitlm".to_owned()).spawn(move || pool.work());
            match started {
                Ok(_) => jobs.threads += 1,
                // The others will do it.
                Err(_) if jobs.threads > 0 => {}
                Err(error) => {
                    jobs.waiting.pop_back();
                    return Err(Error::read(format!("cannot start a thread: {error}")));
                }
            }
        }
        drop(jobs);
        self.0.more.notify_one();
        Ok(())
    }
}

impl Pool {
    /// A thread's life.
    fn work(&self) {
        loop {
            let mut jobs = lock(&self.jobs);
            let job = loop {
                if let Some(job) = jobs.waiting.pop_front() {
                    break job;
                }
                jobs.idle += 1;
                jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                jobs.idle -= 1;
            };
            drop(jobs);
            // The waiting task sees a panic by the sender's end.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        }
    }
}

/// What the waiting task or thread gets where the work ended by a panic.
pub(crate) fn panicked() -> Error {
    Error::read("a request ended by a panic, which is an error of this program: report it")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
    }

    #[test]
    fn many_jobs_are_done_by_few_threads() {
        let blocking: Arc<Blocking<3>> = Arc::default();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = runtime().block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..200 {
                let (blocking, now, most) = (blocking.clone(), now.clone(), most.clone());
                tasks.spawn(async move {
                    blocking
                        .run(move || {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::thread::yield_now();
                            now.fetch_sub(1, Ordering::SeqCst);
                            (number, std::thread::current().id())
                        })
                        .await
                        .unwrap()
                });
            }
            tasks.join_all().await
        });
        assert_eq!(seen.iter().map(|(number, _)| *number).collect::<HashSet<_>>().len(), 200);
        assert!(seen.iter().map(|(_, thread)| *thread).collect::<HashSet<_>>().len() <= 3);
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[test]
    fn a_panic_is_an_error_and_ends_no_thread() {
        let blocking = Blocking::<1>::default();
        runtime().block_on(async {
            let error = blocking.run(|| -> u8 { panic!("on purpose") }).await.unwrap_err();
            assert!(error.to_string().contains("panic"), "{error}");
            assert_eq!(blocking.run(|| 7).await.unwrap(), 7);
        });
    }
}
