//! Where a remote file lies and how it is asked for: from a location and the options to requests.
//!
//! object_store's authorizers sign them. Whatever these would panic on (they unwrap URLs and header values) is checked here
//! first. An origin says where a file lies, not how it is asked for: it is the same with any credentials.

mod azure;
mod gs;
mod http;
mod s3;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use ::http::header::{CONTENT_LENGTH, IF_MATCH, RANGE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use bytes::Bytes;
use object_store::client::HttpRequest;
use object_store::path::Path;
use url::Url;

use crate::error::{Error, Result};
use crate::options::{AzureAccess, GsAccess, HttpOptions, Limits, Options, RetryCodes};
use crate::path::{Location, without_secrets};
use crate::source::host::turns::Quota;
use crate::source::remote::call::{AskedRange, Failure, Refusal, What};
use crate::source::remote::clients::ClientKey;
use crate::source::remote::{netrc, remembered};
pub(super) use http::Auth;

/// One remote file, or what lies below one prefix.
pub(crate) struct Target {
    /// See [`crate::source::contract::Source::origin`].
    pub(super) origin: String,
    /// See [`crate::source::contract::Source::identity`].
    pub(super) identity: String,
    /// Scheme, host and port of the requests, as turns are given by them.
    pub(super) authority: String,
    /// Which client to use.
    pub(super) client: ClientKey,
    /// The user's quotas.
    pub(super) limits: Limits,
    /// Tries after the first one.
    pub(super) retries: usize,
    /// The wait before the first of them.
    pub(super) retry_delay: Duration,
    /// After which statuses another try is made.
    pub(super) retry_codes: RetryCodes,
    /// Its key in the bucket or container; empty where the URL is all.
    key: String,
    service: Service,
    /// Headers of the user's.
    headers: HeaderMap,
}

/// Who has the file.
enum Service {
    Http {
        url: Url,
        auth: Option<Auth>,
    },
    S3(s3::Bucket),
    /// By the interface of S3 that Google's servers have.
    Gs(s3::Bucket),
    Azure(azure::Container),
}

/// What the native transport asks for `location`, where it can: whether the options alone suffice for that, and the
/// target.
pub(crate) fn native(location: &Location, options: &Options) -> Option<(bool, Result<Target>)> {
    Some(match location {
        Location::Local(_) | Location::Product { .. } | Location::Host(_) => return None,
        Location::Http { url } | Location::Curl { url, .. } => {
            (!netrc::knows(options.http.netrc.as_deref(), url), Target::http(url, options))
        }
        Location::S3 { bucket, key } => (options.s3.is_static(), Target::s3(bucket, key, options)),
        Location::Gs { bucket, key } => (options.gs.access != GsAccess::Gdal, Target::gs(bucket, key, options)),
        Location::Azure { container, key } => {
            (options.azure.access != AzureAccess::Gdal, Target::azure(container, key, options))
        }
    })
}

impl Target {
    /// A target without a service's particulars. `credentials` are what `service` is asked with besides HTTP's own.
    fn new(
        origin: String,
        authority: String,
        key: &str,
        service: Service,
        credentials: impl Hash,
        options: &Options,
    ) -> Result<Self> {
        let callers = caller((&credentials, &options.http.headers));
        Ok(Self {
            identity: format!("{origin}#{callers}"),
            origin,
            authority,
            client: ClientKey::new(&options.http),
            limits: options.limits,
            retries: options.http.max_retry,
            retry_delay: options.http.retry_delay,
            retry_codes: options.http.retry_codes.clone(),
            key: key.to_owned(),
            service,
            headers: headers(&options.http)?,
        })
    }

    /// The request for `what`, signed now: in `region` where that is not the options', and for the version that has `etag`
    /// where one is wanted.
    pub(super) fn request(&self, what: &What, etag: Option<&str>, region: Option<&str>) -> Result<HttpRequest> {
        let url = match &self.service {
            Service::Http { url, .. } => url.as_str().to_owned(),
            Service::S3(bucket) | Service::Gs(bucket) => bucket.url(&self.key, what, region)?,
            Service::Azure(container) => container.url(&self.key, what),
        };
        let mut request = HttpRequest::new(Bytes::new().into());
        *request.uri_mut() = url.try_into().map_err(|_| cannot_ask(self.advice()))?;
        let mut headers = self.headers.clone();
        match what {
            What::Range(AskedRange { range, .. }) => {
                headers.extend(header(RANGE, &format!("bytes={}-{}", range.start, range.end - 1)));
            }
            What::Tail(length) => headers.extend(header(RANGE, &format!("bytes=-{length}"))),
            What::Page { .. } => {}
            What::Put(bytes) => {
                *request.method_mut() = Method::PUT;
                *request.body_mut() = bytes.clone().into();
                headers.insert(CONTENT_LENGTH, bytes.len().into());
            }
        }
        // One that cannot be sent is not asked for: answers are checked in any case.
        headers.extend(etag.and_then(|etag| header(IF_MATCH, etag)));
        *request.headers_mut() = headers;
        let signed = match &self.service {
            Service::Http { .. } => Ok(()),
            Service::S3(bucket) | Service::Gs(bucket) => bucket.sign(&mut request, region),
            Service::Azure(container) => container.sign(&mut request, what),
        };
        // The library's text may name the URL with its query.
        signed.map(|()| request).map_err(|_| cannot_ask(self.advice()))
    }

    /// Credentials that are not part of a signature.
    pub(super) fn auth(&self) -> Option<&Auth> {
        match &self.service {
            Service::Http { auth, .. } => auth.as_ref(),
            _ => None,
        }
    }

    /// The bucket and the options' region, where the bucket is AWS's: a response may name another region.
    pub(super) fn movable_bucket(&self) -> Option<(&str, &str)> {
        match &self.service {
            Service::S3(bucket) => bucket.is_movable().then_some((&bucket.name, &bucket.region)),
            _ => None,
        }
    }

    /// The region of its bucket, where AWS has named another one than the options do.
    pub(super) fn known_region(&self) -> Option<String> {
        remembered::region(self.movable_bucket()?.0)
    }

    /// The region that a refusal says the bucket lies in, where that is not the one that was asked (`None`: that of the
    /// options). It is remembered.
    pub(super) fn other_region<'a>(&self, failure: &'a Failure, asked: Option<&str>) -> Option<&'a str> {
        let Failure::Status(Refusal { region: Some(region), .. }) = failure else { return None };
        let (bucket, set) = self.movable_bucket().filter(|(_, set)| asked.unwrap_or(set) != region)?;
        crate::trace::debug(|| {
            format!("the bucket {bucket} lies in {region}, not in {set}: AWS_REGION would save a request")
        });
        remembered::remember_region(bucket, region);
        Some(region)
    }

    /// What to set where the server will not let us read or write.
    pub(super) fn advice(&self) -> &'static str {
        match &self.service {
            Service::Http { .. } => http::ADVICE,
            Service::S3(_) => s3::ADVICE,
            Service::Gs(_) => gs::ADVICE,
            Service::Azure(_) => azure::ADVICE,
        }
    }

    /// What says where it lies.
    pub(super) fn whereabouts(&self) -> &'static str {
        match &self.service {
            Service::Http { .. } => "the URL",
            Service::S3(_) => "the path and AWS_S3_ENDPOINT",
            Service::Gs(_) => "the path and CPL_GS_ENDPOINT",
            Service::Azure(_) => "the path, AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_CONNECTION_STRING",
        }
    }

    /// Whether the server may know ranges that count from a file's end: those of Azure's blobs do not.
    pub(super) fn knows_tails(&self) -> bool {
        !matches!(self.service, Service::Azure(_))
    }

    /// Requests that the host gets at the same time.
    pub(super) fn connections(&self) -> usize {
        Url::parse(&self.authority).map_or(1, |url| Quota::at(&url, self.limits).connections)
    }
}

fn cannot_ask(advice: &str) -> Error {
    Error::read(format!("cannot prepare requests from the options: check {advice}"))
}

fn header(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name, HeaderValue::from_str(value).ok()?))
}

/// A name for who asks, by the credentials: what one caller has fetched is not another's to read. It lives no longer than
/// the process.
fn caller(credentials: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    credentials.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Refuses keys that would become other ones on their way. `shown` is how messages name the object.
fn check_key(key: &str, shown: &str) -> Result<()> {
    let fits = !key.is_empty() && Path::parse(key).is_ok_and(|path| path.as_ref() == key);
    fits.then_some(()).ok_or_else(|| Error::Path {
        path: shown.to_owned(),
        what: "a key with empty, '.' or '..' parts, control characters or an outer '/' cannot be asked for; set VSITLM_TRANSPORT=GDAL".to_owned(),
    })
}

/// An endpoint that an option names: a URL of a host, perhaps with a port and a path.
fn endpoint(name: &'static str, value: &str) -> Result<Url> {
    let url = Url::parse(value).ok().filter(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.query().is_none()
    });
    url.ok_or_else(|| Error::Option {
        name,
        value: without_secrets(value),
        expected: "a host with an optional port, or a URL of one",
    })
}

/// The longest URL that will be sent can be one: each byte of the key can take three.
fn fits(base: &str, key: &str, shown: &str, option: &str) -> Result<()> {
    Uri::try_from(format!("{base}/{}", "%20".repeat(key.len()))).map(|_| ()).map_err(|_| Error::Path {
        path: shown.to_owned(),
        what: format!("{option} and the bucket do not make a URL, or the key is too long"),
    })
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
        if ["range", "host", "accept-encoding", "if-match", "if-range", "content-length"].contains(&name.as_str()) {
            continue;
        }
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn options(more: &[(&str, &str)]) -> Options {
        let get = |name: &str| more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::resolve(&get).unwrap()
    }
}
