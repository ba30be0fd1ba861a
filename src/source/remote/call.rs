//! One thing that is asked of a host, and what came of it: a range of a file or its end, a page of a listing, or that an
//! object be written.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{Response, StatusCode};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse, HttpResponseBody};

use crate::error::Error;
use crate::process::lock;
use crate::source::contract::Meta;
use crate::source::remote::shown::root_cause;

/// One request, over all its tries.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked for.
    pub(crate) what: What,
    tries: AtomicU64,
    outcome: Mutex<Option<Result<Answer, Failure>>>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Bytes of a file.
    Range(Asked),
    /// So many bytes at its end, or all where it has no more; more than 0.
    Tail(u64),
    /// A page of a listing.
    Page,
    /// That these bytes become an object.
    Put(Bytes),
}

/// Bytes of a file.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The bytes asked for; not empty.
    pub(crate) range: Range<u64>,
    /// Whether less than the range is an error: the file must not end inside it.
    pub(crate) exact: bool,
}

/// What a good response told.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The bytes asked for, or the page; empty where an object was written.
    pub(crate) bytes: Bytes,
    /// The file as a whole, where the response told its size.
    pub(crate) meta: Option<Meta>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Another status than 200, 206 and 416.
    Status(Refusal),
    /// The host wants to be left alone for longer than anybody should be kept waiting.
    Paused { left: Duration },
    /// The connection failed; the root cause in words.
    Transport { cause: String, again: bool },
    /// The response is not what was asked for.
    Broken { what: String, again: bool },
    /// The file ends before the range does, at this byte.
    PastEnd { size: Option<u64> },
    /// Nothing was sent.
    Unsent(Error),
}

/// A response that says no.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The store's own word for it, such as `InvalidAccessKeyId`.
    pub(crate) code: Option<String>,
    /// The region that S3 says the bucket lies in.
    pub(crate) region: Option<String>,
    /// Whether another try may help.
    pub(crate) again: bool,
}

impl What {
    /// What is asked for, in a few words.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Range(Asked { range, .. }) => format!("bytes {} to {}", range.start, range.end),
            Self::Tail(length) => format!("the last {length} bytes"),
            Self::Page => "a page of a listing".to_owned(),
            Self::Put(bytes) => format!("{} bytes", bytes.len()),
        }
    }
}

impl Call {
    /// A call that asks for `what`.
    pub(crate) fn new(what: What) -> Self {
        Self { what, tries: AtomicU64::new(0), outcome: Mutex::new(None) }
    }

    /// The bytes that are to be moved, as far as that is known.
    pub(crate) fn length(&self) -> u64 {
        match &self.what {
            What::Range(Asked { range, .. }) => range.end - range.start,
            What::Tail(length) => *length,
            What::Page => 0,
            What::Put(bytes) => bytes.len() as u64,
        }
    }

    /// Begins a try, and gives its number.
    pub(crate) fn begin(&self) -> u64 {
        self.tries.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tries so far.
    pub(crate) fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    /// What the last try gave; `None` where there was none.
    pub(crate) fn outcome(&self) -> Option<Result<Answer, Failure>> {
        lock(&self.outcome).take()
    }

    /// Keeps what a try gave, and gives what object_store is told, so that it returns or tries again.
    pub(crate) fn end(&self, outcome: Result<Answer, Failure>) -> Result<HttpResponse, HttpError> {
        let reply = self.reply(&outcome);
        *lock(&self.outcome) = Some(outcome);
        reply
    }

    fn reply(&self, outcome: &Result<Answer, Failure>) -> Result<HttpResponse, HttpError> {
        let error = |again: bool| {
            let kind = if again { HttpErrorKind::Interrupted } else { HttpErrorKind::Unknown };
            Err(HttpError::new(kind, std::io::Error::other("see the call")))
        };
        let part = |range: &Range<u64>| {
            Response::builder()
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, format!("bytes {}-{}/{}", range.start, range.end - 1, range.end))
                .header(CONTENT_LENGTH, 0)
                .header(ETAG, "\"stand-in\"")
                .header(LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")
        };
        let stand_in = match (outcome, &self.what) {
            (Ok(_), What::Range(Asked { range, .. })) => part(range),
            (Ok(_), What::Tail(length)) => part(&(0..*length)),
            (Ok(_), What::Page | What::Put(_)) => Response::builder(),
            (Err(failure), _) => return error(failure.again()),
        };
        stand_in.body(HttpResponseBody::from(Bytes::new())).or_else(|_| error(false))
    }

    /// The error that the user sees for `failure`, after all tries. It has nothing of object_store's or a server's own text.
    /// `advice` is what to set where access is denied, `whereabouts` what says where the file lies.
    pub(crate) fn error(&self, advice: &'static str, whereabouts: &'static str, tries: u64, failure: Failure) -> Error {
        let doing = match &self.what {
            What::Range(_) | What::Tail(_) => format!("reading {}", self.what.brief()),
            What::Page => "listing".to_owned(),
            What::Put(_) => format!("writing {}", self.what.brief()),
        };
        let after = |cause: &str, advice: &str| {
            let times = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
            Error::read(format!("{doing} failed, tried {times}: {cause}; {advice}"))
        };
        let later = "try again later, or raise GDAL_HTTP_MAX_RETRY";
        match failure {
            Failure::Unsent(error) => error,
            Failure::Status(Refusal { status, code, .. }) => {
                let word = code.map(|code| format!(" {code}")).unwrap_or_default();
                let told = format!("HTTP {}{word}", status.as_u16());
                match status.as_u16() {
                    404 | 410 => Error::NotFound { detail: format!(" ({told})"), check: whereabouts },
                    401 | 403 => Error::Denied { detail: format!(" ({told})"), check: advice },
                    407 => after(&told, "the proxy wants a user and password: set GDAL_HTTP_PROXYUSERPWD"),
                    300..=399 => after(&told, "check the URL, AWS_REGION and AWS_S3_ENDPOINT"),
                    429 => after(
                        &told,
                        "the server is asked too often: lower VSITLM_MAX_CONNECTIONS, set \
                         VSITLM_MAX_REQUESTS_PER_MINUTE, or try again later",
                    ),
                    500.. => after(&told, later),
                    // S3 answers 400 to a token that has expired.
                    _ => after(&told, &format!("check the path, and {advice}")),
                }
            }
            Failure::Paused { left } => Error::read(format!(
                "the server has asked not to be asked for another {} s: try again then",
                left.as_secs().max(1)
            )),
            Failure::Transport { cause, again: true } => {
                after(&cause, "check the network and the proxy, or try again later")
            }
            Failure::Transport { cause, again: false } => {
                after(&cause, "check CURL_CA_BUNDLE, or set GDAL_HTTP_UNSAFESSL")
            }
            Failure::Broken { what, again: true } => after(&what, later),
            Failure::Broken { what, again: false } => match &self.what {
                What::Range(_) | What::Tail(_) => after(&what, "this server cannot be read by ranges; copy the file"),
                What::Page | What::Put(_) => after(&what, "check that the endpoint is that of an object store"),
            },
            // Whoever asks for these bytes has been told that they are there.
            Failure::PastEnd { size: Some(size) } => {
                Error::Changed { what: format!("it ends at byte {size}, inside or before {}", self.what.brief()) }
            }
            Failure::PastEnd { size: None } => {
                Error::Changed { what: format!("it ends inside or before {}", self.what.brief()) }
            }
        }
    }
}

impl Failure {
    /// Why a response did not come.
    pub(crate) fn transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let cause = if error.is_timeout() {
            "it took too long (GDAL_HTTP_TIMEOUT, GDAL_HTTP_LOW_SPEED_TIME)".to_owned()
        } else {
            root_cause(&error)
        };
        let again = !is_for_certificate(&error);
        Self::Transport { cause, again }
    }

    /// A response that will not become another one.
    pub(crate) fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into(), again: false }
    }

    /// Whether another try may help.
    fn again(&self) -> bool {
        match self {
            Self::Status(refusal) => refusal.again,
            Self::Transport { again, .. } | Self::Broken { again, .. } => *again,
            Self::PastEnd { .. } | Self::Unsent(_) | Self::Paused { .. } => false,
        }
    }

    /// Whether a server may have failed so since it does not know ranges that count from a file's end.
    pub(crate) fn may_be_of_tails(&self) -> bool {
        match self {
            Self::Status(Refusal { status, .. }) => {
                [StatusCode::BAD_REQUEST, StatusCode::NOT_IMPLEMENTED].contains(status)
            }
            Self::Broken { again, .. } => !again,
            Self::PastEnd { .. } => true,
            Self::Transport { .. } | Self::Paused { .. } | Self::Unsent(_) => false,
        }
    }

    /// In a few words, for debug messages.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Status(Refusal { status, code, .. }) => {
                let code = code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
                format!("HTTP {}{code}", status.as_u16())
            }
            Self::Transport { cause: what, .. } | Self::Broken { what, .. } => what.clone(),
            Self::PastEnd { .. } => "the file ends before".to_owned(),
            Self::Paused { left } => format!("not sent: the host asked for a pause of {} s more", left.as_secs()),
            Self::Unsent(error) => format!("not sent: {}", error.chain()),
        }
    }
}

/// Whether the server's certificate is why there is no connection: another try does not make it valid.
fn is_for_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) =
            error.downcast_ref()
        {
            return true;
        }
        // The source of an io::Error is the source of what it wraps: what it wraps is not a link of the chain.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        link = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind};

    use rustls::CertificateError::Expired;
    use rustls::Error::{HandshakeNotComplete, InvalidCertificate, NoCertificatesPresented};

    use super::*;

    #[test]
    fn certificates_are_known_by_their_type_not_by_a_word() {
        let wrapped = |error: rustls::Error| IoError::other(IoError::new(ErrorKind::InvalidData, error));
        assert!(is_for_certificate(&wrapped(InvalidCertificate(Expired))));
        assert!(is_for_certificate(&wrapped(NoCertificatesPresented)));
        assert!(!is_for_certificate(&wrapped(HandshakeNotComplete)));
        assert!(!is_for_certificate(&IoError::other("the server of the certificate is busy")));
    }
}
