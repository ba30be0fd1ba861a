//! One range that is asked for, and what came of it.

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
use crate::source::Meta;

/// One range that is asked for, over all its tries.
#[derive(Debug)]
pub(super) struct Call {
    /// The bytes asked for; not empty.
    range: Range<u64>,
    /// Whether less than the range is an error: the file must not end inside it.
    exact: bool,
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
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The store's own word for it, such as `InvalidAccessKeyId`.
    pub(super) code: Option<String>,
    /// The region that S3 says the bucket lies in.
    pub(super) region: Option<String>,
    /// Whether another try may help.
    pub(super) again: bool,
}

impl Call {
    /// A call for `range`, which is not empty.
    pub(super) fn new(range: Range<u64>, exact: bool) -> Self {
        Self { range, exact, tries: AtomicU64::new(0), outcome: Mutex::new(None) }
    }

    /// The bytes asked for.
    pub(super) fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// Whether the file must not end inside the range.
    pub(super) fn exact(&self) -> bool {
        self.exact
    }

    /// Begins a try, and gives its number.
    pub(super) fn begin(&self) -> u64 {
        self.tries.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tries so far.
    pub(super) fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    /// What the last try gave; `None` where there was none.
    pub(super) fn outcome(&self) -> Option<Result<Answer, Failure>> {
        lock(&self.outcome).take()
    }

    /// Keeps what a try gave, and gives what object_store is told, so that it returns or tries again.
    pub(super) fn end(&self, outcome: Result<Answer, Failure>) -> Result<HttpResponse, HttpError> {
        let reply = self.reply(&outcome);
        *lock(&self.outcome) = Some(outcome);
        reply
    }

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
            Err(failure) => return error(failure.again()),
        };
        stand_in.body(HttpResponseBody::from(Bytes::new())).or_else(|_| error(false))
    }
}

impl Failure {
    /// A response that will not become another one.
    pub(super) fn broken(what: impl Into<String>) -> Self {
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

    /// In a few words, for debug messages.
    pub(super) fn brief(&self) -> String {
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
