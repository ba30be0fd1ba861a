//! Ranges of bytes from wherever a file lies. Nothing here knows what a JP2 is.
//!
//! ```text
//! fetch_units ─► cache ─► single-flight ─► merge ─► Source::read_each ─► turns ─► transport
//! ```
//!
//! | room | what |
//! |---|---|
//! | `local` | files of this machine |
//! | `cache` | units: fetched once and kept, merged into requests |
//! | `remote` | HTTP and the object stores |
//! | `host` | one host: who may ask it next, what requests to it cost, what was asked |
//! | `runtime` | what a process shares, and what fork() does to it |
//! | `testing` | what tests read from, and the contract that every source keeps |

mod cache;
mod host;
mod local;
mod remote;
mod runtime;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use cache::{Fetched, fetch_units, fetch_units_async, is_under_way, keep, merge_gap, peek, prefetch};
pub(crate) use host::{Host, Link};
pub(crate) use local::meta as local_meta;
pub(crate) use remote::{list, put, read_whole};
pub(crate) use runtime::{Blocking, host, spawn, statistics, statistics_json};
#[cfg(test)]
pub(crate) use testing::{memory, mock};

use crate::error::{Error, Result};
use crate::options::{AzureAccess, GsAccess, Options, Transport};
use crate::path::{Location, without_secrets};
use remote::netrc;
use remote::target::Target;
use runtime::engine;

/// A half-open range of bytes of a source file. The virtual file's offsets are another type
/// ([`crate::layout::VirtualOffset`]): mixing them is this program's typical bug.
pub(crate) type SourceRange = Range<SourceOffset>;

/// An offset in a source file, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceOffset(pub(crate) u64);

/// What is known of a source file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its ETag, quotes included, where the source has one.
    pub(crate) etag: Option<String>,
    /// When it was last modified, in seconds since 1970-01-01 UTC, where the source says so.
    pub(crate) last_modified: Option<i64>,
}

/// Whether two ETags are of the same bytes. Servers that compress on the way mark the same ETag as weak.
pub(crate) fn same_etag(one: &str, other: &str) -> bool {
    one.strip_prefix("W/").unwrap_or(one) == other.strip_prefix("W/").unwrap_or(other)
}

/// What takes the answers to several ranges, each with its range's number, in any order. A failure ends the others.
pub(crate) type Each = Box<dyn FnMut(usize, Bytes) -> Result<()> + Send>;

/// One file somewhere: on a disk, behind HTTP, in an object store, or behind one of GDAL's own file systems.
///
/// The trait is blocking: GDAL's callbacks are. Implementations retry, limit and time out by themselves; an error
/// that comes out is final. They are used by many threads at once.
pub(crate) trait Source: Send + Sync + 'static {
    /// The canonical location: scheme, host, bucket and key, without query string, user info or credentials.
    /// It is what messages name and what the index stores as `origin`.
    fn origin(&self) -> &str;

    /// What the cache is keyed by: two sources that have it in common are the same file. A remote one's
    /// tells callers with other credentials apart, and URLs whose query string names the file. Never shown.
    fn identity(&self) -> &str {
        self.origin()
    }

    /// Whether a read costs about as much as a read of a local file, so that caching it would waste memory.
    fn is_cheap(&self) -> bool;

    /// How many ranges are read at the same time, at most.
    fn lanes(&self) -> usize {
        1
    }

    /// The host that is asked, where there is one.
    fn host(&self) -> Option<Arc<Host>> {
        None
    }

    /// What requests and bytes cost, as far as that is known.
    fn link(&self) -> Link {
        self.host().map_or_else(Link::default, |host| host.link())
    }

    /// Takes note of the ETag that the index has for the file: requests ask for that version.
    fn expect(&self, _etag: &str) {}

    /// Size, ETag and date, by a request where nothing has told them yet.
    fn head(&self) -> Result<Meta>;

    /// What responses so far have told, to this source or to others of this process with its identity, without a
    /// request, and without asking the cache, which asks this. A response that tells otherwise afterwards is an error
    /// ([`Error::Changed`]).
    fn seen(&self) -> Option<Meta>;

    /// Fills `buffer` from `offset` on. Running past the end of the file is an error.
    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()>;

    /// Reads every range whole, all of them at the same time where that helps.
    /// The answers are in the order of `ranges` and have exactly their lengths.
    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>>;

    /// The same, each answer given with its range's number as soon as it is there, in any order.
    fn read_each(&self, ranges: &[SourceRange], each: &mut dyn FnMut(usize, Bytes)) -> Result<()> {
        for (number, range) in ranges.iter().enumerate() {
            self.read_ranges(std::slice::from_ref(range))?.into_iter().for_each(|bytes| each(number, bytes));
        }
        Ok(())
    }

    /// The same without an outcome, and without waiting where the source has threads of its own for it: the caller's
    /// otherwise, which options hold for and which do not outlive GDAL when the process ends. A failure ends it.
    fn read_later(self: Arc<Self>, ranges: Vec<SourceRange>, mut each: Each) {
        let _ = self.read_each(&ranges, &mut |number, bytes| drop(each(number, bytes)));
    }

    /// The same for a task of the engine's runtime, with an outcome; `each` is gone when that is there. Dropping the future
    /// ends the requests, where the source makes them without a thread for each read.
    fn read_async(
        self: Arc<Self>,
        ranges: Vec<SourceRange>,
        mut each: Each,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        let read = move || {
            let mut taken = Ok(());
            let read = self.read_each(&ranges, &mut |number, bytes| {
                if taken.is_ok() {
                    taken = each(number, bytes);
                }
            });
            read.and(taken)
        };
        Box::pin(async move { engine::current().readers.run(read).await? })
    }

    /// Reads at most `length` bytes from `offset` on: fewer only where the file ends there. One request, which
    /// also tells [`Source::seen`]; so a file of unknown size is opened without a HEAD.
    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes>;

    /// Reads the last `length` bytes, or all where the file has no more, and tells the file's size in bytes. One request
    /// where the server knows ranges that count from the end (RFC 9110 14.1.2), else two.
    fn read_tail(&self, length: u64) -> Result<(Bytes, u64)> {
        read_tail_by_size(self, length)
    }
}

/// [`Source::read_tail`] by the file's size.
fn read_tail_by_size<S: Source + ?Sized>(source: &S, length: u64) -> Result<(Bytes, u64)> {
    let size = source.head()?.size;
    let range = SourceOffset(size - length.min(size))..SourceOffset(size);
    let bytes = source.read_ranges(&[range])?.pop().ok_or_else(|| Error::read("no answer to a read"))?;
    Ok((bytes, size))
}

/// GDAL's own file systems, as `vsi` hands them down: for what the native transport cannot read.
pub(crate) trait HostFiles: Send + Sync {
    /// Opens `path`, a path of GDAL's without the `/vsitlm/` prefix.
    fn open(&self, path: &str) -> Result<Arc<dyn Source>>;

    /// Tells the user what does not stop a read.
    fn warn(&self, message: &str);
}

/// Opens `location` for reading. No request is made yet where the location is remote.
///
/// `host` reads what the native transport cannot, or must not (VSITLM_TRANSPORT); the command line has none.
pub(crate) fn open(location: &Location, options: &Options, host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    let by_gdal = || through(host, &location.gdal_path(), options);
    if let Location::Local(path) = location {
        return Ok(Arc::new(local::Local::open(path)?));
    }
    if let Location::Product { .. } = location {
        return Err(Error::Product { what: "only /vsitlm/ in GDAL does: write where it lies".into() });
    }
    let Some((suffices, target)) = native(location, options) else { return by_gdal() };
    let is_url = matches!(location, Location::Http { .. } | Location::Curl { .. });
    match options.transport {
        Transport::Gdal => by_gdal(),
        Transport::Auto if !suffices || options.http.needs_gdal => by_gdal(),
        Transport::Native if !suffices && !is_url => {
            let path = location.display();
            Err(Error::Path {
                path,
                what: format!("VSITLM_TRANSPORT=NATIVE needs {}", credentials(&location.gdal_path())),
            })
        }
        Transport::Auto | Transport::Native => Ok(Arc::new(remote::file::Remote::open(target?)?)),
    }
}

/// What the native transport asks for `location`, where it can: whether the options alone suffice for that, and the
/// target.
fn native(location: &Location, options: &Options) -> Option<(bool, Result<Target>)> {
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

/// What the native transport needs for the object stores.
fn credentials(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("vsigs") => {
            "GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY, an Authorization in GDAL_HTTP_HEADERS, or GS_NO_SIGN_REQUEST=YES"
        }
        Some("vsiaz") => {
            "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ACCESS_TOKEN or AZURE_NO_SIGN_REQUEST=YES"
        }
        _ => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_NO_SIGN_REQUEST=YES",
    }
}

/// Opens `path` by GDAL.
fn through(host: Option<&dyn HostFiles>, path: &str, options: &Options) -> Result<Arc<dyn Source>> {
    let refuse = |what: String| Err(Error::Path { path: without_secrets(path), what });
    match host {
        Some(_) if options.transport == Transport::Native => {
            refuse("only GDAL can read it: set VSITLM_TRANSPORT=AUTO".to_owned())
        }
        Some(host) => host.open(path),
        None if options.transport == Transport::Gdal => {
            refuse("there is no GDAL here to read it: unset VSITLM_TRANSPORT".to_owned())
        }
        None if path.starts_with("/vsicurl") => refuse(
            "an option is set that only GDAL's HTTP client has (GDAL_HTTP_AUTH, GDAL_HTTP_COOKIE, …): unset it; or the host is in ~/.netrc: set GDAL_HTTP_NETRC=NO".to_owned(),
        ),
        None if ["/vsis3/", "/vsigs/", "/vsiaz/"].iter().any(|prefix| path.starts_with(prefix)) => {
            refuse(format!("without GDAL, the store needs {}", credentials(path)))
        }
        None => refuse("only GDAL can read it: give a local path, an http(s) URL, s3://, gs:// or az://".to_owned()),
    }
}
