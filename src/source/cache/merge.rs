//! Which ranges are fetched together. Pure.

use std::ops::Range;

use crate::source::range::SourceRange;

/// The largest request that merging makes, in bytes. A single range that is larger is one request all the same.
pub(super) const MAX_REQUEST: u64 = 8 << 20;

/// One request, and which of the ranges it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merged {
    /// What is asked for.
    pub(super) range: SourceRange,
    /// The indexes of the ranges in it.
    pub(super) members: Range<usize>,
}

/// A range of at most this size is never worth a request of its own where it all but touches its neighbour.
const CRUMB: u64 = 4 << 10;

/// Merges neighbours of `ranges` (ascending, disjoint) where at most `gap` bytes lie between them and the request
/// stays within `max` bytes, or one of both is a crumb.
pub(super) fn plan_merge(ranges: &[SourceRange], gap: u64, max: u64) -> Vec<Merged> {
    let mut plan: Vec<Merged> = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        if let Some(last) = plan.last_mut() {
            // A range that does not follow the last one, against the contract, stands alone.
            let between = range.start.0.checked_sub(last.range.end.0);
            let length = range.end.0.saturating_sub(last.range.start.0);
            let added = range.end.0.saturating_sub(last.range.end.0);
            let is_crumb = added <= CRUMB || last.range.end.0 - last.range.start.0 <= CRUMB;
            if between.is_some_and(|between| between <= gap) && (length <= max || is_crumb) {
                last.range.end = range.end;
                last.members.end = index + 1;
                continue;
            }
        }
        plan.push(Merged { range: range.clone(), members: index..index + 1 });
    }
    plan
}

/// The largest request worth making for `total` bytes over `connections`: merging saves requests, but what could
/// have come over connections side by side then comes over one. So a request is at least twice the size at which
/// its own cost is even, and beyond that as small as keeps every connection busy.
pub(super) fn request_size(total: u64, connections: usize, gap: u64) -> u64 {
    let share = total.div_ceil(connections.max(1) as u64);
    share.max(gap.saturating_mul(2)).min(MAX_REQUEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::range::range;

    #[test]
    fn merges_across_small_gaps_only() {
        let kilo = |start: u64, end: u64| range(start * 1000, end * 1000);
        let ranges = [kilo(0, 10), kilo(10, 20), kilo(25, 30), kilo(36, 41)];
        let plan = plan_merge(&ranges, 5_000, 100_000);
        let first = Merged { range: kilo(0, 30), members: 0..3 };
        assert_eq!(plan, [first, Merged { range: kilo(36, 41), members: 3..4 }]);
        assert_eq!(plan_merge(&ranges, 5_000, 20_000).len(), 3, "0 to 20, which is full; 25 to 30; and 36 is too far");
    }

    #[test]
    fn a_crumb_joins_its_neighbour_however_large_that_is() {
        let plan = plan_merge(&[range(0, 9_000_000), range(9_000_000, 9_001_024)], 0, 1);
        assert_eq!(plan.len(), 1);
        let before = plan_merge(&[range(0, 8), range(8, 9_000_000), range(9_000_000, 18_000_000)], 0, 1);
        assert_eq!(before.iter().map(|request| request.members.clone()).collect::<Vec<_>>(), [0..2, 2..3]);
    }

    #[test]
    fn keeps_connections_busy() {
        assert_eq!(request_size(9 << 20, 32, 256 << 10), 512 << 10);
        assert_eq!(request_size(9 << 20, 4, 256 << 10), (9 << 20) / 4);
        assert_eq!(request_size(1 << 30, 4, 256 << 10), MAX_REQUEST);
    }

    /// What the plan has to be, said another way: a cut between two neighbours stands exactly where the gap is too
    /// wide, or the piece that began at the last cut would become too long, and is no crumb, by what is none.
    fn oracle(ranges: &[SourceRange], gap: u64, max: u64) -> Vec<usize> {
        let mut cuts = vec![0];
        for i in 1..ranges.len() {
            let begun = ranges[*cuts.last().unwrap()].start.0;
            let crumb = ranges[i].end.0 - ranges[i - 1].end.0 <= CRUMB || ranges[i - 1].end.0 - begun <= CRUMB;
            if ranges[i].start.0 - ranges[i - 1].end.0 > gap || (ranges[i].end.0 - begun > max && !crumb) {
                cuts.push(i);
            }
        }
        cuts
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(
            steps in proptest::collection::vec((0u64..2_000, 1u64..30_000), 1..40),
            gap in 0u64..2_000,
            max in 1u64..120_000,
        ) {
            let mut at = 0;
            let ranges: Vec<_> = steps
                .iter()
                .map(|(skip, length)| {
                    let start = at + skip;
                    at = start + length;
                    range(start, at)
                })
                .collect();
            let plan = plan_merge(&ranges, gap, max);
            let cuts: Vec<usize> = plan.iter().map(|request| request.members.start).collect();
            prop_assert_eq!(cuts, oracle(&ranges, gap, max));
            let mut next = 0;
            for request in &plan {
                prop_assert_eq!(request.members.start, next);
                next = request.members.end;
                prop_assert_eq!(request.range.start, ranges[request.members.start].start);
                prop_assert_eq!(request.range.end, ranges[request.members.end - 1].end);
            }
            prop_assert_eq!(next, ranges.len());
        }
    }
}
