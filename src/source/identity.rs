//! Whose a thing is: bytes, sizes, headers, rows and failures that were obtained with some credentials are given to callers
//! with the same ones alone.
//!
//! Credentials are compared in full, once, when they get their number: no hash stands for them in this process.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sha3::{Digest, Sha3_256};

use crate::lru::Lru;
use crate::options::{AzureOptions, GsOptions, HttpOptions, Options, Proxies, S3Options};
use crate::path::{Location, url_secrets};
use crate::process::{PerProcess, lock};
use crate::secret::Secret;

/// What a location is asked with. Timeouts and the like are not part of it.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Credentials {
    /// GDAL_HTTP_HEADERS, which go to every host.
    headers: Vec<(String, Secret)>,
    /// A proxy may have a user and a password, and lead to hosts that others cannot reach.
    proxies: Proxies,
    /// GDAL_HTTP_UNSAFESSL: what came over such a connection is not for those who want a certificate.
    unsafe_ssl: bool,
    /// Those of the kind of location.
    store: Store,
    /// Options of GDAL's own handlers, where these read.
    gdal: Vec<(&'static str, Secret)>,
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
enum Store {
    #[default]
    None,
    /// GDAL_HTTP_USERPWD, GDAL_HTTP_BEARER, and what the URL itself carries: a user, a signature.
    Http(Option<Secret>, Option<Secret>, Option<Secret>),
    S3(S3Options),
    Gs(GsOptions),
    Azure(AzureOptions),
    /// A product's file may lie in any of them.
    Any(Box<(Store, S3Options, GsOptions, AzureOptions)>),
}

/// The credentials that a location is asked with. Two are equal where all credentials are.
#[derive(Clone)]
pub(crate) struct Identity {
    number: u64,
    credentials: Arc<Credentials>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.number)
    }
}

/// A location as a caller reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The options that hold for it, its own included.
    pub(crate) options: Arc<Options>,
    /// What it is asked with.
    pub(crate) identity: Identity,
}

/// What one identity weighs, roughly, and what all that are remembered may. One that was forgotten gets another number
/// when it comes back, which costs it what is cached.
const WEIGHT: u64 = 1 << 10;
const REMEMBERED: u64 = 4 << 20;

/// The numbers that credentials have.
struct Numbers(Mutex<Lru<Arc<Credentials>, Identity>>);

impl Default for Numbers {
    fn default() -> Self {
        Self(Mutex::new(Lru::new(REMEMBERED)))
    }
}

static NUMBERS: PerProcess<Numbers> = PerProcess::new();

/// The next number. It is not per process: what a child has inherited keeps its number, and the child gives it to nothing
/// else. 0 is that of no credentials.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Identity {
    /// That of files which every caller of this process reads alike.
    pub(crate) fn none() -> Self {
        Self::of_credentials(Credentials::default())
    }

    /// That of a caller with these options, who reads `location` by the native transport.
    pub(crate) fn native(location: &Location, options: &Options) -> Self {
        Self::of(location, options, Vec::new())
    }

    /// The same where GDAL's own handlers read; `get` gives an option as it holds for the location.
    pub(crate) fn by_gdal(location: &Location, options: &Options, get: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &'static str| Some((name, Secret::new(get(name).filter(|value| !value.is_empty())?)));
        Self::of(location, options, GDAL_OPTIONS.into_iter().filter_map(set).collect())
    }

    fn of(location: &Location, options: &Options, gdal: Vec<(&'static str, Secret)>) -> Self {
        let HttpOptions { headers, userpwd, bearer, proxies, unsafe_ssl, .. } = &options.http;
        let http = |url: Option<&str>| Store::Http(userpwd.clone(), bearer.clone(), url.and_then(url_secrets));
        let store = match location {
            Location::Local(_) => return Self::none(),
            Location::Http { url } | Location::Curl { url, .. } => http(Some(url)),
            Location::S3 { .. } => Store::S3(options.s3.clone()),
            Location::Gs { .. } => Store::Gs(options.gs.clone()),
            Location::Azure { .. } => Store::Azure(options.azure.clone()),
            Location::Product { .. } | Location::Host(_) => {
                Store::Any(Box::new((http(None), options.s3.clone(), options.gs.clone(), options.azure.clone())))
            }
        };
        let (headers, proxies) = (headers.clone(), proxies.clone());
        Self::of_credentials(Credentials { headers, proxies, unsafe_ssl: *unsafe_ssl, store, gdal })
    }

    fn of_credentials(credentials: Credentials) -> Self {
        if credentials == Credentials::default() {
            return Self { number: 0, credentials: Arc::new(credentials) };
        }
        let mut numbers = lock(&NUMBERS.get().0);
        if let Some(known) = numbers.get(&credentials) {
            return known.clone();
        }
        let new = Self { number: NEXT.fetch_add(1, Ordering::Relaxed), credentials: Arc::new(credentials) };
        let gone = numbers.put(new.credentials.clone(), new.clone(), WEIGHT);
        drop(numbers);
        drop(gone);
        new
    }

    /// Its number in this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A name for what was obtained from `origin` with it, the same in every process that has `salt`.
    pub(crate) fn digest(&self, salt: &[u8], origin: &str) -> [u8; 32] {
        struct Collect(Sha3_256);
        impl Hasher for Collect {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
            fn finish(&self) -> u64 {
                0
            }
        }
        let mut all = Collect(Sha3_256::new());
        all.0.update((salt.len() as u64).to_le_bytes());
        all.0.update(salt);
        (origin, &self.credentials).hash(&mut all);
        all.0.finalize().into()
    }
}

/// Options by which GDAL's own handlers find credentials, and those that say where.
const GDAL_OPTIONS: [&str; 46] = [
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "CPL_AWS_CREDENTIALS_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_CONFIG_DIR",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_IMDS_CLIENT_ID",
    "AZURE_IMDS_MSI_RES_ID",
    "AZURE_IMDS_OBJECT_ID",
    "AZURE_TENANT_ID",
    "CPL_GCS_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GS_OAUTH2_CLIENT_EMAIL",
    "GS_OAUTH2_CLIENT_ID",
    "GS_OAUTH2_CLIENT_SECRET",
    "GS_OAUTH2_PRIVATE_KEY",
    "GS_OAUTH2_PRIVATE_KEY_FILE",
    "GS_OAUTH2_REFRESH_TOKEN",
    "OSS_ACCESS_KEY_ID",
    "OSS_ENDPOINT",
    "OSS_SECRET_ACCESS_KEY",
    "SWIFT_AUTH_TOKEN",
    "SWIFT_AUTH_V1_URL",
    "SWIFT_KEY",
    "SWIFT_STORAGE_URL",
    "SWIFT_USER",
    "WEBHDFS_DELEGATION",
    "WEBHDFS_USERNAME",
    "GDAL_GSSAPI_DELEGATION",
    "GDAL_HTTP_AUTH",
    "GDAL_HTTP_COOKIE",
    "GDAL_HTTP_COOKIEFILE",
    "GDAL_HTTP_COOKIEJAR",
    "GDAL_HTTP_HEADER_FILE",
    "GDAL_HTTP_NETRC_FILE",
    "GDAL_HTTP_SSLCERT",
    "GDAL_PROXY_AUTH",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::parse;

    fn identity(path: &str, set: &[(&str, &str)]) -> Identity {
        let get = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let location = parse(path).unwrap().location;
        Identity::by_gdal(&location, &Options::resolve(&get).unwrap(), &get)
    }

    #[test]
    fn what_a_location_is_asked_with_makes_the_identity() {
        for (path, options) in [
            (
                "https://h/x.jp2",
                &[("GDAL_HTTP_USERPWD", "u:p"), ("GDAL_HTTP_BEARER", "t"), ("GDAL_HTTP_HEADERS", "A: 1")][..],
            ),
            ("s3://b/x.jp2", &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_PROFILE", "p"), ("AWS_SESSION_TOKEN", "t")]),
            ("gs://b/x.jp2", &[("GS_NO_SIGN_REQUEST", "YES"), ("GS_OAUTH2_REFRESH_TOKEN", "r")]),
            ("az://c/x.jp2", &[("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_CLIENT_ID", "i")]),
            ("/vsizip/vsicurl/https://h/a.zip/x.jp2", &[("GDAL_HTTP_USERPWD", "u:p"), ("AWS_ACCESS_KEY_ID", "a")]),
        ] {
            let mut seen = vec![identity(path, &[])];
            for (name, value) in options {
                for value in [(*value).to_owned(), format!("{value}2")] {
                    let own = identity(path, &[(name, &value)]);
                    assert!(!seen.contains(&own) || *name == "GS_NO_SIGN_REQUEST", "{path} {name}={value}");
                    assert_eq!(own, identity(path, &[(name, &value), ("GDAL_HTTP_MAX_RETRY", "9")]));
                    seen.push(own);
                }
            }
        }
        assert_eq!(identity("/data/x.jp2", &[("GDAL_HTTP_USERPWD", "u:p")]), Identity::none());
        assert_eq!(identity("s3://b/x.jp2", &[("GDAL_HTTP_USERPWD", "u:p")]), identity("s3://b/y.jp2", &[]));
    }

    #[test]
    fn what_a_url_carries_is_part_of_it() {
        let urls = ["https://h/a", "https://u:p@h/a", "https://u:q@h/a", "https://h/a?sig=1", "https://h/a?sig=2"];
        let all: Vec<_> = urls.iter().map(|url| identity(url, &[])).collect();
        assert!((1..all.len()).all(|number| !all[..number].contains(&all[number])), "{all:?}");
        assert_eq!(identity("https://h/a?scene=1", &[]), all[0], "a query that names the file is no secret");
    }

    #[test]
    fn names_on_a_disk_differ_by_salt_origin_and_credentials() {
        let (one, other) = (identity("https://h/x", &[("GDAL_HTTP_USERPWD", "u:p")]), identity("https://h/x", &[]));
        let digests =
            [one.digest(b"salt", "o"), one.digest(b"tlas", "o"), one.digest(b"salt", "p"), other.digest(b"salt", "o")];
        assert!((1..4).all(|number| !digests[..number].contains(&digests[number])));
        assert_eq!(one.digest(b"salt", "o"), digests[0]);
    }
}
