//! One HTTP request: the only place where bytes leave and enter.
//!
//! object_store makes and signs the requests and decides when to try again; it hands each try to the [`Service`]
//! here, which waits for the host's turn, sends it, follows redirects, holds the response against what was asked,
//! and leaves what came of it in the [`Call`] that travels with the request. object_store itself gets a stand-in
//! for a good response, and never sees a body; nothing of its error texts, which contain URLs, is ever shown.
//!
//! Rules: a 206 has the Content-Range asked for and a body of exactly that length; a 200 is the whole file, and is
//! cut to the range where it is small; a 416 that says where the file ends is an answer too. Credentials stay with
//! the scheme, host and port they were given for.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use http::{HeaderMap, Response, StatusCode, Version};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use url::Url;

use crate::error::Error;
use crate::options::Secret;
use crate::process::lock;
use crate::source::Meta;
use crate::source::engine::{self, ClientKey, Engine, count};
use crate::source::limit::Host;

/// A server that answers a range with the whole file is put up with for files of at most this many bytes.
pub(super) const MAX_WHOLE: u64 = 8 << 20;

/// Bytes set aside before any have come. Larger bodies grow the buffer as they arrive.
const MAX_RESERVE: u64 = 8 << 20;

/// Bytes of an error's body that are read: enough for S3's XML, which may name the bucket's region.
const MAX_ERROR_BODY: u64 = 16 << 10;

/// Redirects followed, as curl has it by default in GDAL.
const MAX_REDIRECTS: usize = 10;

/// The longest wait that a server may ask for before the next try.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// One range that is asked for, over all its tries.
#[derive(Debug)]
pub(super) struct Call {
    /// The bytes asked for; not empty.
    range: Range<u64>,
    /// Whether less than the range is an error: the file must not end inside it.
    exact: bool,
    /// Tries that may follow the first.
    max_retry: usize,
    tries: AtomicU64,
    outcome: Mutex<Option<Result<Answer, Failure>>>,
}

/// What a good response told.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The bytes asked for.
    pub(super) bytes: Bytes,
    /// The file as a whole, where the response told its size.
    pub(super) meta: Option<Meta>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Another status than 200, 206 and 416, and the region that S3 says the bucket lies in.
    Status { status: StatusCode, region: Option<String> },
    /// The connection failed; the root cause in words.
    Transport { cause: String, again: bool },
    /// The response is not what was asked for.
    Broken { what: String, again: bool },
    /// The file ends before the range does, at this byte.
    PastEnd { size: Option<u64> },
    /// Nothing was sent.
    Unsent(Error),
}

impl Call {
    /// A call for `range`, which is not empty.
    pub(super) fn new(range: Range<u64>, exact: bool, max_retry: usize) -> Self {
        Self { range, exact, max_retry, tries: AtomicU64::new(0), outcome: Mutex::new(None) }
    }

    /// Tries so far.
    pub(super) fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    /// What the last try gave; `None` where there was none.
    pub(super) fn outcome(&self) -> Option<Result<Answer, Failure>> {
        lock(&self.outcome).take()
    }

    /// What object_store is told, so that it returns or tries again.
    fn reply(&self, outcome: &Result<Answer, Failure>) -> Result<HttpResponse, HttpError> {
        let error = |again: bool| {
            let kind = if again { HttpErrorKind::Interrupted } else { HttpErrorKind::Unknown };
            Err(HttpError::new(kind, std::io::Error::other("see the call")))
        };
        let stand_in = match outcome {
            Ok(_) => Response::builder()
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, format!("bytes {}-{}/{}", self.range.start, self.range.end - 1, self.range.end))
                .header(CONTENT_LENGTH, 0)
                .header(ETAG, "\"stand-in\"")
                .header(LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT"),
            Err(Failure::Status { status, .. }) => Response::builder().status(*status),
            Err(Failure::Transport { again, .. } | Failure::Broken { again, .. }) => return error(*again),
            Err(Failure::PastEnd { .. } | Failure::Unsent(_)) => return error(false),
        };
        stand_in.body(HttpResponseBody::from(Bytes::new())).or_else(|_| error(false))
    }
}

/// Who asks.
#[derive(Clone)]
pub(super) enum Auth {
    /// User and password.
    Basic(String, Option<String>),
    /// A token.
    Bearer(Secret),
}

/// Sends the requests of one source. Holds no connection and no lock: those are the engine's, which differs after
/// a fork.
#[derive(Clone)]
pub(super) struct Service {
    /// Which client to use.
    pub(super) client: ClientKey,
    /// Scheme, host and port, by which the limit counts.
    pub(super) authority: String,
    /// Requests to that host at the same time.
    pub(super) connections: usize,
    /// Headers of the user's.
    pub(super) headers: HeaderMap,
    /// Credentials that are not part of a signature.
    pub(super) auth: Option<Auth>,
}

impl std::fmt::Debug for Service {
    /// Without headers and credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("authority", &self.authority).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(call) = request.extensions().get::<Arc<Call>>().cloned() else {
            return Err(HttpError::new(HttpErrorKind::Unknown, std::io::Error::other("not a request of this program")));
        };
        let engine = engine::current();
        if call.tries.fetch_add(1, Ordering::Relaxed) > 0 {
            count(&engine.counters.retries, 1);
        }
        let outcome = self.attempt(engine, &call, &request).await;
        let reply = call.reply(&outcome);
        *lock(&call.outcome) = Some(outcome);
        reply
    }
}

impl Service {
    async fn attempt(&self, engine: &Engine, call: &Call, request: &HttpRequest) -> Result<Answer, Failure> {
        let url = Url::parse(&request.uri().to_string())
            .map_err(|_| Failure::Unsent(Error::read("the URL cannot be sent: check it")))?;
        let host = engine.host(&self.authority, self.connections);
        let wait = {
            let _turn = host.turn().await;
            let asked = Instant::now();
            let (mut response, hop) = self.send(engine, call, &host, url.clone(), request.headers()).await?;
            let first_byte = hop.elapsed();
            let body = Instant::now();
            let outcome = receive(engine, call, &mut response).await;
            if let Ok(answer) = &outcome {
                host.measure(first_byte, answer.bytes.len() as u64, body.elapsed());
            }
            crate::trace::debug(|| {
                let Range { start, end } = &call.range;
                let (status, spent) = (response.status().as_u16(), asked.elapsed().as_millis());
                format!("GET {} bytes {start} to {end}: HTTP {status} after {spent} ms", display(&url))
            });
            match outcome {
                Err(Failure::Status { .. }) if call.tries() <= call.max_retry as u64 => match retry_after(&response) {
                    Some(wait) => (wait, outcome),
                    None => return outcome,
                },
                _ => return outcome,
            }
        };
        // The turn is over: others may ask while this one waits.
        tokio::time::sleep(wait.0).await;
        wait.1
    }

    /// Sends the request and follows redirects. Also tells when the last of them was sent.
    async fn send(
        &self,
        engine: &Engine,
        call: &Call,
        host: &Host,
        first: Url,
        signed: &HeaderMap,
    ) -> Result<(reqwest::Response, Instant), Failure> {
        let home = first.origin();
        let mut url = first;
        for _ in 0..=MAX_REDIRECTS {
            let secure = url.scheme() == "https";
            let mut key = self.client.for_scheme(secure);
            let there = engine.host(&url.origin().ascii_serialization(), self.connections);
            let mut way = None;
            if key.http2() {
                let chosen = there.way(call.range.end - call.range.start, host.is_alone()).await;
                key = if chosen.http2 { key } else { key.without_http2() };
                way = Some(chosen);
            }
            let client = engine.client(&key).map_err(Failure::Unsent)?;
            let mut request = client.get(url.clone());
            if url.origin() == home {
                // What object_store signed stands; the user's headers do not replace the range.
                request = request.headers(self.headers.clone()).headers(signed.clone());
                request = match &self.auth {
                    Some(Auth::Basic(user, password)) => request.basic_auth(user, password.as_ref()),
                    Some(Auth::Bearer(token)) => request.bearer_auth(token.expose()),
                    None => request,
                };
            } else if let Some(range) = signed.get(RANGE) {
                request = request.header(RANGE, range);
            }
            let sent = Instant::now();
            count(&engine.counters.requests, 1);
            let response = request.send().await.map_err(transport)?;
            if key.http2() {
                there.spoke(response.version() == Version::HTTP_2);
            }
            drop(way);
            let target = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(target) = target.and_then(|target| target.to_str().ok()).and_then(|target| url.join(target).ok())
            else {
                return Ok((response, sent));
            };
            if secure && target.scheme() != "https" {
                return Err(broken("the server redirects from https to a connection that is not encrypted"));
            }
            url = target;
        }
        Err(broken(format!("the server redirects more than {MAX_REDIRECTS} times")))
    }
}

/// Holds a response against the call, and reads it.
async fn receive(engine: &Engine, call: &Call, response: &mut reqwest::Response) -> Result<Answer, Failure> {
    let headers = response.headers();
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
    if response.status().is_success() && encoding.is_some_and(|encoding| encoding != b"identity") {
        return Err(broken("the server sends the file compressed, so that its bytes have no positions"));
    }
    match response.status() {
        StatusCode::PARTIAL_CONTENT => partial(engine, call, response).await,
        StatusCode::OK => whole(engine, call, response).await,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let size = text(headers, CONTENT_RANGE.as_str()).and_then(parse_unsatisfied);
            // Without a size in it, the start alone tells: only an empty file has no first byte.
            let size = size.or((call.range.start == 0).then_some(0));
            if call.exact || size.is_some_and(|size| size > call.range.start) {
                return Err(Failure::PastEnd { size });
            }
            Ok(Answer { bytes: Bytes::new(), meta: size.map(|size| meta(headers, size)) })
        }
        status => {
            let named = text(headers, "x-amz-bucket-region").map(str::to_owned);
            let body = read_body(engine, response, MAX_ERROR_BODY).await.unwrap_or_default();
            let region = named.or_else(|| region_in(&body).map(str::to_owned)).filter(|region| is_region(region));
            Err(Failure::Status { status, region })
        }
    }
}

async fn partial(engine: &Engine, call: &Call, response: &mut reqwest::Response) -> Result<Answer, Failure> {
    let Range { start, end } = call.range;
    let headers = response.headers();
    let header = text(headers, CONTENT_RANGE.as_str()).ok_or_else(|| broken("a 206 response without Content-Range"))?;
    let (range, size) = parse_content_range(header).ok_or_else(|| broken("a Content-Range that cannot be read"))?;
    let shorter = size == Some(range.end) && range.end < end;
    if range.start != start || range.end > end || (range.end < end && !shorter) {
        let got = format!("asked for bytes {start} to {end}, the server sent {} to {}", range.start, range.end);
        return Err(broken(got));
    }
    if shorter && call.exact {
        return Err(Failure::PastEnd { size });
    }
    let length = range.end - range.start;
    let meta = size.map(|size| meta(headers, size));
    if response.content_length().is_some_and(|announced| announced != length) {
        return Err(wrong_length(length, response.content_length().unwrap_or(0)));
    }
    let bytes = read_body(engine, response, length).await?;
    if bytes.len() as u64 != length {
        return Err(wrong_length(length, bytes.len() as u64));
    }
    Ok(Answer { bytes, meta })
}

async fn whole(engine: &Engine, call: &Call, response: &mut reqwest::Response) -> Result<Answer, Failure> {
    let announced = response.content_length();
    if announced.is_some_and(|length| length > MAX_WHOLE) {
        return Err(no_ranges());
    }
    let headers = response.headers().clone();
    let bytes = match read_body(engine, response, announced.unwrap_or(MAX_WHOLE)).await {
        Err(Failure::Broken { .. }) if announced.is_none() => return Err(no_ranges()),
        body => body?,
    };
    let size = bytes.len() as u64;
    if announced.is_some_and(|announced| announced != size) {
        return Err(wrong_length(announced.unwrap_or(0), size));
    }
    if call.exact && size < call.range.end {
        return Err(Failure::PastEnd { size: Some(size) });
    }
    // Both ends are at most `size`, which is the length of what is in memory.
    let (start, end) = (call.range.start.min(size) as usize, call.range.end.min(size) as usize);
    Ok(Answer {
        bytes: Bytes::copy_from_slice(bytes.get(start..end).unwrap_or_default()),
        meta: Some(meta(&headers, size)),
    })
}

/// The body, which is an error as soon as it is longer than `most` bytes.
async fn read_body(engine: &Engine, response: &mut reqwest::Response, most: u64) -> Result<Bytes, Failure> {
    let mut body = BytesMut::with_capacity(most.min(response.content_length().unwrap_or(0)).min(MAX_RESERVE) as usize);
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        count(&engine.counters.bytes, chunk.len() as u64);
        let length = (body.len() + chunk.len()) as u64;
        if length > most {
            return Err(wrong_length(most, length));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn meta(headers: &HeaderMap, size: u64) -> Meta {
    let date = text(headers, LAST_MODIFIED.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
    let seconds = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    Meta {
        size,
        etag: text(headers, ETAG.as_str()).filter(|etag| !etag.is_empty()).map(str::to_owned),
        last_modified: seconds.and_then(|seconds| i64::try_from(seconds.as_secs()).ok()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// `bytes 0-99/1234` or `bytes 0-99/*`: the half-open range, and the file's size where it is told.
fn parse_content_range(header: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let range = first.parse::<u64>().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
    let size = match size.trim() {
        "*" => None,
        size => Some(size.parse::<u64>().ok()?),
    };
    (range.start < range.end && size.is_none_or(|size| range.end <= size)).then_some((range, size))
}

/// `bytes */1234`, as a 416 has it.
fn parse_unsatisfied(header: &str) -> Option<u64> {
    header.strip_prefix("bytes ")?.trim().strip_prefix("*/")?.trim().parse().ok()
}

/// `<Region>eu-central-1</Region>` in S3's error for a request that was signed for another region.
fn region_in(body: &[u8]) -> Option<&str> {
    let (region, _) = std::str::from_utf8(body).ok()?.split_once("<Region>")?.1.split_once("</Region>")?;
    Some(region)
}

/// Whether `name` can be the name of a region. It becomes part of a host's name that signed requests are sent to,
/// so what a server calls one is not believed blindly.
pub(super) fn is_region(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status());
    let seconds = text(response.headers(), RETRY_AFTER.as_str()).filter(|_| asks)?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn transport(error: reqwest::Error) -> Failure {
    let cause = if error.is_timeout() { "it took too long".to_owned() } else { root_cause(&error.without_url()) };
    // Another try does not make a certificate valid.
    let again = !cause.contains("certificate");
    Failure::Transport { cause, again }
}

fn broken(what: impl Into<String>) -> Failure {
    Failure::Broken { what: what.into(), again: false }
}

fn no_ranges() -> Failure {
    broken("the server sends the whole file where a range is asked for: it does not serve ranges")
}

fn wrong_length(asked: u64, got: u64) -> Failure {
    Failure::Broken { what: format!("a body of {got} bytes in place of {asked}"), again: true }
}

/// The last link of an error's chain, in words: the outer links repeat it, or name the URL.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A URL without query string, user info and fragment.
pub(super) fn display(url: &Url) -> String {
    let mut shown = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    shown + url.path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), Some((0..100, Some(1234))));
        assert_eq!(parse_content_range("bytes 5-5/*"), Some((5..6, None)));
        for wrong in
            ["bytes 0-99", "0-99/100", "bytes 9-3/10", "bytes 0-99/50", "bytes */10", "bytes 0-18446744073709551615/*"]
        {
            assert_eq!(parse_content_range(wrong), None, "{wrong}");
        }
        assert_eq!(parse_unsatisfied("bytes */10"), Some(10));
        assert_eq!(region_in(b"<E><Region>eu-west-1</Region></E>"), Some("eu-west-1"));
    }

    #[test]
    fn a_region_is_no_host() {
        assert!(is_region("us-gov-west-1"));
        for wrong in ["", "evil.example/", "a.b", "x@y", "eu-central-1.evil"] {
            assert!(!is_region(wrong), "{wrong}");
        }
    }

    #[test]
    fn shows_no_secret_of_a_url() {
        let url = Url::parse("https://user:pass@HOST:443/a%20b//c?token=1#x").unwrap();
        assert_eq!(display(&url), "https://host/a%20b//c");
    }
}
