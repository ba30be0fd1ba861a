//! Fetched units: one cache for the process, bounded in bytes, where every unit is fetched once.
//!
//! Invariants:
//! - A unit is cached whole, under the file it is of, that file's version, and its range.
//! - At any moment at most one thread fetches a unit; the others wait for it and get its outcome, an error too.
//!   A thread fetches what it has taken on before it waits for others, so that no two wait for each other.
//! - What fetches ahead waits for nobody, and no more of it is under way than there are threads for.
//! - A failure is not remembered, and a thread that panics while it fetches leaves nobody waiting. Where several units were
//!   fetched together and one failed, who waits for another one that has not come tries by itself.
//! - What is kept is what is accounted for: a slice of a larger allocation is copied first.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::process::lock;
use crate::source::engine::{self, Engine, count};
use crate::source::link::GAP_MIN;
use crate::source::merge::{plan_merge, request_size};
use crate::source::{Source, SourceRange};

/// What an entry costs besides its bytes, roughly: keys and nodes of two maps.
const OVERHEAD: u64 = 256;

/// Batches that are fetched ahead at the same time. Each has a thread of the runtime, of which names' look-ups need some.
const MOST_AHEAD: usize = 64;

/// How many bytes take as long to read as another request of `source` takes.
pub(crate) fn merge_gap(source: &dyn Source, options: &Options) -> u64 {
    match options.merge_gap {
        Some(gap) => gap,
        None if source.is_cheap() => GAP_MIN,
        None => source.link().request(),
    }
}

/// Reads `units`, ranges of `source` that are disjoint and ascending, each whole: from the cache, from another
/// thread that is fetching it already, or by requests that are merged where that is cheaper and made side by side.
/// The answers are in the order of `units`.
pub(crate) fn fetch_units(source: &Arc<dyn Source>, units: &[SourceRange], options: &Options) -> Result<Vec<Bytes>> {
    if source.is_cheap() {
        return source.read_ranges(units);
    }
    let engine = engine::current();
    let Taken { mut answers, followed, led } = take(engine, source.as_ref(), units);
    count(&engine.counters.cache_hits, answers.iter().flatten().count() as u64);
    count(&engine.counters.shared_fetches, followed.len() as u64);
    for (index, bytes) in led.fetch(source, options)? {
        if let Some(place) = answers.get_mut(index) {
            *place = Some(bytes);
        }
    }
    for (index, unit, flight) in followed {
        let landing = flight.wait();
        let version = File::of(source.as_ref()).version;
        let bytes = match landing {
            Ok((bytes, landed)) if version.is_empty() || version == landed => bytes,
            Err(Some(error)) => return Err(error),
            // The other thread has another version of the file open, and this one must hear of that by itself; or it has
            // failed at another unit.
            Ok(_) | Err(None) => {
                let own = source.read_ranges(std::slice::from_ref(unit))?.pop();
                let own = own.ok_or_else(|| Error::read("a read gave fewer ranges than asked for"))?;
                let key = File::of(source.as_ref()).key(unit);
                lock(&engine.cache.state).entries.insert(key, own.clone(), options.cache_size);
                own
            }
        };
        if let Some(place) = answers.get_mut(index) {
            *place = Some(bytes);
        }
    }
    // Every unit was a hit, led or followed.
    Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
}

/// Begins to fetch what of `units` is neither at hand nor on its way; who reads it later waits only for the rest of the
/// way. A failure is told to those who wait, and to nobody else. What would not stay in half the cache until it is read is
/// left out.
pub(crate) fn prefetch(source: &Arc<dyn Source>, units: &[SourceRange], options: &Options) {
    if source.is_cheap() {
        return;
    }
    let engine = engine::current();
    let Some(ahead) = Ahead::start(&engine.cache) else { return };
    let mut room = options.cache_size / 2;
    let fitting = units.iter().take_while(|unit| {
        let cost = unit.end.0.saturating_sub(unit.start.0).saturating_add(OVERHEAD);
        room.checked_sub(cost).inspect(|rest| room = *rest).is_some()
    });
    let units = units.get(..fitting.count()).unwrap_or_default();
    let Taken { led, .. } = take(engine, source.as_ref(), units);
    if !source.is_for_any_thread() {
        let _ = led.fetch(source, options);
    } else if !led.flights.is_empty() {
        let (source, options) = (source.clone(), options.clone());
        engine.spawn(move || {
            let _ahead = ahead;
            let _ = led.fetch(&source, &options);
        });
    }
}

/// One batch that is fetched ahead, counted while it is.
struct Ahead(&'static Cache);

impl Ahead {
    /// Unless there are enough of them.
    fn start(cache: &'static Cache) -> Option<Self> {
        let one = Self(cache);
        (cache.ahead.fetch_add(1, Ordering::Relaxed) < MOST_AHEAD).then_some(one)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.ahead.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Units, sorted by who has them.
struct Taken<'a> {
    /// What is at hand, by index.
    answers: Vec<Option<Bytes>>,
    /// What another thread is fetching.
    followed: Vec<(usize, &'a SourceRange, Arc<Flight>)>,
    /// What is for the caller to fetch.
    led: Led,
}

fn take<'a>(engine: &'static Engine, source: &dyn Source, units: &'a [SourceRange]) -> Taken<'a> {
    let mut taken =
        Taken { answers: vec![None; units.len()], followed: Vec::new(), led: Led { engine, flights: Vec::new() } };
    let mut state = lock(&engine.cache.state);
    // Asked under the lock: a fetch that tells the version lands under it either before or after this.
    let file = File::of(source);
    for (index, (unit, answer)) in units.iter().zip(&mut taken.answers).enumerate() {
        if let Some(bytes) = state.entries.get(&file.key(unit)) {
            *answer = Some(bytes);
        } else if let Some(flight) = state.flights.get(&file.flight_key(unit)) {
            taken.followed.push((index, unit, flight.clone()));
        } else {
            let (key, flight) = (file.flight_key(unit), Arc::new(Flight::default()));
            state.flights.insert(key.clone(), flight.clone());
            taken.led.flights.push(Leading { index, unit: unit.clone(), key, flight, landed: false });
        }
    }
    taken
}

/// The unit `unit` of `source`, if it is at hand.
pub(crate) fn peek(source: &dyn Source, unit: &SourceRange) -> Option<Bytes> {
    let engine = engine::current();
    let key = File::of(source).key(unit);
    lock(&engine.cache.state).entries.get(&key)
}

/// Keeps bytes of `units` that were read in another way: `whole` is the file.
pub(crate) fn keep(source: &dyn Source, units: impl Iterator<Item = SourceRange>, whole: &Bytes, options: &Options) {
    let file = File::of(source);
    let mut state = lock(&engine::current().cache.state);
    for unit in units {
        let range = usize::try_from(unit.start.0).ok().zip(usize::try_from(unit.end.0).ok());
        if let Some(bytes) = range.and_then(|(start, end)| whole.get(start..end)) {
            state.entries.insert(file.key(&unit), Bytes::copy_from_slice(bytes), options.cache_size);
        }
    }
}

/// The cache of one process.
#[derive(Default)]
pub(super) struct Cache {
    state: Mutex<State>,
    /// Batches that are fetched ahead now.
    ahead: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// By file, version and range.
    entries: Lru,
    /// By file and range: the version may be told by the very fetch.
    flights: HashMap<Key, Arc<Flight>>,
}

/// A file in one of its versions.
struct File {
    identity: Arc<str>,
    /// ETag or size; empty before the first response.
    version: Arc<str>,
}

impl File {
    fn of(source: &dyn Source) -> Self {
        let version = match source.seen() {
            None => String::new(),
            Some(meta) => meta.etag.unwrap_or_else(|| meta.size.to_string()),
        };
        Self { identity: source.identity().into(), version: version.into() }
    }

    fn key(&self, unit: &SourceRange) -> Key {
        Key { version: self.version.clone(), ..self.flight_key(unit) }
    }

    fn flight_key(&self, unit: &SourceRange) -> Key {
        Key { identity: self.identity.clone(), version: "".into(), start: unit.start.0, end: unit.end.0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Arc<str>,
    version: Arc<str>,
    start: u64,
    end: u64,
}

/// How a fetch ended: the bytes and the version they are of, or why there are none. Without a reason it was given up for
/// another unit's failure.
type Landing = Result<(Bytes, Arc<str>), Option<Error>>;

/// A unit under way.
#[derive(Default)]
struct Flight {
    outcome: Mutex<Option<Landing>>,
    landed: Condvar,
}

impl Flight {
    fn wait(&self) -> Landing {
        let outcome = lock(&self.outcome);
        let outcome =
            self.landed.wait_while(outcome, |outcome| outcome.is_none()).unwrap_or_else(PoisonError::into_inner);
        outcome.clone().unwrap_or(Err(None))
    }

    fn land(&self, outcome: Landing) {
        *lock(&self.outcome) = Some(outcome);
        self.landed.notify_all();
    }
}

/// A unit that this thread has taken on.
struct Leading {
    index: usize,
    unit: SourceRange,
    key: Key,
    flight: Arc<Flight>,
    landed: bool,
}

/// The units that this thread has taken on, none of which stays in the air when it goes.
struct Led {
    engine: &'static Engine,
    flights: Vec<Leading>,
}

impl Led {
    /// Fetches them all, each handed on as soon as it is there: the bytes by index into the caller's units.
    fn fetch(mut self, source: &Arc<dyn Source>, options: &Options) -> Result<Vec<(usize, Bytes)>> {
        let mut fetched = Vec::with_capacity(self.flights.len());
        let outcome = self.fetch_each(source, options, &mut fetched);
        if let Err(error) = &outcome {
            // Which of several has failed is not told.
            let own = self.flights.len() == 1;
            self.abandon(own.then_some(error));
        }
        outcome.map(|()| fetched)
    }

    fn fetch_each(
        &mut self,
        source: &Arc<dyn Source>,
        options: &Options,
        fetched: &mut Vec<(usize, Bytes)>,
    ) -> Result<()> {
        let units: Vec<SourceRange> = self.flights.iter().map(|leading| leading.unit.clone()).collect();
        if units.is_empty() {
            return Ok(());
        }
        let gap = options.merge_gap.unwrap_or_else(|| source.link().best_gap(&units, source.lanes()));
        let total = units.iter().fold(0u64, |sum, unit| sum.saturating_add(unit.end.0.saturating_sub(unit.start.0)));
        let request = request_size(total, source.lanes(), merge_gap(source.as_ref(), options));
        let plan = plan_merge(&units, gap, request);
        let requests: Vec<SourceRange> = plan.iter().map(|request| request.range.clone()).collect();
        let mut cut = false;
        source.read_each(&requests, &mut |number, body| {
            let Some(request) = plan.get(number) else { return };
            for index in request.members.clone() {
                let Some(unit) = units.get(index) else { continue };
                let from = unit.start.0.saturating_sub(request.range.start.0);
                let to = unit.end.0.saturating_sub(request.range.start.0);
                let slice = match (usize::try_from(from), usize::try_from(to)) {
                    (Ok(from), Ok(to)) => body.get(from..to),
                    _ => None,
                };
                let Some(slice) = slice else {
                    cut = true;
                    continue;
                };
                let whole = slice.len() == body.len();
                let bytes = if whole { body.clone() } else { Bytes::copy_from_slice(slice) };
                if let Some(place) = self.land(source.as_ref(), index, &bytes, options.cache_size) {
                    fetched.push((place, bytes));
                }
            }
        })?;
        if cut || fetched.len() != units.len() {
            return Err(Error::read("a read gave fewer bytes than asked for"));
        }
        Ok(())
    }

    /// Puts a unit into the cache and hands it to those who wait for it. Gives its index among the caller's units.
    fn land(&mut self, source: &dyn Source, number: usize, bytes: &Bytes, cache_size: u64) -> Option<usize> {
        let leading = self.flights.get_mut(number)?;
        let file = File::of(source);
        let mut state = lock(&self.engine.cache.state);
        state.entries.insert(file.key(&leading.unit), bytes.clone(), cache_size);
        state.flights.remove(&leading.key);
        drop(state);
        leading.flight.land(Ok((bytes.clone(), file.version)));
        leading.landed = true;
        Some(leading.index)
    }

    /// Gives up the units that have not landed: for `error`, if that is theirs.
    fn abandon(&mut self, error: Option<&Error>) {
        self.flights.retain(|leading| !leading.landed);
        let mut state = lock(&self.engine.cache.state);
        for leading in &self.flights {
            state.flights.remove(&leading.key);
        }
        drop(state);
        for leading in self.flights.drain(..) {
            leading.flight.land(Err(error.cloned()));
        }
    }
}

impl Drop for Led {
    /// Has something to do only after a panic, or where there is no thread to fetch ahead.
    fn drop(&mut self) {
        let error = "the thread that fetched this failed by a panic, which is an error of this program: report it";
        self.abandon(std::thread::panicking().then(|| Error::read(error)).as_ref());
    }
}

/// Entries in the order of their last use, bounded in bytes.
#[derive(Default)]
struct Lru {
    entries: HashMap<Key, (Bytes, u64)>,
    /// Keys by when they were last used: a count that only grows.
    order: BTreeMap<u64, Key>,
    clock: u64,
    held: u64,
}

impl Lru {
    fn cost(bytes: &Bytes) -> u64 {
        (bytes.len() as u64).saturating_add(OVERHEAD)
    }

    fn get(&mut self, key: &Key) -> Option<Bytes> {
        let (bytes, used) = self.entries.get_mut(key)?;
        self.order.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.order.insert(self.clock, key.clone());
        Some(bytes.clone())
    }

    /// Keeps `bytes`, giving up what was not used for longest, unless they are larger than `limit` by themselves.
    fn insert(&mut self, key: Key, bytes: Bytes, limit: u64) {
        let cost = Self::cost(&bytes);
        if cost > limit {
            return;
        }
        self.clock += 1;
        self.order.insert(self.clock, key.clone());
        self.held += cost;
        if let Some((old, used)) = self.entries.insert(key, (bytes, self.clock)) {
            self.order.remove(&used);
            self.held -= Self::cost(&old);
        }
        while self.held > limit {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some((old, _)) = self.entries.remove(&oldest) {
                self.held -= Self::cost(&old);
            }
        }
    }
}

/// How many threads wait for `unit` while another fetches it.
#[cfg(test)]
pub(super) fn waiting(source: &dyn Source, unit: &SourceRange) -> usize {
    let key = File::of(source).flight_key(unit);
    // The table and the leader hold the flight too.
    let state = lock(&engine::current().cache.state);
    state.flights.get(&key).map_or(0, |flight| Arc::strong_count(flight).saturating_sub(2))
}

/// How many units of `source` are under way.
#[cfg(test)]
pub(super) fn under_way(source: &dyn Source) -> usize {
    let identity = File::of(source).identity;
    lock(&engine::current().cache.state).flights.keys().filter(|key| key.identity == identity).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(start: u64) -> Key {
        Key { identity: "f".into(), version: "1".into(), start, end: start + 1 }
    }

    #[test]
    fn gives_up_the_least_recently_used() {
        let mut lru = Lru::default();
        let limit = 3 * (OVERHEAD + 10);
        for start in 0..3 {
            lru.insert(key(start), Bytes::from(vec![0; 10]), limit);
        }
        assert!(lru.get(&key(0)).is_some());
        lru.insert(key(3), Bytes::from(vec![0; 10]), limit);
        assert!(lru.get(&key(1)).is_none());
        assert!(lru.get(&key(0)).is_some() && lru.get(&key(2)).is_some() && lru.get(&key(3)).is_some());
        lru.insert(key(4), Bytes::from(vec![0; 100_000]), limit);
        assert!(lru.get(&key(4)).is_none() && lru.get(&key(3)).is_some(), "too large to keep, and nothing lost for it");
    }

    #[test]
    fn only_so_much_is_fetched_ahead() {
        let cache: &'static Cache = Box::leak(Box::default());
        let mut running: Vec<_> = (0..MOST_AHEAD).filter_map(|_| Ahead::start(cache)).collect();
        assert_eq!(running.len(), MOST_AHEAD);
        assert!(Ahead::start(cache).is_none() && Ahead::start(cache).is_none());
        running.pop();
        running.extend(Ahead::start(cache));
        assert_eq!(running.len(), MOST_AHEAD);
        drop(running);
        assert_eq!(cache.ahead.load(Ordering::Relaxed), 0);
    }

    proptest! {
        #[test]
        fn accounts_for_every_byte(inserts in proptest::collection::vec((0u64..8, 0usize..2000), 1..60), limit in 0u64..9000) {
            let mut lru = Lru::default();
            for (start, length) in inserts {
                lru.insert(key(start), Bytes::from(vec![0; length]), limit);
                let held: u64 = lru.entries.values().map(|(bytes, _)| Lru::cost(bytes)).sum();
                prop_assert_eq!(held, lru.held);
                prop_assert!(held <= limit);
                prop_assert_eq!(lru.order.len(), lru.entries.len());
            }
        }
    }
}
