//! Who may ask one host next: so many requests at the same time, so many a minute, and none while it asks for a pause.
//!
//! Invariants:
//! - Turns go round the readers (open files) that wait, one each; within a reader they go by who came first. So a file of
//!   which a thousand ranges are asked for delays another one by a turn, not by a thousand.
//! - As many turns are given as the limits allow: nobody waits whose turn it could be.
//! - Any [`PER_MINUTE`] long stretch of time sees at most the requests allowed, wherever it begins.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use url::Url;

use crate::options::Limits;
use crate::process::lock;

/// The time over which requests are counted.
const PER_MINUTE: Duration = Duration::from_secs(60);

/// The longest pause that is waited for. A server that asks for more gets no request, and the reader an error.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What one host is asked at most. Handles that were opened with different quotas share the count of requests, and each
/// keeps to its own quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests at the same time.
    pub(crate) connections: usize,
    /// Requests within a minute; `None` is any number.
    pub(crate) per_minute: Option<usize>,
}

/// Limits that archives publish: the domain, connections, requests a minute.
const PUBLISHED: [(&str, usize, usize); 1] = [
    // https://documentation.dataspace.copernicus.eu/Quotas.html, S3 access of general users
    ("dataspace.copernicus.eu", 4, 2000),
];

/// How many requests are made at the same time of a host that publishes no limit.
const CONNECTIONS: usize = 32;

impl Quota {
    /// The quota for the host of `url`: what the user has set, else what the host publishes, else the usual.
    pub(crate) fn at(url: &Url, set: Limits) -> Self {
        let name = url.host_str().unwrap_or_default();
        let is_of = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let published = PUBLISHED.iter().find(|(domain, ..)| is_of(domain));
        Self {
            connections: set.connections.or(published.map(|(_, connections, _)| *connections)).unwrap_or(CONNECTIONS),
            per_minute: set.per_minute.or(published.map(|(.., per_minute)| *per_minute)),
        }
    }
}

/// The turns of one host.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    queue: Mutex<Queue>,
    pace: Mutex<Pace>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Turns that are under way.
    taken: usize,
    /// What waits, by reader; the reader in front is next.
    readers: VecDeque<WaitingReader>,
}

#[derive(Debug)]
struct WaitingReader {
    id: u64,
    waiting: VecDeque<WaitingTurn>,
}

#[derive(Debug)]
struct WaitingTurn {
    connections: usize,
    wake: oneshot::Sender<Turn>,
}

/// The permission to send a request: it lasts until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            lock(&turns.queue).taken -= 1;
            turns.give();
        }
    }
}

impl Turns {
    /// Waits for a turn of `reader`, while `connections` or more are under way.
    pub(crate) async fn turn(self: &Arc<Self>, reader: u64, connections: usize) -> Turn {
        let granted = {
            let mut queue = lock(&self.queue);
            // What waits now does so by a lower limit of its own.
            if queue.taken < connections {
                queue.taken += 1;
                return Turn(Some(self.clone()));
            }
            let (wake, granted) = oneshot::channel();
            let waiting = WaitingTurn { connections, wake };
            match queue.readers.iter_mut().find(|other| other.id == reader) {
                Some(same) => same.waiting.push_back(waiting),
                None => queue.readers.push_back(WaitingReader { id: reader, waiting: [waiting].into() }),
            }
            granted
        };
        // Fails only if the queue forgets who listens, which it never does; then no limit is better than no request.
        granted.await.unwrap_or(Turn(None))
    }

    /// Whether at most one turn is under way.
    pub(crate) fn is_alone(&self) -> bool {
        lock(&self.queue).taken <= 1
    }

    /// Gives away the turns that are free.
    fn give(self: &Arc<Self>) {
        loop {
            let Some(next) = lock(&self.queue).next() else { return };
            if let Err(mut unwanted) = next.wake.send(Turn(Some(self.clone()))) {
                // Who waited has given up: the turn is taken back here, since its end would come here again.
                unwanted.0 = None;
                lock(&self.queue).taken -= 1;
            }
        }
    }

    /// Waits until a request may be sent, and counts it. The caller has its turn, so that others wait behind it.
    ///
    /// # Errors
    /// How long the host still wants to be left alone, where that is longer than anybody should be kept waiting.
    pub(crate) async fn pace(&self, per_minute: Option<usize>) -> Result<(), Duration> {
        loop {
            let now = Instant::now();
            let clear = match lock(&self.pace).clear(now, per_minute) {
                Ok(()) => return Ok(()),
                Err(Wait::Quota(until)) => until,
                Err(Wait::Pause(until)) if until - now > LONGEST_PAUSE => return Err(until - now),
                Err(Wait::Pause(until)) => until,
            };
            tokio::time::sleep_until(clear.into()).await;
        }
    }

    /// Leaves the host alone for a while, as it has asked.
    pub(crate) fn pause(&self, time: Duration) {
        // Longer than a day is as good as for ever.
        let until = Instant::now() + time.min(Duration::from_secs(86_400));
        let mut pace = lock(&self.pace);
        pace.paused = Some(pace.paused.map_or(until, |already| already.max(until)));
    }
}

impl Queue {
    /// Who is next, if a turn is free for anybody: it is taken.
    fn next(&mut self) -> Option<WaitingTurn> {
        let mut left = self.readers.len();
        while left > 0 {
            left -= 1;
            let mut reader = self.readers.pop_front()?;
            while reader.waiting.front().is_some_and(|waiting| waiting.wake.is_closed()) {
                reader.waiting.pop_front();
            }
            let next = match reader.waiting.front() {
                Some(first) if self.taken < first.connections => reader.waiting.pop_front(),
                _ => None,
            };
            if !reader.waiting.is_empty() {
                self.readers.push_back(reader);
            }
            if next.is_some() {
                self.taken += 1;
                return next;
            }
        }
        None
    }
}

/// When requests were sent, and until when none is.
#[derive(Debug, Default)]
struct Pace {
    /// The requests of the last [`PER_MINUTE`], the earliest first; kept only where they are limited.
    sent: VecDeque<Instant>,
    paused: Option<Instant>,
}

/// Until when to wait, and why.
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    Quota(Instant),
    Pause(Instant),
}

impl Pace {
    /// Counts a request that is sent `now`, unless it must wait.
    fn clear(&mut self, now: Instant, per_minute: Option<usize>) -> Result<(), Wait> {
        if let Some(until) = self.paused {
            if until > now {
                return Err(Wait::Pause(until));
            }
            self.paused = None;
        }
        while self.sent.front().is_some_and(|sent| now.duration_since(*sent) >= PER_MINUTE) {
            self.sent.pop_front();
        }
        let Some(most) = per_minute else { return Ok(()) };
        // The request that must be a minute old before the next one may go.
        if let Some(at) = self.sent.len().checked_sub(most).and_then(|place| self.sent.get(place)) {
            return Err(Wait::Quota(*at + PER_MINUTE));
        }
        self.sent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Asking<'a> = Pin<Box<dyn Future<Output = Turn> + 'a>>;

    fn ask(turns: &Arc<Turns>, reader: u64, connections: usize) -> Asking<'_> {
        let mut asking: Asking<'_> = Box::pin(turns.turn(reader, connections));
        assert!(now(&mut asking).is_none(), "there must be a wait");
        asking
    }

    /// Polls once, without a runtime.
    fn now(future: &mut Asking<'_>) -> Option<Turn> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    fn take(turns: &Arc<Turns>, reader: u64, connections: usize) -> Turn {
        let mut asking: Asking<'_> = Box::pin(turns.turn(reader, connections));
        now(&mut asking).expect("a turn is free")
    }

    #[test]
    fn turns_go_round_the_readers() {
        let turns = Arc::new(Turns::default());
        let mut turn = take(&turns, 1, 1);
        // Reader 1 wants three more, then 2 wants two and 3 one.
        let mut waiting: Vec<_> = [1, 1, 1, 2, 2, 3].iter().map(|reader| (*reader, ask(&turns, *reader, 1))).collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(turn);
            let ready: Vec<_> =
                (0..waiting.len()).filter_map(|at| now(&mut waiting[at].1).map(|turn| (at, turn))).collect();
            assert_eq!(ready.len(), 1, "one turn was free");
            let (at, next) = ready.into_iter().next().unwrap();
            order.push(waiting.remove(at).0);
            turn = next;
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 1]);
    }

    #[test]
    fn who_gives_up_keeps_nobody_waiting() {
        let turns = Arc::new(Turns::default());
        let turn = take(&turns, 1, 1);
        let given_up: Vec<_> = (0..10_000).map(|_| ask(&turns, 2, 1)).collect();
        let mut other = ask(&turns, 3, 1);
        drop(given_up);
        drop(turn);
        let turn = now(&mut other).expect("it is the only one left");
        let gone = ask(&turns, 2, 1);
        let mut last = ask(&turns, 3, 1);
        drop(turn); // the turn is given to who is gone before he looks
        drop(gone);
        drop(now(&mut last).expect("it was handed on"));
        assert_eq!(lock(&turns.queue).taken, 0);
        assert!(lock(&turns.queue).readers.is_empty());
    }

    #[test]
    fn each_keeps_to_its_own_limit() {
        let turns = Arc::new(Turns::default());
        let (one, two) = (take(&turns, 1, 4), take(&turns, 1, 4));
        let mut few = ask(&turns, 2, 1);
        let three = take(&turns, 3, 4);
        drop((one, two));
        assert!(now(&mut few).is_none(), "one is under way, which is all that it allows");
        drop(three);
        assert!(now(&mut few).is_some());
    }

    #[test]
    fn any_minute_sees_at_most_the_requests_allowed() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in [0, 10, 20] {
            assert_eq!(pace.clear(at(second), Some(3)), Ok(()));
        }
        assert_eq!(pace.clear(at(30), Some(3)), Err(Wait::Quota(at(60))));
        assert_eq!(pace.clear(at(30), Some(2)), Err(Wait::Quota(at(70))), "a lower quota counts the same requests");
        assert_eq!(pace.clear(at(60), Some(3)), Ok(()));
        assert_eq!(pace.clear(at(60), Some(3)), Err(Wait::Quota(at(70))));
        assert_eq!(pace.clear(at(60), None), Ok(()));
    }

    #[test]
    fn a_pause_is_kept_and_ends() {
        let start = Instant::now();
        let until = start + Duration::from_secs(5);
        let mut pace = Pace { paused: Some(until), ..Pace::default() };
        assert_eq!(pace.clear(start, None), Err(Wait::Pause(until)));
        assert_eq!(pace.clear(until, None), Ok(()));
        assert_eq!(pace.clear(start, None), Ok(()), "it is over");
        let turns = Turns::default();
        turns.pause(Duration::from_secs(3600));
        turns.pause(Duration::from_secs(1));
        let waited = std::pin::pin!(turns.pace(None)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(waited, Poll::Ready(Err(left)) if left > Duration::from_secs(3500)), "nobody waits an hour");
    }

    #[test]
    fn published_limits_are_the_default_for_their_hosts() {
        let quota = |connections, per_minute| Quota { connections, per_minute };
        for (host, expected) in [
            ("eodata.dataspace.copernicus.eu", quota(4, Some(2000))),
            ("dataspace.copernicus.eu", quota(4, Some(2000))),
            ("notdataspace.copernicus.eu", quota(32, None)),
            ("dataspace.copernicus.eu.example", quota(32, None)),
        ] {
            let url = Url::parse(&format!("https://{host}/a/b")).unwrap();
            assert_eq!(Quota::at(&url, Limits::default()), expected, "{host}");
            let set = Limits { connections: Some(8), per_minute: Some(9) };
            assert_eq!(Quota::at(&url, set), quota(8, Some(9)), "{host}");
        }
    }
}
