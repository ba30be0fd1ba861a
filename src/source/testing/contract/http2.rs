//! Servers that speak HTTP/2.

use super::*;
use crate::source::testing::mock_http2::{Http2Fault, Http2Mock};

const TRUSTING: (&str, &str) = ("GDAL_HTTP_UNSAFESSL", "YES");
const APART: (&str, &str) = ("VSITLM_MERGE_GAP", "0");

fn source(mock: &Http2Mock, more: &[(&str, &str)]) -> Arc<dyn Source> {
    let all: Vec<(&str, &str)> = more.iter().copied().chain([TRUSTING]).collect();
    open(&Location::Http { url: mock.url() }, &all, None).unwrap()
}

/// Reads 121 ranges, as an overview does, and checks them against the file.
fn reads_an_overview(source: &Arc<dyn Source>) {
    let units: Vec<_> = (0..121).map(|i| range(i * 50, i * 50 + 20)).collect();
    let got = fetch_units(source, &units, &options(&[APART])).unwrap();
    for (unit, bytes) in units.iter().zip(&got) {
        assert_eq!(bytes, &file(10_000)[unit.start.0 as usize..unit.end.0 as usize]);
    }
}

#[test]
fn many_small_ranges_take_one_connection() {
    let mock = Http2Mock::new(file(10_000), 128);
    reads_an_overview(&source(&mock, &[]));
    assert_eq!((mock.protocols(), mock.count()), (vec!["h2".to_owned()], 121));
    assert!((2..=32).contains(&mock.most_together()), "{} at the same time", mock.most_together());
}

#[test]
fn a_server_may_take_fewer_streams() {
    let mock = Http2Mock::new(file(10_000), 3);
    reads_an_overview(&source(&mock, &[]));
    assert_eq!((mock.protocols().len(), mock.count()), (1, 121));
    assert!(mock.most_together() <= 3, "{} at the same time", mock.most_together());
}

/// One fault at the first request, whose connection is the only one; and one while others are on their way.
#[test]
fn faults_of_http2_are_tried_again() {
    for fault in [Http2Fault::Refused, Http2Fault::Reset, Http2Fault::Cut, Http2Fault::GoAway, Http2Fault::Abrupt] {
        let mock = Http2Mock::new(file(10_000), 128);
        let source = source(&mock, &[]);
        mock.fault([fault]);
        assert_eq!(source.read_ranges(&[range(10, 500)]).unwrap()[0], file(10_000)[10..500], "{fault:?}");
        mock.fault([fault]);
        reads_an_overview(&source);
    }
}

#[test]
fn resets_that_do_not_end_are_told() {
    let mock = Http2Mock::new(file(10_000), 128);
    mock.fault([Http2Fault::Reset; 3]);
    let error = source(&mock, &[("GDAL_HTTP_MAX_RETRY", "2")]).read_ranges(&[range(10, 500)]).unwrap_err().chain();
    assert!(error.contains("tried 3 times") && error.contains("stream"), "{error}");
}

#[test]
fn options_turn_http2_off() {
    for off in [("GDAL_HTTP_VERSION", "1.1"), ("GDAL_HTTP_VERSION", "1.0"), ("GDAL_HTTP_MULTIPLEX", "NO")] {
        let mock = Http2Mock::new(file(10_000), 128);
        // The mock closes connections of HTTP/1.1.
        assert!(source(&mock, &[off, ("GDAL_HTTP_MAX_RETRY", "0")]).read_ranges(&[range(10, 500)]).is_err());
        assert_eq!(mock.protocols(), ["http/1.1"], "{off:?}");
    }
    for on in ["2", "2TLS", "2PRIOR_KNOWLEDGE"] {
        let mock = Http2Mock::new(file(10_000), 128);
        source(&mock, &[("GDAL_HTTP_VERSION", on)]).read_ranges(&[range(10, 500)]).unwrap();
        assert_eq!(mock.protocols(), ["h2"], "{on}");
    }
}

#[test]
fn a_certificate_that_nobody_has_signed_is_asked_for_once() {
    let mock = Http2Mock::new(file(10_000), 128);
    let untrusting = open(&Location::Http { url: mock.url() }, &[], None).unwrap();
    let error = untrusting.read_ranges(&[range(10, 500)]).unwrap_err().chain();
    assert!(error.contains("tried once: invalid peer certificate") && error.contains("GDAL_HTTP_UNSAFESSL"), "{error}");
    assert_eq!((mock.connections(), mock.count()), (1, 0));
}

#[test]
fn a_handshake_that_breaks_off_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/certificate", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || listener.incoming().take(3).map(drop).count());
    let source = open(&Location::Http { url }, &[TRUSTING, ("GDAL_HTTP_MAX_RETRY", "2")], None).unwrap();
    let error = source.read_ranges(&[range(10, 500)]).unwrap_err().chain();
    assert!(error.contains("tried 3 times") && error.contains("the network"), "{error}");
    assert_eq!(server.join().unwrap(), 3);
}
