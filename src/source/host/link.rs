//! What requests and bytes cost, and which gaps between ranges are worth fetching. Pure.

use crate::source::range::SourceRange;

/// The bounds of what a request is worth, in bytes: below, the headers of a request outweigh it; above, it is no gap any
/// more.
pub(crate) const GAP_MIN: u64 = 16 << 10;
const GAP_MAX: u64 = 1 << 20;

/// How many connections have this program's bandwidth each, before they share one link.
const FULL_SPEED: usize = 8;
/// A link that is faster is not used for fetching what nobody needs, in bytes a second.
const FASTEST: f64 = 25e6;

/// The way to one host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Link {
    /// Seconds from a request to its response's head, on a connection that is open.
    pub(crate) rtt: f64,
    /// Bytes a second of one connection.
    pub(crate) bandwidth: f64,
}

impl Default for Link {
    fn default() -> Self {
        Self { rtt: 0.05, bandwidth: 5.25e6 }
    }
}

impl Link {
    /// A link for tests: seconds to a response's head, bytes a second.
    #[cfg(test)]
    pub(crate) fn new(rtt: f64, bandwidth: f64) -> Self {
        Self { rtt, bandwidth }
    }

    /// About how many seconds so many requests for `bytes` in all take over `connections`: requests go out side by side,
    /// bytes share the link, and each request is worth [`GAP_MIN`] bytes besides.
    pub(crate) fn seconds(&self, requests: usize, bytes: u64, connections: usize) -> f64 {
        let total = (self.bandwidth * connections.min(FULL_SPEED) as f64).min(FASTEST);
        let rounds = (requests as f64 / connections.max(1) as f64).max(1.0);
        let priced = bytes as f64 + requests as f64 * GAP_MIN as f64;
        rounds * self.rtt + priced / total
    }

    /// How many bytes take as long to read as another request takes.
    pub(crate) fn request(&self) -> u64 {
        // A float to integer cast saturates.
        ((self.rtt * self.bandwidth) as u64).clamp(GAP_MIN, GAP_MAX)
    }

    /// The gap up to which neighbours of `ranges` (ascending, disjoint) are best fetched as one, over `connections`.
    ///
    /// Requests go out side by side, so up to as many as there are connections cost one round trip; beyond, each takes its
    /// share of another one. Bytes share the link whatever the number of requests. Gaps are filled from the smallest on
    /// as long as that saves time, a request being worth [`GAP_MIN`] bytes where it saves none.
    pub(crate) fn best_gap(&self, ranges: &[SourceRange], connections: usize) -> u64 {
        let mut gaps: Vec<u64> = ranges
            .windows(2)
            .filter_map(|pair| match pair {
                [one, next] => next.start.0.checked_sub(one.end.0),
                _ => None,
            })
            .collect();
        gaps.sort_unstable();
        let (mut best, mut filled) = ((self.seconds(ranges.len(), 0, connections), 0), 0u64);
        for (index, gap) in gaps.iter().enumerate() {
            filled = filled.saturating_add(*gap);
            if gaps.get(index + 1) == Some(gap) {
                continue; // filled too, if this one is
            }
            let now = self.seconds(ranges.len() - index - 1, filled, connections);
            if now <= best.0 {
                best = (now, *gap);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::range::range;

    /// `count` ranges of 1 kB, `gap` bytes apart.
    fn apart(count: u64, gap: u64) -> Vec<SourceRange> {
        (0..count).map(|n| range(n * (1000 + gap), n * (1000 + gap) + 1000)).collect()
    }

    #[test]
    fn many_ranges_on_few_connections_are_merged() {
        let link = Link::default();
        assert_eq!(link.best_gap(&apart(1849, 70_000), 32), 0, "an old TCI: 58 round trips, or 130 MB");
        assert_eq!(link.best_gap(&apart(1849, 70_000), 4), 70_000, "462 round trips");
        assert_eq!(link.best_gap(&apart(121, 900_000), 4), 0, "a band: 30 round trips, or 109 MB");
        assert_eq!(link.best_gap(&apart(4, 100_000), 32), 0, "side by side they take one round trip");
        assert_eq!(link.best_gap(&apart(4, 10_000), 32), 10_000, "but a request is not for nothing");
        assert_eq!(link.best_gap(&apart(64, 40_000), 32), 0, "half of these gaps would be worth it, but not all");
        assert_eq!(link.best_gap(&[], 32), 0);
        assert_eq!(link.best_gap(&apart(1, 0), 32), 0);
    }

    #[test]
    fn only_the_small_gaps_are_filled() {
        let ranges = [range(0, 10), range(20, 30), range(3_000_000, 3_000_010), range(3_000_020, 3_000_030)];
        assert_eq!(Link::default().best_gap(&ranges, 4), 10);
    }

    #[test]
    fn a_slow_link_asks_more_often() {
        let slow = Link { rtt: 0.05, bandwidth: 100e3 };
        assert_eq!(slow.best_gap(&apart(1849, 70_000), 4), 0);
        assert_eq!(slow.request(), GAP_MIN);
        assert_eq!(Link { rtt: 0.05, bandwidth: 1e9 }.request(), GAP_MAX);
    }
}
