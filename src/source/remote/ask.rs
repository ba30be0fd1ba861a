//! Asks for something until it is there, or another try does not help.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::source::host::statistics::count;
use crate::source::host::{Host, host};
use crate::source::remote::call::{Failure, Received, What};
use crate::source::remote::http::attempt;
use crate::source::remote::target::Target;
use crate::source::runtime::engine;

/// The longest wait before another try, unless the user's first one is longer.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What asks for one file, or for what lies below one prefix. It holds no connection and no lock.
pub(super) struct Asker {
    pub(super) target: Target,
    /// By which the host's turns are given.
    reader: u64,
}

/// A request that failed for good.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) tries: u64,
}

impl Asker {
    pub(super) fn new(target: Target) -> Self {
        Self { target, reader: Host::next_reader() }
    }

    pub(super) fn host(&self) -> Arc<Host> {
        host(&self.target.authority)
    }

    /// Asks for `what`, with all its tries, and once more where a response names another region; for the version that has
    /// `etag`, where one is wanted.
    pub(super) async fn ask(&self, what: &What, etag: Option<&str>) -> Result<Received, Failed> {
        let known = self.target.known_region();
        let (failure, tries) = match self.try_in(what, etag, known.as_deref()).await {
            Ok(received) => return Ok(received),
            Err(failed) => (failed.failure, failed.tries),
        };
        match self.target.other_region(&failure, known.as_deref()) {
            Some(region) => {
                let there = self.try_in(what, etag, Some(region)).await;
                there.map_err(|failed| Failed { tries: tries + failed.tries, ..failed })
            }
            None => Err(Failed { failure, tries }),
        }
    }

    async fn try_in(&self, what: &What, etag: Option<&str>, region: Option<&str>) -> Result<Received, Failed> {
        let mut delays = Delays::new(self.target.retry_delay, self.target.retries);
        let mut tries = 1;
        loop {
            let failure = match attempt(&self.target, self.reader, what, etag, region).await {
                Ok(received) => return Ok(received),
                Err(failure) => failure,
            };
            crate::trace::debug(|| {
                format!("{} {}, try {tries}: {}", self.target.authority, what.brief(), failure.brief())
            });
            let Some(delay) = delays.next().filter(|_| failure.again()) else {
                return Err(Failed { failure, tries });
            };
            tokio::time::sleep(delay).await;
            tries += 1;
            count(&self.host().counters.retries, 1);
        }
    }

    /// The error that the user sees for a request for `what`.
    pub(super) fn error(&self, what: &What, Failed { failure, tries }: Failed) -> Error {
        count(&self.host().counters.read_errors, 1);
        failure.error(what, tries, self.target.hints())
    }

    /// Asks for `what` and waits for it, on a thread that is not the runtime's.
    pub(super) fn wait(self: &Arc<Self>, what: What) -> Result<Received> {
        let asker = self.clone();
        engine::current()
            .run(async move { asker.ask(&what, None).await.map_err(|failed| asker.error(&what, failed)) })?
    }
}

/// The waits before further tries: the user's first, then each up to twice the one before, by chance, so that many who
/// have failed together do not come again together.
struct Delays {
    first: Duration,
    next: Duration,
    left: usize,
}

impl Delays {
    fn new(first: Duration, count: usize) -> Self {
        Self { first, next: first, left: count }
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        // The standard library's hashers have random keys.
        let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        let more = self.first + (self.next * 2).saturating_sub(self.first).mul_f64(chance);
        Some(std::mem::replace(&mut self.next, more.min(self.first.max(MAX_DELAY))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_begin_with_the_users_and_grow_by_chance() {
        let first = Duration::from_millis(500);
        let mut all = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let delays: Vec<Duration> = Delays::new(first, 100).collect();
            assert_eq!((delays.len(), delays[0]), (100, first));
            assert!(delays.windows(2).all(|pair| pair[1] >= first && pair[1] <= (pair[0] * 2).min(MAX_DELAY)));
            all.extend(delays);
        }
        assert!(all.len() > 1000, "{} of 2000 differ", all.len());
        assert_eq!(all.last(), Some(&MAX_DELAY));
        let long = Duration::from_secs(100);
        assert_eq!(Delays::new(long, 3).max(), Some(long));
        assert_eq!(Delays::new(long, 0).next(), None);
    }
}
