//! Ranges of bytes from wherever a file lies. Nothing here knows what a JP2 is.
//!
//! ```text
//! fetch_units ─► cache ─► single-flight ─► merge ─► Source::read_each ─► turns ─► transport
//! ```
//!
//! | file | what |
//! |---|---|
//! | `cache` | units: fetched once and kept (`store`, with the locks of `sync`; `buffer`), merged into requests (`merge`) |
//! | `local` | files of this machine |
//! | `list` | whole objects: what lies below a prefix, the bytes of a small one, writing one |
//! | `remote` | HTTP and the object stores: `target` makes object_stores from options, `http` sends what `call` asks for, `response` holds the answer against it |
//! | `netrc` | which hosts GDAL has a password for |
//! | `engine` | what a process shares, and what fork() does to it; `blocking` has threads for what must not wait in it |
//! | `host` | one host: `turns` says who may ask it next, `link` what requests to it cost, `statistics` what was asked |

mod blocking;
mod buffer;
mod cache;
mod call;
mod caller;
mod engine;
mod host;
mod http;
mod identity;
mod link;
mod list;
mod local;
#[cfg(test)]
pub(crate) mod memory;
mod merge;
#[cfg(test)]
pub(crate) mod mock;
#[cfg(test)]
mod mock_http2;
mod netrc;
mod remote;
mod response;
mod statistics;
mod store;
#[cfg(test)]
mod store_model;
mod sync;
mod target;
#[cfg(test)]
mod tests;
mod turns;

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use blocking::Blocking;
pub(crate) use cache::{Fetched, fetch_units, fetch_units_async, is_under_way, keep, merge_gap, peek, prefetch};
#[cfg(test)]
pub(crate) use caller::OpenBy;
pub(crate) use caller::{Access, Caller};
pub(crate) use engine::{host, spawn, statistics, statistics_json};
pub(crate) use host::Host;
pub(crate) use identity::Identity;
pub(crate) use link::Link;
pub(crate) use list::{list, put, read_whole};
pub(crate) use local::meta as local_meta;

use crate::error::{Error, Result};
use crate::options::{AzureAccess, GsAccess, Options, Transport};
use crate::path::{Location, without_secrets};
use target::Target;

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
    /// Opens `path`, a path of GDAL's without the `/vsitlm/` prefix, for a caller with this identity.
    fn open(&self, path: &str, identity: &Identity) -> Result<Arc<dyn Source>>;
}

/// Opens `location` for reading, as [`Caller::open`] does.
fn open(location: &Location, access: &Access, host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    if reads_by_gdal(location, &access.options) {
        return through(host, &location.gdal_path(), access);
    }
    match location {
        Location::Local(path) => Ok(Arc::new(local::Local::open(path)?)),
        _ => Ok(Arc::new(remote::Remote::open(native(location, access)?)?)),
    }
}

/// What the native transport asks for `location`.
fn native(location: &Location, access: &Access) -> Result<Target> {
    let is_url = matches!(location, Location::Http { .. } | Location::Curl { .. });
    if !is_url && !suffice(location, &access.options) {
        let what = format!("VSITLM_TRANSPORT=NATIVE needs {}", credentials(&location.gdal_path()));
        return Err(Error::Path { path: location.display(), what });
    }
    match location {
        Location::Http { url } | Location::Curl { url, .. } => Target::http(url, access),
        Location::S3 { bucket, key } => Target::s3(bucket, key, access),
        Location::Gs { bucket, key } => Target::gs(bucket, key, access),
        Location::Azure { container, key } => Target::azure(container, key, access),
        Location::Product { .. } => {
            Err(Error::Product { what: "only /vsitlm/ in GDAL does: write where it lies".into() })
        }
        Location::Local(_) | Location::Host(_) => Err(Error::not_found()),
    }
}

/// Whether GDAL's own handlers read `location`: the native transport cannot, or must not (VSITLM_TRANSPORT).
fn reads_by_gdal(location: &Location, options: &Options) -> bool {
    match (location, options.transport) {
        (Location::Local(_) | Location::Product { .. }, _) => false,
        (Location::Host(_), _) | (_, Transport::Gdal) => true,
        (_, Transport::Native) => false,
        (_, Transport::Auto) => options.http.needs_gdal || !suffice(location, options),
    }
}

/// Whether the options are all that the native transport needs.
fn suffice(location: &Location, options: &Options) -> bool {
    match location {
        Location::Local(_) | Location::Product { .. } | Location::Host(_) => true,
        Location::Http { url } | Location::Curl { url, .. } => !netrc::knows(options.http.netrc.as_deref(), url),
        Location::S3 { .. } => options.s3.is_static(),
        Location::Gs { .. } => options.gs.access != GsAccess::Gdal,
        Location::Azure { .. } => options.azure.access != AzureAccess::Gdal,
    }
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
fn through(host: Option<&dyn HostFiles>, path: &str, access: &Access) -> Result<Arc<dyn Source>> {
    let transport = access.options.transport;
    let refuse = |what: String| Err(Error::Path { path: without_secrets(path), what });
    match host {
        Some(_) if transport == Transport::Native => {
            refuse("only GDAL can read it: set VSITLM_TRANSPORT=AUTO".to_owned())
        }
        Some(host) => host.open(path, &access.identity),
        None if transport == Transport::Gdal => {
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
