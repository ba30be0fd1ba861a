//! Where a remote file lies and how it is asked for: from a location and the options to an object_store.
//!
//! Whatever object_store would panic on (it unwraps URLs and header values) is checked here first. An origin tells where
//! a file lies, not how it is asked for: it is the same with any credentials.

mod azure;
mod gs;
mod http;
mod s3;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use object_store::aws::AmazonS3;
use object_store::azure::MicrosoftAzure;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::http::{HttpBuilder, HttpStore};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use crate::error::{Error, Result};
use crate::options::{AzureAccess, AzureOptions, GsAccess, HttpOptions, Limits, Options, RetryCodes, S3Options};
use crate::path::{Location, without_secrets};
use crate::source::host::turns::Quota;
use crate::source::identity::Access;
use crate::source::remote::call::{Failure, Refusal};
use crate::source::remote::clients::ClientKey;
use crate::source::remote::http::{Auth, Service};
use crate::source::remote::{netrc, remembered};

/// The shortest and the longest wait before another try; the shortest keeps the arithmetic of jitter valid.
const MIN_DELAY: Duration = Duration::from_millis(1);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The number of tries is the bound, not the time they take: a limit of four connections can mean long queues.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3600);

/// One remote file.
pub(crate) struct Target {
    /// See [`crate::source::contract::Source::origin`].
    pub(crate) origin: String,
    /// See [`crate::source::contract::Source::identity`].
    pub(crate) identity: String,
    /// Scheme, host and port of the requests.
    pub(crate) authority: String,
    /// Where it lies in the store that [`Target::store`] makes.
    pub(crate) path: Path,
    kind: Kind,
    client: ClientKey,
    retry: RetryConfig,
    limits: Limits,
    retry_codes: RetryCodes,
    headers: HeaderMap,
}

enum Kind {
    Http {
        url: Url,
        auth: Option<Auth>,
    },
    S3 {
        bucket: String,
        options: S3Options,
    },
    /// By the interface of S3 that Google's servers have.
    Gs {
        bucket: String,
        options: S3Options,
    },
    Azure {
        container: String,
        options: AzureOptions,
    },
}

/// A store of one of the kinds.
enum Built {
    Http(HttpStore),
    S3(AmazonS3),
    Azure(MicrosoftAzure),
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
    /// A target without a kind's particulars.
    fn new(origin: String, authority: String, path: Path, kind: Kind, access: &Access) -> Result<Self> {
        let options = &access.options;
        Ok(Self {
            identity: format!("{origin}#{}", access.identity.number()),
            origin,
            authority,
            path,
            kind,
            client: ClientKey::new(&options.http),
            retry: retry(&options.http),
            limits: options.limits,
            retry_codes: options.http.retry_codes.clone(),
            headers: headers(&options.http)?,
        })
    }

    /// The bucket and the options' region, where the bucket is AWS's: a response may name another region.
    pub(crate) fn movable_bucket(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::S3 { bucket, options } => s3::is_movable(options).then_some((bucket, &options.region)),
            _ => None,
        }
    }

    /// The region of its bucket, where AWS has named another one than the options do.
    pub(crate) fn known_region(&self) -> Option<String> {
        remembered::region(self.movable_bucket()?.0)
    }

    /// The region that a refusal says the bucket lies in, where that is not the one that was asked (`None`: that of the
    /// options). It is remembered.
    pub(crate) fn other_region<'a>(&self, failure: &'a Failure, asked: Option<&str>) -> Option<&'a str> {
        let Failure::Status(Refusal { region: Some(region), .. }) = failure else { return None };
        let (bucket, set) = self.movable_bucket().filter(|(_, set)| asked.unwrap_or(set) != region)?;
        crate::trace::debug(|| {
            format!("the bucket {bucket} lies in {region}, not in {set}: AWS_REGION would save a request")
        });
        remembered::remember_region(bucket, region);
        Some(region)
    }

    /// What to set where the server will not let us read or write.
    pub(crate) fn advice(&self) -> &'static str {
        match &self.kind {
            Kind::Http { .. } => http::ADVICE,
            Kind::S3 { .. } => s3::ADVICE,
            Kind::Gs { .. } => gs::ADVICE,
            Kind::Azure { .. } => azure::ADVICE,
        }
    }

    /// What says where it lies.
    pub(crate) fn whereabouts(&self) -> &'static str {
        match &self.kind {
            Kind::Http { .. } => "the URL",
            Kind::S3 { .. } => "the path and AWS_S3_ENDPOINT",
            Kind::Gs { .. } => "the path and CPL_GS_ENDPOINT",
            Kind::Azure { .. } => "the path, AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_CONNECTION_STRING",
        }
    }

    /// Whether the server may know ranges that count from a file's end: those of Azure's blobs do not.
    pub(crate) fn knows_tails(&self) -> bool {
        !matches!(self.kind, Kind::Azure { .. })
    }

    /// Requests that the host gets at the same time.
    pub(crate) fn connections(&self) -> usize {
        Url::parse(&self.authority).map_or(1, |url| Quota::at(&url, self.limits).connections)
    }

    /// The store that asks for it, in `region` where that is not the options'.
    pub(crate) fn store(&self, reader: u64, region: Option<&str>) -> Result<Arc<dyn ObjectStore>> {
        Ok(match self.build(reader, region)? {
            Built::Http(store) => Arc::new(store),
            Built::S3(store) => Arc::new(store),
            Built::Azure(store) => Arc::new(store),
        })
    }

    /// The same, where it can be listed.
    pub(crate) fn lister(&self, reader: u64, region: Option<&str>) -> Result<Option<Arc<dyn PaginatedListStore>>> {
        Ok(match self.build(reader, region)? {
            Built::Http(_) => None,
            Built::S3(store) => Some(Arc::new(store)),
            Built::Azure(store) => Some(Arc::new(store)),
        })
    }

    fn build(&self, reader: u64, region: Option<&str>) -> Result<Built> {
        let service = Service {
            client: self.client.clone(),
            authority: self.authority.clone(),
            reader,
            limits: self.limits,
            retry_codes: self.retry_codes.clone(),
            headers: HeaderMap::new(),
            auth: None,
        };
        let with_headers = || Service { headers: self.headers.clone(), ..service.clone() };
        let store = match &self.kind {
            Kind::Http { url, auth } => HttpBuilder::new()
                .with_url(url.as_str())
                .with_http_connector(connector(Service { auth: auth.clone(), ..with_headers() }))
                .with_retry(self.retry.clone())
                .build()
                .map(Built::Http),
            // The user's headers go through object_store here, since those that AWS knows must be signed.
            Kind::S3 { bucket, options } | Kind::Gs { bucket, options } => {
                s3::builder(bucket, options, region, self.headers.clone())?
                    .with_http_connector(connector(service))
                    .with_retry(self.retry.clone())
                    .build()
                    .map(Built::S3)
            }
            Kind::Azure { container, options } => azure::builder(container, options)
                .with_http_connector(connector(with_headers()))
                .with_retry(self.retry.clone())
                .build()
                .map(Built::Azure),
        };
        // object_store's text may name the URL with its query.
        store.map_err(|_| Error::read(format!("cannot prepare requests from the options: check {}", self.advice())))
    }
}

fn connector(service: Service) -> Connector {
    Connector(HttpClient::new(service))
}

/// The path of an object, as object_store has it. `shown` is how messages name it.
fn object_path(key: &str, shown: &str) -> Result<Path> {
    Path::parse(key).ok().filter(|path| path.as_ref() == key && !key.is_empty()).ok_or_else(|| Error::Path {
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
    use crate::path::parse;
    use crate::source::Caller;

    /// How a caller with these options reaches `path`.
    pub(super) fn access(path: &str, options: &[(&str, &str)]) -> Access {
        let get = |_: &str, name: &str| options.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        Caller::new(&get).access(&parse(path).unwrap().location).unwrap()
    }
}
