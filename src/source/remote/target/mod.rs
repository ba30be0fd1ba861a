//! Where a remote file lies and how it is asked for: from a location and the options to requests.
//!
//! object_store's authorizers sign them. Whatever these would panic on (they unwrap URLs and header values) is checked here
//! first. An origin says where a file lies, not how it is asked for: it is the same with any credentials.

mod address;
mod azure;
mod gs;
mod http;
mod s3;

use std::time::Duration;

use ::http::header::{CONTENT_LENGTH, IF_MATCH, RANGE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use object_store::client::HttpRequest;
use url::Url;

use crate::error::{Error, Result};
use crate::options::{AzureAccess, GsAccess, HttpOptions, Limits, Options, RetryCodes};
use crate::path::{Location, identifying_query};
use crate::source::host::turns::Quota;
use crate::source::identity::Access;
use crate::source::remote::call::{AskedRange, Failure, Hints, Refusal, What};
use crate::source::remote::clients::ClientKey;
use crate::source::remote::target::address::{Address, cannot_ask, set};
use crate::source::remote::target::azure::Container;
pub(super) use crate::source::remote::target::http::Auth;
use crate::source::remote::target::http::Resource;
use crate::source::remote::target::s3::Bucket;
use crate::source::remote::{netrc, remembered};

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
    Http(Resource),
    S3(Bucket),
    /// By the interface of S3 that Google's servers have.
    Gs(Bucket),
    Azure(Container),
}

/// What the native transport asks for `location`; `None` for what it does not know.
pub(crate) fn native(location: &Location, access: &Access) -> Option<Result<Target>> {
    Some(match location {
        Location::Local(_) | Location::Product { .. } | Location::Host(_) => return None,
        Location::Http { url } | Location::Curl { url, .. } => Target::http(url, access),
        Location::S3 { bucket, key } => Target::s3(bucket, key, access),
        Location::Gs { bucket, key } => Target::gs(bucket, key, access),
        Location::Azure { container, key } => Target::azure(container, key, access),
    })
}

/// Whether the options are all that the native transport needs for `location`.
pub(crate) fn suffice(location: &Location, options: &Options) -> bool {
    match location {
        Location::Local(_) | Location::Product { .. } | Location::Host(_) => true,
        Location::Http { url } | Location::Curl { url, .. } => !netrc::knows(options.http.netrc.as_deref(), url),
        Location::S3 { .. } => options.s3.is_static(),
        Location::Gs { .. } => options.gs.access != GsAccess::Gdal,
        Location::Azure { .. } => options.azure.access != AzureAccess::Gdal,
    }
}

impl Target {
    /// A target without a service's particulars.
    fn new(origin: String, authority: String, key: &str, service: Service, access: &Access) -> Result<Self> {
        let options = &access.options;
        Ok(Self {
            identity: format!("{origin}#{}", access.identity.number()),
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

    fn http(url: &str, access: &Access) -> Result<Self> {
        let (Address { origin, authority }, resource) = Resource::locate(url, &access.options.http)?;
        let query = identifying_query(&resource.url).map_or_else(String::new, |query| format!("?{query}"));
        let target = Self::new(origin.clone() + &query, authority, "", Service::Http(resource), access)?;
        Ok(Self { origin, ..target })
    }

    fn s3(bucket: &str, key: &str, access: &Access) -> Result<Self> {
        let (Address { origin, authority }, bucket) = Bucket::locate(bucket, key, &access.options.s3)?;
        Self::new(origin, authority, key, Service::S3(bucket), access)
    }

    fn gs(bucket: &str, key: &str, access: &Access) -> Result<Self> {
        let options = &access.options.gs;
        let (Address { origin, authority }, bucket) = gs::locate(bucket, key, options)?;
        let mut target = Self::new(origin, authority, key, Service::Gs(bucket), access)?;
        target.headers.extend(gs::payer(options)?);
        Ok(target)
    }

    fn azure(container: &str, key: &str, access: &Access) -> Result<Self> {
        let (Address { origin, authority }, container) = Container::locate(container, key, &access.options.azure)?;
        Self::new(origin, authority, key, Service::Azure(container), access)
    }

    /// The request for `what`, signed now: in `region` where that is not the options', and for the version that has `etag`
    /// where one is wanted.
    pub(super) fn request(&self, what: &What, etag: Option<&str>, region: Option<&str>) -> Result<HttpRequest> {
        let url = match &self.service {
            Service::Http(resource) => resource.url.as_str().to_owned(),
            Service::S3(bucket) | Service::Gs(bucket) => bucket.url(&self.key, what, region)?,
            Service::Azure(container) => container.url(&self.key, what),
        };
        let mut request = HttpRequest::new(Bytes::new().into());
        *request.uri_mut() = url.try_into().map_err(|_| cannot_ask(self.hints()))?;
        let mut headers = self.headers.clone();
        match what {
            What::Range(AskedRange { range, .. }) => {
                set(&mut headers, RANGE, &format!("bytes={}-{}", range.start, range.end - 1));
            }
            What::Tail(length) => set(&mut headers, RANGE, &format!("bytes=-{length}")),
            What::Page { .. } => {}
            What::Put(bytes) => {
                *request.method_mut() = Method::PUT;
                *request.body_mut() = bytes.clone().into();
                headers.insert(CONTENT_LENGTH, bytes.len().into());
            }
        }
        if let Some(etag) = etag {
            // One that cannot be sent is not asked for: answers are checked in any case.
            set(&mut headers, IF_MATCH, etag);
        }
        *request.headers_mut() = headers;
        let signed = match &self.service {
            Service::Http(_) => Ok(()),
            Service::S3(bucket) | Service::Gs(bucket) => bucket.sign(&mut request, region),
            Service::Azure(container) => container.sign(&mut request, what),
        };
        // The library's text may name the URL with its query.
        signed.map(|()| request).map_err(|_| cannot_ask(self.hints()))
    }

    /// Credentials that are not part of a signature.
    pub(super) fn auth(&self) -> Option<&Auth> {
        match &self.service {
            Service::Http(resource) => resource.auth.as_ref(),
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

    /// What to check where a request fails.
    pub(super) fn hints(&self) -> Hints {
        match &self.service {
            Service::Http(_) => http::HINTS,
            Service::S3(_) => s3::HINTS,
            Service::Gs(_) => gs::HINTS,
            Service::Azure(_) => azure::HINTS,
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

/// The user's headers, without those that decide what comes back.
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
mod tests;
