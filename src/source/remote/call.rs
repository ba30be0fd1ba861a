//! One thing that is asked of a host, and what came of it: a range of a file or its end, a page of a listing, or that an
//! object be written.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::error::Error;
use crate::source::contract::Meta;

/// Objects of a page. Azure would give 5,000, in more bytes than are read of a page.
pub(super) const PAGE: usize = 1000;

/// What is asked for.
#[derive(Debug)]
pub(super) enum What {
    /// Bytes of a file.
    Range(AskedRange),
    /// So many bytes at its end, or all where it has no more; more than 0.
    Tail(u64),
    /// The page of the listing of `prefix` that `token` names; the first one without.
    Page { prefix: String, token: Option<String> },
    /// That an object has these bytes.
    Put(Bytes),
}

/// Bytes of a file.
#[derive(Debug)]
pub(super) struct AskedRange {
    /// The bytes asked for; not empty.
    pub(super) range: Range<u64>,
    /// Whether less than the range is an error: the file must not end inside it.
    pub(super) exact: bool,
}

/// What a good response brought.
#[derive(Debug)]
pub(super) struct Received {
    /// The bytes asked for, or the page; empty where an object was written.
    pub(super) bytes: Bytes,
    /// The file as a whole, where the response gave its size.
    pub(super) meta: Option<Meta>,
}

/// Why there is no answer.
#[derive(Debug)]
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

/// What to check where a request fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hints {
    /// What to set where the server will not let us read or write.
    pub(super) credentials: &'static str,
    /// What says where the file lies.
    pub(super) place: &'static str,
}

/// A response that says no.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The store's own word for it, such as `InvalidAccessKeyId`.
    pub(super) code: Option<String>,
    /// The region that S3 says the bucket lies in.
    pub(super) region: Option<String>,
    /// Whether another try may help.
    pub(super) again: bool,
}

impl What {
    /// Whether it is bytes of a file.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Range(_) | Self::Tail(_))
    }

    /// What is asked for, in a few words.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Range(AskedRange { range, .. }) => format!("bytes {} to {}", range.start, range.end),
            Self::Tail(length) => format!("the last {length} bytes"),
            Self::Page { .. } => "a page of a listing".to_owned(),
            Self::Put(bytes) => format!("{} bytes", bytes.len()),
        }
    }

    /// The bytes that are to be moved, as far as that is known.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Range(AskedRange { range, .. }) => range.end - range.start,
            Self::Tail(length) => *length,
            Self::Page { .. } => 0,
            Self::Put(bytes) => bytes.len() as u64,
        }
    }
}

impl Failure {
    /// Why a response did not come.
    pub(super) fn transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let cause = if error.is_timeout() {
            "it took too long (GDAL_HTTP_TIMEOUT, GDAL_HTTP_LOW_SPEED_TIME)".to_owned()
        } else {
            root_cause(&error)
        };
        let again = !is_for_certificate(&error);
        Self::Transport { cause, again }
    }

    /// The error that the user sees after `tries` tries for `what`. It has nothing of a server's own text.
    pub(super) fn error(self, what: &What, tries: u64, Hints { credentials, place }: Hints) -> Error {
        let after = |cause: &str, advice: &str| after_tries(what, tries, cause, advice);
        let later = "try again later, or raise GDAL_HTTP_MAX_RETRY";
        match self {
            Self::Unsent(error) => error,
            Self::Status(Refusal { status, code, .. }) => {
                let word = code.map(|code| format!(" {code}")).unwrap_or_default();
                let said = format!("HTTP {}{word}", status.as_u16());
                match status.as_u16() {
                    404 | 410 => Error::NotFound { detail: format!(" ({said})"), check: place },
                    401 | 403 => Error::Denied { detail: format!(" ({said})"), check: credentials },
                    407 => after(&said, "the proxy wants a user and password: set GDAL_HTTP_PROXYUSERPWD"),
                    300..=399 => after(&said, "check the URL, AWS_REGION and AWS_S3_ENDPOINT"),
                    429 => after(
                        &said,
                        "the server is asked too often: lower VSITLM_MAX_CONNECTIONS, set \
                         VSITLM_MAX_REQUESTS_PER_MINUTE, or try again later",
                    ),
                    500.. => after(&said, later),
                    // S3 answers 400 to a token that has expired.
                    _ => after(&said, &format!("check the path, and {credentials}")),
                }
            }
            Self::Paused { left } => Error::read(format!(
                "the server has asked not to be asked for another {} s: try again then",
                left.as_secs().max(1)
            )),
            Self::Transport { cause, again: true } => {
                after(&cause, "check the network and the proxy, or try again later")
            }
            Self::Transport { cause, again: false } => {
                after(&cause, "check CURL_CA_BUNDLE, or set GDAL_HTTP_UNSAFESSL")
            }
            Self::Broken { what: cause, again: true } => after(&cause, later),
            Self::Broken { what: cause, again: false } if what.is_read() => {
                after(&cause, "this server cannot be read by ranges; copy the file")
            }
            Self::Broken { what: cause, again: false } => {
                after(&cause, "check that the endpoint is that of an object store")
            }
            // These bytes were known to be there.
            Self::PastEnd { size } => {
                let at = size.map(|size| format!(" at byte {size},")).unwrap_or_default();
                Error::Changed { what: format!("it ends{at} inside or before {}", what.brief()) }
            }
        }
    }

    /// A response that will not become another one.
    pub(super) fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into(), again: false }
    }

    /// Whether another try may help.
    pub(super) fn again(&self) -> bool {
        match self {
            Self::Status(refusal) => refusal.again,
            Self::Transport { again, .. } | Self::Broken { again, .. } => *again,
            Self::PastEnd { .. } | Self::Unsent(_) | Self::Paused { .. } => false,
        }
    }

    /// Whether a server may have failed so since it does not know ranges that count from a file's end.
    pub(super) fn may_be_of_tails(&self) -> bool {
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

/// The error of reading, listing or writing that has failed for `cause`.
fn after_tries(what: &What, tries: u64, cause: &str, advice: &str) -> Error {
    let doing = match what {
        What::Range(_) | What::Tail(_) => format!("reading {}", what.brief()),
        What::Page { .. } => "listing".to_owned(),
        What::Put(_) => format!("writing {}", what.brief()),
    };
    let times = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
    Error::read(format!("{doing} failed, tried {times}: {cause}; {advice}"))
}

/// The last link of an error's chain, in words: the outer links repeat it, or name the URL.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
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
