//! Targets of all services: where they lie, and for whom.

use super::*;
use crate::path::parse;
use crate::source::Caller;

/// How a caller with these options reaches a path.
fn access(path: &str, options: &[(&str, &str)]) -> Access {
    Caller::of_options(options).access(&parse(path).unwrap().location).unwrap()
}

#[test]
fn callers_with_other_credentials_are_told_apart() {
    let identity = |url: &str, set: &[(&str, &str)]| Target::http(url, &access(url, set)).unwrap().identity;
    let callers = [
        identity("https://h/a", &[]),
        identity("https://u:p@h/a", &[]),
        identity("https://u:q@h/a", &[]),
        identity("https://h/a", &[("GDAL_HTTP_USERPWD", "u:r")]),
        identity("https://h/a", &[("GDAL_HTTP_BEARER", "t")]),
        identity("https://h/a", &[("GDAL_HTTP_HEADERS", "X-Key: 1")]),
        identity("https://h/a", &[("GDAL_HTTP_HEADERS", "X-Key: 2")]),
        identity("https://h/a?X-Amz-Signature=1", &[]),
        identity("https://h/a?X-Amz-Signature=2", &[]),
    ];
    let apart: std::collections::HashSet<_> = callers.iter().collect();
    assert_eq!(apart.len(), callers.len());
    assert_eq!(callers[0], identity("https://h/a", &[("GDAL_HTTP_MAX_RETRY", "9")]));
    assert!(callers.iter().all(|name| name.starts_with("https://h/a#") && !name.contains(":p")));
}

#[test]
fn origins_and_identities() {
    for (url, origin, query) in [
        ("HTTPS://u:p@Host:443/A%20b?q#f", "https://host/A%20b", "?q"),
        ("http://h:8080/a?X-Amz-Date=1&versionId=2&X-Amz-Signature=3", "http://h:8080/a", "?versionId=2"),
        ("http://h/a?sv=1&snapshot=2&sig=3", "http://h/a", "?snapshot=2"),
        ("http://h/a?sv=1", "http://h/a", "?sv=1"),
        ("http://h/a?x-goog-signature=1", "http://h/a", ""),
    ] {
        let target = Target::http(url, &access(url, &[])).unwrap();
        let (named, _) = target.identity.rsplit_once('#').unwrap();
        assert_eq!((target.origin.as_str(), named), (origin, format!("{origin}{query}").as_str()));
    }
    // Planetary Computer signs anew each hour.
    let signed = |hour: u32| {
        let url = format!(
            "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/B03.tif?st=2024-06-01T{hour}%3A00%3A00Z\
             &se=2024-06-02T{hour}%3A00%3A00Z&sp=rl&sv=2024-05-04&sr=c&skoid=9c8f&sktid=72f9&skt=2024-06-01T{hour}%3A00%3A00Z\
             &ske=2024-06-08T{hour}%3A00%3A00Z&sks=b&skv=2024-05-04&sig=a{hour}%3D"
        );
        let target = Target::http(&url, &access(&url, &[])).unwrap();
        (target.identity.split('#').next().unwrap().to_owned(), target.origin)
    };
    let origin = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/B03.tif".to_owned();
    assert_eq!((signed(10), signed(11)), ((origin.clone(), origin.clone()), (origin.clone(), origin)));
    for wrong in ["ftp://h/a", "http:///", "no url", "http://u:sesame@h:99999/?sesame"] {
        let error = Target::http(wrong, &access("https://h/a", &[])).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the path") && !error.contains("sesame"), "{error}");
    }
}

#[test]
fn endpoints() {
    let own = ("AWS_S3_ENDPOINT", "s3.example:9000");
    for (bucket, more, base, origin) in [
        ("b", vec![], "https://b.s3.us-east-1.amazonaws.com", "s3://s3.amazonaws.com/b/k"),
        (
            "b",
            vec![("AWS_REGION", "cn-north-1")],
            "https://b.s3.cn-north-1.amazonaws.com.cn",
            "s3://s3.amazonaws.com/b/k",
        ),
        ("b.c", vec![], "https://s3.us-east-1.amazonaws.com/b.c", "s3://s3.amazonaws.com/b.c/k"),
        ("b", vec![("AWS_VIRTUAL_HOSTING", "NO")], "https://s3.us-east-1.amazonaws.com/b", "s3://s3.amazonaws.com/b/k"),
        ("b", vec![own], "https://b.s3.example:9000", "s3://s3.example:9000/b/k"),
        (
            "b",
            vec![own, ("AWS_HTTPS", "NO"), ("AWS_VIRTUAL_HOSTING", "NO")],
            "http://s3.example:9000/b",
            "s3://s3.example:9000/b/k",
        ),
        ("b", vec![("AWS_S3_ENDPOINT", "http://[::1]:9000/")], "http://[::1]:9000/b", "s3://[::1]:9000/b/k"),
        (
            "b",
            vec![("AWS_S3_ENDPOINT", "s3.amazonaws.com")],
            "https://b.s3.us-east-1.amazonaws.com",
            "s3://s3.amazonaws.com/b/k",
        ),
        (
            "b",
            vec![("AWS_S3_ENDPOINT", "s3.eu-west-1.amazonaws.com")],
            "https://b.s3.eu-west-1.amazonaws.com",
            "s3://s3.amazonaws.com/b/k",
        ),
        (
            "b",
            vec![("AWS_S3_ENDPOINT", "notaws3.amazonaws.com.evil")],
            "https://b.notaws3.amazonaws.com.evil",
            "s3://notaws3.amazonaws.com.evil/b/k",
        ),
    ] {
        let access = access("s3://b/k", &more);
        let made = Bucket::new(bucket, &access.options.s3).unwrap();
        assert_eq!(made.url("k", &What::Tail(1), None).unwrap(), format!("{base}/k"));
        assert_eq!(Target::s3(bucket, "k", &access).unwrap().origin, origin);
    }
    for wrong in [("AWS_S3_ENDPOINT", "https://u:sesame@h"), ("AWS_S3_ENDPOINT", "h/?sesame"), ("AWS_REGION", "a.b/c")]
    {
        let error = Target::s3("b", "k", &access("s3://b/k", &[wrong])).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Option { name, .. } if *name == wrong.0), "{error}");
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}

#[test]
fn origins_of_google_are_the_same_whatever_the_credentials() {
    let keys = [("GS_ACCESS_KEY_ID", "id"), ("GS_SECRET_ACCESS_KEY", "sesame")];
    let own = ("CPL_GS_ENDPOINT", "http://127.0.0.1:9000/storage/");
    let unsigned = ("GS_NO_SIGN_REQUEST", "YES");
    let google = "gs://storage.googleapis.com/b/a key";
    for (set, origin) in [
        (vec![unsigned], google),
        (keys.to_vec(), google),
        (vec![("GDAL_HTTP_HEADERS", "Authorization: Bearer t")], google),
        (vec![unsigned, own], "gs://127.0.0.1:9000/storage/b/a key"),
    ] {
        let target = Target::gs("b", "a key", &access("gs://b/k", &set)).unwrap();
        assert_eq!(target.origin, origin);
        assert!(target.movable_bucket().is_none());
    }
    for (bucket, key, set) in [
        ("b/c", "k", vec![unsigned]),
        ("b", "a/../k", vec![unsigned]),
        ("b", "k", vec![("GS_ACCESS_KEY_ID", "a\nb"), keys[1]]),
        ("b", "k", vec![unsigned, ("CPL_GS_ENDPOINT", "https://u:sesame@h")]),
    ] {
        let error = Target::gs(bucket, key, &access("gs://b/k", &set)).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_project_pays_for_requests_with_a_token() {
    let project = ("GS_USER_PROJECT", "mine");
    let paying = access("gs://b/k", &[project, ("GDAL_HTTP_HEADERS", "Authorization: Bearer t")]);
    assert_eq!(Target::gs("b", "k", &paying).unwrap().headers["x-goog-user-project"], "mine");
    let unsigned = access("gs://b/k", &[project, ("GS_NO_SIGN_REQUEST", "YES")]);
    assert!(Target::gs("b", "k", &unsigned).unwrap().headers.is_empty());
}

const ACCOUNT: (&str, &str) = ("AZURE_STORAGE_ACCOUNT", "me");

#[test]
fn origins_of_azure_are_the_same_whatever_the_credentials() {
    let cloud = "az://me.blob.core.windows.net/c/a key";
    for (set, origin) in [
        (vec![ACCOUNT, ("AZURE_NO_SIGN_REQUEST", "YES")], cloud),
        (vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_KEY", "c2VzYW1l")], cloud),
        (vec![ACCOUNT, ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=sesame")], cloud),
        (vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_TOKEN", "sesame")], cloud),
        (
            vec![(
                "AZURE_STORAGE_CONNECTION_STRING",
                "AccountName=me;AccountKey=c2VzYW1l;BlobEndpoint=http://127.0.0.1:10000/me",
            )],
            "az://127.0.0.1:10000/me/c/a key",
        ),
    ] {
        let target = Target::azure("c", "a key", &access("az://c/k", &set)).unwrap();
        assert_eq!(target.origin, origin);
    }
}

#[test]
fn what_azure_cannot_be_sent_is_refused_without_showing_it() {
    let key = ("AZURE_STORAGE_ACCESS_KEY", "not base64: sesame");
    let error = Target::azure("c", "k", &access("az://c/k", &[ACCOUNT, key])).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("AZURE_STORAGE_ACCESS_KEY") && !error.contains("sesame"), "{error}");
    for (container, key, set) in [
        ("c/d", "k", vec![ACCOUNT]),
        ("c", "a//k", vec![ACCOUNT]),
        ("c", "k", vec![]),
        ("c", "k", vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_TOKEN", "sesame\n")]),
        ("c", "k", vec![ACCOUNT, ("CPL_AZURE_ENDPOINT", "https://u:sesame@h")]),
    ] {
        let error = Target::azure(container, key, &access("az://c/k", &set)).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_url_that_is_too_long_is_an_error() {
    let sas = format!("sv=1&sig={}", "+".repeat(30_000));
    let set = [ACCOUNT, ("AZURE_STORAGE_SAS_TOKEN", &*sas)];
    let target = Target::azure("c", "k", &access("az://c/k", &set)).unwrap();
    assert!(target.request(&What::Tail(1), None, None).unwrap_err().to_string().contains("cannot prepare requests"));
    let page = What::Page { prefix: "p".repeat(70_000), token: None };
    let unsigned = Target::s3("b", "k", &access("s3://b/k", &[("AWS_NO_SIGN_REQUEST", "YES")])).unwrap();
    assert!(unsigned.request(&page, None, None).unwrap_err().to_string().contains("cannot prepare requests"));
}
