//! GDAL's configuration options, as far as they mean something here, resolved once at the first open of a path.
//!
//! JP2OpenJPEG reads on threads that do not have the opener's thread-local options, so nothing asks for an option
//! later than that.

use std::time::Duration;

use crate::error::{Error, Result};

/// A value that must not be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Secret(String);

impl Secret {
    /// The value, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

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
    pub(crate) overviews: bool,
    /// VSITLM_OVERVIEW_PREFETCH: a reduced view that needs no more bytes is fetched whole by its first read.
    pub(crate) overview_prefetch: u64,
    /// VSITLM_MERGE_GAP in bytes; `None` is AUTO.
    pub(crate) merge_gap: Option<u64>,
    /// VSITLM_CACHE_SIZE in bytes, for the whole process.
    pub(crate) cache_size: u64,
    /// VSITLM_MAX_CONNECTIONS to one host at the same time.
    pub(crate) max_connections: usize,
    /// VSITLM_CACHE_DIR: where learned records are kept; `None` keeps them in memory only (the value `NO`).
    pub(crate) learned: Option<std::path::PathBuf>,
    /// What HTTP requests are made with.
    pub(crate) http: HttpOptions,
    /// How S3 is reached.
    pub(crate) s3: S3Options,
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
    /// GDAL_HTTP_TIMEOUT of one request.
    pub(crate) timeout: Duration,
    /// GDAL_HTTP_CONNECTTIMEOUT.
    pub(crate) connect_timeout: Duration,
    /// GDAL_HTTP_USERPWD, `user:password`, for basic authentication.
    pub(crate) userpwd: Option<Secret>,
    /// GDAL_HTTP_BEARER.
    pub(crate) bearer: Option<Secret>,
    /// GDAL_HTTP_PROXY.
    pub(crate) proxy: Option<Secret>,
    /// GDAL_HTTP_UNSAFESSL.
    pub(crate) unsafe_ssl: bool,
    /// Whether HTTP/2 is spoken to servers that do: unless GDAL_HTTP_VERSION is 1.0 or 1.1, or GDAL_HTTP_MULTIPLEX=NO
    /// has each request use a connection of its own.
    pub(crate) http2: bool,
    /// GDAL_HTTP_USERAGENT.
    pub(crate) user_agent: Option<String>,
    /// CURL_CA_BUNDLE, else SSL_CERT_FILE: a PEM file of certificates that are trusted besides the system's.
    pub(crate) ca_bundle: Option<String>,
    /// Whether an option asks for something that only GDAL's client does (GDAL_HTTP_NETRC_FILE, GDAL_HTTP_AUTH=NTLM …).
    pub(crate) needs_gdal: bool,
}

/// GDAL's options for S3, with GDAL's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct S3Options {
    /// AWS_NO_SIGN_REQUEST.
    pub(crate) no_sign_request: bool,
    /// AWS_ACCESS_KEY_ID.
    pub(crate) access_key_id: Option<String>,
    /// AWS_SECRET_ACCESS_KEY.
    pub(crate) secret_access_key: Option<Secret>,
    /// AWS_SESSION_TOKEN.
    pub(crate) session_token: Option<Secret>,
    /// AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1.
    pub(crate) region: String,
    /// AWS_S3_ENDPOINT as a URL: AWS_HTTPS decides the scheme where it has none.
    pub(crate) endpoint: Option<String>,
    /// AWS_VIRTUAL_HOSTING.
    pub(crate) virtual_hosting: bool,
    /// AWS_REQUEST_PAYER=requester.
    pub(crate) request_payer: bool,
}

impl S3Options {
    /// Whether requests can be made from these options alone: static keys, or none wanted.
    pub(crate) fn is_static(&self) -> bool {
        self.no_sign_request || (self.access_key_id.is_some() && self.secret_access_key.is_some())
    }
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
        let seconds = |name: &str, default: f64| {
            let value =
                text(name).and_then(|value| value.trim().parse::<f64>().ok()).filter(|v| *v > 0.0 && *v < 86_400.0);
            Duration::from_secs_f64(value.unwrap_or(default))
        };
        let index = text("VSITLM_INDEX").map_or_else(Vec::new, |list| {
            list.split(';').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
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
            overviews: flag("VSITLM_OVERVIEWS", true),
            overview_prefetch: text("VSITLM_OVERVIEW_PREFETCH")
                .map_or(Ok(DEFAULT_PREFETCH), |value| bytes("VSITLM_OVERVIEW_PREFETCH", &value))?,
            merge_gap,
            cache_size: text("VSITLM_CACHE_SIZE")
                .map_or(Ok(DEFAULT_CACHE_SIZE), |value| bytes("VSITLM_CACHE_SIZE", &value))?,
            max_connections: match text("VSITLM_MAX_CONNECTIONS") {
                None => 32,
                Some(value) => value.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or(Error::Option {
                    name: "VSITLM_MAX_CONNECTIONS",
                    value,
                    expected: "a number from 1 to 1024",
                })?,
            },
            learned,
            http: HttpOptions {
                headers: text("GDAL_HTTP_HEADERS").map_or_else(Vec::new, |list| parse_headers(&list)),
                max_retry: text("GDAL_HTTP_MAX_RETRY").and_then(|v| v.parse().ok()).unwrap_or(3).min(100),
                retry_delay: seconds("GDAL_HTTP_RETRY_DELAY", 0.5),
                timeout: seconds("GDAL_HTTP_TIMEOUT", 60.0),
                connect_timeout: seconds("GDAL_HTTP_CONNECTTIMEOUT", 10.0),
                userpwd: text("GDAL_HTTP_USERPWD").map(Secret),
                bearer: text("GDAL_HTTP_BEARER").map(Secret),
                proxy: text("GDAL_HTTP_PROXY").map(Secret),
                unsafe_ssl: flag("GDAL_HTTP_UNSAFESSL", false),
                http2: flag("GDAL_HTTP_MULTIPLEX", true)
                    && !text("GDAL_HTTP_VERSION").is_some_and(|version| ["1.0", "1.1"].contains(&version.trim())),
                user_agent: text("GDAL_HTTP_USERAGENT"),
                ca_bundle: text("CURL_CA_BUNDLE").or_else(|| text("SSL_CERT_FILE")),
                needs_gdal: [
                    "GDAL_HTTP_NETRC_FILE",
                    "GDAL_HTTP_HEADER_FILE",
                    "GDAL_HTTP_COOKIE",
                    "GDAL_HTTP_COOKIEFILE",
                    "GDAL_HTTP_SSLCERT",
                    "GDAL_GSSAPI_DELEGATION",
                ]
                .iter()
                .any(|name| text(name).is_some())
                    || text("GDAL_HTTP_AUTH")
                        .is_some_and(|auth| !["BASIC", "BEARER"].contains(&auth.to_ascii_uppercase().as_str())),
            },
            s3: S3Options {
                no_sign_request: flag("AWS_NO_SIGN_REQUEST", false),
                access_key_id: text("AWS_ACCESS_KEY_ID"),
                secret_access_key: text("AWS_SECRET_ACCESS_KEY").map(Secret),
                session_token: text("AWS_SESSION_TOKEN").map(Secret),
                region: text("AWS_REGION")
                    .or_else(|| text("AWS_DEFAULT_REGION"))
                    .unwrap_or_else(|| "us-east-1".to_owned()),
                endpoint: text("AWS_S3_ENDPOINT").map(|endpoint| {
                    if endpoint.contains("://") {
                        endpoint
                    } else if flag("AWS_HTTPS", true) {
                        format!("https://{endpoint}")
                    } else {
                        format!("http://{endpoint}")
                    }
                }),
                virtual_hosting: flag("AWS_VIRTUAL_HOSTING", true),
                request_payer: text("AWS_REQUEST_PAYER").is_some_and(|payer| payer.eq_ignore_ascii_case("requester")),
            },
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

/// GDAL_HTTP_HEADERS: `Name: value` pairs, separated by newlines or, as GDAL has it, by commas.
fn parse_headers(list: &str) -> Vec<(String, Secret)> {
    let separator = if list.contains('\n') { '\n' } else { ',' };
    list.split(separator)
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), Secret(value.trim().to_owned())))
        .collect()
}
