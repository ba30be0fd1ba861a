//! SAFE products: `manifest.safe` names the product's files, with their sizes and checksums.
//!
//! ```xml
//! <byteStream mimeType="application/octet-stream" size="402">
//!   <fileLocation href="./GRANULE/…/T31UDQ_20241016T105031_B03_10m.jp2" locatorType="URL"/>
//!   <checksum checksumName="SHA3-256">d8a1…</checksum>
//! </byteStream>
//! ```
//!
//! Products of before 2021 have MD5. The names are relative to the product's folder, and what leads out of it is refused.
//!
//! Planetary Computer has products of COGs, with the manifests of the JP2s that they were made from. On this machine the COGs
//! are found beside where the JP2s would lie; elsewhere nobody can look, and items of STAC name them.

use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::checksum::Checksum;
use super::document::{named_in, read};
use super::input::{Expanded, Input};
use super::selection::Selection;
use crate::error::{Error, Result, ResultExt};
use crate::path::{Location, is_image_name};
use crate::source::{Caller, Meta, local_meta};

/// The manifest's name.
pub(super) const MANIFEST: &str = "manifest.safe";
/// Bytes of a manifest: those of products with many tiles, of before December 2016, have less than 4 MB.
const MOST_MANIFEST: u64 = 16 << 20;
/// Nodes of its XML: a node has ten bytes at least.
const MOST_NODES: u32 = 1 << 20;

/// A file that a manifest names.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// Relative to the product's folder.
    href: String,
    /// In bytes.
    size: Option<u64>,
    checksum: Option<Checksum>,
}

/// What is wanted of the product whose folder is `folder`.
///
/// # Errors
/// Those of reading its manifest.
pub(super) fn expand(folder: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    let path = folder.file_path();
    let manifest = match path.rsplit('/').next() {
        None | Some("") => folder.join(MANIFEST)?,
        Some(name) => folder.join(&format!("{name}/{MANIFEST}"))?,
    };
    files(&manifest, selection, caller)
}

/// The same of a folder of this machine, `folder`. Files that are missing, or that have another size, are failures.
pub(super) fn expand_local(folder: &Path, selection: &Selection) -> Result<Expanded> {
    let caller = Caller::of_environment();
    let all = files(&Location::Local(folder.join(MANIFEST)), selection, &caller)?;
    let mut found = Expanded { failures: all.failures, ..Expanded::default() };
    for input in all.inputs {
        let Location::Local(path) = &input.location else { continue };
        let said = input.seen.as_ref().map(|meta| meta.size);
        match local_meta(path) {
            Ok(meta) if said.is_none_or(|said| said == meta.size) => {
                found.inputs.push(Input { seen: Some(meta), ..input });
            }
            Ok(Meta { size, .. }) => found.fail(
                input.location.display(),
                Error::read(format!("it has {size} bytes, {} by {MANIFEST}: copy it again", said.unwrap_or(0))),
            ),
            Err(_) if path.with_extension("tif").is_file() => {
                let cog = path.with_extension("tif");
                found.inputs.push(Input { seen: local_meta(&cog).ok(), ..Input::new(Location::Local(cog)) });
            }
            Err(error) => {
                found.fail(input.location.display(), Error::read(format!("{MANIFEST} names it, but {}", error.chain())))
            }
        }
    }
    Ok(found)
}

fn files(manifest: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    let name = manifest.display();
    let bytes = read(manifest, MOST_MANIFEST, caller)?;
    let mut refused = Expanded::default();
    let mut inputs = Vec::new();
    for Named { href, size, checksum } in parse(&bytes).in_file(&name)? {
        if !is_image_name(&href) {
            continue;
        }
        match inside(&href).and_then(|inside| named_in(manifest, inside)) {
            Ok(location) => {
                let seen = size.map(|size| Meta { size, etag: None, last_modified: None });
                inputs.push(Input { seen, checksum, ..Input::new(location) });
            }
            Err(error) => refused.fail(format!("{name}: {href}"), error),
        }
    }
    refused.add(selection.pick(&name, inputs)?);
    Ok(refused)
}

/// A name that stays in the product's folder.
fn inside(href: &str) -> Result<&str> {
    let inside = href.strip_prefix("./").unwrap_or(href);
    let leaves = inside.starts_with('/') || inside.contains([':', '\\', '?', '#', '%']);
    if leaves || inside.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(Error::read("the manifest names a file outside the product's folder"));
    }
    Ok(inside)
}

fn parse(bytes: &[u8]) -> Result<Vec<Named>> {
    let bad = |what: String| Error::read(format!("it is not a manifest: {what}; fetch the product again"));
    let text = std::str::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| bad(error.to_string()))?;
    let streams = document.descendants().filter(|node| is_called(node, "byteStream"));
    Ok(streams.filter_map(named).collect())
}

fn is_called(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

fn named(stream: Node<'_, '_>) -> Option<Named> {
    let child = |name| stream.children().find(|node| is_called(node, name));
    let checksum = child("checksum");
    Some(Named {
        href: child("fileLocation")?.attribute("href")?.to_owned(),
        size: stream.attribute("size").and_then(|size| size.trim().parse().ok()),
        checksum: checksum.and_then(|node| Checksum::parse(node.attribute("checksumName")?, node.text()?.trim())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_files_sizes_and_checksums() {
        let manifest = br#"<xfdu:XFDU xmlns:xfdu="urn:x"><dataObjectSection><dataObject ID="a">
            <byteStream mimeType="application/octet-stream" size="402"><fileLocation href="./GRANULE/a.jp2"/>
            <checksum checksumName="MD5">00112233445566778899AABBCCDDEEFF</checksum></byteStream></dataObject>
            <dataObject><byteStream size="many"><fileLocation href="b.jp2"/><checksum checksumName="CRC">1</checksum>
            </byteStream></dataObject><dataObject><byteStream/></dataObject></dataObjectSection></xfdu:XFDU>"#;
        let md5 = Checksum::parse("MD5", "00112233445566778899aabbccddeeff");
        assert!(md5.is_some());
        assert_eq!(
            parse(manifest).unwrap(),
            [
                Named { href: "./GRANULE/a.jp2".into(), size: Some(402), checksum: md5 },
                Named { href: "b.jp2".into(), size: None, checksum: None },
            ]
        );
        let bomb = b"<!DOCTYPE x [<!ENTITY a \"aaaa\">]><x>&a;</x>";
        for bad in [&b"<html>"[..], b"", b"\xFF\xFE", bomb] {
            assert!(parse(bad).unwrap_err().to_string().contains("not a manifest"));
        }
    }

    #[test]
    fn names_stay_in_the_product() {
        assert_eq!(inside("./GRANULE/a.jp2").unwrap(), "GRANULE/a.jp2");
        for href in
            ["../a.jp2", "/a.jp2", "a/../../b.jp2", "https://h/a.jp2", "a//b.jp2", "%2e%2e/a.jp2", "a.jp2?x.jp2"]
        {
            assert!(inside(href).is_err(), "{href}");
        }
    }
}
