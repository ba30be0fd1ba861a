//! Fetches of tasks, which block no thread.

use std::sync::mpsc;
use std::time::Duration;

use super::ahead::until;
use super::*;
use crate::source::testing::mock::Fault;

const APART: (&str, &str) = ("VSITLM_MERGE_GAP", "0");

/// Begins to fetch `units` by a task: what ends it, and its outcome.
fn begin(
    source: &Arc<dyn Source>,
    units: &[SourceRange],
) -> (tokio::task::AbortHandle, mpsc::Receiver<Result<Fetched>>) {
    let (sender, outcome) = mpsc::channel();
    let (source, units) = (source.clone(), units.to_vec());
    let content = file(5000);
    let task = spawn(async move {
        let all = units.clone();
        let check = move |number: usize, bytes: &Bytes| {
            let unit: &SourceRange = &all[number];
            assert_eq!(bytes, &content[unit.start.0 as usize..unit.end.0 as usize]);
            Ok(())
        };
        let _ = sender.send(fetch_units_async(&source, &units, &options(&[APART]), check).await);
    });
    (task.unwrap(), outcome)
}

fn fetch(source: &Arc<dyn Source>, units: &[SourceRange]) -> Result<Fetched> {
    begin(source, units).1.recv().unwrap()
}

fn units() -> Vec<SourceRange> {
    vec![range(0, 10), range(10, 30), range(1000, 1010), range(2000, 2010)]
}

#[test]
fn a_task_brings_all_units_once() {
    let mock = Mock::holding(&file(5000), 3);
    let source = http(&mock, "/task", &[APART]);
    assert_eq!(fetch(&source, &units()).unwrap(), Fetched { bytes: 50, requests: 3 });
    assert_eq!((mock.count(), mock.most_together()), (3, 3), "neighbours together");
    assert_eq!(fetch(&source, &units()).unwrap(), Fetched::default());
    fetch_units(&source, &units(), &options(&[APART])).unwrap();
    assert_eq!(mock.count(), 3);
}

#[test]
fn sources_that_block_are_read_for_a_task_too() {
    let mut memory = Memory::new("memory:task", file(5000));
    memory.before = |memory| if memory.rounds() == 1 { Err(Error::read("on purpose")) } else { Ok(()) };
    let memory = Arc::new(memory);
    let source: Arc<dyn Source> = memory.clone();
    assert!(fetch(&source, &units()).unwrap_err().to_string().contains("on purpose"));
    assert_eq!(units::under_way(source.as_ref()), 0);
    assert_eq!(fetch(&source, &units()).unwrap(), Fetched { bytes: 50, requests: 3 }, "a failure is not remembered");
    let cheap: Arc<dyn Source> = Arc::new(Memory::new("memory:task-cheap", file(5000)).cheap(true));
    assert_eq!(fetch(&cheap, &units()).unwrap(), Fetched::default());
}

/// One that is cancelled ends its requests, and leaves nothing under way: others fetch by themselves.
#[test]
fn who_is_cancelled_gives_up_what_it_has_taken_on() {
    let mock = Mock::new(&file(5000));
    mock.fault([Fault::Stall]);
    let source = http(&mock, "/cancelled", &[APART]);
    let (task, outcome) = begin(&source, &units()[2..3]);
    until("it is asked for", || mock.count() == 1);
    let (_, follower) = begin(&source, &units()[2..3]);
    until("the other follows", || units::waiting(source.as_ref(), &units()[2]) == 1);
    task.abort();
    assert!(outcome.recv().is_err(), "no outcome");
    assert_eq!(follower.recv_timeout(Duration::from_secs(20)).unwrap().unwrap(), Fetched { bytes: 10, requests: 1 });
    until("the units are given up", || units::under_way(source.as_ref()) == 0);
    assert_eq!(mock.count(), 2);
}

/// Those who follow a thread's fetch, with a thread and without, get its outcome.
#[test]
fn tasks_follow_threads() {
    const UNIT: SourceRange = SourceOffset(10)..SourceOffset(20);
    let mut memory = Memory::new("memory:task-follows", file(5000));
    memory.before = |memory| {
        until("all wait", || units::waiting(memory, &UNIT) == 8);
        Ok(())
    };
    let memory = Arc::new(memory);
    let source: Arc<dyn Source> = memory.clone();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| fetch_units(&source, &[UNIT], &options(&[])));
        until("it is taken on", || is_under_way(source.as_ref(), &UNIT));
        let tasks: Vec<_> = (0..8).map(|_| begin(&source, &[UNIT]).1).collect();
        assert!(leader.join().unwrap().is_ok());
        for outcome in tasks {
            assert_eq!(outcome.recv().unwrap().unwrap(), Fetched::default());
        }
    });
    assert_eq!(memory.rounds(), 1);
}

#[test]
fn a_failed_check_ends_the_fetch() {
    let mock = Mock::new(&file(5000));
    let source = http(&mock, "/checked", &[APART]);
    let (sender, outcome) = mpsc::channel();
    let task = spawn(async move {
        let check = |_: usize, _: &Bytes| Err(Error::Row { what: "on purpose".into() });
        let _ = sender.send(fetch_units_async(&source, &units(), &options(&[APART]), check).await);
    });
    task.unwrap();
    assert!(matches!(outcome.recv().unwrap(), Err(Error::Row { .. })));
}
