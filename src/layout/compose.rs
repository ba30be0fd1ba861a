//! From a file's structure to the virtual file that has a TLM.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::{Builder, ExpectedSot, Layout, Unit};
use crate::error::Result;
use crate::jp2::{
    EOC, Header, MainHeader, SOD, SOD_LENGTH, SOT_LENGTH, Sot, Structure, TilePart, TilePartHead, build_jp2c_header,
    build_tlm, parse_tlm_segments,
};
use crate::source::SourceOffset;

/// The bytes of a tile-part's header that has no marker segments: SOT and SOD.
const HEADER_LENGTH: u32 = 14;

/// The file as it is: every byte from the source.
pub(crate) fn pass(file_size: u64) -> Layout {
    let mut layout = Builder::default();
    layout.push_source(0..file_size);
    layout.build(Vec::new())
}

/// The file as it is, with the bytes of it that are known inline: `known` are stretches of it in order, apart from each other.
/// It is fetched by `units`, which are so, too.
pub(crate) fn pass_with<'a>(
    file_size: u64,
    known: impl Iterator<Item = (u64, &'a Bytes)>,
    units: impl Iterator<Item = Range<u64>>,
) -> Layout {
    let mut layout = Builder::default();
    for (start, bytes) in known {
        layout.push_source(layout.size..start);
        layout.push_inline(bytes);
    }
    layout.push_source(layout.size..file_size);
    let unit = |(number, range): (u32, Range<u64>)| Unit {
        range: SourceOffset(range.start)..SourceOffset(range.end),
        sot: None,
        tile: number,
    };
    layout.build((0..).zip(units).map(unit).collect())
}

/// A file of these bytes.
pub(crate) fn text(bytes: &[u8]) -> Layout {
    let mut layout = Builder::default();
    layout.push_inline(bytes);
    layout.build(Vec::new())
}

/// The file with a TLM, each tile as one tile-part.
///
/// Where that cannot be done without reading the file (tiles of several tile-parts whose headers are unknown, or hold
/// more than a merged tile-part may; packed packet headers), and where the file has a TLM of its own, the file is passed
/// on as it is, its header inline. A TLM that contradicts the structure is replaced, or hidden: decoders that believe it
/// (OpenJPEG 2.5.3 and later) would give wrong pixels, or fail.
///
/// GDAL walks the codestream's markers to the first SOD for what it says of a file's compression. So the header of the
/// first tile-part is inline, where the row records what it is: SOT and SOD, without the PLT and COM between them.
pub(crate) fn compose(structure: &Structure) -> Result<Layout> {
    compose_by(structure, true)
}

/// The same, to be kept as a file: the first tile-part has the header that it had.
///
/// # Errors
/// As [`compose`].
pub(crate) fn compose_to_keep(structure: &Structure) -> Result<Layout> {
    compose_by(structure, false)
}

fn compose_by(structure: &Structure, is_served: bool) -> Result<Layout> {
    let Structure { file_size, header, tile_parts, codestream_end } = structure;
    let Header { bytes, main } = &**header;
    let is_true = |told: Vec<(u16, u32)>| told.into_iter().eq(tile_parts.parts().iter().map(|p| (p.tile, p.length)));
    if main.has_tlm() && parse_tlm_segments(&header.tlm()).is_ok_and(is_true) {
        return Ok(keep(structure, bytes));
    }
    let mut bytes = bytes.to_vec();
    main.hide_tlm(&mut bytes);
    let keep = || Ok(keep(structure, &bytes));
    let Some(mut tiles) = merge(tile_parts.parts(), main) else { return keep() };
    if let (true, Some(first), Some(part)) = (is_served, tiles.first_mut(), tile_parts.parts().first()) {
        first.shorten(part);
    }
    let entries: Vec<_> = tiles.iter().map(|tile| (tile.index, tile.length)).collect();
    let tlm = build_tlm(&entries);
    let stream: u64 = tiles.iter().map(|tile| u64::from(tile.length)).sum();
    let codestream = main.end - main.codestream + tlm.len() as u64 + stream + EOC.len() as u64;

    let mut layout = Builder::default();
    let mut head = bytes.get(..bytes.len() - SOT_LENGTH as usize).unwrap_or_default().to_vec();
    if let Some((offset, form)) = main.jp2c {
        let length = main.codestream - offset + codestream;
        let last = codestream_end == file_size;
        let Some(jp2c) = build_jp2c_header(form, length, last) else { return keep() };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(place) = head.get_mut(start..start.saturating_add(jp2c.len())) {
            place.copy_from_slice(&jp2c);
        }
    }
    head.extend_from_slice(&tlm);
    layout.push_inline(&head);
    for tile in &tiles {
        layout.push_inline(&Sot { tile: tile.index, length: tile.length, part: 0, parts: 1 }.build());
        for piece in &tile.pieces {
            match piece {
                Piece::Inline(bytes) => layout.push_inline(bytes),
                Piece::Source(range) => layout.push_source(range.clone()),
            }
        }
    }
    layout.push_inline(&EOC);
    layout.push_source(*codestream_end..*file_size);
    Ok(layout.build(units(tile_parts.parts(), false)))
}

/// The file as it is, byte for byte, with as much of it inline as is known: its `header` and, where every tile is one
/// tile-part and the first SOT is as [`Sot::build`] makes them, every SOT. Decoders that ignore TLM walk over those.
/// That the others are built alike is a guess, which each fetched tile-part is checked against.
fn keep(structure: &Structure, header: &[u8]) -> Layout {
    let Structure { file_size, tile_parts, .. } = structure;
    let main = structure.main();
    let parts = tile_parts.parts();
    let alike = |part: &TilePart| Sot { tile: part.tile, length: part.length, part: 0, parts: 1 }.build();
    let first = header.get(usize::try_from(main.end).unwrap_or(usize::MAX)..);
    let as_built = parts.len() as u64 == u64::from(tile_parts.tiles())
        && parts.first().is_some_and(|part| first == Some(alike(part).as_slice()));
    let mut layout = Builder::default();
    layout.push_inline(header);
    let mut at = header.len() as u64;
    if as_built {
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                layout.push_inline(&alike(part));
            }
            let mut start = part.offset + SOT_LENGTH;
            if number == 0 && part.head.as_ref().is_some_and(TilePartHead::is_bare) {
                layout.push_inline(&SOD);
                start += SOD_LENGTH;
            }
            layout.push_source(start..part.end());
            at = part.end();
        }
    }
    layout.push_source(at..*file_size);
    layout.build(units(parts, as_built))
}

/// The units that `parts` make.
fn units(parts: &[TilePart], as_built: bool) -> Vec<Unit> {
    let first = parts.first().and_then(|part| part.head.as_ref()).filter(|head| head.is_plain());
    let unit = |(number, part): (usize, &TilePart)| Unit {
        range: SourceOffset(part.offset)..SourceOffset(part.end()),
        sot: Some(ExpectedSot {
            tile_part: (part.tile, part.length),
            as_built,
            packets: first.filter(|_| number == 0).map(|head| head.packets),
        }),
        tile: part.tile.into(),
    };
    parts.iter().enumerate().map(unit).collect()
}

/// A tile that has become one tile-part.
struct Tile {
    index: u16,
    /// Psot.
    length: u32,
    /// What follows the SOT marker segment.
    pieces: Vec<Piece>,
}

impl Tile {
    /// Puts SOD in place of the header of the tile-part, which is the tile's only one, where it has nothing to keep.
    fn shorten(&mut self, part: &TilePart) {
        let Some(head) = part.head.as_ref().filter(|head| head.is_plain()) else { return };
        let packets = part.length.checked_sub(head.packets).and_then(|packets| packets.checked_add(HEADER_LENGTH));
        if let (Some(length), [Piece::Source(_)]) = (packets, self.pieces.as_slice()) {
            self.length = length;
            self.pieces = vec![Piece::Inline(&SOD), Piece::Source(part.offset + u64::from(head.packets)..part.end())];
        }
    }
}

/// A stretch of a merged tile-part.
enum Piece {
    Inline(&'static [u8]),
    Source(std::ops::Range<u64>),
}

/// The tiles in the order of their first tile-parts; `None` where some cannot be made one tile-part.
fn merge(parts: &[TilePart], main: &MainHeader) -> Option<Vec<Tile>> {
    let mut tiles: Vec<Vec<&TilePart>> = Vec::new();
    let mut place: HashMap<u16, usize> = HashMap::with_capacity(parts.len());
    for part in parts {
        let index = *place.entry(part.tile).or_insert(tiles.len());
        match tiles.get_mut(index) {
            Some(tile) => tile.push(part),
            None => tiles.push(vec![part]),
        }
    }
    tiles.iter().map(|parts| merge_tile(parts, main)).collect()
}

/// One tile's tile-parts as one: the first one's header without its PLT (which would tell only some of the packets),
/// then the packets of all. Headers of later tile-parts may hold nothing else (T.800 Table A.2 lets them have POC, PPT,
/// PLT and COM), and packed packet headers of the main header go by tile-parts (A.7.4).
fn merge_tile(parts: &[&TilePart], main: &MainHeader) -> Option<Tile> {
    let (first, later) = parts.split_first()?;
    if later.is_empty() {
        let pieces = vec![Piece::Source(first.offset + SOT_LENGTH..first.end())];
        return Some(Tile { index: first.tile, length: first.length, pieces });
    }
    let head = first.head.as_ref().filter(|head| head.droppable && !main.has_ppm())?;
    let mut pieces = vec![
        Piece::Source(first.offset + SOT_LENGTH..first.offset + u64::from(head.kept)),
        Piece::Inline(&SOD),
        Piece::Source(first.offset + u64::from(head.packets)..first.end()),
    ];
    let mut length = u64::from(head.kept) + 2 + u64::from(first.length.checked_sub(head.packets)?);
    for part in later {
        let head = part.head.as_ref().filter(|head| head.droppable && u64::from(head.kept) == SOT_LENGTH)?;
        pieces.push(Piece::Source(part.offset + u64::from(head.packets)..part.end()));
        length += u64::from(part.length.checked_sub(head.packets)?);
    }
    Some(Tile { index: first.tile, length: u32::try_from(length).ok()?, pieces })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::Error;
    use crate::jp2::{LBox, Progress, made, parse_main_header, parse_tile_part_header};
    use crate::layout::{Content, VirtualOffset};

    /// A file's structure by a naive walk.
    pub(in crate::layout) fn structure(file: &[u8]) -> Structure {
        let Progress::Done(main) = parse_main_header(file, file.len() as u64).unwrap() else { panic!("all is there") };
        let mut parts = Vec::new();
        let mut at = main.end as usize;
        while file[at..at + 2] == [0xFF, 0x90] {
            let sot = Sot::parse(&file[at..], at as u64).unwrap();
            let stream_end = main.codestream_end.unwrap_or(file.len() as u64) as u32;
            let rest = stream_end - at as u32 - 2;
            let length = if sot.length == 0 { rest } else { sot.length };
            let header = parse_tile_part_header(&file[at..], at as u64, length, &main).unwrap();
            let Progress::Done(header) = header else { panic!("all is there") };
            parts.push(TilePart { tile: sot.tile, offset: at as u64, length, head: Some(header.head(Vec::new())) });
            at += length as usize;
            if at + 2 > file.len() {
                break;
            }
        }
        let header = Header { bytes: file[..main.end as usize + 12].to_vec().into(), main };
        Structure::new(file.len() as u64, header, parts).unwrap()
    }

    /// The virtual file, whole.
    pub(in crate::layout) fn materialise(layout: &Layout, file: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (start, content) in layout.segments_from(VirtualOffset(0)) {
            assert_eq!(start.0, out.len() as u64);
            match content {
                Content::Inline(bytes) => out.extend_from_slice(bytes),
                Content::Source(range) => out.extend_from_slice(&file[range.start.0 as usize..range.end.0 as usize]),
            }
        }
        assert_eq!(layout.size(), out.len() as u64);
        out
    }

    /// Packets of every tile in a file, tile by tile.
    fn packets(file: &[u8]) -> Vec<Vec<u8>> {
        let structure = structure(file);
        let mut tiles = vec![Vec::new(); structure.tile_parts.tiles() as usize];
        for part in structure.tile_parts.parts() {
            let start = part.offset as usize + part.head.as_ref().unwrap().packets as usize;
            tiles[usize::from(part.tile)].extend_from_slice(&file[start..part.end() as usize]);
        }
        tiles
    }

    /// Checks a virtual file against the file that it is of.
    fn check(made: &made::File) -> Vec<u8> {
        let file = made.bytes();
        let served = compose(&structure(&file)).unwrap();
        check_layout(made, &file, &served);
        check_layout(made, &file, &compose_to_keep(&structure(&file)).unwrap())
    }

    #[test]
    fn the_header_of_the_first_tile_part_is_inline() {
        for plt in [false, true] {
            for parts in [1, 3] {
                let file = made::File { plt, parts, ..made::File::default() }.bytes();
                let layout = compose(&structure(&file)).unwrap();
                let first = layout.segments_from(VirtualOffset(0)).next().unwrap().1.clone();
                let Content::Inline(first) = first else { panic!("the header is inline") };
                assert!(first.ends_with(&SOD));
                assert_eq!(layout.units()[0].range.start.0, structure(&file).tile_parts.parts()[0].offset);
            }
        }
        let file = made::File { tlm: true, ..made::File::default() }.bytes();
        let layout = compose(&structure(&file)).unwrap();
        assert!(
            matches!(layout.segments_from(VirtualOffset(0)).next(), Some((_, Content::Inline(first))) if first.ends_with(&SOD))
        );
        assert_eq!(materialise(&layout, &file), file);
    }

    #[test]
    fn a_row_that_is_wrong_about_the_first_header_is_found_out() {
        let file = made::File { plt: true, ..made::File::default() }.bytes();
        let unit = compose(&structure(&file)).unwrap().units()[0].clone();
        let bytes = &file[unit.range.start.0 as usize..];
        assert!(unit.check_sot(bytes).is_ok() && unit.check_sot(&bytes[..12]).is_ok());
        let packets = unit.sot.unwrap().packets.unwrap();
        let wrong = Unit { sot: Some(ExpectedSot { packets: Some(packets + 1), ..unit.sot.unwrap() }), ..unit };
        assert!(matches!(wrong.check_sot(bytes), Err(Error::Row { .. })));
    }

    fn check_layout(made: &made::File, file: &[u8], layout: &Layout) -> Vec<u8> {
        let out = materialise(layout, file);
        let Progress::Done(main) = parse_main_header(&out, out.len() as u64).unwrap() else { panic!("all is there") };
        assert!(main.has_tlm(), "{made:?}");
        let tlm = parse_tlm_segments(&main.tlm(&out).concat()).unwrap();
        let walked = structure(&out);
        let sots: Vec<_> = walked.tile_parts.parts().iter().map(|part| (part.tile, part.length)).collect();
        assert_eq!(tlm, sots, "the TLM and the SOTs agree");
        assert_eq!(sots.len(), walked.tile_parts.tiles() as usize, "each tile is one tile-part");
        assert_eq!(packets(&out), packets(file), "the packets are the file's");
        assert_eq!(main.codestream_end.is_some(), matches!(made.jp2c, Some(LBox::Short(_) | LBox::Extended(_))));
        let end = main.codestream_end.unwrap_or(out.len() as u64) as usize;
        assert_eq!(out[end - 2..end], EOC);
        assert_eq!(out[end..], made.trailer);
        out
    }

    #[test]
    fn a_tlm_is_injected_whatever_the_box_and_the_end() {
        for jp2c in [None, Some(LBox::ToEnd), Some(LBox::Short(0)), Some(LBox::Extended(0))] {
            for (open_end, eoc) in [(false, true), (true, true), (false, false)] {
                let trailer = match jp2c {
                    Some(LBox::Short(_) | LBox::Extended(_)) => b"\0\0\0\x0Cxml <a/>".to_vec(),
                    _ => Vec::new(),
                };
                check(&made::File {
                    jp2c,
                    open_end,
                    eoc: eoc || !trailer.is_empty(),
                    trailer,
                    ..made::File::default()
                });
            }
        }
    }

    #[test]
    fn only_the_tlm_is_new_where_each_tile_is_one_tile_part() {
        let file = made::File { plt: true, ..made::File::default() }.bytes();
        let out = check(&made::File { plt: true, ..made::File::default() });
        let end = structure(&file).header.bytes.len() - 12;
        assert_eq!(out[..end], file[..end]);
        assert_eq!(out[out.len() - (file.len() - end) + 12..], file[end + 12..]);
    }

    #[test]
    fn tile_parts_are_merged_and_may_be_out_of_order() {
        for plt in [false, true] {
            for reversed in [false, true] {
                check(&made::File { parts: 3, plt, reversed, ..made::File::default() });
            }
        }
    }

    #[test]
    fn tile_indexes_and_lengths_take_the_bytes_they_need() {
        check(&made::File { width: 640, height: 640, tile: 32, ..made::File::default() });
        check(&made::File { packet: 9_000, ..made::File::default() });
    }

    #[test]
    fn several_tlm_segments_hold_what_one_cannot() {
        let out =
            check(&made::File { width: 480, height: 360, tile: 4, levels: 1, packet: 1, ..made::File::default() });
        let Progress::Done(main) = parse_main_header(&out, out.len() as u64).unwrap() else { panic!("all is there") };
        assert_eq!(main.tlm(&out).len(), 1);
        let many = made::File { width: 1_000, height: 1_000, tile: 4, levels: 0, packet: 1, ..made::File::default() };
        let out = check(&many);
        let Progress::Done(main) = parse_main_header(&out, out.len() as u64).unwrap() else { panic!("all is there") };
        assert_eq!(main.tlm(&out).len(), 4, "62,500 entries of 4 bytes");
    }

    #[test]
    fn a_file_with_a_tlm_is_passed_on() {
        let file = made::File { tlm: true, ..made::File::default() }.bytes();
        let layout = compose(&structure(&file)).unwrap();
        assert_eq!(materialise(&layout, &file), file);
        assert_eq!(layout.units().len(), 6);
        assert!(layout.units().iter().all(|unit| unit.sot.unwrap().as_built));
        assert!(layout.body_after(VirtualOffset(layout.units()[5].range.start.0)).is_some(), "SOTs are inline");
    }

    #[test]
    fn a_tlm_that_lies_is_replaced_or_hidden() {
        for parts in [1, 2] {
            let good = made::File { tlm: true, parts, ..made::File::default() }.bytes();
            let tlm = good.windows(2).position(|pair| pair == [0xFF, 0x55]).unwrap();
            // Stlm, and the second tile of the list.
            for (at, byte) in [(5, 0x70), (9, 4)] {
                let mut file = good.clone();
                file[tlm + at] = byte;
                let out = materialise(&compose(&structure(&file)).unwrap(), &file);
                let walked = structure(&out);
                let sots = walked.tile_parts.parts().iter().map(|part| (part.tile, part.length));
                let told = parse_tlm_segments(&walked.header.tlm()).unwrap();
                assert!(told.into_iter().eq(sots), "{parts} parts, byte {at}");
                assert_eq!(packets(&out), packets(&file));
                // Where tiles cannot be merged, the file is as it is but for the marker.
                let known = structure(&file);
                let unread = known.tile_parts.parts().iter().map(|part| TilePart { head: None, ..part.clone() });
                let unread = Structure::new(known.file_size, (*known.header).clone(), unread.collect()).unwrap();
                if parts > 1 {
                    file[tlm + 1] = 0x64;
                    assert_eq!(materialise(&compose(&unread).unwrap(), &file), file);
                }
            }
        }
    }

    #[test]
    fn tile_parts_whose_headers_are_unknown_are_passed_on() {
        let file = made::File { parts: 2, ..made::File::default() }.bytes();
        let known = structure(&file);
        let parts = known.tile_parts.parts().iter().map(|part| TilePart { head: None, ..part.clone() }).collect();
        let unknown = Structure::new(known.file_size, (*known.header).clone(), parts).unwrap();
        assert_eq!(materialise(&compose(&unknown).unwrap(), &file), file);
    }

    #[test]
    fn a_header_that_contradicts_the_table_is_refused() {
        let file = made::File::default().bytes();
        let good = structure(&file);
        let other = structure(&made::File { width: 40, ..made::File::default() }.bytes());
        let refused = |header: Header, parts: &[TilePart]| {
            let made = Structure::new(good.file_size, header, parts.to_vec());
            assert!(matches!(made, Err(Error::Row { .. })), "{made:?}");
        };
        let header = (*good.header).clone();
        refused(header.clone(), other.tile_parts.parts());
        refused(header.clone(), &good.tile_parts.parts()[1..]);
        let bytes = header.bytes.slice(..header.bytes.len() - 3);
        refused(Header { bytes, ..header }, good.tile_parts.parts());
    }
}
