//! What is sent, and to whom.

use super::*;
use crate::source::testing::mock::{Fault, Mock};

#[test]
fn urls_go_out_as_written() {
    for path in ["/a%20b/c+d//e%2Bf.jp2?x=%2F+y&z=a//b", "/%C3%A4;v=1/(x)'!*,~.jp2", "/plain", "/?only", "/a%2fb/"] {
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
        assert_eq!(source.origin(), format!("s3://{}/bucket/{key}", &mock.url("")["http://".len()..]));
    }
    let no_sign = [("AWS_NO_SIGN_REQUEST", "YES")];
    for key in ["a//b", "/a", "a/", "", "a/../b", "a\nb"] {
        let location = Location::S3 { bucket: "bucket".into(), key: key.into() };
        assert!(matches!(open(&location, &no_sign, None), Err(Error::Path { .. })), "{key:?}");
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
    let source = open(&Location::S3 { bucket: "bucket".into(), key: "k".into() }, &keys, None).unwrap();
    source.read_ranges(&[range(0, 5)]).unwrap();
    let seen = &mock.seen()[0];
    let signature = seen.header("authorization").unwrap();
    assert!(signature.contains("AKID/") && signature.contains("/eu-central-1/s3/"), "{signature}");
    assert_eq!(seen.header("x-amz-security-token"), Some("token"));
    assert_eq!(seen.header("x-amz-request-payer"), Some("requester"));
    assert_eq!(seen.header("x-mine"), Some("1"));
}

/// The user's own authorization gives way to the signature, in each try.
#[test]
fn azure_requests_are_signed_once() {
    let mock = Mock::new(&file(50));
    let endpoint = mock.url("/me");
    let key = [
        ("AZURE_STORAGE_ACCOUNT", "me"),
        ("AZURE_STORAGE_ACCESS_KEY", "c2VzYW1l"),
        ("CPL_AZURE_ENDPOINT", &endpoint),
        ("GDAL_HTTP_HEADERS", "Authorization: Bearer mine"),
    ];
    let location = Location::Azure { container: "c".into(), key: "k".into() };
    mock.fault([Fault::Status(503, vec![])]);
    open(&location, &key, None).unwrap().read_ranges(&[range(0, 5)]).unwrap();
    for seen in mock.seen() {
        let signatures: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "authorization").collect();
        assert!(signatures.len() == 1 && signatures[0].1.starts_with("SharedKey me:"), "{signatures:?}");
        assert!(seen.header("date").is_some() && seen.header("x-ms-version").is_some());
    }
    assert_eq!(mock.count(), 2);
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
        assert_eq!((far.target.as_str(), far.header("range")), ("/far?signed=1", Some("bytes=3-8")));
        assert!(far.header("authorization").is_none() && far.header("x-api-key").is_none(), "{far:?}");
    }
}

#[test]
fn user_info_becomes_a_header_and_is_not_shown() {
    let mock = Mock::new(&file(50));
    let url = mock.url("/a.jp2?sig=sesame#part").replace("http://", "http://us%40er:sesame@");
    let source = open(&Location::Http { url }, &[], None).unwrap();
    assert_eq!(source.origin(), mock.url("/a.jp2"));
    source.read_ranges(&[range(0, 5)]).unwrap();
    assert_eq!(mock.seen()[0].target, "/a.jp2?sig=sesame");
    assert_eq!(mock.seen()[0].header("authorization"), Some("Basic dXNAZXI6c2VzYW1l"));
    mock.fault([Fault::Status(404, vec![])]);
    let error = source.read_ranges(&[range(0, 5)]).unwrap_err();
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    let nowhere = open(&Location::Http { url: "http://u:sesame@127.0.0.1:1/x?sesame".into() }, &[], None);
    let error = nowhere.unwrap().read_ranges(&[range(0, 5)]).unwrap_err();
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}
