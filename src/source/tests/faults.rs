//! Servers that misbehave.

use super::super::mock::{Fault, Mock};
use super::*;

/// Each fault that is worth another try, and the requests that the read then takes.
#[test]
fn passing_faults_are_tried_again() {
    let status = |code| Fault::Status(code, vec![]);
    let busy = Fault::Status(503, vec![("Retry-After", "0".to_owned())]);
    let lengths = [Fault::Short, Fault::ShortOpen, Fault::Long, Fault::LongOpen];
    for fault in [status(500), busy, status(429), Fault::Reset, Fault::Cut].into_iter().chain(lengths) {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            let source = store(&mock, "/faulty", &[]);
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
        (status(404), "not found"),
        (status(403), "access denied (HTTP 403)"),
        (status(401), "access denied (HTTP 401)"),
        (status(400), "HTTP 400"),
        (Fault::OtherRange, "the server sent 11 to 501"),
        (Fault::WholeLarge, "does not serve ranges"),
        (Fault::WholeOpen, "does not serve ranges"),
        (Fault::Status(206, vec![]), "without Content-Range"),
        (Fault::Status(302, vec![("Location", "/loop?sesame".to_owned())]), ""),
    ];
    for (fault, text) in cases.iter().take(8) {
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
    mock.fault(vec![cases[8].0.clone(); 20]);
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
fn a_changed_file_is_told() {
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
            // Who opens it now reads what is there now; who was told of another version first hears of that.
            assert!(store(&mock, "/c", &[]).read_ranges(&[range(0, 10)]).is_ok());
            mock.fault([fault.clone()]);
            let told = store(&mock, "/c", &[]);
            assert_eq!(told.seen().unwrap().etag.as_deref(), Some("\"one\""));
            assert!(matches!(told.read_ranges(&[range(0, 10)]), Err(Error::Changed { .. })));
        }
    }
}

#[test]
fn a_size_that_is_not_told_is_not_guessed() {
    let mock = Mock::new(&file(5000));
    mock.fault([Fault::NoSize, Fault::NoSize]);
    let source = http(&mock, "/a", &[]);
    assert_eq!(source.read_ranges(&[range(10, 500)]).unwrap()[0], file(5000)[10..500]);
    assert_eq!(source.seen(), None);
    assert!(source.head().unwrap_err().to_string().contains("does not tell"));
    assert_eq!(source.head().unwrap().size, 5000);
}
