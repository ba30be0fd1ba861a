//! Hopping from several places of a codestream at the same time.
//!
//! No two bytes of a packet are FF90 or above (T.800 B.10.1), so an SOT marker segment can be found from anywhere. PLT and
//! COM may hold bytes that look like one, and a file may break the rule: what is found here is a guess that brings bytes
//! to the walk's hand. The walk follows the links from the first tile-part on, and fetches itself what no chain has brought.
//!
//! Each chain looks for an SOT from its own place on, then hops along Psot, until it meets a tile-part where another chain
//! has been. Every round makes one request a chain, all at the same time.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::pieces::Pieces;
use super::plan::block;
use crate::error::Result;
use crate::jp2::{MainHeader, Progress, SOT_LENGTH, Sot, parse_tile_part_header};
use crate::source::{SourceOffset, SourceRange};

/// What is held of tile-parts, at most, in bytes: those of 16,384.
const MOST_HELD: u64 = 16 << 20;
/// A stretch of more hops than this is worth another chain, which needs three rounds to find its first SOT.
const LONG: u64 = 8;
/// SOT and SOD have so many bytes (T.800 A.4.2, A.4.3).
const SHORTEST: u64 = 14;

/// Brings the headers of tile-parts from the first one to `end`, the codestream's, by `chains` at the same time.
///
/// # Errors
/// Whatever the source fails with, and nothing that the bytes say.
pub(super) fn explore(pieces: &mut Pieces<'_>, main: &MainHeader, end: u64, chains: usize) -> Result<()> {
    let tiles = main.siz.tiles();
    expect_header(pieces, main, end);
    let mut explored = Explored { tiles, end, known: BTreeSet::new() };
    let mean = end.saturating_sub(main.end) / u64::from(tiles.max(1));
    let mut first = Chain::at(main.end, mean);
    first.go_on(pieces, &mut explored);
    let (Step::Hop { at, .. } | Step::Search { from: at, .. }) = first.step else { return Ok(()) };
    let stretch = end.saturating_sub(at) / chains.max(1) as u64;
    let mut live = vec![first];
    live.extend((1..chains as u64).map(|number| Chain::from(at + number * stretch, stretch, mean)));
    let (mut more, mut held) = (2 * chains, 0);
    while held < MOST_HELD {
        live.iter_mut().for_each(|chain| chain.go_on(pieces, &mut explored));
        live.retain(|chain| chain.step != Step::Done);
        while live.len() < chains
            && more > 0
            && let Some(chain) = explored.split(&live)
        {
            live.push(chain);
            more -= 1;
        }
        let ranges: Vec<SourceRange> = live.iter().map(|chain| chain.range(pieces.hop(), end)).collect();
        if ranges.is_empty() {
            break;
        }
        for (chain, bytes) in live.iter_mut().zip(pieces.read_all(&ranges)?) {
            held += chain.take(bytes, pieces, &explored);
        }
    }
    Ok(())
}

/// The first tile-part shows how long the headers of the others are.
fn expect_header(pieces: &mut Pieces<'_>, main: &MainHeader, end: u64) {
    let bytes = pieces.held(main.end);
    let length = u32::try_from(end.saturating_sub(main.end)).unwrap_or(u32::MAX);
    if let Ok(Progress::Done(header)) = parse_tile_part_header(bytes, main.end, length, main) {
        pieces.expect_header(header.packets);
    }
}

/// What all chains know.
struct Explored {
    tiles: u32,
    end: u64,
    /// Where tile-parts begin, as far as chains have come.
    known: BTreeSet<u64>,
}

impl Explored {
    /// The length of the tile-part at `at` if its SOT marker segment, which `bytes` begin with, can be one. That of a last
    /// one that leaves its length open (Psot = 0) is not looked for.
    fn part_length(&self, bytes: &[u8], at: u64) -> Option<u64> {
        let sot = Sot::parse(bytes, at).ok()?;
        let length = u64::from(sot.length);
        let is_part = u32::from(sot.tile) < self.tiles && (sot.parts == 0 || sot.part < sot.parts);
        (is_part && length >= SHORTEST && at.checked_add(length)? <= self.end).then_some(length)
    }

    /// The first place in `bytes`, which lie at `offset`, where an SOT marker segment can be.
    fn find(&self, bytes: &[u8], offset: u64) -> Option<usize> {
        let mut from = 0;
        loop {
            from += bytes.get(from..)?.iter().position(|byte| *byte == 0xFF)?;
            let rest = bytes.get(from..)?;
            if rest.starts_with(&[0xFF, 0x90, 0, 10]) && self.part_length(rest, offset + from as u64).is_some() {
                return Some(from);
            }
            from += 1;
        }
    }

    /// Another chain in the middle of what takes the most hops, if that is worth it.
    fn split(&self, live: &[Chain]) -> Option<Chain> {
        let places: Vec<u64> = live.iter().filter_map(Chain::place).collect();
        let stretches = live.iter().filter_map(|chain| {
            let Step::Hop { at, .. } = chain.step else { return None };
            let known = self.known.range(at + 1..).next().copied();
            let next = places.iter().copied().filter(|place| *place > at).chain(known).min().unwrap_or(self.end);
            let mean = chain.mean();
            Some((next.saturating_sub(at) / mean, at, next, mean))
        });
        let (hops, at, next, mean) = stretches.max()?;
        (hops > LONG).then(|| Chain::from(at + (next - at) / 2, (next - at) / 2, mean))
    }
}

/// What a chain does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Look for an SOT that begins in `from..until`.
    Search { from: u64, until: u64 },
    /// Look at the tile-part at `at`. Where none is there and `back` has a search, that search had found none.
    Hop { at: u64, back: Option<(u64, u64)> },
    /// Nothing.
    Done,
}

/// Somebody who hops.
struct Chain {
    step: Step,
    /// How long tile-parts are expected to be, in bytes.
    expected: u64,
    /// How many it has passed, and how many bytes these have.
    passed: (u64, u64),
}

impl Chain {
    /// A chain from the tile-part at `at` on.
    fn at(at: u64, expected: u64) -> Self {
        Self { step: Step::Hop { at, back: None }, expected, passed: (0, 0) }
    }

    /// A chain that looks for its first tile-part from `from` on, in as much as two of them have and at most `stretch` bytes.
    fn from(from: u64, stretch: u64, expected: u64) -> Self {
        let until = from.saturating_add(stretch.min(expected.saturating_mul(2)));
        Self { step: Step::Search { from, until }, ..Self::at(from, expected) }
    }

    fn place(&self) -> Option<u64> {
        match self.step {
            Step::Search { from: at, .. } | Step::Hop { at, .. } => Some(at),
            Step::Done => None,
        }
    }

    /// How long its tile-parts are, in bytes.
    fn mean(&self) -> u64 {
        let (parts, bytes) = self.passed;
        bytes.checked_div(parts).unwrap_or(self.expected).max(SHORTEST)
    }

    /// Hops as far as it can without a read.
    fn go_on(&mut self, pieces: &Pieces<'_>, explored: &mut Explored) {
        while let Step::Hop { at, back } = self.step {
            let bytes = pieces.held(at);
            let is_end = at.saturating_add(SHORTEST) > explored.end;
            if !is_end && (bytes.len() as u64) < SOT_LENGTH {
                return;
            }
            self.step = match explored.part_length(bytes, at) {
                Some(length) if !is_end && explored.known.insert(at) => {
                    self.passed = (self.passed.0 + 1, self.passed.1 + length);
                    // One link that holds is proof enough here.
                    Step::Hop { at: at + length, back: back.filter(|(from, _)| *from == at + 1) }
                }
                None if !is_end => back.map_or(Step::Done, |(from, until)| Step::Search { from, until }),
                _ => Step::Done, // another chain has been here, or the codestream ends
            };
        }
    }

    /// What it reads next. It is not done.
    fn range(&self, hop: u64, end: u64) -> SourceRange {
        let (from, to) = match self.step {
            Step::Search { from, until } => {
                (from, from.saturating_add(block(self.expected)).min(until.saturating_add(SOT_LENGTH - 1)))
            }
            Step::Hop { at, .. } => (at, at.saturating_add(hop)),
            Step::Done => (end, end),
        };
        SourceOffset(from)..SourceOffset(to.min(end).max(from))
    }

    /// Takes what it has read, and gives how many bytes of it are kept.
    fn take(&mut self, bytes: Bytes, pieces: &mut Pieces<'_>, explored: &Explored) -> u64 {
        let length = bytes.len() as u64;
        match self.step {
            Step::Search { from, until } => match explored.find(&bytes, from) {
                Some(found) => {
                    let at = from + found as u64;
                    let kept = usize::try_from(pieces.hop()).unwrap_or(usize::MAX).min(bytes.len() - found);
                    // A copy: a slice would keep the block.
                    pieces.put(at, Bytes::copy_from_slice(&bytes[found..found + kept]));
                    self.step = Step::Hop { at, back: Some((at + 1, until)) };
                    kept as u64
                }
                None => {
                    // An SOT that begins in the last bytes is found by the next read.
                    let next = from.saturating_add(length.saturating_sub(SOT_LENGTH - 1));
                    let goes_on = from < next && next < until && next + SOT_LENGTH <= explored.end;
                    self.step = if goes_on { Step::Search { from: next, until } } else { Step::Done };
                    0
                }
            },
            Step::Hop { at, .. } => {
                pieces.put(at, bytes);
                length
            }
            Step::Done => 0,
        }
    }
}
