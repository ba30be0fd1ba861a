//! Units by file, version and range: those at hand, and those that somebody is fetching. No IO.
//!
//! Invariants:
//! - At any moment at most one thread has taken on a unit; the others wait for it and get its outcome.
//! - A failure is not remembered, and nobody waits for a unit that nobody has taken on: what a [`Led`] has not landed is
//!   given up when it goes, by a panic too.
//! - What is kept is bounded in bytes, whatever the number of files.
//!
//! The locks come from `super::sync`, so that a test can run every order in which threads meet here (see `store_model`).

use std::collections::HashMap;

use bytes::Bytes;

use super::sync::{Arc, Condvar, Mutex, lock, wait_while};
use crate::error::Error;
use crate::lru::Lru;
use crate::source::range::SourceRange;

/// What an entry costs besides its bytes, roughly: keys and nodes of two maps.
pub(super) const OVERHEAD: u64 = 256;

/// Units at hand and under way.
#[derive(Default)]
pub(super) struct Store {
    units: Mutex<Units>,
}

struct Units {
    /// By file, version and range.
    at_hand: Lru<UnitKey, Bytes>,
    /// By file and range: the version may come with the very fetch.
    under_way: HashMap<UnitKey, Arc<Flight>>,
    /// What is kept elsewhere, in bytes.
    elsewhere: u64,
}

/// A file in one of its versions.
pub(super) struct FileVersion {
    pub(super) identity: Arc<str>,
    /// ETag or size; empty before the first response.
    pub(super) version: Arc<str>,
}

impl FileVersion {
    fn key(&self, unit: &SourceRange) -> UnitKey {
        UnitKey { version: self.version.clone(), ..self.flight_key(unit) }
    }

    fn flight_key(&self, unit: &SourceRange) -> UnitKey {
        UnitKey { identity: self.identity.clone(), version: "".into(), start: unit.start.0, end: unit.end.0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct UnitKey {
    identity: Arc<str>,
    version: Arc<str>,
    start: u64,
    end: u64,
}

/// How a fetch ended: the bytes and the version they are of, or why there are none. Without a reason it was given up for
/// another unit's failure.
pub(super) type Landing = Result<(Bytes, Arc<str>), Option<Error>>;

/// A unit under way.
#[derive(Default)]
pub(super) struct Flight {
    state: Mutex<FlightState>,
    landed: Condvar,
}

#[derive(Default)]
struct FlightState {
    outcome: Option<Landing>,
    /// What waits without a thread.
    callbacks: Vec<Box<dyn FnOnce(Landing) + Send>>,
}

impl Flight {
    /// Waits for whoever has taken it on.
    pub(super) fn wait(&self) -> Landing {
        let state = wait_while(&self.landed, lock(&self.state), |state| state.outcome.is_none());
        state.outcome.clone().unwrap_or(Err(None))
    }

    /// Calls `then` with its outcome: on the thread that ends it, or at once where it has ended.
    pub(super) fn then(&self, then: impl FnOnce(Landing) + Send + 'static) {
        let mut state = lock(&self.state);
        match state.outcome.clone() {
            None => state.callbacks.push(Box::new(then)),
            Some(outcome) => {
                drop(state);
                then(outcome);
            }
        }
    }

    fn land(&self, outcome: Landing) {
        let mut state = lock(&self.state);
        state.outcome = Some(outcome.clone());
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        self.landed.notify_all();
        callbacks.into_iter().for_each(|then| then(outcome.clone()));
    }
}

/// Units, sorted by who has them.
pub(super) struct Taken {
    /// What is at hand, by index.
    pub(super) answers: Vec<Option<Bytes>>,
    /// What another thread is fetching, by index.
    pub(super) followed: Vec<(usize, Arc<Flight>)>,
    /// What is for the caller to fetch.
    pub(super) led: Led,
}

/// A unit that somebody has taken on.
struct Leading {
    index: usize,
    unit: SourceRange,
    key: UnitKey,
    flight: Arc<Flight>,
    landed: bool,
}

/// The units that somebody has taken on. None stays under way when it is dropped.
pub(super) struct Led {
    store: Arc<Store>,
    flights: Vec<Leading>,
}

impl Store {
    /// Sorts `units` by who has them; of those that nobody has the caller takes on as many, from the first on, as cost no
    /// more than `room` bytes.
    pub(super) fn take(
        self: &Arc<Self>,
        file: impl FnOnce() -> FileVersion,
        units: &[SourceRange],
        mut room: u64,
    ) -> Taken {
        let led = Led { store: self.clone(), flights: Vec::new() };
        let mut taken = Taken { answers: vec![None; units.len()], followed: Vec::new(), led };
        let mut known = lock(&self.units);
        // Asked under the lock: a fetch that brings the version lands under it either before or after this.
        let file = file();
        for (index, (unit, answer)) in units.iter().zip(&mut taken.answers).enumerate() {
            if let Some(bytes) = known.at_hand.get(&file.key(unit)) {
                *answer = Some(bytes.clone());
            } else if let Some(flight) = known.under_way.get(&file.flight_key(unit)) {
                taken.followed.push((index, flight.clone()));
            } else if let Some(rest) = room.checked_sub(cost(unit)) {
                room = rest;
                let (key, flight) = (file.flight_key(unit), Arc::new(Flight::default()));
                known.under_way.insert(key.clone(), flight.clone());
                taken.led.flights.push(Leading { index, unit: unit.clone(), key, flight, landed: false });
            } else {
                room = 0;
            }
        }
        taken
    }

    /// The unit `unit` of `file`, if it is at hand.
    pub(super) fn peek(&self, file: &FileVersion, unit: &SourceRange) -> Option<Bytes> {
        lock(&self.units).at_hand.get(&file.key(unit)).cloned()
    }

    /// Whether somebody has taken on `unit` of `file`.
    pub(super) fn is_under_way(&self, file: &FileVersion, unit: &SourceRange) -> bool {
        lock(&self.units).under_way.contains_key(&file.flight_key(unit))
    }

    /// Keeps a unit, while all together cost no more than `limit` bytes.
    pub(super) fn keep(&self, file: &FileVersion, unit: &SourceRange, bytes: Bytes, limit: u64) {
        let gone = lock(&self.units).keep(file.key(unit), bytes, limit);
        drop(gone);
    }

    /// Counts what is kept of files elsewhere, in bytes: decoded. It takes its room from what comes next.
    pub(super) fn count_elsewhere(&self, bytes: u64) {
        lock(&self.units).elsewhere = bytes;
    }

    /// How many threads wait for `unit` while another fetches it.
    #[cfg(test)]
    pub(super) fn waiting(&self, file: &FileVersion, unit: &SourceRange) -> usize {
        // The table and the leader hold the flight too.
        let known = lock(&self.units);
        known.under_way.get(&file.flight_key(unit)).map_or(0, |flight| Arc::strong_count(flight).saturating_sub(2))
    }

    /// How many units of `file` are under way.
    #[cfg(test)]
    pub(super) fn under_way(&self, file: &FileVersion) -> usize {
        lock(&self.units).under_way.keys().filter(|key| key.identity == file.identity).count()
    }
}

/// What keeping `unit` costs, in bytes.
fn cost(unit: &SourceRange) -> u64 {
    unit.end.0.saturating_sub(unit.start.0).saturating_add(OVERHEAD)
}

impl Led {
    /// The units, in the order in which they are numbered.
    pub(super) fn units(&self) -> Vec<SourceRange> {
        self.flights.iter().map(|leading| leading.unit.clone()).collect()
    }

    /// What keeping them costs, in bytes.
    pub(super) fn cost(&self) -> u64 {
        self.flights.iter().fold(0, |sum, leading| sum.saturating_add(cost(&leading.unit)))
    }

    /// Whether all have landed.
    pub(super) fn is_done(&self) -> bool {
        self.flights.iter().all(|leading| leading.landed)
    }

    /// Keeps the unit `number` and hands it to those who wait for it. Gives its index among the caller's units.
    pub(super) fn land(&mut self, number: usize, file: &FileVersion, bytes: &Bytes, limit: u64) -> Option<usize> {
        let leading = self.flights.get_mut(number)?;
        let mut known = lock(&self.store.units);
        let gone = known.keep(file.key(&leading.unit), bytes.clone(), limit);
        known.under_way.remove(&leading.key);
        drop(known);
        drop(gone);
        leading.flight.land(Ok((bytes.clone(), file.version.clone())));
        leading.landed = true;
        Some(leading.index)
    }

    /// Gives up the units that have not landed, for `error`. Which of several has failed is not known, so those who wait
    /// for one of several get no reason.
    pub(super) fn fail(mut self, error: &Error) {
        let own = self.flights.len() == 1;
        self.abandon(own.then_some(error));
    }

    fn abandon(&mut self, error: Option<&Error>) {
        self.flights.retain(|leading| !leading.landed);
        let mut known = lock(&self.store.units);
        for leading in &self.flights {
            known.under_way.remove(&leading.key);
        }
        drop(known);
        for leading in self.flights.drain(..) {
            leading.flight.land(Err(error.cloned()));
        }
    }
}

impl Drop for Led {
    /// Has something to do only after a panic, or where what was fetched ahead or by a task has failed or was given up.
    fn drop(&mut self) {
        let error = "the thread that fetched this failed by a panic, which is an error of this program: report it";
        self.abandon(std::thread::panicking().then(|| Error::read(error)).as_ref());
    }
}

impl Default for Units {
    fn default() -> Self {
        Self { at_hand: Lru::new(0), under_way: HashMap::new(), elsewhere: 0 }
    }
}

impl Units {
    /// Keeps a unit while all together cost no more than `limit` bytes, with what is kept elsewhere. A larger one is not
    /// kept, and nothing is lost for it. What goes is to be dropped when the lock is free: unmapping a large unit takes a
    /// while.
    fn keep(&mut self, key: UnitKey, bytes: Bytes, limit: u64) -> Vec<Bytes> {
        let cost = (bytes.len() as u64).saturating_add(OVERHEAD);
        let limit = limit.saturating_sub(self.elsewhere);
        if cost > limit {
            return vec![bytes];
        }
        let mut gone = self.at_hand.limit(limit);
        gone.extend(self.at_hand.put(key, bytes, cost));
        gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(start: u64) -> UnitKey {
        UnitKey { identity: "f".into(), version: "1".into(), start, end: start + 1 }
    }

    fn starts(units: &Units) -> Vec<u64> {
        units.at_hand.iter().map(|(key, _)| key.start).collect()
    }

    #[test]
    fn each_caller_keeps_to_its_own_limit() {
        let mut units = Units::default();
        let unit = || Bytes::from(vec![0; 10]);
        let limit = 3 * (OVERHEAD + 10);
        for start in 0..4 {
            units.keep(key(start), unit(), limit);
        }
        assert_eq!(starts(&units), [3, 2, 1]);
        assert_eq!(units.keep(key(4), Bytes::from(vec![0; 100_000]), limit).len(), 1);
        assert_eq!(units.keep(key(4), unit(), 0).len(), 1);
        assert_eq!(starts(&units), [3, 2, 1], "too large to keep, and nothing lost for it");
        assert_eq!(units.keep(key(5), unit(), OVERHEAD + 10).len(), 3, "a caller with less room makes it");
        assert_eq!(starts(&units), [5]);
        units.elsewhere = 2 * (OVERHEAD + 10);
        units.keep(key(6), unit(), limit);
        assert_eq!(starts(&units), [6], "what is kept elsewhere counts");
    }

    proptest! {
        #[test]
        fn accounts_for_every_byte(inserts in proptest::collection::vec((0u64..8, 0usize..2000, 0u64..9000), 1..60)) {
            let mut units = Units::default();
            for (start, length, limit) in inserts {
                let kept = length as u64 + OVERHEAD <= limit;
                units.keep(key(start), Bytes::from(vec![0; length]), limit);
                let held: u64 = units.at_hand.iter().map(|(_, bytes)| bytes.len() as u64 + OVERHEAD).sum();
                prop_assert_eq!(held, units.at_hand.bytes());
                prop_assert!(!kept || held <= limit);
            }
        }
    }
}
