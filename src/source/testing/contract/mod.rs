//! What every source does alike, with faults where there is a network.

mod ahead;
mod changes;
mod faults;
mod http2;
mod objects;
mod requests;
mod tails;
mod tasks;

use std::sync::{Arc, Barrier};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::path::Location;
use crate::source::cache::{Fetched, fetch_units, fetch_units_async, is_under_way, peek, prefetch, units};
use crate::source::contract::{Each, HostFiles, Meta, Source};
use crate::source::host::statistics;
use crate::source::open::{list, put, read_whole};
use crate::source::range::{SourceOffset, SourceRange, range};
use crate::source::remote::Listed;
use crate::source::runtime::spawn;
use crate::source::testing::memory::Memory;
use crate::source::testing::mock::Mock;
use crate::source::{Caller, OpenBy};

/// Two bytes a position, so that bytes from a wrong one are noticed.
fn file(size: usize) -> Vec<u8> {
    (0..size).map(|at| if at % 2 == 0 { (at >> 9) as u8 } else { (at >> 1) as u8 }).collect()
}

fn options(more: &[(&str, &str)]) -> Options {
    let get = |name: &str| {
        let set = more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        set.or_else(|| (name == "GDAL_HTTP_RETRY_DELAY").then(|| "0.001".to_owned()))
    };
    Options::resolve(&get).unwrap()
}

/// Opens a location with these options.
fn open(location: &Location, more: &[(&str, &str)], host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    let all: Vec<_> = more.iter().copied().chain([("GDAL_HTTP_RETRY_DELAY", "0.001")]).collect();
    let caller = Caller::of_options(&all);
    let caller = host.map_or(caller, |host| caller.with_files(host));
    caller.open(location, &caller.access(location)?)
}

fn http(mock: &Mock, path: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    open(&Location::Http { url: mock.url(path) }, more, None).unwrap()
}

fn s3_options(mock: &Mock) -> Vec<(&'static str, String)> {
    vec![("AWS_NO_SIGN_REQUEST", "YES".to_owned()), ("AWS_S3_ENDPOINT", mock.url(""))]
}

fn s3(mock: &Mock, key: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    let unsigned = s3_options(mock);
    let all: Vec<(&str, &str)> =
        more.iter().copied().chain(unsigned.iter().map(|(name, value)| (*name, value.as_str()))).collect();
    let key = key.trim_start_matches('/').to_owned();
    open(&Location::S3 { bucket: "bucket".into(), key }, &all, None).unwrap()
}

/// The contract of [`Source`], for a source of `file(5000)`.
fn keeps_the_contract(source: &Arc<dyn Source>) {
    let content = file(5000);
    let name = source.origin().to_owned();
    assert_eq!(source.read_up_to(SourceOffset(0), 100).unwrap(), content[..100], "{name}");
    assert_eq!(source.seen().unwrap().size, 5000, "{name}: the first response gives the size");
    assert_eq!(source.head().unwrap().size, 5000, "{name}");
    assert_eq!(source.read_up_to(SourceOffset(4990), 100).unwrap(), content[4990..], "{name}: shorter at the end");
    assert!(source.read_up_to(SourceOffset(5000), 10).unwrap().is_empty(), "{name}: nothing past the end");
    assert!(source.read_up_to(SourceOffset(9000), 10).unwrap().is_empty(), "{name}");
    assert_eq!(source.read_tail(10).unwrap(), (content[4990..].to_vec().into(), 5000), "{name}");
    assert_eq!(source.read_tail(9000).unwrap(), (content.clone().into(), 5000), "{name}");
    assert_eq!(source.read_tail(0).unwrap(), (Bytes::new(), 5000), "{name}");
    let ranges = [range(4000, 5000), range(0, 1), range(7, 7), range(100, 2100)];
    let answers = source.read_ranges(&ranges).unwrap();
    for (asked, answer) in ranges.iter().zip(&answers) {
        assert_eq!(answer, &content[asked.start.0 as usize..asked.end.0 as usize], "{name} {asked:?}");
    }
    let mut buffer = [0; 33];
    source.read_into(SourceOffset(1000), &mut buffer).unwrap();
    assert_eq!(buffer, content[1000..1033], "{name}");
    for (start, end) in [(4999, 5001), (5000, 5001), (u64::MAX - 1, u64::MAX)] {
        assert!(source.read_ranges(&[range(start, end)]).is_err(), "{name}: {start} to {end} is not all there");
    }
    let units = [range(0, 10), range(10, 20), range(3000, 3100)];
    for _ in 0..2 {
        let answers = fetch_units(source, &units, &options(&[])).unwrap();
        for (asked, answer) in units.iter().zip(&answers) {
            assert_eq!(answer, &content[asked.start.0 as usize..asked.end.0 as usize], "{name} {asked:?}");
        }
    }
    assert_eq!(peek(source.as_ref(), &units[2]).is_some(), !source.is_cheap(), "{name}");
}

#[test]
fn all_sources_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jp2");
    std::fs::write(&path, file(5000)).unwrap();
    keeps_the_contract(&open(&Location::Local(path), &[], None).unwrap());
    let memory: Arc<dyn Source> = Arc::new(Memory::new("memory:contract", file(5000)));
    keeps_the_contract(&memory);
    let mock = Mock::new(&file(5000));
    keeps_the_contract(&http(&mock, "/a.jp2", &[]));
    keeps_the_contract(&s3(&mock, "a/b.jp2", &[]));
}

#[test]
fn an_empty_file_has_no_bytes() {
    let mock = Mock::new(b"");
    for source in [http(&mock, "/empty", &[]), s3(&mock, "empty", &[])] {
        assert!(source.read_up_to(SourceOffset(0), 100).unwrap().is_empty());
        assert_eq!(source.head().unwrap().size, 0);
        let error = source.read_ranges(&[range(0, 1)]).unwrap_err();
        assert!(error.to_string().contains("ends at byte 0"), "{error}");
    }
}

#[test]
fn far_apart_units_are_fetched_side_by_side() {
    let mock = Mock::holding(&file(5000), 4);
    let source = http(&mock, "/a", &[("VSITLM_MERGE_GAP", "100")]);
    let units = [range(0, 10), range(1000, 1010), range(2000, 2010), range(3000, 3010), range(3100, 3110)];
    let got = fetch_units(&source, &units, &options(&[("VSITLM_MERGE_GAP", "100")])).unwrap();
    assert_eq!(got[4], file(5000)[3100..3110]);
    assert_eq!((mock.count(), mock.most_together()), (4, 4), "the last two are one request");
}

#[test]
fn a_host_gets_no_more_requests_than_allowed() {
    let mock = Mock::holding(&file(5000), 2);
    let few = [("VSITLM_MERGE_GAP", "0"), ("VSITLM_MAX_CONNECTIONS", "2")];
    let source = http(&mock, "/a", &few);
    let units: Vec<_> = (0..12).map(|i| range(i * 100, i * 100 + 10)).collect();
    fetch_units(&source, &units, &options(&few)).unwrap();
    assert_eq!((mock.count(), mock.most_together()), (12, 2));
}

#[test]
fn many_threads_share_one_request() {
    let mock = Mock::new(&file(5000));
    let source = http(&mock, "/a", &[]);
    let start = Barrier::new(64);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                start.wait();
                let got = fetch_units(&source, &[range(100, 900)], &options(&[])).unwrap();
                assert_eq!(got[0], file(5000)[100..900]);
            });
        }
    });
    assert_eq!(mock.count(), 1);
    let other = http(&mock, "/a", &[]);
    fetch_units(&other, &[range(100, 900)], &options(&[])).unwrap();
    assert_eq!(mock.count(), 1, "another source of the same file finds it too");
    let same = http(&mock, "/a?X-Amz-Signature=1", &[]);
    fetch_units(&same, &[range(100, 900)], &options(&[])).unwrap();
    assert_eq!(mock.count(), 2, "a signature is a credential: what it has fetched is for those who have it");
    let another = http(&mock, "/a?file=2", &[]);
    another.head().unwrap();
    fetch_units(&another, &[range(100, 900)], &options(&[])).unwrap();
    assert_eq!(mock.count(), 4, "any other query string is another file");
}

/// Of 64 threads one fetches, and 63 wait for it: none of them is late, for the fetch waits for them. All get its
/// outcome, be it bytes, an error or a panic; a failure is forgotten.
#[test]
fn one_thread_fetches_for_all() {
    const UNIT: SourceRange = SourceOffset(10)..SourceOffset(20);
    fn until_all_wait(source: &Memory) {
        while units::waiting(source, &UNIT) < 63 {
            std::thread::yield_now();
        }
    }
    let outcomes: [fn(&Memory) -> Result<()>; 3] = [
        |source| {
            until_all_wait(source);
            Err(Error::read("on purpose"))
        },
        |source| {
            until_all_wait(source);
            panic!("on purpose")
        },
        |source| {
            until_all_wait(source);
            Ok(())
        },
    ];
    for (round, before) in outcomes.into_iter().enumerate() {
        let mut memory = Memory::new("memory:single-flight", file(5000));
        memory.before = before;
        let memory = Arc::new(memory);
        let source: Arc<dyn Source> = memory.clone();
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let fetch = || fetch_units(&source, &[UNIT], &options(&[]));
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(fetch)) {
                        Ok(Ok(units)) => assert!(round == 2 && units[0] == file(5000)[10..20]),
                        Ok(Err(error)) => assert!(round < 2, "{error}"),
                        Err(_) => assert_eq!(round, 1, "only the thread that fetched panics"),
                    }
                });
            }
        });
        assert_eq!(memory.rounds(), 1);
        assert_eq!(peek(source.as_ref(), &UNIT).is_some(), round == 2);
    }
}

#[test]
fn transports_are_chosen_by_options() {
    let gdal = OpenBy(|path: &str| Ok(Arc::new(Memory::new(path, Vec::new())) as Arc<dyn Source>));
    let url = Location::Http { url: "https://u:p@h/a?q".into() };
    let object = Location::S3 { bucket: "b".into(), key: "k".into() };
    let zip = Location::Host("/vsizip/x.zip/a".into());
    let with = |location: &Location, more: &[(&str, &str)], host| {
        open(location, more, host).map(|source| source.origin().to_owned())
    };
    let gdal: Option<&dyn HostFiles> = Some(&gdal);
    assert_eq!(with(&url, &[], gdal).unwrap(), "https://h/a");
    assert_eq!(with(&url, &[("GDAL_HTTP_AUTH", "NTLM")], gdal).unwrap(), "/vsicurl/https://u:p@h/a?q");
    assert_eq!(with(&url, &[("VSITLM_TRANSPORT", "GDAL")], gdal).unwrap(), "/vsicurl/https://u:p@h/a?q");
    assert_eq!(with(&object, &[], gdal).unwrap(), "/vsis3/b/k");
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    assert_eq!(with(&object, &keys, gdal).unwrap(), "s3://s3.amazonaws.com/b/k");
    assert_eq!(with(&zip, &[], gdal).unwrap(), "/vsizip/x.zip/a");
    let none = [
        with(&object, &[], None),
        with(&object, &[("VSITLM_TRANSPORT", "NATIVE")], gdal),
        with(&url, &[("VSITLM_TRANSPORT", "GDAL")], None),
        with(&zip, &[], None),
        with(&zip, &[("VSITLM_TRANSPORT", "NATIVE")], gdal),
    ];
    for refused in none {
        let error = refused.unwrap_err().to_string();
        assert!(!error.contains("u:p") && !error.contains("?q"), "{error}");
        assert!(error.contains("VSITLM_TRANSPORT") || error.contains("AWS_") || error.contains("s3://"), "{error}");
    }
}
