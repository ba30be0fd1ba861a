//! Files behind HTTP and in object stores.
//!
//! Invariants:
//! - The URL goes out as the user wrote it.
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
use once_cell::race::OnceBox;

use crate::error::{Error, Result};
use crate::source::contract::{Each, Meta, Source, read_tail_by_size, same_etag};
use crate::source::host::Host;
use crate::source::host::statistics::count;
use crate::source::range::{SourceOffset, SourceRange};
use crate::source::remote::ask::{Asker, Failed};
use crate::source::remote::call::{AskedRange, Failure, Received, Refusal, What};
use crate::source::remote::remembered;
use crate::source::remote::target::Target;
use crate::source::runtime::engine;

/// One file behind HTTP or in an object store.
pub(crate) struct Remote(Arc<Versioned>);

/// A file that is asked for in one version.
struct Versioned {
    asker: Asker,
    seen: OnceBox<Meta>,
    /// The ETag that the index has for it.
    expected: OnceBox<String>,
}

impl Remote {
    /// A source of `target`; nothing is sent yet.
    pub(crate) fn open(target: Target) -> Self {
        Self(Arc::new(Versioned { asker: Asker::new(target), seen: OnceBox::new(), expected: OnceBox::new() }))
    }

    fn target(&self) -> &Target {
        &self.0.asker.target
    }

    fn requests(&self, ranges: &[SourceRange]) -> impl Iterator<Item = impl Future<Output = Result<Bytes>> + use<>> {
        ranges.iter().map(|range| {
            let (file, range) = (self.0.clone(), range.start.0..range.end.0);
            async move { file.get(range, true).await.map(|received| received.bytes) }
        })
    }

    fn get(&self, range: Range<u64>, exact: bool) -> Result<Received> {
        let file = self.0.clone();
        engine::current().run(async move { file.get(range, exact).await })?
    }

    /// The end of the file, where the server knows ranges that count from there.
    fn get_tail(&self, length: u64) -> Result<Option<Received>> {
        let file = self.0.clone();
        engine::current().run(async move { file.get_tail(length).await })?
    }
}

impl Versioned {
    /// The ETag that requests ask for. A weak one matches nothing (RFC 9110 13.1.1).
    fn wanted(&self) -> Option<&str> {
        let seen = self.seen.get().and_then(|meta| meta.etag.as_ref());
        let etag = seen.or(self.expected.get()).filter(|etag| etag.starts_with('"'))?;
        (!self.asker.host().misjudges_etags.load(Ordering::Relaxed)).then_some(etag)
    }

    async fn get(&self, range: Range<u64>, exact: bool) -> Result<Received> {
        if range.is_empty() {
            return Ok(Received { bytes: Bytes::new(), meta: None });
        }
        let what = What::Range(AskedRange { range, exact });
        self.ask(&what).await?.map_err(|failed| self.asker.error(&what, failed))
    }

    async fn get_tail(&self, length: u64) -> Result<Option<Received>> {
        let what = What::Tail(length);
        match self.ask(&what).await? {
            Ok(received) => Ok(Some(received)),
            Err(Failed { failure, .. }) if failure.may_be_of_tails() => Ok(None),
            Err(failed) => Err(self.asker.error(&what, failed)),
        }
    }

    /// Asks for `what` of the version that was seen.
    async fn ask(&self, what: &What) -> Result<Result<Received, Failed>> {
        let wanted = self.wanted();
        let mut refused = None;
        let mut outcome = self.asker.ask(what, wanted).await;
        if let Err(Failed { failure: Failure::Status(Refusal { status: StatusCode::PRECONDITION_FAILED, .. }), tries }) =
            outcome
            && wanted.is_some()
        {
            // What the file is now shows whether it has changed, or the server cannot compare.
            refused = wanted;
            let again = self.asker.ask(what, None).await;
            outcome = again.map_err(|failed| Failed { tries: tries + failed.tries, ..failed });
        }
        if let Ok(Received { meta: Some(meta), .. }) = &outcome {
            self.check(meta)?;
            if refused.is_some() && refused == meta.etag.as_deref() {
                self.asker.host().misjudges_etags.store(true, Ordering::Relaxed);
            }
        }
        Ok(outcome)
    }

    /// Checks what a response says of the file against what earlier ones said.
    fn check(&self, now: &Meta) -> Result<()> {
        let identity = &self.asker.target.identity;
        let seen = match self.seen.get() {
            Some(seen) => seen,
            None => {
                remembered::remember_meta(identity, now);
                self.seen.get_or_init(|| Box::new(now.clone()))
            }
        };
        let Some(what) = difference(seen, now) else {
            return Ok(());
        };
        // The next open sees the file as it is now.
        remembered::remember_meta(identity, now);
        count(&self.asker.host().counters.read_errors, 1);
        Err(Error::Changed { what })
    }
}

/// What differs between two sights of a file, both values named.
fn difference(seen: &Meta, now: &Meta) -> Option<String> {
    if seen.size != now.size {
        return Some(format!("its size was {} bytes and is {}", seen.size, now.size));
    }
    match (&seen.etag, &now.etag) {
        (Some(before), Some(now)) if !same_etag(before, now) => Some(format!("its ETag was {before} and is {now}")),
        _ => None,
    }
}

impl Source for Remote {
    fn origin(&self) -> &str {
        &self.target().origin
    }

    fn identity(&self) -> &str {
        &self.target().identity
    }

    fn is_cheap(&self) -> bool {
        false
    }

    fn lanes(&self) -> usize {
        self.target().connections()
    }

    fn host(&self) -> Option<Arc<Host>> {
        Some(self.0.asker.host())
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
            .ok_or_else(|| Error::read("the server does not give the file's size: it cannot be read"))
    }

    fn seen(&self) -> Option<Meta> {
        if let Some(seen) = self.0.seen.get() {
            return Some(seen.clone());
        }
        // Once handed out, it is what this source's responses are checked against.
        let known = remembered::meta(&self.target().identity)?;
        Some(self.0.seen.get_or_init(|| Box::new(known)).clone())
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        let received = self.get(offset.0..offset.0.saturating_add(buffer.len() as u64), true)?;
        if received.bytes.len() != buffer.len() {
            return Err(Error::read("a read gave fewer bytes than asked for"));
        }
        buffer.copy_from_slice(&received.bytes);
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
        let tail = if self.target().knows_tails() && length > 0 { self.get_tail(length)? } else { None };
        match tail {
            Some(Received { bytes, meta: Some(meta) }) => Ok((bytes, meta.size)),
            _ => read_tail_by_size(self, length),
        }
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        Ok(self.get(offset.0..offset.0.saturating_add(length), false)?.bytes)
    }
}
