//! One HTTP request: the only place where bytes leave and enter.
//!
//! object_store makes and signs the requests and waits between tries; it hands each try to the [`Service`] here, which
//! waits for the host's turn, sends it, follows redirects, holds the response against what was asked, decides whether
//! another try is worth it, and leaves what came of it in the [`Call`] that travels with the request. object_store itself
//! gets a stand-in for a good response, and never sees a body or a status; nothing of its error texts, which contain
//! URLs, is ever shown.
//!
//! Credentials stay with the scheme, host and port they were given for. What a good response is: see `response`.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use http::header::{IF_MATCH, LOCATION, RANGE};
use http::{HeaderMap, Version};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use url::Url;

use crate::error::Error;
use crate::options::{Limits, RetryCodes};
use crate::secret::Secret;
use crate::source::host::statistics::count;
use crate::source::host::turns::Quota;
use crate::source::host::{Host, host};
use crate::source::remote::call::{Answer, Call, Failure, What};
use crate::source::remote::clients::{ClientKey, client};
use crate::source::remote::response::receive;
use crate::source::remote::shown::display;

/// Redirects followed, as curl has it by default in GDAL.
const MAX_REDIRECTS: usize = 10;

/// Who asks.
#[derive(Clone, Hash)]
pub(crate) enum Auth {
    /// User and password.
    Basic(String, Option<String>),
    /// A token.
    Bearer(Secret),
}

/// Sends the requests of one source. Holds no connection and no lock: those are the engine's, which differs after
/// a fork.
#[derive(Clone)]
pub(crate) struct Service {
    /// Which client to use.
    pub(crate) client: ClientKey,
    /// Scheme, host and port, by which turns are given.
    pub(crate) authority: String,
    /// The open file among those that wait for a turn.
    pub(crate) reader: u64,
    /// The user's quotas.
    pub(crate) limits: Limits,
    /// After which statuses another try is made.
    pub(crate) retry_codes: RetryCodes,
    /// Headers of the user's.
    pub(crate) headers: HeaderMap,
    /// Credentials that are not part of a signature.
    pub(crate) auth: Option<Auth>,
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
        let host = host(&self.authority);
        let tries = call.begin();
        if tries > 1 {
            count(&host.counters.retries, 1);
        }
        let outcome = self.attempt(&host, &call, &request).await;
        if let Err(failure) = &outcome {
            crate::trace::debug(|| {
                format!("{} {}, try {tries}: {}", self.authority, call.what.brief(), failure.brief())
            });
        }
        call.end(outcome)
    }
}

impl Service {
    async fn attempt(&self, host: &Host, call: &Call, request: &HttpRequest) -> Result<Answer, Failure> {
        let url = Url::parse(&request.uri().to_string())
            .map_err(|_| Failure::Unsent(Error::read("the URL cannot be sent: check it")))?;
        let asked = Instant::now();
        let _turn = host.turns.turn(self.reader, Quota::at(&url, self.limits).connections).await;
        host.note_wait(asked);
        let Sent { mut response, at, by } = self.send(call, host, url.clone(), request).await?;
        let waited = at.duration_since(asked);
        let first_byte = at.elapsed();
        let body = Instant::now();
        let outcome = receive(call, &by, &self.retry_codes, &mut response).await;
        // How long a store takes to list or to write says nothing of the link.
        if let (Ok(answer), What::Range(_) | What::Tail(_)) = (&outcome, &call.what) {
            host.measure(first_byte, answer.bytes.len() as u64, body.elapsed());
        }
        crate::trace::debug(|| {
            let (status, spent, waited) = (response.status().as_u16(), at.elapsed().as_millis(), waited.as_millis());
            format!(
                "{} {} {}: HTTP {status} after {spent} ms, sent after {waited} ms",
                request.method(),
                display(&url),
                call.what.brief()
            )
        });
        outcome
    }

    /// Sends the request and follows redirects.
    async fn send(&self, call: &Call, home: &Host, first: Url, made: &HttpRequest) -> Result<Sent, Failure> {
        let signed = made.headers();
        let origin = first.origin();
        let mut url = first;
        for _ in 0..=MAX_REDIRECTS {
            let secure = url.scheme() == "https";
            let mut key = self.client.for_scheme(secure);
            let there = host(&url.origin().ascii_serialization());
            let asked = Instant::now();
            there.turns.pace(Quota::at(&url, self.limits).per_minute).await.map_err(|left| Failure::Paused { left })?;
            there.note_wait(asked);
            let mut way = None;
            if key.http2() {
                let chosen = there.way(call.length(), home.turns.is_alone()).await;
                key = if chosen.http2 { key } else { key.without_http2() };
                way = Some(chosen);
            }
            if let What::Put(bytes) = &call.what {
                key = key.for_upload(bytes.len() as u64);
            }
            let client = client(&key).map_err(Failure::Unsent)?;
            let mut request = client.request(made.method().clone(), url.clone());
            if let What::Put(bytes) = &call.what {
                request = request.body(bytes.clone());
            }
            if url.origin() == origin {
                // What object_store signed stands; the user's headers do not replace the range.
                request = request.headers(self.headers.clone()).headers(signed.clone());
                request = match &self.auth {
                    Some(Auth::Basic(user, password)) => request.basic_auth(user, password.as_ref()),
                    Some(Auth::Bearer(token)) => request.bearer_auth(token.expose()),
                    None => request,
                };
            } else {
                for name in [RANGE, IF_MATCH] {
                    if let Some(value) = signed.get(&name) {
                        request = request.header(name, value);
                    }
                }
            }
            let sent = Instant::now();
            count(&there.counters.requests, 1);
            let response = request.send().await.map_err(Failure::transport)?;
            if key.http2() {
                there.spoke(response.version() == Version::HTTP_2);
            }
            drop(way);
            // What is signed for one host, or is to be written, goes nowhere else: S3 names the region in its answer.
            let follows = matches!(call.what, What::Range(_) | What::Tail(_)) && response.status().is_redirection();
            let target = response.headers().get(LOCATION).filter(|_| follows);
            let Some(target) = target.and_then(|target| target.to_str().ok()).and_then(|target| url.join(target).ok())
            else {
                return Ok(Sent { response, at: sent, by: there });
            };
            if secure && target.scheme() != "https" {
                return Err(Failure::broken("the server redirects from https to a connection that is not encrypted"));
            }
            url = target;
        }
        Err(Failure::broken(format!("the server redirects more than {MAX_REDIRECTS} times")))
    }
}

/// A request that was answered.
struct Sent {
    response: reqwest::Response,
    /// When it went out, after all redirects.
    at: Instant,
    /// Who has answered.
    by: Arc<Host>,
}
