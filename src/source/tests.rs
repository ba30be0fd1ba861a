//! What every source does alike, with faults where there is a network.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use bytes::Bytes;

use super::merge::range;
use super::mock::{Fault, Mock};
use super::*;

/// Two bytes a position, so that bytes from a wrong one are noticed.
fn file(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| if at % 2 == 0 { (at >> 9) as u8 } else { (at >> 1) as u8 })
        .collect()
}

fn options(more: &[(&str, &str)]) -> Options {
    let get = |name: &str| {
        let set = more
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned());
        set.or_else(|| (name == "GDAL_HTTP_RETRY_DELAY").then(|| "0.001".to_owned()))
    };
    Options::resolve(&get).unwrap()
}

fn http(mock: &Mock, path: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    open(&Location::Http { url: mock.url(path) }, &options(more), None).unwrap()
}

fn s3_options(mock: &Mock) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_NO_SIGN_REQUEST", "YES".to_owned()),
        ("AWS_S3_ENDPOINT", mock.url("")),
    ]
}

fn s3(mock: &Mock, key: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    let unsigned = s3_options(mock);
    let all: Vec<(&str, &str)> = more
        .iter()
        .copied()
        .chain(unsigned.iter().map(|(name, value)| (*name, value.as_str())))
        .collect();
    let key = key.trim_start_matches('/').to_owned();
    open(
        &Location::S3 {
            bucket: "bucket".into(),
            key,
        },
        &options(&all),
        None,
    )
    .unwrap()
}

/// A source in memory that counts its requests.
struct Memory {
    origin: String,
    bytes: Bytes,
    requests: AtomicUsize,
    /// What a read does before it reads.
    before: fn(&Memory) -> Result<()>,
}

impl Memory {
    fn new(origin: &str, bytes: Vec<u8>) -> Self {
        Self {
            origin: origin.into(),
            bytes: bytes.into(),
            requests: AtomicUsize::new(0),
            before: |_| Ok(()),
        }
    }
}

impl Source for Memory {
    fn origin(&self) -> &str {
        &self.origin
    }
    fn is_cheap(&self) -> bool {
        false
    }
    fn head(&self) -> Result<Meta> {
        Ok(Meta {
            size: self.bytes.len() as u64,
            etag: None,
            last_modified: None,
        })
    }
    fn seen(&self) -> Option<Meta> {
        self.head().ok()
    }
    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        let end = SourceOffset(offset.0.saturating_add(buffer.len() as u64));
        buffer.copy_from_slice(&self.read_ranges(&[offset..end])?[0]);
        Ok(())
    }
    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        self.requests.fetch_add(ranges.len(), Ordering::SeqCst);
        (self.before)(self)?;
        let part = |range: &SourceRange| {
            if range.end.0 > self.bytes.len() as u64 {
                return Err(Error::read("past the end"));
            }
            Ok(self.bytes.slice(range.start.0 as usize..range.end.0 as usize))
        };
        ranges.iter().map(part).collect()
    }
    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        let size = self.bytes.len() as u64;
        let start = offset.0.min(size);
        Ok(self
            .bytes
            .slice(start as usize..start.saturating_add(length).min(size) as usize))
    }
}

/// The contract of [`Source`], for a source of `file(5000)`.
fn keeps_the_contract(source: &Arc<dyn Source>) {
    let content = file(5000);
    let name = source.origin().to_owned();
    assert_eq!(
        source.read_up_to(SourceOffset(0), 100).unwrap(),
        content[..100],
        "{name}"
    );
    assert_eq!(
        source.seen().unwrap().size,
        5000,
        "{name}: the first response tells the size"
    );
    assert_eq!(source.head().unwrap().size, 5000, "{name}");
    assert_eq!(
        source.read_up_to(SourceOffset(4990), 100).unwrap(),
        content[4990..],
        "{name}: shorter at the end"
    );
    assert!(
        source.read_up_to(SourceOffset(5000), 10).unwrap().is_empty(),
        "{name}: nothing past the end"
    );
    assert!(source.read_up_to(SourceOffset(9000), 10).unwrap().is_empty(), "{name}");
    let ranges = [range(4000, 5000), range(0, 1), range(7, 7), range(100, 2100)];
    let answers = source.read_ranges(&ranges).unwrap();
    for (asked, answer) in ranges.iter().zip(&answers) {
        assert_eq!(
            answer,
            &content[asked.start.0 as usize..asked.end.0 as usize],
            "{name} {asked:?}"
        );
    }
    let mut buffer = [0; 33];
    source.read_into(SourceOffset(1000), &mut buffer).unwrap();
    assert_eq!(buffer, content[1000..1033], "{name}");
    for (start, end) in [(4999, 5001), (5000, 5001), (u64::MAX - 1, u64::MAX)] {
        assert!(
            source.read_ranges(&[range(start, end)]).is_err(),
            "{name}: {start} to {end} is not all there"
        );
    }
    let units = [range(0, 10), range(10, 20), range(3000, 3100)];
    for _ in 0..2 {
        let answers = fetch_units(source, &units, &options(&[])).unwrap();
        for (asked, answer) in units.iter().zip(&answers) {
            assert_eq!(
                answer,
                &content[asked.start.0 as usize..asked.end.0 as usize],
                "{name} {asked:?}"
            );
        }
    }
    assert_eq!(peek(source.as_ref(), &units[2]).is_some(), !source.is_cheap(), "{name}");
}

#[test]
fn all_sources_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jp2");
    std::fs::write(&path, file(5000)).unwrap();
    keeps_the_contract(&open(&Location::Local(path), &options(&[]), None).unwrap());
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

/// Each fault that is worth another try, and the requests that the read then takes.
#[test]
fn passing_faults_are_tried_again() {
    let status = |code| Fault::Status(code, vec![]);
    let busy = Fault::Status(503, vec![("Retry-After", "0".to_owned())]);
    let lengths = [Fault::Short, Fault::ShortOpen, Fault::Long, Fault::LongOpen];
    for fault in [status(500), busy, status(429), Fault::Reset, Fault::Cut]
        .into_iter()
        .chain(lengths)
    {
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
    assert!(
        error.contains("tried 3 times") && error.contains("489 bytes in place of 490"),
        "{error}"
    );
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
        (Fault::Status(206, vec![]), "without Content-Range"),
        (Fault::Status(302, vec![("Location", "/loop?sesame".to_owned())]), ""),
    ];
    for (fault, text) in cases.iter().take(7) {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            mock.fault([fault.clone()]);
            let source = store(&mock, "/x", &[]);
            let error = source.read_ranges(&[range(10, 500)]).unwrap_err().chain();
            assert!(error.contains(text), "{fault:?}: {error}");
            assert_eq!(mock.count(), 1, "{fault:?}");
            assert!(
                source.read_ranges(&[range(10, 500)]).is_ok(),
                "a failure is not remembered"
            );
        }
    }
    let mock = Mock::new(&file(5000));
    mock.fault(vec![cases[7].0.clone(); 20]);
    let error = http(&mock, "/x", &[])
        .read_ranges(&[range(10, 500)])
        .unwrap_err()
        .chain();
    assert!(
        error.contains("redirects more than 10 times") && !error.contains("sesame"),
        "{error}"
    );
}

#[test]
fn a_small_file_sent_whole_is_cut() {
    let mock = Mock::new(&file(5000));
    mock.fault(vec![Fault::Whole; 3]);
    let source = http(&mock, "/a", &[]);
    assert_eq!(source.read_ranges(&[range(10, 500)]).unwrap()[0], file(5000)[10..500]);
    assert_eq!(source.seen().unwrap().size, 5000);
    assert_eq!(source.read_up_to(SourceOffset(4990), 500).unwrap(), file(5000)[4990..]);
    assert!(
        source
            .read_ranges(&[range(10, 5001)])
            .unwrap_err()
            .to_string()
            .contains("ends at byte 5000")
    );
}

#[test]
fn a_changed_file_is_told() {
    for (fault, text) in [
        (Fault::ETag("\"two\""), "\"one\" and is \"two\""),
        (Fault::Grown, "5000 bytes and is 5001"),
    ] {
        for store in [http, s3] {
            let mock = Mock::new(&file(5000));
            let source = store(&mock, "/c", &[]);
            source.read_ranges(&[range(0, 10)]).unwrap();
            mock.fault([Fault::ETag("W/\"one\""), fault.clone()]);
            source.read_ranges(&[range(0, 10)]).unwrap();
            let error = source.read_ranges(&[range(0, 10)]).unwrap_err();
            assert!(
                matches!(&error, Error::Changed { what } if what.contains(text)),
                "{error}"
            );
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

#[test]
fn urls_go_out_as_written() {
    for path in [
        "/a%20b/c+d//e%2Bf.jp2?x=%2F+y&z=a//b",
        "/%C3%A4;v=1/(x)'!*,~.jp2",
        "/plain",
        "/?only",
        "/a%2fb/",
    ] {
        let mock = Mock::new(&file(50));
        http(&mock, path, &[]).read_ranges(&[range(0, 5)]).unwrap();
        assert_eq!(mock.seen()[0].target, path);
        assert_eq!(mock.seen()[0].header("range"), Some("bytes=0-4"));
    }
}

#[test]
fn keys_go_out_encoded() {
    for (key, sent) in [
        ("a/b.jp2", "/bucket/a/b.jp2"),
        ("a b+c%d/ä?#.jp2", "/bucket/a%20b%2Bc%25d/%C3%A4%3F%23.jp2"),
        ("a[1]{2}~*^", "/bucket/a%5B1%5D%7B2%7D~%2A%5E"),
    ] {
        let mock = Mock::new(&file(50));
        let source = s3(&mock, key, &[]);
        source.read_ranges(&[range(0, 5)]).unwrap();
        assert_eq!(mock.seen()[0].target, sent);
        assert_eq!(mock.seen()[0].header("authorization"), None);
        assert_eq!(
            source.origin(),
            format!("s3://{}/bucket/{key}", &mock.url("")["http://".len()..])
        );
    }
    let no_sign = options(&[("AWS_NO_SIGN_REQUEST", "YES")]);
    for key in ["a//b", "/a", "a/", "", "a/../b", "a\nb"] {
        let location = Location::S3 {
            bucket: "bucket".into(),
            key: key.into(),
        };
        assert!(
            matches!(open(&location, &no_sign, None), Err(Error::Path { .. })),
            "{key:?}"
        );
    }
}

#[test]
fn s3_requests_are_signed() {
    let mock = Mock::new(&file(50));
    let endpoint = mock.url("");
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "sesame"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_REQUEST_PAYER", "requester"),
        ("GDAL_HTTP_HEADERS", "X-Mine: 1"),
        ("AWS_S3_ENDPOINT", &endpoint),
    ];
    let source = open(
        &Location::S3 {
            bucket: "bucket".into(),
            key: "k".into(),
        },
        &options(&keys),
        None,
    )
    .unwrap();
    source.read_ranges(&[range(0, 5)]).unwrap();
    let seen = &mock.seen()[0];
    let signature = seen.header("authorization").unwrap();
    assert!(
        signature.contains("AKID/") && signature.contains("/eu-central-1/s3/"),
        "{signature}"
    );
    assert_eq!(seen.header("x-amz-security-token"), Some("token"));
    assert_eq!(seen.header("x-amz-request-payer"), Some("requester"));
    assert_eq!(seen.header("x-mine"), Some("1"));
}

#[test]
fn credentials_stay_with_their_host() {
    for more in [("GDAL_HTTP_USERPWD", "me:sesame"), ("GDAL_HTTP_BEARER", "sesame")] {
        let (home, away) = (Mock::new(&file(50)), Mock::new(&file(50)));
        let to = |url: String| Fault::Status(302, vec![("Location", url)]);
        home.fault([to("/near".to_owned()), to(away.url("/far?signed=1"))]);
        let source = http(&home, "/a", &[more, ("GDAL_HTTP_HEADERS", "X-Api-Key: sesame")]);
        assert_eq!(source.read_ranges(&[range(3, 9)]).unwrap()[0], file(50)[3..9]);
        for seen in home.seen() {
            assert!(seen.header("authorization").is_some() && seen.header("x-api-key").is_some());
        }
        assert_eq!(home.seen()[1].target, "/near");
        let far = &away.seen()[0];
        assert_eq!(
            (far.target.as_str(), far.header("range")),
            ("/far?signed=1", Some("bytes=3-8"))
        );
        assert!(
            far.header("authorization").is_none() && far.header("x-api-key").is_none(),
            "{far:?}"
        );
    }
}

#[test]
fn user_info_becomes_a_header_and_is_not_shown() {
    let mock = Mock::new(&file(50));
    let url = mock
        .url("/a.jp2?sig=sesame#part")
        .replace("http://", "http://us%40er:sesame@");
    let source = open(&Location::Http { url }, &options(&[]), None).unwrap();
    assert_eq!(source.origin(), mock.url("/a.jp2"));
    source.read_ranges(&[range(0, 5)]).unwrap();
    assert_eq!(mock.seen()[0].target, "/a.jp2?sig=sesame");
    assert_eq!(mock.seen()[0].header("authorization"), Some("Basic dXNAZXI6c2VzYW1l"));
    mock.fault([Fault::Status(404, vec![])]);
    let error = source.read_ranges(&[range(0, 5)]).unwrap_err();
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    let nowhere = open(
        &Location::Http {
            url: "http://u:sesame@127.0.0.1:1/x?sesame".into(),
        },
        &options(&[]),
        None,
    );
    let error = nowhere.unwrap().read_ranges(&[range(0, 5)]).unwrap_err();
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn far_apart_units_are_fetched_side_by_side() {
    let mock = Mock::holding(&file(5000), 4);
    let source = http(&mock, "/a", &[("VSITLM_MERGE_GAP", "100")]);
    let units = [
        range(0, 10),
        range(1000, 1010),
        range(2000, 2010),
        range(3000, 3010),
        range(3100, 3110),
    ];
    let got = fetch_units(&source, &units, &options(&[("VSITLM_MERGE_GAP", "100")])).unwrap();
    assert_eq!(got[4], file(5000)[3100..3110]);
    assert_eq!(
        (mock.count(), mock.most_together()),
        (4, 4),
        "the last two are one request"
    );
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
    fetch_units(&http(&mock, "/a?file=2", &[]), &[range(100, 900)], &options(&[])).unwrap();
    assert_eq!(mock.count(), 2, "a query names another file");
}

/// Of 64 threads one fetches, and 63 wait for it: none of them is late, for the fetch waits for them. All get its
/// outcome, be it bytes, an error or a panic; a failure is forgotten.
#[test]
fn one_thread_fetches_for_all() {
    const UNIT: SourceRange = SourceOffset(10)..SourceOffset(20);
    fn until_all_wait(source: &Memory) {
        while cache::waiting(source, &UNIT) < 63 {
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
        let memory = Arc::new(Memory {
            before,
            ..Memory::new("memory:single-flight", file(5000))
        });
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
        assert_eq!(memory.requests.load(Ordering::SeqCst), 1);
        assert_eq!(peek(source.as_ref(), &UNIT).is_some(), round == 2);
    }
}

#[test]
fn transports_are_chosen_by_options() {
    struct Gdal;
    impl HostFiles for Gdal {
        fn open(&self, path: &str) -> Result<Arc<dyn Source>> {
            Ok(Arc::new(Memory::new(path, Vec::new())))
        }
    }
    let url = Location::Http {
        url: "https://u:p@h/a?q".into(),
    };
    let object = Location::S3 {
        bucket: "b".into(),
        key: "k".into(),
    };
    let zip = Location::Host("/vsizip/x.zip/a".into());
    let with = |location: &Location, more: &[(&str, &str)], host| {
        open(location, &options(more), host).map(|source| source.origin().to_owned())
    };
    let gdal: Option<&dyn HostFiles> = Some(&Gdal);
    assert_eq!(with(&url, &[], gdal).unwrap(), "https://h/a");
    assert_eq!(
        with(&url, &[("GDAL_HTTP_AUTH", "NTLM")], gdal).unwrap(),
        "/vsicurl/https://u:p@h/a?q"
    );
    assert_eq!(
        with(&url, &[("VSITLM_TRANSPORT", "GDAL")], gdal).unwrap(),
        "/vsicurl/https://u:p@h/a?q"
    );
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
        assert!(
            error.contains("VSITLM_TRANSPORT") || error.contains("AWS_") || error.contains("s3://"),
            "{error}"
        );
    }
}
