//! The end of a file of unknown size.

use super::*;
use crate::source::testing::mock::{Fault, Mock};

#[test]
fn the_end_comes_with_the_size_in_one_request() {
    for store in [http, s3] {
        for (length, size) in [(100, 5000), (5000, 5000), (9000, 5000), (10, 0)] {
            let mock = Mock::new(&file(size));
            let source = store(&mock, "/t", &[]);
            let (bytes, told) = source.read_tail(length).unwrap();
            assert_eq!((bytes, told), (file(size)[size - size.min(length as usize)..].to_vec().into(), size as u64));
            assert_eq!(mock.seen()[0].header("range"), Some(&*format!("bytes=-{length}")));
            assert_eq!(mock.count(), 1);
            assert_eq!(source.seen().unwrap().size, size as u64);
        }
    }
}

/// What a server does that knows no such ranges, or knows them and something goes wrong: the requests that it takes.
#[test]
fn servers_that_do_not_count_from_the_end_are_asked_for_the_size() {
    let status = |code| Fault::Status(code, vec![]);
    let unknown = [
        status(400),
        status(416),
        status(501),
        Fault::Status(416, vec![("Content-Range", "bytes */5000".to_owned())]),
        Fault::WholeLarge,
        Fault::OtherRange,
        Fault::Grown,
        Fault::NoSize,
    ];
    let passing = [status(503), Fault::Cut, Fault::Short, Fault::Long, Fault::Reset];
    let cases = unknown.map(|fault| (fault, 3)).into_iter().chain(passing.map(|fault| (fault, 2)));
    for (fault, requests) in cases.chain([(Fault::Whole, 1)]) {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            mock.fault([fault.clone()]);
            let answer = store(&mock, "/t", &[]).read_tail(100);
            assert_eq!(answer.unwrap(), (file(5000)[4900..].to_vec().into(), 5000), "{fault:?}");
            assert_eq!(mock.count(), requests, "{fault:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_not_asked_for_twice() {
    for (code, text) in [(404, "not found"), (403, "access denied")] {
        let mock = Mock::new(&file(5000));
        mock.fault(vec![Fault::Status(code, vec![]); 2]);
        let error = http(&mock, "/t", &[]).read_tail(100).unwrap_err().to_string();
        assert!(error.contains(text) && mock.count() == 1, "{error}");
    }
}

#[test]
fn an_end_of_another_version_is_an_error() {
    let mock = Mock::new(&file(5000));
    let source = http(&mock, "/t", &[]);
    source.read_tail(100).unwrap();
    mock.replace(&file(6000), "\"two\"");
    assert!(matches!(source.read_tail(100), Err(Error::Changed { .. })));
    assert_eq!(mock.seen()[1].header("if-match"), Some("\"one\""));
}

#[test]
fn azure_is_not_asked_for_what_it_does_not_know() {
    let mock = Mock::new(&file(5000));
    let set = [("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_NO_SIGN_REQUEST", "YES")];
    let endpoint = mock.url("/a");
    let set: Vec<_> = set.into_iter().chain([("CPL_AZURE_ENDPOINT", endpoint.as_str())]).collect();
    let location = Location::Azure { container: "c".into(), key: "k".into() };
    let source = open(&location, &set, None).unwrap();
    assert_eq!(source.read_tail(100).unwrap().0, file(5000)[4900..]);
    let ranges: Vec<_> = mock.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [Some("bytes=0-0".to_owned()), Some("bytes=4900-4999".to_owned())]);
}
