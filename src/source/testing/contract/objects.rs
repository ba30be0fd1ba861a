//! Listing and writing, against a server that is scripted.

use super::*;
use crate::source::testing::mock::{Fault, Mock};

/// A caller with these options, whose stores `mock` serves.
fn caller(mock: &Mock, more: &[(&str, &str)]) -> Caller<'static> {
    let (endpoint, azure) = (mock.url(""), mock.url("/me"));
    let fixed = [
        ("GDAL_HTTP_RETRY_DELAY", "0.001"),
        ("AWS_NO_SIGN_REQUEST", "YES"),
        ("GS_NO_SIGN_REQUEST", "YES"),
        ("AZURE_NO_SIGN_REQUEST", "YES"),
        ("AWS_S3_ENDPOINT", &endpoint),
        ("CPL_GS_ENDPOINT", &endpoint),
        ("AZURE_STORAGE_ACCOUNT", "me"),
        ("CPL_AZURE_ENDPOINT", &azure),
    ];
    let all: Vec<_> = more.iter().copied().chain(fixed).collect();
    Caller::of_options(&all)
}

fn s3(key: &str) -> Location {
    Location::S3 { bucket: "bucket".into(), key: key.into() }
}

/// A page of S3's, as servers write it.
fn page(keys: &[&str], next: Option<&str>) -> Vec<u8> {
    let contents = keys.iter().map(|key| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2024-10-16T10:50:31.000Z</LastModified>\
             <ETag>&quot;e1&quot;</ETag><Size>12</Size><Owner><ID>x</ID></Owner></Contents>"
        )
    });
    let more = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |token| format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"),
    );
    let contents: String = contents.collect();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{more}{contents}\
         </ListBucketResult>"
    )
    .into_bytes()
}

fn listed(prefix: &Location, caller: &Caller<'_>) -> (Vec<Listed>, Result<()>) {
    let mut all = Vec::new();
    let outcome = list(prefix, &caller.access(prefix).unwrap(), &mut |page| all.extend(page));
    (all, outcome)
}

#[test]
fn the_objects_below_a_prefix_are_listed_page_by_page() {
    let mock = Mock::new(&page(&["a/b&amp;c.jp2", "a/d/", "other/x"], None));
    mock.fault([Fault::Body(page(&["a/1 ü.jp2"], Some("t+1"))), Fault::Status(503, vec![])]);
    let (found, outcome) = listed(&s3("a/"), &caller(&mock, &[]));
    outcome.unwrap();
    let meta = Meta { size: 12, etag: Some("\"e1\"".into()), last_modified: Some(1_729_075_831) };
    let keys = ["a/1 ü.jp2", "a/b&c.jp2"];
    assert_eq!(found, keys.map(|key| Listed { location: s3(key), meta: meta.clone() }));
    let targets: Vec<String> = mock.seen().into_iter().map(|seen| seen.target).collect();
    let first = "/bucket?list-type=2&prefix=a%2F&max-keys=1000";
    let second = "/bucket?continuation-token=t%2B1&list-type=2&prefix=a%2F&max-keys=1000";
    assert_eq!(targets, [first, second, second], "the second page is tried twice");
    assert!(mock.seen().iter().all(|seen| seen.header("range").is_none()));
}

#[test]
fn a_listing_has_the_users_headers() {
    let mock = Mock::new(&page(&["a/1"], None));
    let google = Location::Gs { bucket: "b".into(), key: "a/".into() };
    let set =
        [("GS_NO_SIGN_REQUEST", "NO"), ("GDAL_HTTP_HEADERS", "Authorization: Bearer t"), ("GS_USER_PROJECT", "mine")];
    assert_eq!(listed(&google, &caller(&mock, &set)).0.len(), 1);
    let seen = &mock.seen()[0];
    assert_eq!((seen.header("authorization"), seen.header("x-goog-user-project")), (Some("Bearer t"), Some("mine")));
}

#[test]
fn a_listing_that_fails_half_way_gives_what_it_has() {
    let mock = Mock::new(b"");
    mock.fault([Fault::Body(page(&["a/1"], Some("t"))), Fault::Status(403, vec![])]);
    let (found, outcome) = listed(&s3("a/"), &caller(&mock, &[]));
    assert_eq!(found.len(), 1);
    let error = outcome.unwrap_err();
    assert!(matches!(&error, Error::Denied { detail, .. } if detail.contains("403")), "{error}");
    for (pages, why) in [
        (vec![b"<html/>".to_vec()], "not a listing"),
        (vec![page(&["a/1"], Some("t")), page(&["a/2"], Some("t"))], "again and again"),
        (vec![page(&["a/1"], None).repeat(2)], "not a listing"),
        (vec![page(&[], Some(""))], "not a listing"),
    ] {
        mock.fault(pages.into_iter().map(Fault::Body));
        let error = listed(&s3("a/"), &caller(&mock, &[])).1.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    // Whatever does not arrive whole is tried again, and then an error that says what was done.
    mock.fault(std::iter::repeat_n(Fault::Reset, 4));
    let error = listed(&s3("a/"), &caller(&mock, &[])).1.unwrap_err().to_string();
    assert!(error.starts_with("listing failed, tried 4 times"), "{error}");
}

#[test]
fn blobs_are_listed_as_azure_names_them() {
    let body = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Prefix>p/</Prefix><Blobs>\
        <Blob><Name>p/a.jp2</Name><Properties><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>\
        <Etag>0x8CBFF45D8A29A19</Etag><Content-Length>100</Content-Length></Properties></Blob>\
        <Blob><Name>p/d</Name><Properties><Content-Length>0</Content-Length><ResourceType>directory</ResourceType>\
        </Properties></Blob>\
        <Blob><Name Encoded=\"true\">p/%EF%BF%BE</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>\
        </Blobs><NextMarker/></EnumerationResults>";
    let mock = Mock::new(body.as_bytes());
    let blob = |key: &str| Location::Azure { container: "c".into(), key: key.into() };
    let (found, outcome) = listed(&blob("p/"), &caller(&mock, &[]));
    outcome.unwrap();
    let meta = Meta { size: 100, etag: Some("\"0x8CBFF45D8A29A19\"".into()), last_modified: Some(784_111_777) };
    assert_eq!(found[0], Listed { location: blob("p/a.jp2"), meta });
    assert_eq!((found.len(), &found[1].location), (2, &blob("p/\u{fffe}")));
    let target = &mock.seen()[0].target;
    assert_eq!(target, "/me/c?restype=container&comp=list&prefix=p%2F&maxresults=1000");
}

#[test]
fn an_object_is_written_by_one_request() {
    let mock = Mock::new(b"");
    let keys = [
        ("AWS_NO_SIGN_REQUEST", "NO"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "sesame"),
        ("AWS_REGION", "eu-central-1"),
    ];
    mock.fault([Fault::Status(503, vec![])]);
    let location = s3("a b/x.parquet");
    put(&location, Bytes::from_static(b"PAR1"), &caller(&mock, &keys).access(&location).unwrap()).unwrap();
    let seen = mock.seen();
    assert_eq!((mock.count(), seen[1].target.as_str()), (2, "/bucket/a%20b/x.parquet"));
    assert_eq!((seen[1].method.as_str(), seen[1].body.as_slice()), ("PUT", b"PAR1".as_slice()));
    assert!(seen[1].header("authorization").unwrap().contains("AKID/"));
    let google = Location::Gs { bucket: "b".into(), key: "k".into() };
    let azure = Location::Azure { container: "c".into(), key: "k".into() };
    for (location, target) in [(google, "/b/k"), (azure, "/me/c/k")] {
        put(&location, Bytes::from_static(b"x"), &caller(&mock, &[]).access(&location).unwrap()).unwrap();
        assert_eq!(mock.seen().last().unwrap().target, target);
    }
}

#[test]
fn what_cannot_be_written_says_so() {
    let mock = Mock::new(b"");
    let written = |location: &Location, more: &[(&str, &str)]| {
        put(location, Bytes::from_static(b"x"), &caller(&mock, more).access(location).unwrap()).unwrap_err().to_string()
    };
    mock.fault([Fault::Status(403, vec![])]);
    assert!(written(&s3("k"), &[]).contains("access denied (HTTP 403)"));
    mock.fault(std::iter::repeat_n(Fault::Status(500, vec![]), 4));
    assert!(written(&s3("k"), &[]).starts_with("writing 1 bytes failed, tried 4 times: HTTP 500"));
    // The body goes to nobody else, whatever the server says.
    let away = Mock::new(b"");
    mock.fault([Fault::Status(307, vec![("Location", away.url("/k"))])]);
    assert!(written(&s3("k"), &[]).contains("HTTP 307"));
    assert_eq!(away.count(), 0);
    let count = mock.count();
    assert!(written(&s3("k"), &[("AWS_NO_SIGN_REQUEST", "NO")]).contains("AWS_ACCESS_KEY_ID"));
    for location in [Location::Local("x".into()), Location::Http { url: mock.url("/x") }] {
        assert!(written(&location, &[]).contains("not an object of a store"));
        assert!(listed(&location, &caller(&mock, &[])).1.is_err());
    }
    assert_eq!(mock.count(), count);
}

#[test]
fn a_small_file_is_read_by_one_request() {
    let mock = Mock::new(&[7; 100]);
    let location = Location::Http { url: mock.url("/small") };
    let read = |most| read_whole(&*caller(&mock, &[]).source(&location)?, most);
    assert_eq!(read(100).unwrap(), vec![7; 100]);
    assert_eq!(mock.count(), 1);
    assert!(read(99).unwrap_err().to_string().contains("more than the 99 bytes"));
    assert_eq!(mock.seen()[1].header("range"), Some("bytes=0-99"));
}
