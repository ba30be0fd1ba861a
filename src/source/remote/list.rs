//! Whole objects: what lies below a prefix, the bytes of a small one, and writing one.
//!
//! object_store makes and signs the requests here too, and gets stand-ins for the answers; pages are parsed here, so that
//! one odd key does not spoil the other thousand, and a service that answers nonsense is held to what it has claimed.
//!
//! - S3 (and Google, by its interface): ListObjectsV2, <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
//! - Azure: List Blobs, <https://learn.microsoft.com/en-us/rest/api/storageservices/list-blobs>

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use object_store::PutOptions;
use object_store::list::PaginatedListOptions;
use percent_encoding::percent_decode_str;
use roxmltree::{Document, Node, ParsingOptions};

use crate::error::{Error, Result};
use crate::path::Location;
use crate::source::contract::Meta;
use crate::source::host::statistics::count;
use crate::source::host::{Host, host};
use crate::source::remote::call::{Answer, Call, Failure, What};
use crate::source::remote::target::Target;
use crate::source::runtime::engine;

/// Objects of a page. Azure would give 5,000, in more bytes than are read of a page.
const PAGE: usize = 1000;
/// Pages of a listing: ten million objects. A prefix with more is one that nobody means to walk.
const MOST_PAGES: usize = 10_000;
/// Nodes of a page's XML, attributes left out: an object has about twenty.
const MOST_NODES: u32 = 200_000;

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Where it lies.
    pub(crate) location: Location,
    /// What the listing tells of it.
    pub(crate) meta: Meta,
}

/// Gives the objects below the key of `prefix`, page by page: see [`crate::source::open::list`]. `target` is the prefix
/// without its last slash.
pub(crate) fn list(target: Target, prefix: &Location, key: &str, each: &mut dyn FnMut(Vec<Listed>)) -> Result<()> {
    let asking = Arc::new(Asking::new(target));
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let answer = asking.ask(Wanted::Page { prefix: key.to_owned(), token: token.clone() })?;
        let page = parse_page(&answer.bytes).ok_or_else(|| {
            Error::read("listing failed: the answer is no listing; check that the endpoint is that of an object store")
        })?;
        let below = page.objects.into_iter().filter(|(name, _)| name.starts_with(key) && !name.ends_with('/'));
        each(below.map(|(name, meta)| Listed { location: prefix.with_key(&name), meta }).collect());
        match page.next {
            None => return Ok(()),
            Some(next) if token.as_ref() == Some(&next) => {
                return Err(Error::read("listing failed: the server gives the same page again and again"));
            }
            next => token = next,
        }
    }
    Err(Error::read(format!("it has more than {} objects: name narrower prefixes", MOST_PAGES * PAGE)))
}

/// Writes `bytes` as the object `target`, in one request.
pub(crate) fn put(target: Target, bytes: Bytes) -> Result<()> {
    Arc::new(Asking::new(target)).ask(Wanted::Written(bytes)).map(drop)
}

/// Requests that are not for ranges of a file.
struct Asking {
    target: Target,
    reader: u64,
}

impl Asking {
    fn new(target: Target) -> Self {
        Self { target, reader: Host::next_reader() }
    }

    /// Asks, again where a response names another region, and waits for the outcome.
    fn ask(self: &Arc<Self>, wanted: Wanted) -> Result<Answer> {
        let asking = self.clone();
        engine::current().run(async move { asking.answer(wanted).await })?
    }

    async fn answer(&self, wanted: Wanted) -> Result<Answer> {
        let mut region = self.target.known_region();
        let (mut tries, mut moved) = (0, false);
        loop {
            let call = Arc::new(Call::new(wanted.what()));
            self.send(&wanted, call.clone(), region.as_deref()).await?;
            tries += call.tries();
            let failure = match call.outcome() {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(failure)) => failure,
                None => Failure::Unsent(Error::read(
                    "the request cannot be made from the options: check AWS_* and GDAL_HTTP_*",
                )),
            };
            if let Some(other) = self.target.other_region(&failure, region.as_deref()).filter(|_| !moved) {
                (region, moved) = (Some(other.to_owned()), true);
                continue;
            }
            count(&host(&self.target.authority).counters.read_errors, 1);
            return Err(call.error(self.target.advice(), self.target.whereabouts(), tries, failure));
        }
    }

    /// Lets object_store make and repeat the request. What it makes of the stand-in is of no interest: the call has the
    /// outcome.
    async fn send(&self, wanted: &Wanted, call: Arc<Call>, region: Option<&str>) -> Result<()> {
        match wanted {
            Wanted::Page { prefix, token } => {
                let mut options = PaginatedListOptions {
                    max_keys: Some(PAGE),
                    page_token: token.clone(),
                    ..PaginatedListOptions::default()
                };
                options.extensions.insert(call);
                if let Some(store) = self.target.lister(self.reader, region)? {
                    let _ = store.list_paginated(Some(prefix), options).await;
                }
            }
            Wanted::Written(bytes) => {
                let mut options = PutOptions::default();
                options.extensions.insert(call);
                let store = self.target.store(self.reader, region)?;
                let _ = store.put_opts(&self.target.path, bytes.clone().into(), options).await;
            }
        }
        Ok(())
    }
}

/// What is wanted of a store.
enum Wanted {
    /// The page of the listing of `prefix` that `token` names; the first one without.
    Page { prefix: String, token: Option<String> },
    /// That an object has these bytes.
    Written(Bytes),
}

impl Wanted {
    fn what(&self) -> What {
        match self {
            Self::Page { .. } => What::Page,
            Self::Written(bytes) => What::Put(bytes.clone()),
        }
    }
}

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    /// Keys, not percent-encoded, and what is told of the objects.
    objects: Vec<(String, Meta)>,
    /// What the next page is asked for by; `None` at the end.
    next: Option<String>,
}

/// Reads a page of S3's or of Azure's. What it tells of an object in a way that cannot be read leaves that object out.
fn parse_page(body: &[u8]) -> Option<Page> {
    let text = std::str::from_utf8(body).ok()?;
    // Azure begins its answers with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    let root = document.root_element();
    let next = |name| child(root, name).and_then(|node| node.text()).filter(|text| !text.is_empty()).map(str::to_owned);
    match root.tag_name().name() {
        "ListBucketResult" => {
            let next = next("NextContinuationToken");
            let more = child(root, "IsTruncated").and_then(|node| node.text()) == Some("true");
            // A listing that goes on, but not how, would end in the middle.
            if more && next.is_none() {
                return None;
            }
            let objects = root.children().filter(|node| node.has_tag_name_of("Contents"));
            Some(Page { objects: objects.filter_map(s3_object).collect(), next: next.filter(|_| more) })
        }
        "EnumerationResults" => {
            let blobs = child(root, "Blobs")?.children().filter(|node| node.has_tag_name_of("Blob"));
            Some(Page { objects: blobs.filter_map(azure_blob).collect(), next: next("NextMarker") })
        }
        _ => None,
    }
}

/// Elements by their names alone: services do not agree on the namespace.
trait Named {
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl Named for Node<'_, '_> {
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name_of(name))
}

fn s3_object(node: Node<'_, '_>) -> Option<(String, Meta)> {
    let text = |name| child(node, name)?.text();
    let date = text("LastModified").and_then(|date| DateTime::parse_from_rfc3339(date).ok());
    let meta = Meta {
        size: text("Size")?.parse().ok()?,
        etag: text("ETag").filter(|etag| !etag.is_empty()).map(str::to_owned),
        last_modified: date.map(|date| date.timestamp()),
    };
    Some((text("Key")?.to_owned(), meta))
}

fn azure_blob(node: Node<'_, '_>) -> Option<(String, Meta)> {
    let name = child(node, "Name")?;
    let properties = child(node, "Properties")?;
    let text = |name| child(properties, name)?.text();
    // Accounts with a hierarchical namespace list their folders too.
    if text("ResourceType") == Some("directory") {
        return None;
    }
    let date = text("Last-Modified").and_then(|date| httpdate::parse_http_date(date).ok());
    let seconds = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let meta = Meta {
        size: text("Content-Length")?.parse().ok()?,
        // Here it has no quotes, in headers it has.
        etag: text("Etag").map(|etag| format!("\"{}\"", etag.trim_matches('"'))),
        last_modified: seconds.and_then(|seconds| i64::try_from(seconds.as_secs()).ok()),
    };
    let key = match name.attribute("Encoded") {
        Some("true") => percent_decode_str(name.text()?).decode_utf8().ok()?,
        _ => Cow::Borrowed(name.text()?),
    };
    Some((key.into_owned(), meta))
}
