//! The same for a TIFF.

use super::alike::{print_anatomy, rows};
use crate::cli::print::size;
use crate::collect::{TiffAnatomy, describe_tiff};
use crate::error::Result;
use crate::path::Location;
use crate::source::{Caller, Source};
use crate::tiff::Page;

/// Describes the TIFF at `location`.
pub(super) fn run(location: &Location, source: &dyn Source, json: bool, caller: &Caller<'_>) -> Result<bool> {
    let (anatomy, warnings) = describe_tiff(location, source, caller)?;
    print_anatomy(&anatomy, &warnings, json, text);
    Ok(true)
}

/// The same for people.
fn text(anatomy: &TiffAnatomy) -> String {
    let mut lines = vec![format!("{}: {}", anatomy.file, size(anatomy.bytes))];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<12}{text}"));
    let kind = if anatomy.is_big { "BigTIFF" } else { "TIFF" };
    let order = if anatomy.is_big_endian { "the greatest byte first" } else { "the least byte first" };
    line("form", format!("{kind}, {order}"));
    anatomy.directories.iter().for_each(|page| line(page.kind, described(page)));
    let ranges: Vec<_> = anatomy.header.iter().map(|[start, end]| format!("{start} to {end}")).collect();
    line("header", format!("{}, bytes {}", size(anatomy.header_bytes), ranges.join(", ")));
    line("COG", if anatomy.is_cog { "yes".to_owned() } else { format!("no: {}", anatomy.against_cog.join("; ")) });
    rows(anatomy.index.as_deref()).into_iter().for_each(|text| line("index", text));
    lines.join("\n")
}

fn described(page: &Page) -> String {
    let predictor = if page.predictor == 1 { String::new() } else { format!(", predictor {}", page.predictor) };
    let bands = if page.is_planar { ", each by itself" } else { "" };
    let missing = if page.missing == 0 { String::new() } else { format!(", {} of them empty", page.missing) };
    format!(
        "{} × {}, {} band(s) of {} bits ({}){bands}; {} {} of {} × {}{missing}, {}, {}{predictor}",
        page.width,
        page.height,
        page.bands,
        page.bits,
        page.samples,
        page.tiles,
        if page.is_tiled { "tiles" } else { "strips" },
        page.tile[0],
        page.tile[1],
        size(page.bytes),
        page.compression,
    )
}
