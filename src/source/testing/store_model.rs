//! `store` under shuttle, which runs threads in orders of its own choosing: none may leave anybody waiting, make two
//! threads fetch the same unit, or give a unit's bytes to who asked for another.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use shuttle::sync::Arc;
use shuttle::thread;

use crate::error::Error;
use crate::source::range::SourceRange;
use crate::source::range::range;

/// Shuttle's locks in the place of the standard library's.
mod sync {
    pub(super) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn wait_while<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        condvar.wait_while(guard, condition).unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

// The same source text as `cache::store`, with the locks above.
#[path = "../cache/store.rs"]
#[expect(dead_code, reason = "not all of it is modelled")]
#[allow(clippy::duplicate_mod, reason = "that is what the model is")]
mod store;

use store::{FileVersion, Store, Taken};

/// Orders that are tried.
const ORDERS: usize = 1000;
/// Bytes that the store keeps: all of it, or all but nothing.
const LIMITS: [u64; 2] = [1 << 20, 300];

fn file() -> FileVersion {
    FileVersion { identity: "f".into(), version: "1".into() }
}

fn bytes_of(unit: &SourceRange) -> Bytes {
    Bytes::from(vec![unit.start.0 as u8; (unit.end.0 - unit.start.0) as usize])
}

/// How a flight ends, for what waits for it without a thread.
fn called_back(flight: &store::Flight) -> store::Landing {
    let (sender, receiver) = shuttle::sync::mpsc::channel();
    flight.then(move |landing| sender.send(landing).expect("somebody waits"));
    receiver.recv().expect("called once")
}

/// Gets `units` as `cache::fetch_units` does, or as the fetch of a task; what it takes on fails where `fails`.
fn fetch(store: &Arc<Store>, units: &[SourceRange], limit: u64, fetches: &AtomicUsize, fails: bool) {
    let by_thread = units.len() > 1;
    let Taken { mut answers, followed, mut led } = store.take(file, units, u64::MAX);
    let own = led.units();
    fetches.fetch_add(own.len(), Ordering::Relaxed);
    if fails && !own.is_empty() {
        led.fail(&Error::read("on purpose"));
        return;
    }
    for (number, unit) in own.iter().enumerate() {
        thread::yield_now();
        let index = led.land(number, &file(), &bytes_of(unit), limit).expect("it was taken on");
        answers[index] = Some(bytes_of(unit));
    }
    for (index, flight) in followed {
        match if by_thread { flight.wait() } else { called_back(&flight) } {
            Ok((bytes, version)) => {
                assert_eq!(&*version, "1");
                answers[index] = Some(bytes);
            }
            // Whoever fetched it failed: the cache tries by itself.
            Err(_) => answers[index] = Some(bytes_of(&units[index])),
        }
    }
    for (unit, answer) in units.iter().zip(answers) {
        assert_eq!(answer, Some(bytes_of(unit)));
    }
}

/// Runs readers of overlapping units in many orders; the first one fails where `fails`.
fn readers(fails: bool) {
    shuttle::check_random(
        move || {
            for limit in LIMITS {
                let store = Arc::new(Store::default());
                let fetches = Arc::new(AtomicUsize::new(0));
                let (first, second, third) = (range(0, 9), range(9, 20), range(30, 31));
                let wanted =
                    [vec![first.clone(), second.clone()], vec![second, third], vec![first.clone()], vec![first]];
                let readers: Vec<_> = wanted
                    .into_iter()
                    .enumerate()
                    .map(|(number, units)| {
                        let (store, fetches) = (store.clone(), fetches.clone());
                        thread::spawn(move || fetch(&store, &units, limit, &fetches, fails && number == 0))
                    })
                    .collect();
                for reader in readers {
                    reader.join().unwrap();
                }
                assert_eq!(store.under_way(&file()), 0, "nothing stays under way");
                if !fails && limit == LIMITS[0] {
                    assert_eq!(fetches.load(Ordering::Relaxed), 3, "each unit is fetched once");
                }
            }
        },
        ORDERS,
    );
}

#[test]
fn every_unit_is_fetched_once_and_nobody_waits_for_ever() {
    readers(false);
}

#[test]
fn a_failure_leaves_nobody_waiting() {
    readers(true);
}

/// What ends without an outcome, by a panic or for want of a thread, gives up what it had taken on.
#[test]
fn who_goes_leaves_nothing_in_the_air() {
    shuttle::check_random(
        || {
            let store = Arc::new(Store::default());
            let ahead = {
                let store = store.clone();
                thread::spawn(move || drop(store.take(file, &[range(0, 9), range(9, 20)], 300)))
            };
            fetch(&store, &[range(0, 9)], 1 << 20, &AtomicUsize::new(0), false);
            ahead.join().unwrap();
            assert_eq!(store.under_way(&file()), 0);
        },
        ORDERS,
    );
}
