//! Fetching ahead, and units that are fetched together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::source::host::link::Link;

const APART: (&str, &str) = ("VSITLM_MERGE_GAP", "0");

/// Waits for what another thread will do.
pub(super) fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_sent_for_is_not_asked_again() {
    let mock = Mock::holding(&file(5000), 4);
    let source = http(&mock, "/ahead", &[]);
    let units: Vec<_> = (0..4).map(|i| range(i * 1000, i * 1000 + 10)).collect();
    prefetch(&source, &units, &options(&[APART]));
    prefetch(&source, &units, &options(&[APART]));
    for unit in units.iter().rev() {
        let got = fetch_units(&source, std::slice::from_ref(unit), &options(&[APART])).unwrap();
        assert_eq!(got[0], file(5000)[unit.start.0 as usize..unit.end.0 as usize]);
    }
    assert_eq!((mock.count(), mock.most_together()), (4, 4));
}

/// A file whose ranges come one by one, each when the one before has been read.
struct OneByOne {
    memory: Memory,
    wanted: AtomicUsize,
}

impl Source for OneByOne {
    fn origin(&self) -> &str {
        self.memory.origin()
    }

    fn is_cheap(&self) -> bool {
        false
    }

    fn link(&self) -> Link {
        self.memory.link()
    }

    fn read_later(self: Arc<Self>, ranges: Vec<SourceRange>, mut each: Each) {
        std::thread::spawn(move || self.read_each(&ranges, &mut |number, bytes| drop(each(number, bytes))));
    }

    fn head(&self) -> Result<Meta> {
        self.memory.head()
    }

    fn seen(&self) -> Option<Meta> {
        self.memory.seen()
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        self.memory.read_into(offset, buffer)
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        let round = self.memory.rounds();
        until("the reader has the unit before", || self.wanted.load(Ordering::Relaxed) >= round);
        self.memory.read_ranges(ranges)
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        self.memory.read_up_to(offset, length)
    }
}

#[test]
fn each_unit_is_handed_on_as_soon_as_it_is_there() {
    let one_by_one =
        Arc::new(OneByOne { memory: Memory::new("memory:handed-on", file(5000)), wanted: AtomicUsize::new(0) });
    let source: Arc<dyn Source> = one_by_one.clone();
    let units = [range(0, 10), range(100, 110), range(200, 210)];
    prefetch(&source, &units, &options(&[APART]));
    for (number, unit) in units.iter().enumerate() {
        let got = fetch_units(&source, std::slice::from_ref(unit), &options(&[])).unwrap();
        assert_eq!(got[0], file(5000)[unit.start.0 as usize..unit.end.0 as usize]);
        one_by_one.wanted.store(number + 1, Ordering::Relaxed);
    }
    assert_eq!(one_by_one.memory.rounds(), 3);
}

/// The batch fails while somebody waits for a unit of it that is there; a read of the other gets the reason why there is none.
#[test]
fn a_unit_that_fails_does_not_fail_the_others() {
    const GOOD: SourceRange = SourceOffset(10)..SourceOffset(20);
    const ABSENT: SourceRange = SourceOffset(4990)..SourceOffset(5010);
    let mut memory = Memory::new("memory:others-fail", file(5000));
    memory.before = |memory| {
        until("readers wait for both", || {
            memory.rounds() > 1 || (units::waiting(memory, &GOOD) == 1 && units::waiting(memory, &ABSENT) == 1)
        });
        Ok(())
    };
    let memory = Arc::new(memory);
    let source: Arc<dyn Source> = memory.clone();
    prefetch(&source, &[GOOD, ABSENT], &options(&[APART]));
    std::thread::scope(|scope| {
        let good = scope.spawn(|| fetch_units(&source, &[GOOD], &options(&[])));
        let absent = scope.spawn(|| fetch_units(&source, &[ABSENT], &options(&[])));
        assert_eq!(good.join().unwrap().unwrap()[0], file(5000)[10..20]);
        assert!(absent.join().unwrap().unwrap_err().to_string().contains("past the end"));
    });
    assert_eq!(memory.rounds(), 3, "the batch, and each by itself");
    assert!(peek(source.as_ref(), &GOOD).is_some() && peek(source.as_ref(), &ABSENT).is_none());
    assert_eq!(units::under_way(source.as_ref()), 0);
}

#[test]
fn nothing_stays_under_way_after_a_failure() {
    let mut memory = Memory::new("memory:ahead-fails", file(5000));
    memory.before = |memory| if memory.rounds() == 1 { Err(Error::read("on purpose")) } else { Ok(()) };
    let memory = Arc::new(memory);
    let source: Arc<dyn Source> = memory.clone();
    let units = [range(0, 10), range(100, 110)];
    prefetch(&source, &units, &options(&[APART]));
    until("the batch ends", || memory.rounds() == 1 && units::under_way(source.as_ref()) == 0);
    assert!(fetch_units(&source, &units, &options(&[APART])).is_ok(), "a failure is not remembered");
    let mut memory = Memory::new("memory:ahead-panics", file(5000));
    memory.before = |_| panic!("on purpose");
    let memory = Arc::new(memory);
    let source: Arc<dyn Source> = memory.clone();
    prefetch(&source, &units, &options(&[APART]));
    until("the batch ends", || memory.rounds() == 1 && units::under_way(source.as_ref()) == 0);
}

#[test]
fn no_more_is_sent_for_than_the_cache_can_keep() {
    let memory = Arc::new(Memory::new("memory:bounded", file(10_000)));
    let source: Arc<dyn Source> = memory.clone();
    let units: Vec<_> = (0..9).map(|i| range(i * 1000, i * 1000 + 900)).collect();
    // Half of it has room for two, with what the cache itself needs for each.
    let small = options(&[APART, ("VSITLM_CACHE_SIZE", "6000")]);
    // Other tests fetch ahead too, and what they have under way counts.
    until("there is room", || {
        prefetch(&source, &units, &small);
        memory.rounds() > 0 || units::under_way(source.as_ref()) > 0
    });
    until("the batch ends", || memory.rounds() == 1 && units::under_way(source.as_ref()) == 0);
    let (count, bytes) = memory.cost();
    assert!((1..=2).contains(&count) && bytes == 900 * count as u64, "{count} units, {bytes} bytes");
    prefetch(&source, &units, &options(&[APART, ("VSITLM_CACHE_SIZE", "0")]));
    assert_eq!((memory.cost(), units::under_way(source.as_ref())), ((count, bytes), 0));
}
