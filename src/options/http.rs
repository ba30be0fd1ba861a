//! GDAL's options for HTTP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::options::proxy::Proxies;
use crate::options::value::{Get, flag, text};
use crate::path::parse_headers;
use crate::secret::Secret;

/// After which HTTP statuses another try is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RetryCodes {
    /// Those that pass: 408, 429 and the 5xx, but for what a server will never do.
    Passing,
    /// GDAL_HTTP_RETRY_CODES=ALL: any.
    All,
    /// Those that GDAL_HTTP_RETRY_CODES lists.
    These(Vec<u16>),
}

impl RetryCodes {
    /// As GDAL reads its option: `ALL`, or a list with commas.
    fn parse(value: Option<&str>) -> Self {
        match value.map(str::trim) {
            None => Self::Passing,
            Some(all) if all.eq_ignore_ascii_case("ALL") => Self::All,
            Some(list) => Self::These(list.split(',').filter_map(|code| code.trim().parse().ok()).collect()),
        }
    }

    /// Whether another try is made after this status.
    pub(crate) fn contain(&self, status: u16) -> bool {
        match self {
            // 501 Not Implemented, 505 HTTP Version Not Supported
            Self::Passing => matches!(status, 408 | 429 | 500 | 502..=504 | 506..),
            Self::All => status >= 400,
            Self::These(codes) => codes.contains(&status),
        }
    }
}

/// GDAL's options for HTTP, with GDAL's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HttpOptions {
    /// GDAL_HTTP_HEADERS, one `Name: value` each.
    pub(crate) headers: Vec<(String, Secret)>,
    /// GDAL_HTTP_MAX_RETRY: tries after the first one.
    pub(crate) max_retry: usize,
    /// GDAL_HTTP_RETRY_DELAY before the first retry.
    pub(crate) retry_delay: Duration,
    /// GDAL_HTTP_RETRY_CODES.
    pub(crate) retry_codes: RetryCodes,
    /// GDAL_HTTP_TIMEOUT of one request, its body included; none, as with GDAL, where it is not set.
    pub(crate) timeout: Option<Duration>,
    /// GDAL_HTTP_LOW_SPEED_TIME: how long a response may stall.
    pub(crate) stall_timeout: Duration,
    /// GDAL_HTTP_CONNECTTIMEOUT.
    pub(crate) connect_timeout: Duration,
    /// GDAL_HTTP_USERPWD, `user:password`, for basic authentication.
    pub(crate) userpwd: Option<Secret>,
    /// GDAL_HTTP_BEARER.
    pub(crate) bearer: Option<Secret>,
    /// GDAL_HTTP_PROXY and its kin.
    pub(crate) proxies: Proxies,
    /// The netrc file whose hosts GDAL sends a user and password to; `None` where GDAL_HTTP_NETRC=NO.
    pub(crate) netrc: Option<PathBuf>,
    /// GDAL_HTTP_UNSAFESSL.
    pub(crate) unsafe_ssl: bool,
    /// Whether HTTP/2 is spoken to servers that do: unless GDAL_HTTP_VERSION is 1.0 or 1.1, or GDAL_HTTP_MULTIPLEX=NO
    /// has each request use a connection of its own.
    pub(crate) http2: bool,
    /// GDAL_HTTP_USERAGENT.
    pub(crate) user_agent: Option<String>,
    /// CURL_CA_BUNDLE, else SSL_CERT_FILE, else GDAL_CURL_CA_BUNDLE (which rasterio's wheels set by themselves, and so it
    /// goes last here): a PEM file of certificates that are trusted besides the system's.
    pub(crate) ca_bundle: Option<String>,
    /// Whether an option asks for something that only GDAL's client does (GDAL_HTTP_COOKIEFILE, GDAL_HTTP_AUTH=NTLM …).
    pub(crate) needs_gdal: bool,
}

impl HttpOptions {
    pub(super) fn resolve(get: Get) -> Self {
        let text = |name: &str| text(get, name);
        let auth = |way: &str| text("GDAL_HTTP_AUTH").is_some_and(|chosen| chosen.eq_ignore_ascii_case(way));
        let seconds = |name: &str| {
            let value = text(name).and_then(|value| value.trim().parse::<f64>().ok());
            value.filter(|value| *value > 0.0 && *value < 86_400.0).map(Duration::from_secs_f64)
        };
        Self {
            headers: text("GDAL_HTTP_HEADERS").map_or_else(Vec::new, |list| parse_headers(&list)),
            max_retry: text("GDAL_HTTP_MAX_RETRY").and_then(|v| v.parse().ok()).unwrap_or(3).min(100),
            retry_delay: seconds("GDAL_HTTP_RETRY_DELAY").unwrap_or(Duration::from_millis(500)),
            retry_codes: RetryCodes::parse(text("GDAL_HTTP_RETRY_CODES").as_deref()),
            timeout: seconds("GDAL_HTTP_TIMEOUT"),
            stall_timeout: seconds("GDAL_HTTP_LOW_SPEED_TIME").unwrap_or(Duration::from_secs(30)),
            connect_timeout: seconds("GDAL_HTTP_CONNECTTIMEOUT").unwrap_or(Duration::from_secs(10)),
            userpwd: text("GDAL_HTTP_USERPWD").filter(|_| !auth("BEARER")).map(Secret::new),
            bearer: text("GDAL_HTTP_BEARER").filter(|_| !auth("BASIC")).map(Secret::new),
            proxies: Proxies::resolve(get),
            netrc: netrc(get),
            unsafe_ssl: flag(get, "GDAL_HTTP_UNSAFESSL", false),
            http2: flag(get, "GDAL_HTTP_MULTIPLEX", true)
                && !text("GDAL_HTTP_VERSION").is_some_and(|version| ["1.0", "1.1"].contains(&version.trim())),
            user_agent: text("GDAL_HTTP_USERAGENT"),
            ca_bundle: ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "GDAL_CURL_CA_BUNDLE"].iter().find_map(|name| text(name)),
            needs_gdal: needs_gdal(get),
        }
    }
}

/// The file that curl takes for .netrc: GDAL_HTTP_NETRC_FILE, else the one in the user's home.
fn netrc(get: Get) -> Option<PathBuf> {
    if !flag(get, "GDAL_HTTP_NETRC", true) {
        return None;
    }
    let file = text(get, "GDAL_HTTP_NETRC_FILE").map(PathBuf::from);
    file.or_else(|| Some(Path::new(&text(get, "HOME")?).join(".netrc")))
}

/// Whether an option asks for what the native client does not do.
fn needs_gdal(get: Get) -> bool {
    let set = [
        "GDAL_HTTP_HEADER_FILE",
        "GDAL_HTTP_COOKIE",
        "GDAL_HTTP_COOKIEFILE",
        "GDAL_HTTP_COOKIEJAR",
        "GDAL_HTTP_SSLCERT",
        "GDAL_HTTP_CAPATH",
        "GDAL_GSSAPI_DELEGATION",
    ];
    let unlike = |name: &str, known: &[&str]| {
        text(get, name).is_some_and(|value| !known.iter().any(|known| known.eq_ignore_ascii_case(value.trim())))
    };
    set.iter().any(|name| text(get, name).is_some())
        || flag(get, "GDAL_HTTP_SSL_VERIFYSTATUS", false)
        || unlike("GDAL_HTTP_AUTH", &["BASIC", "BEARER"])
        || unlike("GDAL_PROXY_AUTH", &["BASIC"])
        || Proxies::resolve(get).needs_gdal()
}
