//! One HTTP request: the only place where bytes leave and enter.
//!
//! A try waits for the host's turn, is signed and sent, follows redirects, and its response is checked against what was
//! asked for (`response`). It is signed that late, each time anew, since stores refuse a signature of a quarter of an hour
//! ago, and a turn may take longer.
//!
//! Credentials stay with the scheme, host and port they were given for.

use std::sync::Arc;
use std::time::Instant;

use http::Version;
use http::header::{IF_MATCH, LOCATION, RANGE};
use object_store::client::HttpRequest;
use url::Url;

use crate::error::Error;
use crate::path::without_secrets;
use crate::source::host::statistics::count;
use crate::source::host::turns::Quota;
use crate::source::host::{Host, host};
use crate::source::remote::call::{Failure, Received, What};
use crate::source::remote::clients::client;
use crate::source::remote::response::receive;
use crate::source::remote::target::{Auth, Target};

/// Redirects followed, as curl has it by default in GDAL.
const MAX_REDIRECTS: usize = 10;

/// Tries once to get `what` of `target`, in turn with other readers of its host.
pub(super) async fn attempt(
    target: &Target,
    reader: u64,
    what: &What,
    etag: Option<&str>,
    region: Option<&str>,
) -> Result<Received, Failure> {
    let home = host(&target.authority);
    let asked = Instant::now();
    let _turn = home.turns.turn(reader, target.connections()).await;
    home.note_wait(asked);
    let request = target.request(what, etag, region).map_err(Failure::Unsent)?;
    let url = Url::parse(&request.uri().to_string())
        .map_err(|_| Failure::Unsent(Error::read("the URL cannot be sent: check it")))?;
    let Sent { mut response, at, by } = send(target, what, &home, url.clone(), &request).await?;
    let waited = at.duration_since(asked);
    let first_byte = at.elapsed();
    let body = Instant::now();
    let outcome = receive(what, &by, &target.retry_codes, &mut response).await;
    // How long a store takes to list or to write says nothing of the link.
    if let Ok(received) = &outcome
        && what.is_read()
    {
        home.measure(first_byte, received.bytes.len() as u64, body.elapsed());
    }
    crate::trace::debug(|| {
        let (status, spent, waited) = (response.status().as_u16(), at.elapsed().as_millis(), waited.as_millis());
        let (method, url, what) = (request.method(), without_secrets(url.as_str()), what.brief());
        format!("{method} {url} {what}: HTTP {status} after {spent} ms, sent after {waited} ms")
    });
    outcome
}

/// Sends `made`, whose URL is `first`, and follows redirects. `home` is the host whose turn it is.
async fn send(target: &Target, what: &What, home: &Host, first: Url, made: &HttpRequest) -> Result<Sent, Failure> {
    let mut url = first.clone();
    for _ in 0..=MAX_REDIRECTS {
        let sent = send_once(target, what, home, made, &url, url.origin() == first.origin()).await?;
        // What is signed for one host, or is to be written, goes nowhere else: S3 names the region in its answer.
        let follows = what.is_read() && sent.response.status().is_redirection();
        let location = sent.response.headers().get(LOCATION).filter(|_| follows);
        let next = location.and_then(|location| location.to_str().ok()).and_then(|location| url.join(location).ok());
        let Some(next) = next else { return Ok(sent) };
        if url.scheme() == "https" && next.scheme() != "https" {
            return Err(Failure::broken("the server redirects from https to a connection that is not encrypted"));
        }
        url = next;
    }
    Err(Failure::broken(format!("the server redirects more than {MAX_REDIRECTS} times")))
}

/// Sends `made` to `url`, when the host there may be asked: whole where that `is_home`, and what it asks for elsewhere.
async fn send_once(
    target: &Target,
    what: &What,
    home: &Host,
    made: &HttpRequest,
    url: &Url,
    is_home: bool,
) -> Result<Sent, Failure> {
    let mut key = target.client.for_scheme(url.scheme() == "https");
    let there = host(&url.origin().ascii_serialization());
    let asked = Instant::now();
    there.turns.pace(Quota::at(url, target.limits).per_minute).await.map_err(|left| Failure::Paused { left })?;
    there.note_wait(asked);
    let mut way = None;
    if key.http2() {
        let chosen = there.way(what.length(), home.turns.is_alone()).await;
        key = if chosen.http2 { key } else { key.without_http2() };
        way = Some(chosen);
    }
    if let What::Put(bytes) = what {
        key = key.for_upload(bytes.len() as u64);
    }
    let client = client(&key).map_err(Failure::Unsent)?;
    let mut request = client.request(made.method().clone(), url.clone());
    if let What::Put(bytes) = what {
        request = request.body(bytes.clone());
    }
    if is_home {
        request = request.headers(made.headers().clone());
        request = match target.auth() {
            Some(Auth::Basic(user, password)) => request.basic_auth(user, password.as_ref()),
            Some(Auth::Bearer(token)) => request.bearer_auth(token.expose()),
            None => request,
        };
    } else {
        for name in [RANGE, IF_MATCH] {
            if let Some(value) = made.headers().get(&name) {
                request = request.header(name, value);
            }
        }
    }
    let at = Instant::now();
    count(&there.counters.requests, 1);
    let response = request.send().await.map_err(Failure::transport)?;
    if key.http2() {
        there.spoke(response.version() == Version::HTTP_2);
    }
    drop(way);
    Ok(Sent { response, at, by: there })
}

/// A request that was answered.
struct Sent {
    response: reqwest::Response,
    /// When it went out, after all redirects.
    at: Instant,
    /// Who has answered.
    by: Arc<Host>,
}
