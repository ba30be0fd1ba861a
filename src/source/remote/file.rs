//! Files behind HTTP and in S3 stores, through object_store, which makes, signs and repeats the requests.
//!
//! Invariants:
//! - The URL goes out as the user wrote it: object_store gets it whole, as the base of a store of one object.
//! - The first response's size and ETag are the file's; a later response with others is [`Error::Changed`]. Requests say
//!   which ETag they want (If-Match, RFC 9110 13.1.1), so that the bytes of another version are not even sent.
//! - What lives as long as the source holds no lock and no connection, so that a source opened before a fork() can
//!   be read after it (see [`crate::source::runtime::engine`]).

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::StatusCode;
use object_store::{GetOptions, GetRange, ObjectStore};
use once_cell::race::OnceBox;

use crate::error::{Error, Result};
use crate::source::contract::{Each, Meta, Source, read_tail_by_size, same_etag};
use crate::source::host::statistics::count;
use crate::source::host::{Host, host};
use crate::source::range::{SourceOffset, SourceRange};
use crate::source::remote::call::{Answer, Asked, Call, Failure, Refusal, What};
use crate::source::remote::remembered;
use crate::source::remote::target::Target;
use crate::source::runtime::engine;

/// One file behind HTTP or in an S3 store.
pub(crate) struct Remote(Arc<Inner>);

struct Inner {
    target: Target,
    /// By which the host's turns are given.
    reader: u64,
    store: Arc<dyn ObjectStore>,
    /// The region of `store`, where it is not that of the options.
    region: Option<String>,
    /// The store in the region that a response has named, where it is not that of `store`.
    moved: OnceBox<Arc<dyn ObjectStore>>,
    seen: OnceBox<Meta>,
    /// The ETag that the index has for it.
    expected: OnceBox<String>,
}

impl Remote {
    /// A source of `target`; nothing is sent yet.
    pub(crate) fn open(target: Target) -> Result<Self> {
        let region = target.known_region();
        let reader = Host::next_reader();
        let store = target.store(reader, region.as_deref())?;
        Ok(Self(Arc::new(Inner {
            target,
            reader,
            store,
            region,
            moved: OnceBox::new(),
            seen: OnceBox::new(),
            expected: OnceBox::new(),
        })))
    }

    fn requests(&self, ranges: &[SourceRange]) -> impl Iterator<Item = impl Future<Output = Result<Bytes>> + use<>> {
        ranges.iter().map(|range| {
            let (inner, range) = (self.0.clone(), range.start.0..range.end.0);
            async move { inner.get(range, true).await.map(|answer| answer.bytes) }
        })
    }

    fn get(&self, range: Range<u64>, exact: bool) -> Result<Answer> {
        let inner = self.0.clone();
        engine::current().run(async move { inner.get(range, exact).await })?
    }

    /// The end of the file, where the server knows ranges that count from there.
    fn get_tail(&self, length: u64) -> Result<Option<Answer>> {
        let inner = self.0.clone();
        engine::current().run(async move { inner.get_tail(length).await })?
    }
}

/// A request that failed for good.
struct Failed {
    call: Arc<Call>,
    tries: u64,
    failure: Failure,
}

impl Inner {
    fn host(&self) -> Arc<Host> {
        host(&self.target.authority)
    }

    /// The ETag that requests ask for. A weak one matches nothing (RFC 9110 13.1.1).
    fn wanted(&self) -> Option<&str> {
        let seen = self.seen.get().and_then(|meta| meta.etag.as_ref());
        let etag = seen.or(self.expected.get()).filter(|etag| etag.starts_with('"'))?;
        (!self.host().misjudges_etags.load(Ordering::Relaxed)).then_some(etag)
    }

    async fn get(&self, range: Range<u64>, exact: bool) -> Result<Answer> {
        if range.is_empty() {
            return Ok(Answer { bytes: Bytes::new(), meta: None });
        }
        let get_range = GetRange::Bounded(range.clone());
        self.ask(What::Range(Asked { range, exact }), get_range).await?.map_err(|failed| self.error(failed))
    }

    async fn get_tail(&self, length: u64) -> Result<Option<Answer>> {
        match self.ask(What::Tail(length), GetRange::Suffix(length)).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(Failed { failure, .. }) if failure.may_be_of_tails() => Ok(None),
            Err(failed) => Err(self.error(failed)),
        }
    }

    fn error(&self, Failed { call, tries, failure }: Failed) -> Error {
        count(&self.host().counters.read_errors, 1);
        call.error(self.target.advice(), self.target.whereabouts(), tries, failure)
    }

    /// Asks for `what`, which is `range` to object_store, with all its tries.
    async fn ask(&self, what: What, range: GetRange) -> Result<Result<Answer, Failed>> {
        let mut store = self.moved.get().unwrap_or(&self.store);
        let mut wanted = self.wanted();
        let mut refused = None;
        let mut tries = 0;
        loop {
            let call = Arc::new(Call::new(what.clone()));
            let mut options =
                GetOptions { range: Some(range.clone()), if_match: wanted.map(str::to_owned), ..GetOptions::default() };
            options.extensions.insert(call.clone());
            // What object_store makes of the stand-in is of no interest: the call has the outcome.
            let _ = store.get_opts(&self.target.path, options).await;
            tries += call.tries();
            let failure = match call.outcome() {
                Some(Ok(answer)) => {
                    if let Some(meta) = &answer.meta {
                        self.check(meta)?;
                        if refused.is_some() && refused == meta.etag.as_deref() {
                            self.host().misjudges_etags.store(true, Ordering::Relaxed);
                        }
                    }
                    return Ok(Ok(answer));
                }
                Some(Err(failure)) => failure,
                None => Failure::Unsent(Error::read(
                    "the request cannot be made from the options: check AWS_* and GDAL_HTTP_*",
                )),
            };
            if let Failure::Status(Refusal { status: StatusCode::PRECONDITION_FAILED, .. }) = &failure
                && wanted.is_some()
            {
                // What the file is now tells whether it has changed, or the server cannot compare.
                refused = wanted.take();
                continue;
            }
            if self.moved.get().is_none()
                && let Some(region) = self.target.other_region(&failure, self.region.as_deref())
            {
                let there = self.target.store(self.reader, Some(region))?;
                store = self.moved.get_or_init(|| Box::new(there));
                continue;
            }
            return Ok(Err(Failed { call, tries, failure }));
        }
    }

    /// Holds what a response told against what earlier ones have.
    fn check(&self, told: &Meta) -> Result<()> {
        let seen = match self.seen.get() {
            Some(seen) => seen,
            None => {
                remembered::remember_meta(&self.target.identity, told);
                self.seen.get_or_init(|| Box::new(told.clone()))
            }
        };
        let Some(what) = difference(seen, told) else {
            return Ok(());
        };
        // The next open sees the file as it is now.
        remembered::remember_meta(&self.target.identity, told);
        count(&self.host().counters.read_errors, 1);
        Err(Error::Changed { what })
    }
}

/// What differs between two sights of a file, both values named.
fn difference(seen: &Meta, told: &Meta) -> Option<String> {
    if seen.size != told.size {
        return Some(format!("its size was {} bytes and is {}", seen.size, told.size));
    }
    match (&seen.etag, &told.etag) {
        (Some(before), Some(now)) if !same_etag(before, now) => Some(format!("its ETag was {before} and is {now}")),
        _ => None,
    }
}

impl Source for Remote {
    fn origin(&self) -> &str {
        &self.0.target.origin
    }

    fn identity(&self) -> &str {
        &self.0.target.identity
    }

    fn is_cheap(&self) -> bool {
        false
    }

    fn lanes(&self) -> usize {
        self.0.target.connections()
    }

    fn host(&self) -> Option<Arc<Host>> {
        Some(self.0.host())
    }

    fn expect(&self, etag: &str) {
        let _ = self.0.expected.set(Box::new(etag.to_owned()));
    }

    /// By a request for the first byte: it costs what a HEAD costs, and URLs that are signed for GET alone allow it.
    fn head(&self) -> Result<Meta> {
        if let Some(meta) = self.seen() {
            return Ok(meta);
        }
        self.get(0..1, false)?
            .meta
            .ok_or_else(|| Error::read("the server does not tell the file's size: it cannot be read"))
    }

    fn seen(&self) -> Option<Meta> {
        if let Some(seen) = self.0.seen.get() {
            return Some(seen.clone());
        }
        // Once handed out, it is what this source's responses are held against.
        let known = remembered::meta(&self.0.target.identity)?;
        Some(self.0.seen.get_or_init(|| Box::new(known)).clone())
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        let answer = self.get(offset.0..offset.0.saturating_add(buffer.len() as u64), true)?;
        if answer.bytes.len() != buffer.len() {
            return Err(Error::read("a read gave fewer bytes than asked for"));
        }
        buffer.copy_from_slice(&answer.bytes);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        let mut answers = vec![Bytes::new(); ranges.len()];
        self.read_each(ranges, &mut |number, bytes| {
            if let Some(place) = answers.get_mut(number) {
                *place = bytes;
            }
        })?;
        Ok(answers)
    }

    fn read_each(&self, ranges: &[SourceRange], each: &mut dyn FnMut(usize, Bytes)) -> Result<()> {
        engine::current().run_each(self.requests(ranges), each)
    }

    fn read_later(self: Arc<Self>, ranges: Vec<SourceRange>, each: Each) {
        let read = self.read_async(ranges, each);
        // Nobody waits for an outcome.
        let _ = engine::spawn(async move { drop(read.await) });
    }

    fn read_async(
        self: Arc<Self>,
        ranges: Vec<SourceRange>,
        mut each: Each,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move { engine::join_each(self.requests(&ranges), &mut *each).await })
    }

    fn read_tail(&self, length: u64) -> Result<(Bytes, u64)> {
        let answer = if self.0.target.knows_tails() && length > 0 { self.get_tail(length)? } else { None };
        match answer {
            Some(Answer { bytes, meta: Some(meta) }) => Ok((bytes, meta.size)),
            _ => read_tail_by_size(self, length),
        }
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        Ok(self.get(offset.0..offset.0.saturating_add(length), false)?.bytes)
    }
}
