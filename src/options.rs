//! GDAL's configuration options, as far as they mean something here, resolved once at the first open of a path.
//!
//! JP2OpenJPEG reads on threads that do not have the opener's thread-local options, so nothing asks for an option
//! later than that.

mod clouds;
mod proxy;

use std::time::Duration;

pub(crate) use clouds::{AzureAccess, AzureOptions, GsAccess, GsOptions, S3Options};
pub(crate) use proxy::Proxies;

use crate::error::{Error, Result};
use crate::path::{Store, parse_headers, without_secrets};
use crate::secret::Secret;

/// What to do with a file that no index row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OnMiss {
    /// Walk the file once and remember what was found.
    Scan,
    /// Serve the bytes as they are.
    Pass,
    /// Refuse to open it.
    Fail,
}

/// When an index row is held against the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verify {
    /// At the first response where the row was made from this very location, at open otherwise.
    Auto,
    /// At open, always: one HEAD.
    Open,
    /// At the first response, always.
    Read,
}

/// What a read that failed for good does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OnReadError {
    /// Fails, loudly.
    Fail,
    /// Ends the process.
    Abort,
}

/// Who makes the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// The native client where the options alone suffice, GDAL's handlers otherwise.
    Auto,
    /// The native client only.
    Native,
    /// GDAL's handlers only.
    Gdal,
}

/// The options of one open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    /// VSITLM_INDEX: files, folders, prefixes or templates, asked in order.
    pub(crate) index: Vec<String>,
    /// VSITLM_STORE: where the files of products lie that are opened by name.
    pub(crate) store: Option<Store>,
    /// VSITLM_ON_MISS.
    pub(crate) on_miss: OnMiss,
    /// VSITLM_VERIFY.
    pub(crate) verify: Verify,
    /// VSITLM_ON_READ_ERROR.
    pub(crate) on_read_error: OnReadError,
    /// VSITLM_TRANSPORT.
    pub(crate) transport: Transport,
    /// VSITLM_SOT_PROBE: whether reads at a SOT may be answered from the index alone.
    pub(crate) sot_probe: bool,
    /// VSITLM_SIDECARS: whether side-cars of remote files are looked for.
    pub(crate) sidecars: bool,
    /// VSITLM_OVERVIEWS: whether JP2s have a list of reduced views beside them.
    pub(crate) overviews: OverviewList,
    /// VSITLM_OVERVIEW_PREFETCH: a reduced view that needs no more bytes is fetched whole by its first read.
    pub(crate) overview_prefetch: u64,
    /// VSITLM_MERGE_GAP in bytes; `None` is AUTO.
    pub(crate) merge_gap: Option<u64>,
    /// VSITLM_CACHE_SIZE in bytes, for the whole process.
    pub(crate) cache_size: u64,
    /// What one host is asked at most.
    pub(crate) limits: Limits,
    /// VSITLM_CACHE_DIR: where learned records are kept; `None` keeps them in memory only (the value `NO`).
    pub(crate) learned: Option<std::path::PathBuf>,
    /// What HTTP requests are made with.
    pub(crate) http: HttpOptions,
    /// How S3 is reached.
    pub(crate) s3: S3Options,
    /// How Google Cloud Storage is reached.
    pub(crate) gs: GsOptions,
    /// How Azure is reached.
    pub(crate) azure: AzureOptions,
}

/// What the user allows to ask of one host; `None` leaves it to what is known of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// VSITLM_MAX_CONNECTIONS: requests at the same time.
    pub(crate) connections: Option<usize>,
    /// VSITLM_MAX_REQUESTS_PER_MINUTE.
    pub(crate) per_minute: Option<usize>,
}

/// Which overviews are listed beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OverviewList {
    /// Those that GDAL lists for the plain file: the default.
    OfGdal,
    /// VSITLM_OVERVIEWS=ALL: every one that the file has packets of.
    All,
    /// VSITLM_OVERVIEWS=NO: none, so that GDAL makes its own.
    None,
}

impl OverviewList {
    fn parse(value: Option<&str>) -> Self {
        match value {
            Some(value) if value.trim().eq_ignore_ascii_case("ALL") => Self::All,
            Some(value) if !is_yes(value) => Self::None,
            _ => Self::OfGdal,
        }
    }
}

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
    pub(crate) netrc: Option<std::path::PathBuf>,
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

impl Options {
    /// Asks `get` for every option.
    ///
    /// # Errors
    /// [`Error::Option`] for a value that an option of this program cannot have. GDAL's own options are read as
    /// GDAL reads them: what is not understood is the default.
    pub(crate) fn resolve(get: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let text = |name: &str| get(name).filter(|value| !value.is_empty());
        let flag = |name: &str, default: bool| text(name).map_or(default, |value| is_yes(&value));
        let auth = |way: &str| text("GDAL_HTTP_AUTH").is_some_and(|chosen| chosen.eq_ignore_ascii_case(way));
        let seconds = |name: &str| {
            let value = text(name).and_then(|value| value.trim().parse::<f64>().ok());
            value.filter(|value| *value > 0.0 && *value < 86_400.0).map(Duration::from_secs_f64)
        };
        let number = |name: &'static str, most: usize, expected: &'static str| match text(name) {
            None => Ok(None),
            Some(value) => match value.trim().parse().ok().filter(|number| (1..=most).contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(Error::Option { name, value, expected }),
            },
        };
        let index = text("VSITLM_INDEX").map_or_else(Vec::new, |list| {
            list.split(';').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
        });
        let store = text("VSITLM_STORE").map(|value| match Store::parse(&value) {
            Some(store) => Ok(store),
            None => {
                let value = without_secrets(&value);
                Err(Error::Option { name: "VSITLM_STORE", value, expected: Store::EXPECTED })
            }
        });
        let learned = match text("VSITLM_CACHE_DIR") {
            Some(value) if value.eq_ignore_ascii_case("NO") => None,
            Some(folder) => Some(folder.into()),
            None => user_cache_folder(get),
        };
        let merge_gap = match text("VSITLM_MERGE_GAP") {
            None => None,
            Some(value) if value.eq_ignore_ascii_case("AUTO") => None,
            Some(value) => Some(bytes("VSITLM_MERGE_GAP", &value)?),
        };
        Ok(Self {
            index,
            store: store.transpose()?,
            on_miss: choice(
                &text,
                "VSITLM_ON_MISS",
                "scan, pass or fail",
                &[("scan", OnMiss::Scan), ("pass", OnMiss::Pass), ("fail", OnMiss::Fail)],
            )?,
            verify: choice(
                &text,
                "VSITLM_VERIFY",
                "AUTO, OPEN or READ",
                &[("AUTO", Verify::Auto), ("OPEN", Verify::Open), ("READ", Verify::Read)],
            )?,
            on_read_error: choice(
                &text,
                "VSITLM_ON_READ_ERROR",
                "FAIL or ABORT",
                &[("FAIL", OnReadError::Fail), ("ABORT", OnReadError::Abort)],
            )?,
            transport: choice(
                &text,
                "VSITLM_TRANSPORT",
                "AUTO, NATIVE or GDAL",
                &[("AUTO", Transport::Auto), ("NATIVE", Transport::Native), ("GDAL", Transport::Gdal)],
            )?,
            sot_probe: flag("VSITLM_SOT_PROBE", true),
            sidecars: flag("VSITLM_SIDECARS", false),
            overviews: OverviewList::parse(text("VSITLM_OVERVIEWS").as_deref()),
            overview_prefetch: text("VSITLM_OVERVIEW_PREFETCH")
                .map_or(Ok(DEFAULT_PREFETCH), |value| bytes("VSITLM_OVERVIEW_PREFETCH", &value))?,
            merge_gap,
            cache_size: text("VSITLM_CACHE_SIZE")
                .map_or(Ok(DEFAULT_CACHE_SIZE), |value| bytes("VSITLM_CACHE_SIZE", &value))?,
            limits: Limits {
                connections: number("VSITLM_MAX_CONNECTIONS", 1024, "a number from 1 to 1024")?,
                per_minute: number("VSITLM_MAX_REQUESTS_PER_MINUTE", 100_000, "a number from 1 to 100000")?,
            },
            learned,
            http: HttpOptions {
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
                unsafe_ssl: flag("GDAL_HTTP_UNSAFESSL", false),
                http2: flag("GDAL_HTTP_MULTIPLEX", true)
                    && !text("GDAL_HTTP_VERSION").is_some_and(|version| ["1.0", "1.1"].contains(&version.trim())),
                user_agent: text("GDAL_HTTP_USERAGENT"),
                ca_bundle: ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "GDAL_CURL_CA_BUNDLE"]
                    .iter()
                    .find_map(|name| text(name)),
                needs_gdal: needs_gdal(get),
            },
            s3: S3Options::resolve(get),
            gs: GsOptions::resolve(get),
            azure: AzureOptions::resolve(get),
        })
    }
}

const DEFAULT_CACHE_SIZE: u64 = 256 << 20;

/// A 10 m band's overviews of 1/8 and 1/16; that of 1/4 is 7 MB, of which a window of one tile needs one request.
const DEFAULT_PREFETCH: u64 = 4 << 20;

/// GDAL's CPLTestBool: everything is yes but NO, FALSE, OFF and 0.
fn is_yes(value: &str) -> bool {
    !["NO", "FALSE", "OFF", "0"].contains(&value.to_ascii_uppercase().as_str())
}

/// The learned store's default place, by the XDG base directory specification.
fn user_cache_folder(get: &dyn Fn(&str) -> Option<String>) -> Option<std::path::PathBuf> {
    let absolute = |name: &str| get(name).map(std::path::PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("vsitlm"))
}

fn choice<T: Copy>(
    text: &dyn Fn(&str) -> Option<String>,
    name: &'static str,
    expected: &'static str,
    values: &[(&str, T)],
) -> Result<T> {
    let Some(value) = text(name) else {
        return values.first().map(|(_, first)| *first).ok_or(Error::Option { name, value: String::new(), expected });
    };
    values
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value.trim()))
        .map(|(_, chosen)| *chosen)
        .ok_or(Error::Option { name, value, expected })
}

/// A number of bytes: plain, or with the suffix KB, MB or GB (powers of 1024, as GDAL's GDAL_CACHEMAX has them).
fn bytes(name: &'static str, value: &str) -> Result<u64> {
    let upper = value.trim().to_ascii_uppercase();
    let (digits, shift) = [("KB", 10), ("MB", 20), ("GB", 30)]
        .iter()
        .find_map(|(suffix, shift)| upper.strip_suffix(suffix).map(|digits| (digits.trim(), *shift)))
        .unwrap_or((upper.as_str(), 0));
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|number| *number <= 1 << 40)
        .ok_or_else(|| Error::Option {
            name,
            value: value.to_owned(),
            expected: "a number of bytes, such as 1048576, 64MB or 1GB",
        })
}

/// The file that curl takes for .netrc: GDAL_HTTP_NETRC_FILE, else the one in the user's home.
fn netrc(get: &dyn Fn(&str) -> Option<String>) -> Option<std::path::PathBuf> {
    if get("GDAL_HTTP_NETRC").is_some_and(|value| !is_yes(&value)) {
        return None;
    }
    let file = get("GDAL_HTTP_NETRC_FILE").filter(|file| !file.is_empty()).map(std::path::PathBuf::from);
    file.or_else(|| Some(std::path::Path::new(&get("HOME").filter(|home| !home.is_empty())?).join(".netrc")))
}

/// Whether an option asks for what the native client does not do.
fn needs_gdal(get: &dyn Fn(&str) -> Option<String>) -> bool {
    let text = |name: &str| get(name).filter(|value| !value.is_empty());
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
        text(name).is_some_and(|value| !known.iter().any(|known| known.eq_ignore_ascii_case(value.trim())))
    };
    set.iter().any(|name| text(name).is_some())
        || text("GDAL_HTTP_SSL_VERIFYSTATUS").is_some_and(|value| is_yes(&value))
        || unlike("GDAL_HTTP_AUTH", &["BASIC", "BEARER"])
        || unlike("GDAL_PROXY_AUTH", &["BASIC"])
        || Proxies::resolve(get).needs_gdal()
}
