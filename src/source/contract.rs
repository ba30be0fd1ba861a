//! What every source does, whatever its transport: the test suite `testing::contract` holds for each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::source::host::{Host, Link};
use crate::source::identity::Identity;
use crate::source::range::{SourceOffset, SourceRange};
use crate::source::runtime::engine;

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
    /// differs for callers with other credentials, and for URLs whose query string names the file. Never shown.
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

    /// Size, ETag and date, by a request where they are not known yet.
    fn head(&self) -> Result<Meta>;

    /// What responses so far have said, to this source or to others of this process with its identity, without a
    /// request, and without asking the cache, which asks this. A response that says otherwise afterwards is an error
    /// ([`Error::Changed`]).
    fn seen(&self) -> Option<Meta>;

    /// Checks that responses have gone on saying `meta`.
    ///
    /// # Errors
    /// [`Error::Changed`] where the source has come to see another size, ETag or date.
    fn check_unchanged(&self, meta: &Meta) -> Result<()> {
        match self.seen() {
            Some(now) if now != *meta => {
                let state =
                    |meta: &Meta| format!("{} bytes, ETag {}", meta.size, meta.etag.as_deref().unwrap_or("unknown"));
                Err(Error::Changed { what: format!("it was {} and is {}", state(meta), state(&now)) })
            }
            _ => Ok(()),
        }
    }

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
    /// also fills [`Source::seen`]; so a file of unknown size is opened without a HEAD.
    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes>;

    /// Reads the last `length` bytes, or all where the file has no more, and gives the file's size in bytes. One request
    /// where the server knows ranges that count from the end (RFC 9110 14.1.2), else two.
    fn read_tail(&self, length: u64) -> Result<(Bytes, u64)> {
        read_tail_by_size(self, length)
    }
}

/// [`Source::read_tail`] by the file's size.
pub(crate) fn read_tail_by_size<S: Source + ?Sized>(source: &S, length: u64) -> Result<(Bytes, u64)> {
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
