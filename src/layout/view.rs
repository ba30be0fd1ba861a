//! What all views are: a JP2 of their own, made of packets of the original.
//!
//! ```text
//! boxes, header, TLM | SOT, segments, SOD | packets of tile 0 | SOT, segments, SOD | packets of tile 1 | … | EOC
//! inline               inline               source              inline               source
//! ```
//!
//! The packets are unchanged (see [`crate::jp2::ReducedGrid`]); what stands before them is made anew.

use std::collections::HashMap;
use std::ops::Range;

use super::{Builder, ExpectedSot, LOOK, Layout, Unit, ViewTiles};
use crate::error::{Error, Result};
use crate::jp2::{
    EOC, Header, ReducedGrid, SOD, SOT_LENGTH, Sot, Structure, WholeBox, box_of, build_reduced_header, build_tlm,
};
use crate::source::SourceOffset;

/// The image that a view shows.
pub(super) struct Image<'a> {
    pub(super) structure: &'a Structure,
    /// The grid of the view.
    pub(super) grid: &'a ReducedGrid,
    /// It is the image at 1/2^k.
    pub(super) k: u8,
}

/// A tile of a view, as one tile-part.
pub(super) struct Tile {
    /// Its number in the view.
    pub(super) number: u16,
    /// The marker segments of its header, without SOT and SOD.
    pub(super) segments: Vec<u8>,
    /// The packets.
    pub(super) pieces: Vec<Piece>,
}

/// A stretch of a tile's packets.
pub(super) enum Piece {
    /// Packets made anew.
    Inline(Vec<u8>),
    /// Packets of a tile-part of the source, by its number there, and their range in bytes of the source.
    Source(usize, Range<u64>),
}

impl Tile {
    /// Adds packets of the source to the end.
    pub(super) fn push_source(&mut self, part: usize, range: Range<u64>) {
        match self.pieces.last_mut() {
            Some(Piece::Source(same, last)) if *same == part && last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.pieces.push(Piece::Source(part, range)),
        }
    }

    /// Adds packets that are made anew to the end.
    pub(super) fn push_inline(&mut self, bytes: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Inline(last)) => last.extend_from_slice(bytes),
            _ => self.pieces.push(Piece::Inline(bytes.to_vec())),
        }
    }

    /// The ranges of the source, each with its tile-part's number.
    pub(super) fn sources(&self) -> impl Iterator<Item = (usize, &Range<u64>)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Source(part, range) => Some((*part, range)),
            Piece::Inline(_) => None,
        })
    }
}

/// Tiles in the making, in the order in which the source has them.
#[derive(Default)]
pub(super) struct Tiles {
    place: HashMap<u16, usize>,
    pub(super) tiles: Vec<Tile>,
}

impl Tiles {
    /// The tile of this number in the view.
    pub(super) fn tile(&mut self, number: u16) -> Option<&mut Tile> {
        let at = *self.place.entry(number).or_insert(self.tiles.len());
        if at == self.tiles.len() {
            self.tiles.push(Tile { number, segments: Vec::new(), pieces: Vec::new() });
        }
        self.tiles.get_mut(at)
    }
}

/// A range of a tile-part that is fetched at once, and which tile of the view it is of.
pub(super) struct Stretch {
    /// The tile-part's number in the source.
    pub(super) part: usize,
    /// Its bytes of the source.
    pub(super) range: Range<u64>,
    /// Where the packets of the tile-part begin.
    pub(super) packets: u64,
    /// The tile's number in the view.
    pub(super) tile: u16,
}

/// The view of `tiles`, which is fetched by `stretches`. `boxes` stand before its codestream.
///
/// Decoders read 1024 bytes to look at a header. A comment (T.800 A.9.2) makes the first tile-part's header as long, so
/// that opening the view touches no packet, and where `peek` is set all headers, so that looking at the next tile-part
/// touches none either.
///
/// # Errors
/// [`Error::NoOverview`] where the file has no such view.
pub(super) fn assemble(
    image: &Image<'_>,
    boxes: &[u8],
    tiles: &[Tile],
    stretches: Vec<Stretch>,
    peek: bool,
    is_window: bool,
) -> Result<Layout> {
    let Image { structure, grid, k } = image;
    let Header { bytes, main } = &*structure.header;
    let codestream = build_reduced_header(bytes, main, grid, *k)?;
    let mut headers = Vec::with_capacity(tiles.len());
    let mut entries = Vec::with_capacity(tiles.len());
    for (index, tile) in tiles.iter().enumerate() {
        let mut header = tile.segments.clone();
        let rest = (LOOK as usize).checked_sub(SOT_LENGTH as usize + header.len() + SOD.len());
        if (peek || index == 0)
            && let Some(rest) = rest.filter(|rest| *rest >= 6)
        {
            // Rcom = 0: bytes that mean nothing.
            let end = header.len() + rest;
            header.extend_from_slice(&[0xFF, 0x64]);
            header.extend_from_slice(&u16::try_from(rest - 2).unwrap_or(4).to_be_bytes());
            header.resize(end, 0);
        }
        header.extend_from_slice(&SOD);
        let length = |piece: &Piece| match piece {
            Piece::Inline(bytes) => bytes.len() as u64,
            Piece::Source(_, range) => range.end - range.start,
        };
        let body: u64 = tile.pieces.iter().map(length).sum();
        let length = u32::try_from(SOT_LENGTH + header.len() as u64 + body)
            .map_err(|_| Error::NoOverview { what: format!("tile {} has more than 4 GiB of packets", tile.number) })?;
        headers.push(header);
        entries.push((tile.number, length));
    }
    let mut layout = Builder::default();
    layout.push_inline(boxes);
    layout.push_inline(&codestream);
    layout.push_inline(&build_tlm(&entries));
    for ((tile, header), (number, length)) in tiles.iter().zip(&headers).zip(&entries) {
        layout.push_inline(&Sot { tile: *number, length: *length, part: 0, parts: 1 }.build());
        layout.push_inline(header);
        for piece in &tile.pieces {
            match piece {
                Piece::Inline(bytes) => layout.push_inline(bytes),
                Piece::Source(_, range) => layout.push_source(range.clone()),
            }
        }
    }
    layout.push_inline(&EOC);
    let view = ViewTiles { across: grid.siz.tiles_across(), is_window };
    Ok(Layout { view: Some(view), ..layout.build(units(structure, stretches)) })
}

/// The units of fetching: where packets begin a tile-part's, its header comes with them, so that it can be checked against
/// the table.
fn units(structure: &Structure, stretches: Vec<Stretch>) -> Vec<Unit> {
    let unit = |stretch: Stretch| {
        let part = structure.tile_parts.parts().get(stretch.part)?;
        let first = stretch.range.start == stretch.packets;
        let start = if first { part.offset } else { stretch.range.start };
        let sot = first.then_some(ExpectedSot { tile_part: (part.tile, part.length), as_built: false, packets: None });
        Some(Unit { range: SourceOffset(start)..SourceOffset(stretch.range.end), sot, tile: stretch.tile.into() })
    };
    let mut units: Vec<Unit> = stretches.into_iter().filter_map(unit).collect();
    units.sort_unstable_by_key(|unit| unit.range.start);
    units
}

/// The boxes before the codestream, for an image of `size`: the image header says so, and `georeference` stands in place
/// of what georeferenced the full image.
pub(super) fn boxes(header: &Header, size: (u32, u32), georeference: &[u8]) -> Vec<u8> {
    if header.main.jp2c.is_none() {
        return Vec::new();
    }
    let mut out = Vec::new();
    for found in header.boxes() {
        match &found.kind {
            b"jP  " | b"ftyp" => out.extend_from_slice(found.bytes),
            b"jp2h" => out.extend(with_size(&found, size)),
            // What GMLJP2, GeoJP2 and metadata of the full image say is not true of this one.
            _ => {}
        }
    }
    out.extend_from_slice(georeference);
    // LBox = 0: the last box, to the end of the file.
    out.extend_from_slice(b"\0\0\0\0jp2c");
    out
}

/// A JP2 header box whose image header box has another size (I.5.3, I.5.3.1).
fn with_size(jp2h: &WholeBox<'_>, (width, height): (u32, u32)) -> Vec<u8> {
    let mut out = jp2h.bytes.to_vec();
    if let Some(ihdr) = box_of(jp2h.contents, *b"ihdr") {
        let at = jp2h.bytes.len() - jp2h.contents.len() + ihdr.contents_offset();
        if let Some(place) = out.get_mut(at..at + 8).filter(|_| ihdr.contents.len() >= 8) {
            place.copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
        }
    }
    out
}
