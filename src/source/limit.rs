//! One host: how many requests it gets at the same time, and what a request to it costs.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::link::Link;
use crate::process::lock;

/// Shorter bodies, in bytes, say more about the round trip than about the bandwidth.
const MIN_BANDWIDTH_SAMPLE: u64 = 256 << 10;

/// The limiter and the measurements of one host.
#[derive(Debug)]
pub(super) struct Host {
    permits: Semaphore,
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
    /// A host of which at most `connections` requests are made at the same time.
    pub(super) fn new(connections: usize) -> Self {
        Self { permits: Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)), measured: Mutex::default() }
    }

    /// Waits for a turn, which lasts until what is returned is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Fails only when closed, which never happens; then no limit is better than no request.
        self.permits.acquire().await.ok()
    }

    /// Takes note of a response: `first_byte` after the request, then `bytes` in `body`.
    pub(super) fn measure(&self, first_byte: Duration, bytes: u64, body: Duration) {
        let mut measured = lock(&self.measured);
        // Whether the connection was a new one is not told. A new one takes two to three round trips more, so the
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
    pub(super) fn link(&self) -> Link {
        let measured = lock(&self.measured);
        let usual = Link::default();
        match (measured.rtt, measured.bandwidth) {
            (Some(rtt), Some(bandwidth)) => Link { rtt, bandwidth },
            _ => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_known_once_both_were_measured() {
        let host = Host::new(4);
        assert_eq!(host.link(), Link::default());
        host.measure(Duration::from_millis(150), 1000, Duration::from_millis(1));
        assert_eq!(host.link(), Link::default(), "a short body says nothing of the bandwidth");
        host.measure(Duration::from_millis(50), 1_000_000, Duration::from_secs(1));
        assert_eq!(host.link().request(), 50_000);
    }

    #[test]
    fn a_new_connection_hardly_moves_the_round_trip() {
        let host = Host::new(1);
        host.measure(Duration::from_millis(50), 1_000_000, Duration::from_secs(1));
        host.measure(Duration::from_millis(200), 1_000_000, Duration::from_secs(1));
        assert!((50_000..60_000).contains(&host.link().request()));
    }
}
