//! Whole objects: what lies below a prefix, and writing one.
//!
//! Pages are parsed here, so that one odd key does not spoil the other thousand, and a service that answers nonsense is
//! held to what it has claimed.
//!
//! - S3 (and Google, by its interface): ListObjectsV2, <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
//! - Azure: List Blobs, <https://learn.microsoft.com/en-us/rest/api/storageservices/list-blobs>

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use percent_encoding::percent_decode_str;
use roxmltree::{Document, Node, ParsingOptions};

use crate::error::{Error, Result};
use crate::path::Location;
use crate::source::contract::Meta;
use crate::source::remote::ask::Asker;
use crate::source::remote::call::{PAGE, What};
use crate::source::remote::target::Target;

/// Pages of a listing: ten million objects. A prefix with more is one that nobody means to walk.
const MOST_PAGES: usize = 10_000;
/// Nodes of a page's XML, attributes left out: an object has about twenty.
const MOST_NODES: u32 = 200_000;

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Where it lies.
    pub(crate) location: Location,
    /// What the listing says of it.
    pub(crate) meta: Meta,
}

/// Gives the objects below the key of `prefix`, page by page: see [`crate::source::open::list`]. `target` is the prefix
/// without its last slash.
pub(crate) fn list(target: Target, prefix: &Location, key: &str, each: &mut dyn FnMut(Vec<Listed>)) -> Result<()> {
    let asker = Arc::new(Asker::new(target));
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let received = asker.wait(What::Page { prefix: key.to_owned(), token: token.clone() })?;
        let page = parse_page(&received.bytes).ok_or_else(|| {
            Error::read(
                "listing failed: the answer is not a listing; check that the endpoint is that of an object store",
            )
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
    Arc::new(Asker::new(target)).wait(What::Put(bytes)).map(drop)
}

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListedPage {
    /// Keys, not percent-encoded, and what the page says of the objects.
    objects: Vec<(String, Meta)>,
    /// What the next page is asked for by; `None` at the end.
    next: Option<String>,
}

/// Reads a page of S3's or of Azure's. An object whose entry cannot be read is left out.
fn parse_page(body: &[u8]) -> Option<ListedPage> {
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
            let objects = children(root, "Contents").filter_map(s3_object).collect();
            Some(ListedPage { objects, next: next.filter(|_| more) })
        }
        "EnumerationResults" => {
            let objects = children(child(root, "Blobs")?, "Blob").filter_map(azure_blob).collect();
            Some(ListedPage { objects, next: next("NextMarker") })
        }
        _ => None,
    }
}

/// The elements of `node` that are called `name`, in whatever namespace: services do not agree on it.
fn children<'a, 'input>(node: Node<'a, 'input>, name: &str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
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
