//! Fetched units: one cache for the process, where every unit is fetched once (`store`), by as few requests as are worth
//! it (`merge`).
//!
//! Invariants:
//! - A unit is cached whole, under the file it is of, that file's version, and its range.
//! - A thread fetches what it has taken on before it waits for others, so that no two wait for each other. Where several
//!   units were fetched together and one failed, a thread that waits for another one that has not come tries it alone.
//! - What fetches ahead waits for nobody and takes no thread; what is under way ahead fits half of the cache.
//! - What is kept is what is accounted for: a slice of a larger allocation is copied first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::process::PerProcess;
use crate::source::cache::buffer;
use crate::source::cache::merge::{Merged, plan_merge, request_size};
use crate::source::cache::store::{FileVersion, Landing, Led, Store, Taken};
use crate::source::contract::Source;
use crate::source::host::link::GAP_MIN;
use crate::source::host::statistics::count;
use crate::source::range::SourceRange;

static CACHE: PerProcess<Cache> = PerProcess::new();

/// The cache of one process.
#[derive(Default)]
struct Cache {
    store: Arc<Store>,
    /// Bytes that are fetched ahead now.
    ahead: AtomicU64,
}

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
    let store = &CACHE.get().store;
    let taken = store.take(|| version_of(source.as_ref()), units, u64::MAX);
    count_taken(source.as_ref(), &taken);
    let Taken { mut answers, followed, led } = taken;
    fetch(led, source, options, &mut |index, bytes| {
        if let Some(place) = answers.get_mut(index) {
            *place = Some(bytes);
        }
    })?;
    for (index, flight) in followed {
        let (Some(unit), Some(place)) = (units.get(index), answers.get_mut(index)) else { continue };
        *place = Some(match landed(source.as_ref(), flight.wait())? {
            Some(bytes) => bytes,
            None => {
                let own = source.read_ranges(std::slice::from_ref(unit))?.pop();
                let own = own.ok_or_else(|| Error::read("a read gave fewer ranges than asked for"))?;
                store.keep(&version_of(source.as_ref()), unit, own.clone(), options.cache_size);
                own
            }
        });
    }
    // Every unit was a hit, led or followed.
    Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
}

fn count_taken(source: &dyn Source, taken: &Taken) {
    if let Some(host) = source.host() {
        count(&host.counters.cache_hits, taken.answers.iter().flatten().count() as u64);
        count(&host.counters.shared_fetches, taken.followed.len() as u64);
    }
}

/// What another thread's fetch of a unit means for this one; `None` where it must read the unit by itself: the other has
/// another version of the file open, which must be an error here, or it has failed at another unit.
fn landed(source: &dyn Source, landing: Landing) -> Result<Option<Bytes>> {
    let file = version_of(source);
    match landing {
        Ok((bytes, landed)) if file.version.is_empty() || file.version == landed => Ok(Some(bytes)),
        Err(Some(error)) => Err(error),
        Ok(_) | Err(None) => Ok(None),
    }
}

/// What a fetch has taken: what others were fetching already, and what was at hand, cost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Bytes of the ranges that were asked for.
    pub(crate) bytes: u64,
    /// How many ranges those were.
    pub(crate) requests: u64,
}

impl Fetched {
    fn of(requests: &[SourceRange]) -> Self {
        let bytes =
            requests.iter().fold(0u64, |sum, range| sum.saturating_add(range.end.0.saturating_sub(range.start.0)));
        Self { bytes, requests: requests.len() as u64 }
    }
}

/// Brings `units` into the cache as [`fetch_units`] does, without blocking a thread: for tasks of the engine's runtime.
/// `check` gets each unit by its number, in any order; its failure is that of the fetch. Dropping the future ends the
/// requests, and gives up what has not come.
pub(crate) async fn fetch_units_async(
    source: &Arc<dyn Source>,
    units: &[SourceRange],
    options: &Options,
    check: impl Fn(usize, &Bytes) -> Result<()> + Clone + Send + Sync + 'static,
) -> Result<Fetched> {
    if source.is_cheap() {
        return Ok(Fetched::default());
    }
    let store = &CACHE.get().store;
    let taken = store.take(|| version_of(source.as_ref()), units, u64::MAX);
    count_taken(source.as_ref(), &taken);
    let Taken { answers, followed, led } = taken;
    for (index, bytes) in answers.iter().enumerate() {
        bytes.as_ref().map_or(Ok(()), |bytes| check(index, bytes))?;
    }
    drop(answers);
    let mut fetched = Fetched::default();
    if !led.is_done() {
        let mut delivery = Delivery::new(led, source.as_ref(), options);
        let requests = delivery.requests();
        fetched = Fetched::of(&requests);
        let (of, check) = (source.clone(), check.clone());
        let each = move |number, body| {
            let mut checked = Ok(());
            let is_whole = delivery.deliver(of.as_ref(), number, &body, &mut |index, bytes| {
                if checked.is_ok() {
                    checked = check(index, &bytes);
                }
            });
            checked.and(if is_whole { Ok(()) } else { Err(short()) })
        };
        source.clone().read_async(requests, Box::new(each)).await?;
    }
    let mut own = Vec::new();
    for (index, flight) in followed {
        let (sender, receiver) = oneshot::channel();
        flight.then(move |landing| drop(sender.send(landing)));
        match landed(source.as_ref(), receiver.await.unwrap_or(Err(None)))? {
            Some(bytes) => check(index, &bytes)?,
            None => own.extend(units.get(index).map(|unit| (index, unit.clone()))),
        }
    }
    if !own.is_empty() {
        let requests: Vec<SourceRange> = own.iter().map(|(_, unit)| unit.clone()).collect();
        let Fetched { bytes, requests: count } = Fetched::of(&requests);
        fetched = Fetched { bytes: fetched.bytes.saturating_add(bytes), requests: fetched.requests + count };
        let (of, limit) = (source.clone(), options.cache_size);
        let each = move |number: usize, bytes: Bytes| {
            let (index, unit) = own.get(number).ok_or_else(short)?;
            store.keep(&version_of(of.as_ref()), unit, bytes.clone(), limit);
            check(*index, &bytes)
        };
        source.clone().read_async(requests, Box::new(each)).await?;
    }
    Ok(fetched)
}

fn short() -> Error {
    Error::read("a read gave fewer bytes than asked for")
}

/// Begins to fetch what of `units` is neither at hand nor under way; a later read of it waits only for the rest. A
/// read that waits for what could not be had tries it alone. What would not stay in half the cache until it is read is
/// left out.
pub(crate) fn prefetch(source: &Arc<dyn Source>, units: &[SourceRange], options: &Options) {
    if source.is_cheap() {
        return;
    }
    let cache = CACHE.get();
    let room = (options.cache_size / 2).saturating_sub(cache.ahead.load(Ordering::Relaxed));
    let Taken { led, .. } = cache.store.take(|| version_of(source.as_ref()), units, room);
    if led.is_done() {
        return;
    }
    let ahead = CountedAhead::start(cache, led.cost());
    let mut delivery = Delivery::new(led, source.as_ref(), options);
    let (requests, of) = (delivery.requests(), source.clone());
    let each = move |number, body| {
        let _counted = &ahead;
        delivery.deliver(of.as_ref(), number, &body, &mut |_, _| {});
        Ok(())
    };
    source.clone().read_later(requests, Box::new(each));
}

/// What is fetched ahead, counted while it is.
struct CountedAhead {
    cache: &'static Cache,
    bytes: u64,
}

impl CountedAhead {
    fn start(cache: &'static Cache, bytes: u64) -> Self {
        cache.ahead.fetch_add(bytes, Ordering::Relaxed);
        Self { cache, bytes }
    }
}

impl Drop for CountedAhead {
    fn drop(&mut self) {
        self.cache.ahead.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The unit `unit` of `source`, if it is at hand.
pub(crate) fn peek(source: &dyn Source, unit: &SourceRange) -> Option<Bytes> {
    let bytes = CACHE.get().store.peek(&version_of(source), unit)?;
    if let Some(host) = source.host() {
        count(&host.counters.cache_hits, 1);
    }
    Some(bytes)
}

/// Whether somebody is fetching `unit` of `source`.
pub(crate) fn is_under_way(source: &dyn Source, unit: &SourceRange) -> bool {
    CACHE.get().store.is_under_way(&version_of(source), unit)
}

/// Keeps bytes of `units` that were read in another way: `whole` is the file.
pub(crate) fn keep(source: &dyn Source, units: impl Iterator<Item = SourceRange>, whole: &Bytes, options: &Options) {
    let file = version_of(source);
    for unit in units {
        let range = usize::try_from(unit.start.0).ok().zip(usize::try_from(unit.end.0).ok());
        if let Some(bytes) = range.and_then(|(start, end)| whole.get(start..end)) {
            let bytes = buffer::copy(bytes);
            CACHE.get().store.keep(&file, &unit, bytes, options.cache_size);
        }
    }
}

/// Counts what is kept decoded towards the limit of the cache.
pub(crate) fn count_decoded(bytes: u64) {
    CACHE.get().store.count_elsewhere(bytes);
}

/// The file of `source`, in the version that is known.
fn version_of(source: &dyn Source) -> FileVersion {
    let version = match source.seen() {
        None => String::new(),
        Some(meta) => meta.etag.unwrap_or_else(|| meta.size.to_string()),
    };
    FileVersion { identity: source.identity().into(), version: version.into() }
}

/// Fetches what was taken on. `each` gets the units as soon as they are there, by index into the caller's units.
fn fetch(led: Led, source: &Arc<dyn Source>, options: &Options, each: &mut dyn FnMut(usize, Bytes)) -> Result<()> {
    if led.is_done() {
        return Ok(());
    }
    let mut delivery = Delivery::new(led, source.as_ref(), options);
    let read = source.read_each(&delivery.requests(), &mut |number, body| {
        delivery.deliver(source.as_ref(), number, &body, each);
    });
    let outcome = read.and_then(|()| if delivery.led.is_done() { Ok(()) } else { Err(short()) });
    if let Err(error) = &outcome {
        delivery.led.fail(error);
    }
    outcome
}

/// Units that come by fewer requests.
struct Delivery {
    led: Led,
    units: Vec<SourceRange>,
    plan: Vec<Merged>,
    cache_size: u64,
}

impl Delivery {
    fn new(led: Led, source: &dyn Source, options: &Options) -> Self {
        let units = led.units();
        let gap = options.merge_gap.unwrap_or_else(|| source.link().best_gap(&units, source.lanes()));
        let total = units.iter().fold(0u64, |sum, unit| sum.saturating_add(unit.end.0.saturating_sub(unit.start.0)));
        let request = request_size(total, source.lanes(), merge_gap(source, options));
        let plan = plan_merge(&units, gap, request);
        if units.len() > 1 {
            crate::trace::debug(|| {
                format!("{}: {} units, {total} bytes, by {} requests", source.origin(), units.len(), plan.len())
            });
        }
        Self { led, units, plan, cache_size: options.cache_size }
    }

    fn requests(&self) -> Vec<SourceRange> {
        self.plan.iter().map(|request| request.range.clone()).collect()
    }

    /// Lands the units of the request `number`, and hands each to `each` by its index among the caller's. A body that is
    /// too short for a unit lands nothing of it. Whether all of them have landed.
    fn deliver(
        &mut self,
        source: &dyn Source,
        number: usize,
        body: &Bytes,
        each: &mut dyn FnMut(usize, Bytes),
    ) -> bool {
        let Some(request) = self.plan.get(number) else { return false };
        let file = version_of(source);
        let mut is_whole = true;
        for index in request.members.clone() {
            let Some(unit) = self.units.get(index) else { continue };
            let from = unit.start.0.saturating_sub(request.range.start.0);
            let to = unit.end.0.saturating_sub(request.range.start.0);
            let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
            let Some(slice) = range.and_then(|(from, to)| body.get(from..to)) else {
                is_whole = false;
                continue;
            };
            let bytes = if slice.len() == body.len() { body.clone() } else { buffer::copy(slice) };
            if let Some(place) = self.led.land(index, &file, &bytes, self.cache_size) {
                each(place, bytes);
            }
        }
        is_whole
    }
}

/// How many threads wait for `unit` while another fetches it.
#[cfg(test)]
pub(crate) fn waiting(source: &dyn Source, unit: &SourceRange) -> usize {
    CACHE.get().store.waiting(&version_of(source), unit)
}

/// How many units of `source` are under way.
#[cfg(test)]
pub(crate) fn under_way(source: &dyn Source) -> usize {
    CACHE.get().store.under_way(&version_of(source))
}
