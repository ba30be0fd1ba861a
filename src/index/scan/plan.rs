//! Which way through a file is the shortest. Pure.

use std::str::FromStr;

use super::pieces::{BLOCK, HOP, Pieces};
use crate::error::{Error, Result};
use crate::jp2::MainHeader;
use crate::source::Link;

/// How the headers of tile-parts are come by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Whichever takes the shortest time, by what requests and bytes cost.
    #[default]
    Auto,
    /// One small read a tile-part.
    Hop,
    /// Everything, in large reads.
    Stream,
    /// Hops from several places at the same time, each found by looking for an SOT marker segment.
    Resync,
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "auto" => Self::Auto,
            "hop" => Self::Hop,
            "stream" => Self::Stream,
            "resync" => Self::Resync,
            _ => {
                return Err(Error::Option {
                    name: "--strategy",
                    value: name.to_owned(),
                    expected: "auto, hop, stream or resync",
                });
            }
        })
    }
}

/// How one file is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    /// How the headers of its tile-parts are come by.
    pub(crate) strategy: Strategy,
    /// How many requests for it are made at the same time, at most.
    pub(crate) lanes: usize,
}

/// A way through a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// From tile-part to tile-part.
    Hop,
    /// All of it, in so many requests at the same time.
    Stream { requests: usize },
    /// From so many places at the same time.
    Resync { chains: usize },
}

/// Up to this mean length, in bytes, tile-parts are read rather than jumped over where that is faster. Larger ones are
/// not, however fast the link: archives count what is taken from them.
const SMALL_PART: u64 = 128 << 10;
/// Blocks that are read at the same time, at most: 12 MB are held.
const MOST_STREAMS: usize = 8;
/// A chain has at least so many tile-parts to hop over: finding its first takes some 0.6 of one, so a tenth of the file is
/// read in search of SOTs.
const PARTS_A_CHAIN: u64 = 6;
/// Requests in search of a chain's first SOT: blocks of [`block`], of which 2.5 go by in the mean.
const SEARCHES: u64 = 3;

/// How many bytes are read at once in search of an SOT, where tile-parts have `mean` bytes.
pub(super) fn block(mean: u64) -> u64 {
    (mean / 4).clamp(8 << 10, 512 << 10)
}

/// What is left to be read of a file.
#[derive(Debug, Clone, Copy)]
struct Unread {
    /// Up to the codestream's end.
    bytes: u64,
    /// About so many tile-parts are in it, each tile having one.
    parts: u64,
}

/// The way through the codestream that ends at `end`, of which the header is at hand and perhaps more.
pub(super) fn choose(effort: Effort, pieces: &Pieces<'_>, main: &MainHeader, end: u64) -> Plan {
    let at_hand = pieces.held(main.end).len() as u64;
    let all = end.saturating_sub(main.end).max(1);
    let bytes = all.saturating_sub(at_hand);
    if bytes == 0 || (effort.strategy == Strategy::Auto && pieces.is_cheap()) {
        return Plan::Hop;
    }
    let parts = (u128::from(main.siz.tiles()) * u128::from(bytes)).div_ceil(u128::from(all));
    plan(effort, Unread { bytes, parts: u64::try_from(parts).unwrap_or(u64::MAX) }, pieces.link())
}

fn plan(effort: Effort, rest: Unread, link: Link) -> Plan {
    let Unread { bytes, parts } = rest;
    let mean = bytes / parts.max(1);
    let blocks = usize::try_from(bytes.div_ceil(BLOCK)).unwrap_or(usize::MAX);
    let streams = blocks.min(effort.lanes).clamp(1, MOST_STREAMS);
    let stream = (link.seconds(blocks, bytes, streams), Plan::Stream { requests: streams });
    let hop = (link.seconds(usize::try_from(parts).unwrap_or(usize::MAX), parts * HOP, 1), Plan::Hop);
    let resync = |most: u64| {
        (2..=effort.lanes.min(usize::try_from(most).unwrap_or(usize::MAX))).map(|chains| {
            let k = chains as u64;
            let requests = usize::try_from(parts + SEARCHES * k).unwrap_or(usize::MAX);
            let read = k.saturating_mul(mean.saturating_add(block(mean)) / 2).saturating_add(parts * HOP);
            (link.seconds(requests, read, chains), Plan::Resync { chains })
        })
    };
    let worth = parts / PARTS_A_CHAIN;
    let ways: Vec<(f64, Plan)> = match effort.strategy {
        Strategy::Hop => return Plan::Hop,
        Strategy::Stream => return stream.1,
        Strategy::Resync => resync(worth.max(2)).collect(),
        Strategy::Auto => {
            [hop].into_iter().chain((mean <= SMALL_PART).then_some(stream)).chain(resync(worth)).collect()
        }
    };
    ways.into_iter().min_by(|one, other| one.0.total_cmp(&other.0)).map_or(Plan::Hop, |way| way.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn auto(bytes: u64, parts: u64, lanes: usize, link: Link) -> Plan {
        plan(Effort { strategy: Strategy::Auto, lanes }, Unread { bytes, parts }, link)
    }

    #[test]
    fn each_kind_of_file_has_its_way() {
        let usual = Link::default();
        let stream = |requests| Plan::Stream { requests };
        for (what, bytes, parts, one, four, sixteen) in [
            ("10 m", 112 * MB, 121, Plan::Hop, Some(4), Some(16)),
            ("20 m", 28 * MB, 81, Plan::Hop, Some(4), Some(13)),
            ("a file of four tiles", 4 * MB, 4, Plan::Hop, None, None),
        ] {
            let resync = |chains: Option<usize>| chains.map_or(Plan::Hop, |chains| Plan::Resync { chains });
            assert_eq!(auto(bytes, parts, 1, usual), one, "{what}");
            assert_eq!(auto(bytes, parts, 4, usual), resync(four), "{what}");
            assert_eq!(auto(bytes, parts, 16, usual), resync(sixteen), "{what}");
        }
        assert_eq!(auto(25 * MB / 10, 100, 1, usual), stream(1), "60 m");
        assert_eq!(auto(25 * MB / 10, 100, 16, usual), stream(2), "60 m");
        assert_eq!(auto(130 * MB, 1849, 1, usual), stream(1), "an old TCI");
        assert_eq!(auto(130 * MB, 1849, 4, usual), stream(4), "an old TCI");
        assert!(matches!(auto(130 * MB, 1849, 32, usual), Plan::Resync { chains: 17.. }), "an old TCI");
    }

    #[test]
    fn large_tile_parts_are_never_streamed() {
        for lanes in [1, 4, 32] {
            let plan = auto(112 * MB, 121, lanes, Link::new(1.0, 1e9));
            assert!(!matches!(plan, Plan::Stream { .. }), "{plan:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_done_where_it_can_be() {
        let by =
            |strategy, lanes| plan(Effort { strategy, lanes }, Unread { bytes: 3 * MB, parts: 6 }, Link::default());
        assert_eq!(by(Strategy::Hop, 16), Plan::Hop);
        assert_eq!(by(Strategy::Stream, 16), Plan::Stream { requests: 2 });
        assert_eq!(by(Strategy::Stream, 0), Plan::Stream { requests: 1 });
        assert_eq!(by(Strategy::Resync, 16), Plan::Resync { chains: 2 });
        assert_eq!(by(Strategy::Resync, 1), Plan::Hop, "one chain alone hops");
    }

    #[test]
    fn no_size_is_too_large() {
        for parts in [1, 65_535] {
            for strategy in [Strategy::Auto, Strategy::Hop, Strategy::Stream, Strategy::Resync] {
                plan(Effort { strategy, lanes: 1024 }, Unread { bytes: u64::MAX, parts }, Link::default());
            }
        }
    }
}
