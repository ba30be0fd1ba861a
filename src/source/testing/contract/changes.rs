//! Files that change under a reader.

use super::*;
use crate::source::testing::mock::{Fault, Mock};

#[test]
fn a_changed_file_is_an_error() {
    for (fault, text) in [(Fault::ETag("\"two\""), "\"one\" and is \"two\""), (Fault::Grown, "5000 bytes and is 5001")]
    {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            let source = store(&mock, "/c", &[]);
            source.read_ranges(&[range(0, 10)]).unwrap();
            mock.fault([Fault::ETag("W/\"one\""), fault.clone()]);
            source.read_ranges(&[range(0, 10)]).unwrap();
            let error = source.read_ranges(&[range(0, 10)]).unwrap_err();
            assert!(matches!(&error, Error::Changed { what } if what.contains(text)), "{error}");
            // Opened now, it is what is there now; a source that has given its version away keeps to it.
            assert!(store(&mock, "/c", &[]).read_ranges(&[range(0, 10)]).is_ok());
            mock.fault([fault.clone()]);
            let knowing = store(&mock, "/c", &[]);
            assert_eq!(knowing.seen().unwrap().etag.as_deref(), Some("\"one\""));
            assert!(matches!(knowing.read_ranges(&[range(0, 10)]), Err(Error::Changed { .. })));
        }
    }
}

/// The same bytes in another order of positions, so that a mix of both is noticed.
fn other(size: usize) -> Vec<u8> {
    file(size).into_iter().rev().collect()
}

#[test]
fn requests_ask_for_the_version_that_was_seen() {
    let mock = Mock::new(&file(5000));
    let source = http(&mock, "/v", &[]);
    source.read_ranges(&[range(0, 10)]).unwrap();
    source.read_ranges(&[range(10, 20)]).unwrap();
    assert_eq!(mock.seen()[0].header("if-match"), None);
    assert_eq!(mock.seen()[1].header("if-match"), Some("\"one\""));
    // What an earlier source has seen is asked for by the next one from the start.
    http(&mock, "/v", &[]).read_ranges(&[range(20, 30)]).unwrap();
    assert!(mock.seen()[2].header("if-match").is_none(), "nobody has asked for it");
    let knowing = http(&mock, "/v", &[]);
    assert_eq!(knowing.seen().unwrap().size, 5000);
    knowing.read_ranges(&[range(30, 40)]).unwrap();
    assert_eq!(mock.seen()[3].header("if-match"), Some("\"one\""));
}

#[test]
fn what_the_index_knows_is_asked_for_from_the_start() {
    let mock = Mock::new(&file(5000));
    let source = http(&mock, "/i", &[]);
    source.expect("\"zero\"");
    assert_eq!(source.read_ranges(&[range(0, 10)]).unwrap()[0], file(5000)[..10], "the index's etag is old");
    let asked: Vec<_> = mock.seen().iter().map(|seen| seen.header("if-match").map(str::to_owned)).collect();
    assert_eq!(asked, [Some("\"zero\"".to_owned()), None]);
    assert_eq!(source.seen().unwrap().etag.as_deref(), Some("\"one\""));
}

#[test]
fn what_cannot_be_sent_is_not_asked_for() {
    let mock = Mock::new(&file(5000));
    for store in [http, s3] {
        let source = store(&mock, "/i", &[]);
        source.expect("\"a\nb\"");
        assert_eq!(source.read_ranges(&[range(0, 10)]).unwrap()[0], file(5000)[..10]);
    }
    assert!(mock.seen().iter().all(|seen| seen.header("if-match").is_none()));
}

#[test]
fn a_weak_etag_is_not_asked_for() {
    let mock = Mock::new(&file(5000));
    mock.replace(&file(5000), "W/\"one\"");
    let source = http(&mock, "/w", &[]);
    for _ in 0..2 {
        source.read_ranges(&[range(0, 10)]).unwrap();
    }
    assert!(mock.seen().iter().all(|seen| seen.header("if-match").is_none()));
}

#[test]
fn a_file_replaced_between_two_reads_is_an_error_and_never_a_mix() {
    for size in [5000, 6000] {
        let mock = Mock::new(&file(5000));
        let source = http(&mock, "/r", &[]);
        let units = [range(0, 100), range(3000, 3100)];
        fetch_units(&source, &units[..1], &options(&[])).unwrap();
        mock.replace(&other(size), "\"two\"");
        let error = fetch_units(&source, &units[1..], &options(&[])).unwrap_err();
        assert!(matches!(&error, Error::Changed { .. }), "{error}");
        assert!(fetch_units(&source, &units[1..], &options(&[])).is_err(), "as long as it is open");
        let next = http(&mock, "/r", &[]);
        let got = fetch_units(&next, &units, &options(&[])).unwrap();
        assert_eq!((&got[0][..], &got[1][..]), (&other(size)[..100], &other(size)[3000..3100]));
    }
}

#[test]
fn a_server_that_cannot_compare_etags_is_asked_without() {
    let mock = Mock::new(&file(5000));
    let source = http(&mock, "/m", &[]);
    source.read_ranges(&[range(0, 10)]).unwrap();
    mock.fault([Fault::Misjudged]);
    for at in [100, 200] {
        assert_eq!(source.read_ranges(&[range(at, at + 9)]).unwrap()[0], file(5000)[at as usize..at as usize + 9]);
    }
    assert_eq!(mock.count(), 4, "one request was made twice");
    assert!(mock.seen()[3].header("if-match").is_none(), "once is enough");
}
