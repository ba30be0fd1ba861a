//! Where a remote file lies and how it is asked for: from a location and the options to an object_store.
//!
//! Whatever object_store would panic on (it unwraps URLs and header values) is checked here first.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use object_store::aws::AmazonS3Builder;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Error, Result};
use crate::options::{HttpOptions, Options, S3Options};
use crate::source::engine::ClientKey;
use crate::source::http::{Auth, Service, display, is_region};

/// The shortest and the longest wait before another try; the shortest keeps the arithmetic of jitter valid.
const MIN_DELAY: Duration = Duration::from_millis(1);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The number of tries is the bound, not the time they take: a limit of four connections can mean long queues.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3600);

/// The endpoint's name in origins of AWS, whatever the region.
const AWS: &str = "s3.amazonaws.com";

/// One remote file.
pub(super) struct Target {
    /// See [`crate::source::Source::origin`].
    pub(super) origin: String,
    /// See [`crate::source::Source::identity`].
    pub(super) identity: String,
    /// Scheme, host and port of the requests.
    pub(super) authority: String,
    /// Where it lies in the store that [`Target::store`] makes.
    pub(super) path: Path,
    kind: Kind,
    client: ClientKey,
    retry: RetryConfig,
    connections: usize,
    headers: HeaderMap,
}

enum Kind {
    Http { url: Url, auth: Option<Auth> },
    S3 { bucket: String, options: S3Options },
}

impl Target {
    /// The file at `url`.
    pub(super) fn http(url: &str, options: &Options) -> Result<Self> {
        let invalid = |what: &str| Error::Path { path: redact(url), what: what.to_owned() };
        let mut parsed = Url::parse(url).map_err(|error| invalid(&format!("the URL is not valid ({error})")))?;
        if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
            return Err(invalid("only URLs that begin with http:// or https:// and a host can be read"));
        }
        let auth = url_auth(&parsed).or_else(|| option_auth(&options.http));
        parsed.set_fragment(None);
        // Neither fails for a URL that has a host.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        if Uri::try_from(parsed.as_str()).is_err() {
            return Err(invalid("the URL is too long, or has characters that must be percent-encoded"));
        }
        let origin = display(&parsed);
        let identity = match identifying_query(&parsed) {
            Some(query) => format!("{origin}?{query}"),
            None => origin.clone(),
        };
        Ok(Self {
            identity,
            origin,
            authority: parsed.origin().ascii_serialization(),
            path: Path::default(),
            kind: Kind::Http { url: parsed, auth },
            client: ClientKey::new(&options.http),
            retry: retry(&options.http),
            connections: options.max_connections,
            headers: headers(&options.http)?,
        })
    }

    /// The object `key` of `bucket`.
    pub(super) fn s3(bucket: &str, key: &str, options: &Options) -> Result<Self> {
        let invalid = |what: &str| Error::Path { path: format!("s3://{bucket}/{key}"), what: what.to_owned() };
        let path = Path::parse(key).ok().filter(|path| path.as_ref() == key && !key.is_empty()).ok_or_else(|| {
            invalid("a key with empty, '.' or '..' parts, control characters or an outer '/' cannot be asked for; set VSITLM_TRANSPORT=GDAL")
        })?;
        if bucket.is_empty() || !bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
            return Err(invalid("the bucket's name has characters that no bucket's name has"));
        }
        let s3 = options.s3.clone();
        let secrets =
            [s3.access_key_id.as_deref(), s3.session_token.as_ref().map(|token| token.expose()), Some(&s3.region)];
        if secrets.into_iter().flatten().any(|value| HeaderValue::from_str(value).is_err()) {
            return Err(invalid(
                "AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN or AWS_REGION has characters that cannot be sent",
            ));
        }
        let endpoint = custom_endpoint(&s3)?;
        let host = endpoint.as_ref().map_or_else(|| AWS.to_owned(), aws_or_own);
        let origin = format!("s3://{host}/{bucket}/{key}");
        let target = Self {
            identity: origin.clone(),
            origin,
            authority: endpoint
                .map_or_else(|| format!("https://{bucket}.{AWS}"), |url| url.origin().ascii_serialization()),
            path,
            kind: Kind::S3 { bucket: bucket.to_owned(), options: s3 },
            client: ClientKey::new(&options.http),
            retry: retry(&options.http),
            connections: options.max_connections,
            headers: headers(&options.http)?,
        };
        // The longest URL that will be sent: each byte of the key can take three.
        let base = bucket_endpoint(bucket, &options.s3, None)?;
        if Uri::try_from(format!("{base}/{}", "%20".repeat(key.len()))).is_err() {
            return Err(invalid("AWS_S3_ENDPOINT and the bucket do not make a URL, or the key is too long"));
        }
        Ok(target)
    }

    /// The bucket and the options' region, where the bucket is AWS's: a response may name another region.
    pub(super) fn movable_bucket(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::S3 { bucket, options } if custom_endpoint(options).is_ok_and(|endpoint| endpoint.is_none()) => {
                Some((bucket, &options.region))
            }
            _ => None,
        }
    }

    /// The store that asks for it, in `region` where that is not the options'.
    pub(super) fn store(&self, region: Option<&str>) -> Result<Arc<dyn ObjectStore>> {
        let service = Service {
            client: self.client.clone(),
            authority: self.authority.clone(),
            connections: self.connections,
            headers: HeaderMap::new(),
            auth: None,
        };
        match &self.kind {
            Kind::Http { url, auth } => {
                let service = Service { headers: self.headers.clone(), auth: auth.clone(), ..service };
                let store = HttpBuilder::new()
                    .with_url(url.as_str())
                    .with_http_connector(Connector(HttpClient::new(service)))
                    .with_retry(self.retry.clone())
                    .build();
                store.map(|store| Arc::new(store) as _)
            }
            Kind::S3 { bucket, options } => {
                let endpoint = bucket_endpoint(bucket, options, region)?;
                // The user's headers go through object_store here, since x-amz- headers must be signed.
                let client = ClientOptions::new().with_allow_http(true).with_default_headers(self.headers.clone());
                let mut builder = AmazonS3Builder::new()
                    .with_client_options(client)
                    .with_http_connector(Connector(HttpClient::new(service)))
                    .with_retry(self.retry.clone())
                    .with_bucket_name(bucket)
                    .with_region(region.unwrap_or(&options.region))
                    // Said so, object_store takes the endpoint for the whole of what stands before the key.
                    .with_virtual_hosted_style_request(true)
                    .with_endpoint(endpoint)
                    .with_request_payer(options.request_payer);
                if options.no_sign_request {
                    builder = builder.with_skip_signature(true);
                } else if let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
                    builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
                    if let Some(token) = &options.session_token {
                        builder = builder.with_token(token.expose());
                    }
                }
                builder.build().map(|store| Arc::new(store) as _)
            }
        }
        // object_store's text may name the URL with its query.
        .map_err(|_| Error::read("cannot prepare requests from the options: check AWS_* and GDAL_HTTP_*"))
    }
}

/// Gives every store the client that is ours.
#[derive(Debug)]
struct Connector(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

fn retry(http: &HttpOptions) -> RetryConfig {
    let first = http.retry_delay.max(MIN_DELAY);
    RetryConfig {
        backoff: BackoffConfig { init_backoff: first, max_backoff: first.max(MAX_DELAY), base: 2.0 },
        max_retries: http.max_retry,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// The user's headers. Those that decide what comes back are ours.
fn headers(http: &HttpOptions) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &http.headers {
        let parsed = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::from_str(value.expose()).ok());
        let (name, mut value) = parsed.ok_or_else(|| Error::Option {
            name: "GDAL_HTTP_HEADERS",
            value: "(not shown)".to_owned(),
            expected: "'Name: value' pairs, separated by newlines or commas",
        })?;
        if ["range", "host", "accept-encoding", "if-range", "content-length"].contains(&name.as_str()) {
            continue;
        }
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn url_auth(url: &Url) -> Option<Auth> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (!url.username().is_empty()).then(|| Auth::Basic(decoded(url.username()), url.password().map(decoded)))
}

fn option_auth(http: &HttpOptions) -> Option<Auth> {
    if http.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        return None;
    }
    let basic = http.userpwd.as_ref().map(|both| match both.expose().split_once(':') {
        Some((user, password)) => Auth::Basic(user.to_owned(), Some(password.to_owned())),
        None => Auth::Basic(both.expose().to_owned(), None),
    });
    http.bearer.clone().map(Auth::Bearer).or(basic)
}

/// The part of a query string that tells one file from another: all of it but signatures, which differ from one
/// signed URL of a file to the next.
fn identifying_query(url: &Url) -> Option<String> {
    /// Azure's shared access signatures.
    const SAS: [&str; 13] = ["sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sig", "skoid", "sktid", "skt", "ske"];
    let query = url.query()?;
    let is_sas = query.split('&').any(|pair| pair.starts_with("sig="));
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let lower = name.to_ascii_lowercase();
            let signature = lower.starts_with("x-amz-") || lower.starts_with("x-goog-");
            !(signature || is_sas && (SAS.contains(&name) || ["sks", "skv"].contains(&name)))
        })
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// AWS_S3_ENDPOINT, where it is not AWS's default one.
fn custom_endpoint(s3: &S3Options) -> Result<Option<Url>> {
    let Some(endpoint) = &s3.endpoint else { return Ok(None) };
    let url = Url::parse(endpoint).ok().filter(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.query().is_none()
    });
    let url = url.ok_or_else(|| Error::Option {
        name: "AWS_S3_ENDPOINT",
        value: redact(endpoint),
        expected: "a host with an optional port, or a URL of one",
    })?;
    Ok(Some(url).filter(|url| url.host_str() != Some(AWS)))
}

/// Whatever stands before the key in the URL: the bucket is in the host's name or in the path.
fn bucket_endpoint(bucket: &str, s3: &S3Options, region: Option<&str>) -> Result<String> {
    let region = region.unwrap_or(&s3.region);
    let url = match custom_endpoint(s3)? {
        Some(url) => url,
        None => {
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            let url = Url::parse(&format!("https://s3.{region}.amazonaws.com{suffix}")).ok();
            url.filter(|_| is_region(region)).ok_or_else(|| Error::Option {
                name: "AWS_REGION",
                value: region.to_owned(),
                expected: "the name of a region, such as eu-central-1",
            })?
        }
    };
    let host = url.host_str().unwrap_or_default();
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || host == "localhost";
    // As in GDAL: a bucket with dots is no name that a certificate for one level covers.
    let in_host = s3.virtual_hosting && !is_address && !bucket.contains(['.', ':', '_']);
    let base = url.as_str().trim_end_matches('/');
    Ok(match base.split_once("://").filter(|_| in_host) {
        Some((scheme, rest)) => format!("{scheme}://{bucket}.{rest}"),
        None => format!("{base}/{bucket}"),
    })
}

/// The endpoint's host and port as an origin has it.
fn aws_or_own(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let regional = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    match (regional, url.port()) {
        (Some(name), _) if name == "s3" || name.starts_with("s3.") || name.starts_with("s3-") => AWS.to_owned(),
        (_, Some(port)) => format!("{host}:{port}"),
        (_, None) => host.to_owned(),
    }
}

/// A path or URL that may not even parse, without what could be secret.
pub(super) fn redact(path: &str) -> String {
    let shown = path.split(['?', '#']).next().unwrap_or_default();
    match shown.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        None => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &[(&str, &str)]) -> Options {
        let get = |name: &str| more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::resolve(&get).unwrap()
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
            (
                "b",
                vec![("AWS_VIRTUAL_HOSTING", "NO")],
                "https://s3.us-east-1.amazonaws.com/b",
                "s3://s3.amazonaws.com/b/k",
            ),
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
            let options = options(&more);
            assert_eq!(bucket_endpoint(bucket, &options.s3, None).unwrap(), base);
            assert_eq!(Target::s3(bucket, "k", &options).unwrap().origin, origin);
        }
        for wrong in
            [("AWS_S3_ENDPOINT", "https://u:sesame@h"), ("AWS_S3_ENDPOINT", "h/?sesame"), ("AWS_REGION", "a.b/c")]
        {
            let error = Target::s3("b", "k", &options(&[wrong])).map(|_| ()).unwrap_err();
            assert!(matches!(&error, Error::Option { name, .. } if *name == wrong.0), "{error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
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
            let target = Target::http(url, &options(&[])).unwrap();
            assert_eq!((target.origin.as_str(), target.identity), (origin, format!("{origin}{query}")));
        }
        for wrong in ["ftp://h/a", "http:///", "no url", "http://u:sesame@h:99999/?sesame"] {
            let error = Target::http(wrong, &options(&[])).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("cannot read the path") && !error.contains("sesame"), "{error}");
        }
    }
}
