//! Servers that misbehave.

use std::time::{Duration, Instant};

use super::*;
use crate::source::testing::mock::{Fault, Mock};

/// Each fault that is worth another try, and the requests that the read then takes.
#[test]
fn passing_faults_are_tried_again() {
    let status = |code| Fault::Status(code, vec![]);
    let busy = Fault::Status(503, vec![("Retry-After", "0".to_owned())]);
    let statuses = [status(408), status(500), busy, status(429), status(503)];
    let lengths = [Fault::Short, Fault::ShortOpen, Fault::Long, Fault::LongOpen];
    let connections = [Fault::Reset, Fault::Cut, Fault::Stall, Fault::Silence];
    for fault in statuses.into_iter().chain(lengths).chain(connections) {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            let source = store(&mock, "/faulty", &[("GDAL_HTTP_LOW_SPEED_TIME", "0.2")]);
            mock.fault([fault.clone(), fault.clone()]);
            let bytes = source.read_ranges(&[range(10, 500)]);
            assert_eq!(bytes.unwrap()[0], file(5000)[10..500], "{fault:?}");
            assert_eq!(mock.count(), 3, "{fault:?}");
        }
    }
}

#[test]
fn tries_end() {
    let mock = Mock::new(&file(5000));
    mock.fault(vec![Fault::ShortOpen; 3]);
    let source = http(&mock, "/a?token=sesame", &[("GDAL_HTTP_MAX_RETRY", "2")]);
    let before = statistics();
    let error = source.read_ranges(&[range(10, 500)]).unwrap_err().chain();
    assert!(error.contains("tried 3 times") && error.contains("489 bytes in place of 490"), "{error}");
    assert!(!error.contains("sesame"), "{error}");
    assert_eq!(mock.count(), 3);
    let after = statistics();
    assert!(after.retries >= before.retries + 2 && after.read_errors > before.read_errors);
    assert!(after.requests >= before.requests + 3 && after.bytes > before.bytes);
}

#[test]
fn lasting_faults_are_told_at_once() {
    let status = |code| Fault::Status(code, vec![]);
    let cases = [
        (status(404), "not found (HTTP 404)"),
        (status(403), "access denied (HTTP 403)"),
        (status(401), "access denied (HTTP 401)"),
        (status(400), "HTTP 400"),
        (status(501), "HTTP 501"),
        (Fault::OtherRange, "the server sent 11 to 501"),
        (Fault::WholeLarge, "does not serve ranges"),
        (Fault::WholeOpen, "does not serve ranges"),
        (Fault::Status(206, vec![]), "without Content-Range"),
        (Fault::Status(302, vec![("Location", "/loop?sesame".to_owned())]), ""),
    ];
    for (fault, text) in cases.iter().take(9) {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            mock.fault([fault.clone()]);
            let source = store(&mock, "/x", &[]);
            let error = source.read_ranges(&[range(10, 500)]).unwrap_err().chain();
            assert!(error.contains(text), "{fault:?}: {error}");
            assert_eq!(mock.count(), 1, "{fault:?}");
            assert!(source.read_ranges(&[range(10, 500)]).is_ok(), "a failure is not remembered");
        }
    }
    let mock = Mock::new(&file(5000));
    mock.fault(vec![cases[9].0.clone(); 20]);
    let error = http(&mock, "/x", &[]).read_ranges(&[range(10, 500)]).unwrap_err().chain();
    assert!(error.contains("redirects more than 10 times") && !error.contains("sesame"), "{error}");
}

#[test]
fn a_small_file_sent_whole_is_cut() {
    let mock = Mock::new(&file(5000));
    mock.fault(vec![Fault::Whole; 3]);
    let source = http(&mock, "/a", &[]);
    assert_eq!(source.read_ranges(&[range(10, 500)]).unwrap()[0], file(5000)[10..500]);
    assert_eq!(source.seen().unwrap().size, 5000);
    assert_eq!(source.read_up_to(SourceOffset(4990), 500).unwrap(), file(5000)[4990..]);
    assert!(source.read_ranges(&[range(10, 5001)]).unwrap_err().to_string().contains("ends at byte 5000"));
}

#[test]
fn a_size_that_is_not_told_is_not_guessed() {
    let mock = Mock::new(&file(5000));
    mock.fault([Fault::NoSize, Fault::NoSize]);
    let source = http(&mock, "/a", &[]);
    assert_eq!(source.read_ranges(&[range(10, 500)]).unwrap()[0], file(5000)[10..500]);
    assert_eq!(source.seen(), None);
    assert!(source.head().unwrap_err().to_string().contains("does not give"));
    assert_eq!(source.head().unwrap().size, 5000);
}

#[test]
fn what_is_tried_again_is_the_users_choice() {
    for (codes, tried, not) in [("404,418", 418, 500), ("ALL", 403, 0)] {
        let mock = Mock::new(&file(5000));
        let source = http(&mock, "/a", &[("GDAL_HTTP_RETRY_CODES", codes)]);
        mock.fault([Fault::Status(tried, vec![])]);
        assert!(source.read_ranges(&[range(10, 500)]).is_ok(), "{codes}");
        mock.fault([Fault::Status(not, vec![])].into_iter().filter(|_| not > 0));
        assert_eq!(source.read_ranges(&[range(10, 500)]).is_ok(), not == 0, "{codes}");
    }
}

/// The other files of the host keep away from it too, until the pause is over.
#[test]
fn a_pause_is_everybodys() {
    let mock = Mock::new(&file(5000));
    let (asked, other) = (http(&mock, "/a", &[]), http(&mock, "/b", &[("GDAL_HTTP_MAX_RETRY", "0")]));
    mock.fault([Fault::Status(429, vec![("Retry-After", "1".to_owned())]), Fault::Reset]);
    let start = Instant::now();
    assert_eq!(asked.read_ranges(&[range(10, 500)]).unwrap()[0], file(5000)[10..500]);
    assert!(start.elapsed() >= Duration::from_secs(1), "it was asked for");
    mock.fault([Fault::Status(503, vec![("Retry-After", "7200".to_owned())])]);
    let count = mock.count();
    assert!(other.read_ranges(&[range(10, 500)]).is_err());
    let error = asked.read_ranges(&[range(10, 500)]).unwrap_err().to_string();
    assert!(error.contains("not to be asked for another 7"), "{error}");
    assert_eq!(mock.count(), count + 1, "nobody waits for two hours, and nobody asks");
}

/// A response that never comes is a failure when the time is over, with or without a limit for the whole of it.
#[test]
fn nothing_waits_for_ever() {
    for limit in ["GDAL_HTTP_TIMEOUT", "GDAL_HTTP_LOW_SPEED_TIME"] {
        for fault in [Fault::Stall, Fault::Silence] {
            let mock = Mock::new(&file(5000));
            mock.fault(vec![fault.clone(); 2]);
            let source = http(&mock, "/a", &[(limit, "0.2"), ("GDAL_HTTP_MAX_RETRY", "1")]);
            let error = source.read_ranges(&[range(10, 500)]).unwrap_err().to_string();
            assert!(error.contains("GDAL_HTTP_TIMEOUT") && error.contains("tried 2 times"), "{fault:?}: {error}");
            assert_eq!(source.read_ranges(&[range(10, 500)]).unwrap()[0], file(5000)[10..500]);
        }
    }
}

#[test]
fn a_stores_word_for_an_error_is_told_with_what_to_set() {
    let mock = Mock::new(&file(5000));
    let source = s3(&mock, "/a", &[]);
    for (status, header, expected) in [
        (403, "InvalidAccessKeyId", ["access denied (HTTP 403 InvalidAccessKeyId)", "AWS_REQUEST_PAYER"]),
        (404, "NoSuchBucket", ["not found (HTTP 404 NoSuchBucket)", "AWS_S3_ENDPOINT"]),
        (403, "see https://h/?sig=sesame", ["access denied (HTTP 403)", "AWS_SECRET_ACCESS_KEY"]),
        (400, "ExpiredToken", ["HTTP 400 ExpiredToken", "AWS_SESSION_TOKEN"]),
    ] {
        mock.fault([Fault::Status(status, vec![("x-ms-error-code", header.to_owned())])]);
        let error = source.read_ranges(&[range(10, 500)]).unwrap_err().chain();
        assert!(expected.iter().all(|text| error.contains(text)) && !error.contains("sesame"), "{error}");
    }
}
