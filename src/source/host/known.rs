//! What a process knows of its hosts: who may ask one (`turns`), over which protocol, what a request to it costs, and what
//! was asked so far.
//!
//! Many small ranges go over one connection where the host speaks HTTP/2: one handshake in place of 37 for an overview of
//! 121 tiles, in the same time once the connection is under way; where TCP begins it slowly, a round trip or four later.
//! Large ranges side by side are faster over connections of their own, each with a congestion window, and so are asked
//! for by HTTP/1.1. `scripts/bench_http2.py` measures both.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use crate::process::{PerProcess, lock};
use crate::source::host::link::Link;
use crate::source::host::statistics::{self, Counters, Statistics, count};
use crate::source::host::turns::Turns;

/// Shorter bodies, in bytes, say more about the round trip than about the bandwidth.
const MIN_BANDWIDTH_SAMPLE: u64 = 256 << 10;

/// Ranges of at most this many bytes are small: over one connection they cost little more than over many.
pub(crate) const SMALL: u64 = 64 << 10;

/// How long a connection is taken to be open after its last response. Servers close idle ones after a minute or so.
const OPEN_FOR: Duration = Duration::from_secs(60);

/// S3 and Azure's blobs are known to speak HTTP/1.1 alone: finding that out would delay the first small ranges.
const WITHOUT_HTTP2: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".blob.core.windows.net"];

/// A request that goes on sooner has not waited.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Hosts that are kept apart. A server that redirects to ever new names must not fill the memory.
const MAX_HOSTS: usize = 4096;

static HOSTS: PerProcess<Mutex<HashMap<String, Arc<Host>>>> = PerProcess::new();

/// What this process knows of the host `authority`: scheme, name and port.
pub(crate) fn host(authority: &str) -> Arc<Host> {
    let mut hosts = lock(HOSTS.get());
    if let Some(host) = hosts.get(authority) {
        return host.clone();
    }
    let name = if hosts.len() < MAX_HOSTS { authority } else { "others" };
    hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(Host::new(name))).clone()
}

fn by_host() -> BTreeMap<String, Statistics> {
    lock(HOSTS.get()).iter().map(|(name, host)| (name.clone(), host.counters.now())).collect()
}

/// What the sources of this process have done so far.
pub(crate) fn statistics() -> Statistics {
    statistics::total(&by_host())
}

/// The same by host, as JSON: see `vsitlm_statistics()` in include/vsitlm.h.
pub(crate) fn statistics_json() -> String {
    statistics::json(&by_host())
}

/// What a process knows of one host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Who may ask next.
    pub(crate) turns: Arc<Turns>,
    /// What has been asked so far.
    pub(crate) counters: Counters,
    /// Whether it answers If-Match with 412 for a file that is still the same.
    pub(crate) misjudges_etags: AtomicBool,
    /// Whether it speaks HTTP/2, and when it last did; `None` before the first response.
    speaks: Mutex<Option<(bool, Instant)>>,
    /// Held by the request whose response will show it.
    first: tokio::sync::Mutex<()>,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    /// Seconds from a request to its response's head, on a connection that is open.
    rtt: Option<f64>,
    /// Bytes a second of one connection.
    bandwidth: Option<f64>,
}

impl Host {
    /// The host `authority`: scheme, name and port.
    pub(crate) fn new(authority: &str) -> Self {
        let known = WITHOUT_HTTP2.iter().any(|suffix| authority.ends_with(suffix)).then(|| (false, Instant::now()));
        Self { speaks: Mutex::new(known), ..Self::default() }
    }

    /// A number for the next reader that waits for turns, of any host.
    pub(crate) fn next_reader() -> u64 {
        static READERS: AtomicU64 = AtomicU64::new(0);
        READERS.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of a read that was not a request of this program's own: its bytes, or that it failed.
    pub(crate) fn note_read(&self, bytes: Option<u64>) {
        count(&self.counters.requests, 1);
        count(&self.counters.bytes, bytes.unwrap_or(0));
        count(&self.counters.read_errors, u64::from(bytes.is_none()));
    }

    /// Takes note of a request that waits no more, since when it did.
    pub(crate) fn note_wait(&self, since: Instant) {
        let waited = since.elapsed();
        if waited >= SHORTEST_WAIT {
            self.counters.waited(waited);
        }
    }

    /// Whether it speaks HTTP/2 over a connection that is probably open, as far as that is known.
    fn speaks_http2(&self) -> Option<bool> {
        lock(&self.speaks).filter(|(http2, at)| !http2 || at.elapsed() < OPEN_FOR).map(|(http2, _)| http2)
    }

    /// How a range of `length` bytes is asked for; `alone` says that nothing else is on its way.
    ///
    /// Of small ranges that come together one goes first, where it is not known what the host speaks: the others find
    /// its connection open, and need none of their own if that is HTTP/2. Whether it fails or not, none waits twice.
    pub(crate) async fn way(&self, length: u64, alone: bool) -> Way<'_> {
        let small = length <= SMALL;
        let first = match self.speaks_http2() {
            None if small => match self.first.try_lock() {
                Ok(first) => Some(first),
                Err(_) => {
                    drop(self.first.lock().await);
                    None
                }
            },
            _ => None,
        };
        // One pool of connections for all, unless a large range would share its connection with others.
        let http2 = small || alone || self.speaks_http2() != Some(true);
        Way { http2, _first: first }
    }

    /// Takes note of what a response came by, where HTTP/2 was offered.
    pub(crate) fn spoke(&self, http2: bool) {
        *lock(&self.speaks) = Some((http2, Instant::now()));
    }

    /// Takes note of a response: `first_byte` after the request, then `bytes` in `body`.
    pub(crate) fn measure(&self, first_byte: Duration, bytes: u64, body: Duration) {
        let mut measured = lock(&self.measured);
        // Whether the connection was a new one is not known. A new one takes two to three round trips more, so the
        // shortest time is the one meant; a longer one counts little, to follow a link that has become slower.
        let sample = first_byte.as_secs_f64();
        measured.rtt = Some(match measured.rtt {
            Some(rtt) if sample > rtt => rtt + (sample - rtt) / 32.0,
            _ => sample,
        });
        let seconds = body.as_secs_f64();
        if bytes >= MIN_BANDWIDTH_SAMPLE && seconds > 0.0 {
            let sample = bytes as f64 / seconds;
            measured.bandwidth = Some(measured.bandwidth.map_or(sample, |known| known + (sample - known) / 4.0));
        }
    }

    /// What was measured, or what most links are like.
    pub(crate) fn link(&self) -> Link {
        let measured = lock(&self.measured);
        let usual = Link::default();
        match (measured.rtt, measured.bandwidth) {
            (Some(rtt), Some(bandwidth)) => Link { rtt, bandwidth },
            _ => usual,
        }
    }
}

/// How a request goes out.
pub(crate) struct Way<'a> {
    /// Whether HTTP/2 is offered.
    pub(crate) http2: bool,
    /// Others wait until this is dropped.
    _first: Option<MutexGuard<'a, ()>>,
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_link_is_known_once_both_were_measured() {
        let host = Host::new("https://h");
        assert_eq!(host.link(), Link::default());
        host.measure(Duration::from_millis(150), 1000, Duration::from_millis(1));
        assert_eq!(host.link(), Link::default(), "a short body says nothing of the bandwidth");
        host.measure(Duration::from_millis(50), 1_000_000, Duration::from_secs(1));
        assert_eq!(host.link().request(), 50_000);
    }

    #[test]
    fn a_new_connection_hardly_moves_the_round_trip() {
        let host = Host::new("https://h");
        host.measure(Duration::from_millis(50), 1_000_000, Duration::from_secs(1));
        host.measure(Duration::from_millis(200), 1_000_000, Duration::from_secs(1));
        assert!((50_000..60_000).contains(&host.link().request()));
    }

    /// Polls once, without a runtime: what is ready, is so at once.
    fn now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = Context::from_waker(Waker::noop());
        match future.poll(&mut context) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    fn http2_offered(host: &Host, length: u64, alone: bool) -> bool {
        now(pin!(host.way(length, alone))).expect("nothing to wait for").http2
    }

    #[test]
    fn small_ranges_wait_for_the_first_and_only_once() {
        for known in [Some(true), Some(false), None] {
            let host = Host::new("https://h");
            let first = now(pin!(host.way(1, true))).unwrap();
            let mut others = [Box::pin(host.way(SMALL, false)), Box::pin(host.way(1, false))];
            assert!(others.iter_mut().all(|other| now(other.as_mut()).is_none()));
            assert!(http2_offered(&host, SMALL + 1, false), "a large one does not wait");
            if let Some(http2) = known {
                host.spoke(http2);
            }
            drop(first); // without a word it has failed
            assert!(others.iter_mut().all(|other| now(other.as_mut()).unwrap().http2));
        }
    }

    #[test]
    fn large_ranges_side_by_side_have_connections_of_their_own() {
        let host = Host::new("https://h");
        host.spoke(true);
        assert!(http2_offered(&host, SMALL, false) && http2_offered(&host, SMALL + 1, true));
        assert!(!http2_offered(&host, SMALL + 1, false));
        host.spoke(false);
        assert!(http2_offered(&host, SMALL + 1, false), "all share the connections, of which each has one request");
    }

    #[test]
    fn a_connection_that_may_be_closed_is_tried_by_one() {
        let host = Host::new("https://h");
        *lock(&host.speaks) = Instant::now().checked_sub(OPEN_FOR).map(|at| (true, at));
        let _first = now(pin!(host.way(1, true))).unwrap();
        assert!(now(pin!(host.way(1, false))).is_none());
    }

    #[test]
    fn nobody_waits_where_the_answer_is_known() {
        for (authority, http2) in
            [("https://bucket.s3.amazonaws.com", false), ("https://h", true), ("https://h", false)]
        {
            let host = Host::new(authority);
            if authority == "https://h" {
                host.spoke(http2);
            }
            let _one = now(pin!(host.way(1, false))).unwrap();
            assert!(now(pin!(host.way(1, false))).is_some(), "{authority} {http2}");
        }
    }
}
