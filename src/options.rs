//! GDAL's configuration options, as far as they mean something here, resolved once at the first open of a path.
//!
//! JP2OpenJPEG reads on threads that do not have the opener's thread-local options, so nothing asks for an option
//! later than that.

mod clouds;
mod http;
mod proxy;
mod value;

pub(crate) use clouds::{AzureAccess, AzureOptions, GsAccess, GsOptions, S3Options};
pub(crate) use http::{HttpOptions, RetryCodes};
pub(crate) use proxy::Proxies;

use crate::error::{Error, Result};
use crate::path::{Form, Store, without_secrets};
use value::{bytes, choice, flag, number, text};

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

/// When an index row is checked against the file.
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
    /// VSITLM_SERVE.
    pub(crate) serve: Form,
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
    /// VSITLM_THREADS: how many threads decode at the same time, at most.
    pub(crate) threads: usize,
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

impl Options {
    /// Asks `get` for every option.
    ///
    /// # Errors
    /// [`Error::Option`] for a value that an option of this program cannot have. GDAL's own options are read as
    /// GDAL reads them: what is not understood is the default.
    pub(crate) fn resolve(get: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let text = |name: &str| text(get, name);
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
            Some(_) => bytes(get, "VSITLM_MERGE_GAP")?,
        };
        Ok(Self {
            index,
            store: store.transpose()?,
            on_miss: choice(
                get,
                "VSITLM_ON_MISS",
                "scan, pass or fail",
                &[("scan", OnMiss::Scan), ("pass", OnMiss::Pass), ("fail", OnMiss::Fail)],
            )?,
            verify: choice(
                get,
                "VSITLM_VERIFY",
                "AUTO, OPEN or READ",
                &[("AUTO", Verify::Auto), ("OPEN", Verify::Open), ("READ", Verify::Read)],
            )?,
            on_read_error: choice(
                get,
                "VSITLM_ON_READ_ERROR",
                "FAIL or ABORT",
                &[("FAIL", OnReadError::Fail), ("ABORT", OnReadError::Abort)],
            )?,
            serve: choice(get, "VSITLM_SERVE", "JP2 or TIFF", &[("JP2", Form::Jp2), ("TIFF", Form::Tiff)])?,
            transport: choice(
                get,
                "VSITLM_TRANSPORT",
                "AUTO, NATIVE or GDAL",
                &[("AUTO", Transport::Auto), ("NATIVE", Transport::Native), ("GDAL", Transport::Gdal)],
            )?,
            sot_probe: flag(get, "VSITLM_SOT_PROBE", true),
            sidecars: flag(get, "VSITLM_SIDECARS", false),
            overviews: match text("VSITLM_OVERVIEWS") {
                Some(value) if value.trim().eq_ignore_ascii_case("ALL") => OverviewList::All,
                _ if flag(get, "VSITLM_OVERVIEWS", true) => OverviewList::OfGdal,
                _ => OverviewList::None,
            },
            overview_prefetch: bytes(get, "VSITLM_OVERVIEW_PREFETCH")?.unwrap_or(DEFAULT_PREFETCH),
            merge_gap,
            cache_size: bytes(get, "VSITLM_CACHE_SIZE")?.unwrap_or(DEFAULT_CACHE_SIZE),
            threads: threads(get)?,
            limits: Limits {
                connections: number(get, "VSITLM_MAX_CONNECTIONS", 1024, "a number from 1 to 1024")?,
                per_minute: number(get, "VSITLM_MAX_REQUESTS_PER_MINUTE", 100_000, "a number from 1 to 100000")?,
            },
            learned,
            http: HttpOptions::resolve(get),
            s3: S3Options::resolve(get),
            gs: GsOptions::resolve(get),
            azure: AzureOptions::resolve(get),
        })
    }
}

/// VSITLM_THREADS, else GDAL_NUM_THREADS, else as many as the process may use cores.
pub(crate) fn threads(get: &dyn Fn(&str) -> Option<String>) -> Result<usize> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let expected = "a number from 1 to 1024, or ALL_CPUS";
    Ok(match text(get, "VSITLM_THREADS") {
        Some(value) if value.eq_ignore_ascii_case("ALL_CPUS") => cores(),
        Some(_) => number(get, "VSITLM_THREADS", 1024, expected)?.unwrap_or_else(cores),
        None => {
            let of_gdal = text(get, "GDAL_NUM_THREADS").and_then(|value| value.parse().ok());
            of_gdal.filter(|count| (1..=1024).contains(count)).unwrap_or_else(cores)
        }
    })
}

const DEFAULT_CACHE_SIZE: u64 = 256 << 20;

/// A 10 m band's overviews of 1/8 and 1/16; that of 1/4 is 7 MB, of which a window of one tile needs one request.
const DEFAULT_PREFETCH: u64 = 4 << 20;

/// The learned store's default place, by the XDG base directory specification.
fn user_cache_folder(get: &dyn Fn(&str) -> Option<String>) -> Option<std::path::PathBuf> {
    let absolute = |name: &str| get(name).map(std::path::PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("vsitlm"))
}
