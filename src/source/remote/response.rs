//! What a response must be to be believed: bytes that were not verified are given to nobody.
//!
//! A 206 has the Content-Range asked for and a body of exactly that length (of a file's end, it runs up to the size that
//! it gives); a 200 is the whole file, and is cut to the range where it is small; a 416 that says where the file ends is an
//! answer too. Everything else is a failure. Pages of listings are taken whole; `list` checks them.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::options::RetryCodes;
use crate::source::cache::buffer::{self, Buffer};
use crate::source::contract::Meta;
use crate::source::host::Host;
use crate::source::host::statistics::count;
use crate::source::remote::call::{AskedRange, Failure, Received, Refusal, What};

/// A server that answers a range with the whole file is put up with for files of at most this many bytes.
pub(super) const MAX_WHOLE: u64 = 8 << 20;

/// Bytes set aside before any have come. Larger bodies grow the buffer as they arrive.
const MAX_RESERVE: u64 = 8 << 20;

/// Bytes of a page of a listing: a thousand keys of the longest kind, escaped, fit.
const MAX_PAGE: u64 = 8 << 20;

/// Bytes of an error's body that are read: enough for S3's XML, which may name the bucket's region.
const MAX_ERROR_BODY: u64 = 16 << 10;

/// Checks a response of the host `by` against what was asked for, and reads it.
pub(super) async fn receive(
    what: &What,
    by: &Host,
    retry_codes: &RetryCodes,
    response: &mut reqwest::Response,
) -> Result<Received, Failure> {
    let headers = response.headers();
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
    if response.status().is_success() && encoding.is_some_and(|encoding| encoding != b"identity") {
        return Err(Failure::broken("the server sends the file compressed, so that its bytes have no positions"));
    }
    match (what, response.status()) {
        (what, StatusCode::PARTIAL_CONTENT) if what.is_read() => partial(by, what, response).await,
        (what, StatusCode::OK) if what.is_read() => whole(by, what, response).await,
        (What::Tail(_), StatusCode::RANGE_NOT_SATISFIABLE) => {
            // An empty file has no last bytes (RFC 9110 14.1.2); any other has.
            match text(headers, CONTENT_RANGE.as_str()).and_then(parse_unsatisfied) {
                Some(0) => Ok(Received { bytes: Bytes::new(), meta: Some(meta(headers, 0)) }),
                size => Err(Failure::PastEnd { size }),
            }
        }
        (What::Range(AskedRange { range, exact }), StatusCode::RANGE_NOT_SATISFIABLE) => {
            let size = text(headers, CONTENT_RANGE.as_str()).and_then(parse_unsatisfied);
            // Without a size in it the start alone shows it: only an empty file has no first byte.
            let size = size.or((range.start == 0).then_some(0));
            if *exact || size.is_some_and(|size| size > range.start) {
                return Err(Failure::PastEnd { size });
            }
            Ok(Received { bytes: Bytes::new(), meta: size.map(|size| meta(headers, size)) })
        }
        (What::Page { .. }, StatusCode::OK) => {
            Ok(Received { bytes: read_body(by, response, MAX_PAGE).await?, meta: None })
        }
        (What::Put(_), status) if status.is_success() => Ok(Received { bytes: Bytes::new(), meta: None }),
        (_, status) => {
            if let Some(pause) = retry_after(status, headers, SystemTime::now()) {
                by.turns.pause(pause);
            }
            Err(Failure::Status(refusal(by, status, retry_codes, response).await))
        }
    }
}

async fn refusal(by: &Host, status: StatusCode, retry_codes: &RetryCodes, response: &mut reqwest::Response) -> Refusal {
    let named = text(response.headers(), "x-amz-bucket-region").map(str::to_owned);
    let azure = text(response.headers(), "x-ms-error-code").map(str::to_owned);
    let body = read_body(by, response, MAX_ERROR_BODY).await.unwrap_or_default();
    let element = |name: &str| element_in(&body, name).map(str::to_owned);
    let region = named.or_else(|| element("Region")).filter(|region| is_region(region));
    let code = azure.or_else(|| element("Code")).filter(|code| is_code(code));
    // S3 calls it a bad request when it has waited too long for one.
    let again = retry_codes.contain(status.as_u16()) || code.as_deref() == Some("RequestTimeout");
    Refusal { status, code, region, again }
}

async fn partial(by: &Host, what: &What, response: &mut reqwest::Response) -> Result<Received, Failure> {
    let headers = response.headers();
    let header =
        text(headers, CONTENT_RANGE.as_str()).ok_or_else(|| Failure::broken("a 206 response without Content-Range"))?;
    let (range, size) =
        parse_content_range(header).ok_or_else(|| Failure::broken("a Content-Range that cannot be read"))?;
    let other = || {
        let (start, end) = (range.start, range.end);
        Failure::broken(format!("asked for {}, the server sent {start} to {end}", what.brief()))
    };
    match what {
        What::Range(AskedRange { range: asked, exact }) => {
            let shorter = size == Some(range.end) && range.end < asked.end;
            if range.start != asked.start || range.end > asked.end || (range.end < asked.end && !shorter) {
                return Err(other());
            }
            if shorter && *exact {
                return Err(Failure::PastEnd { size });
            }
        }
        What::Tail(length) => {
            let size = size.ok_or_else(|| Failure::broken("a Content-Range without the file's size"))?;
            if range != (size.saturating_sub(*length)..size) {
                return Err(other());
            }
        }
        What::Page { .. } | What::Put(_) => return Err(other()),
    }
    let length = range.end - range.start;
    let meta = size.map(|size| meta(headers, size));
    if response.content_length().is_some_and(|announced| announced != length) {
        return Err(wrong_length(length, response.content_length().unwrap_or(0)));
    }
    let bytes = read_body(by, response, length).await?;
    if bytes.len() as u64 != length {
        return Err(wrong_length(length, bytes.len() as u64));
    }
    Ok(Received { bytes, meta })
}

async fn whole(by: &Host, what: &What, response: &mut reqwest::Response) -> Result<Received, Failure> {
    let announced = response.content_length();
    if announced.is_some_and(|length| length > MAX_WHOLE) {
        return Err(no_ranges());
    }
    let headers = response.headers().clone();
    let bytes = match read_body(by, response, announced.unwrap_or(MAX_WHOLE)).await {
        Err(Failure::Broken { .. }) if announced.is_none() => return Err(no_ranges()),
        body => body?,
    };
    let size = bytes.len() as u64;
    if announced.is_some_and(|announced| announced != size) {
        return Err(wrong_length(announced.unwrap_or(0), size));
    }
    let Range { start, end } = match what {
        What::Range(AskedRange { range, exact: true }) if size < range.end => {
            return Err(Failure::PastEnd { size: Some(size) });
        }
        What::Range(AskedRange { range, .. }) => range.start.min(size)..range.end.min(size),
        What::Tail(length) => size.saturating_sub(*length)..size,
        What::Page { .. } | What::Put(_) => 0..size,
    };
    // Both ends are at most `size`, which is the length of what is in memory.
    let (start, end) = (start as usize, end as usize);
    Ok(Received { bytes: buffer::copy(bytes.get(start..end).unwrap_or_default()), meta: Some(meta(&headers, size)) })
}

/// The body, which is an error as soon as it is longer than `most` bytes.
async fn read_body(by: &Host, response: &mut reqwest::Response, most: u64) -> Result<Bytes, Failure> {
    let expected = most.min(response.content_length().unwrap_or(0)).min(MAX_RESERVE);
    let mut body = Buffer::with_capacity(expected as usize);
    while let Some(chunk) = response.chunk().await.map_err(Failure::transport)? {
        count(&by.counters.bytes, chunk.len() as u64);
        let length = (body.len() + chunk.len()) as u64;
        if length > most {
            return Err(wrong_length(most, length));
        }
        body.extend(&chunk);
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

/// `bytes 0-99/1234` or `bytes 0-99/*`: the half-open range, and the file's size where it is known.
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

/// The text of the first element `name` of a store's error, such as `<Code>AccessDenied</Code>`.
fn element_in<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let (text, _) = std::str::from_utf8(body).ok()?.split_once(&format!("<{name}>"))?.1.split_once('<')?;
    Some(text)
}

/// Whether `code` is a store's word for an error, which is shown: nothing else of what a server writes is.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether `name` can be the name of a region. It becomes part of a host's name that signed requests are sent to,
/// so what a server calls one is not believed blindly.
pub(super) fn is_region(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The pause that a 429 or a 503 asks for: seconds, or a date.
fn retry_after(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let value = text(headers, RETRY_AFTER.as_str()).filter(|_| asks)?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

fn no_ranges() -> Failure {
    Failure::broken("the server sends the whole file where a range is asked for: it does not serve ranges")
}

fn wrong_length(asked: u64, got: u64) -> Failure {
    Failure::Broken { what: format!("a body of {got} bytes in place of {asked}"), again: true }
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
    }

    #[test]
    fn a_stores_error_is_read_as_far_as_it_is_known() {
        let body = b"<Error><Code>AccessDenied</Code><Region>eu-west-1</Region>";
        assert_eq!((element_in(body, "Code"), element_in(body, "Region")), (Some("AccessDenied"), Some("eu-west-1")));
        assert_eq!((element_in(body, "Message"), element_in(b"<Code>x", "Code")), (None, None));
        assert!(is_code("SlowDown") && !is_code("") && !is_code("see https://h/?sig=1"));
    }

    #[test]
    fn pauses_are_asked_for_in_seconds_or_by_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let asked = |status, value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(status, &headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(asked(StatusCode::TOO_MANY_REQUESTS, "7"), Some(7));
        assert_eq!(asked(StatusCode::SERVICE_UNAVAILABLE, "Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(asked(StatusCode::SERVICE_UNAVAILABLE, "Sun, 06 Nov 1994 08:49:07 GMT"), None, "it is over");
        assert_eq!(asked(StatusCode::SERVICE_UNAVAILABLE, "soon"), None);
        assert_eq!(asked(StatusCode::INTERNAL_SERVER_ERROR, "7"), None);
    }

    #[test]
    fn a_region_is_no_host() {
        assert!(is_region("us-gov-west-1"));
        for wrong in ["", "evil.example/", "a.b", "x@y", "eu-central-1.evil"] {
            assert!(!is_region(wrong), "{wrong}");
        }
    }
}
