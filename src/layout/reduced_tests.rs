//! Reduced views, materialised and read again, against packets whose places are known.

use super::*;
use crate::jp2::{
    EOC, LBox, Progress, TilePartHeader, divide, made, parse_main_header, parse_tile_part_header, parse_tlm_segments,
};
use crate::layout::compose::tests::{materialise, structure};
use crate::layout::{Content, ExpectedSot, VirtualOffset};

/// The tile-parts' headers as the file has them.
fn headers<'m>(file: &[u8], structure: &Structure, main: &'m MainHeader) -> Vec<TilePartHeader<'m>> {
    let header =
        |part: &TilePart| match parse_tile_part_header(&file[part.offset as usize..], part.offset, part.length, main) {
            Ok(Progress::Done(header)) => header,
            other => panic!("{other:?}"),
        };
    structure.tile_parts.parts().iter().map(header).collect()
}

fn main_of(file: &[u8]) -> MainHeader {
    let Progress::Done(main) = parse_main_header(file, file.len() as u64).unwrap() else { panic!("all is there") };
    main
}

/// The packets of every tile-part, with the marker segments of its header.
fn packets(file: &[u8], structure: &Structure) -> Vec<PartPackets> {
    let main = main_of(file);
    let headers = headers(file, structure, &main);
    let runs = divide(&main, structure.tile_parts.parts(), &headers).unwrap();
    let parts = structure.tile_parts.parts().iter().zip(&headers).zip(runs);
    let parts = parts.map(|((part, header), runs)| {
        let start = part.offset as usize;
        let segments = file[start + 12..start + header.packets as usize - 2].to_vec().into();
        PartPackets { segments, packets: header.packets, runs }
    });
    parts.collect()
}

fn view(file: &[u8], k: u8, peek: bool) -> Result<Layout> {
    let structure = structure(file);
    reduce(&structure, &packets(file, &structure), k, peek, &[])
}

/// Checks a view against the file that it is of, and gives its bytes.
fn check_view(made: &made::File, k: u8, peek: bool) -> Vec<u8> {
    let file = made.bytes();
    let layout = view(&file, k, peek).unwrap();
    let out = materialise(&layout, &file);
    let (full, main) = (main_of(&file), main_of(&out));
    let grid = full.siz.reduce(k).unwrap();
    assert_eq!(main.siz, grid.siz);
    assert_eq!(main.coding.default.levels, full.coding.default.levels - k);
    assert_eq!(layout.view().map(|view| view.across), Some(grid.siz.tiles_across()));

    // Decoders that believe the TLM and those that walk find the same tile-parts, one of each tile.
    let walked = structure(&out);
    let parts = walked.tile_parts.parts();
    let sots: Vec<_> = parts.iter().map(|part| (part.tile, part.length)).collect();
    assert_eq!(parse_tlm_segments(&main.tlm(&out).concat()).unwrap(), sots);
    assert_eq!(sots.len(), grid.tiles.len());
    assert_eq!(out[parts.last().unwrap().end() as usize..], EOC);
    assert_eq!(main.codestream_end, None, "the codestream's box runs to the end");

    let mut needed = vec![Vec::new(); full.siz.tiles() as usize];
    for (tile, range) in made.needed(k) {
        needed[usize::from(tile)].extend_from_slice(&file[range]);
    }
    for (index, (part, header)) in parts.iter().zip(headers(&out, &walked, &main)).enumerate() {
        let packets = &out[part.offset as usize + header.packets as usize..part.end() as usize];
        let tile = grid.tiles[usize::from(part.tile)];
        assert!(packets == std::mem::take(&mut needed[usize::from(tile)]), "tile {tile} of 1/2^{k} of {made:?}");
        assert!(!header.has_plt());
        assert_eq!(header.packets == 1024, peek || index == 0, "what a decoder looks at");
    }
    assert!(needed.iter().all(Vec::is_empty), "tiles that are left out have no packets");
    check_units(&layout, &structure(&file));
    out
}

/// The units hold every stretch of the source, and nothing else but the headers of tile-parts.
fn check_units(layout: &Layout, structure: &Structure) {
    let mut stretches: Vec<_> = layout
        .segments_from(VirtualOffset(0))
        .filter_map(|(_, content)| match content {
            Content::Source(range) => Some(range.clone()),
            Content::Inline(_) => None,
        })
        .collect();
    stretches.sort_by_key(|range| range.start);
    let units = layout.units();
    assert_eq!(units.len(), stretches.len());
    assert!(units.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start), "ascending and disjoint");
    for (unit, stretch) in units.iter().zip(stretches) {
        assert_eq!(unit.range.end, stretch.end);
        let part = structure.tile_parts.parts().iter().find(|part| stretch.start.0 < part.end()).unwrap();
        let packets = part.offset + u64::from(part.head.as_ref().unwrap().packets);
        let expected = ExpectedSot { tile_part: (part.tile, part.length), as_built: false, packets: None };
        match &unit.sot {
            Some(sot) => assert_eq!((*sot, unit.range.start.0, stretch.start.0), (expected, part.offset, packets)),
            None => assert!(unit.range.start == stretch.start && stretch.start.0 > packets),
        }
    }
    assert_eq!(layout.unit_bytes(), units.iter().map(|unit| unit.range.end.0 - unit.range.start.0).sum::<u64>());
}

#[test]
fn views_are_files_of_just_the_packets_that_they_need() {
    for made in made::File::many() {
        let file = made.bytes();
        let levels: Vec<_> = levels(&structure(&file)).collect();
        let fewest = made.coc.iter().map(|(_, levels)| *levels).min().unwrap_or(made.levels).min(made.levels);
        assert_eq!(levels.iter().map(|level| level.k).collect::<Vec<_>>(), (1..=fewest).collect::<Vec<_>>());
        for level in levels {
            for peek in [false, true] {
                let out = check_view(&made, level.k, peek);
                assert_eq!(main_of(&out).siz.size(), level.size);
            }
        }
        for k in fewest + 1..=made.levels + 1 {
            let error = view(&file, k, false).unwrap_err();
            assert!(matches!(&error, Error::NoOverview { what } if what.contains("factors are 2, 4")), "{error}");
        }
    }
}

#[test]
fn a_row_tells_what_headers_tell() {
    for made in made::File::many() {
        let file = made.bytes();
        let (mut structure, main) = (structure(&file), main_of(&file));
        let headers = headers(&file, &structure, &main);
        let told = packets(&file, &structure);
        let runs: Vec<_> = told.iter().map(|part| part.runs.clone()).collect();
        let ends = crate::jp2::resolution_ends(&main, structure.tile_parts.parts(), &headers, &runs);
        let Some(ends) = ends else { continue };
        let heads = headers.iter().zip(ends).map(|(header, ends)| header.head(ends));
        let by_row: Vec<_> = heads.map(|head| PartPackets::by_resolution(&head, made.levels).unwrap()).collect();
        structure.file_size = file.len() as u64;
        for level in levels(&structure) {
            assert_eq!(
                reduce(&structure, &by_row, level.k, true, &[]).unwrap(),
                reduce(&structure, &told, level.k, true, &[]).unwrap(),
                "1/2^{} of {made:?}",
                level.k
            );
        }
    }
}

#[test]
fn tiles_without_samples_are_left_out() {
    let made = made::File { width: 343, height: 343, tile: 8, levels: 4, plt: true, ..made::File::default() };
    let layout = view(&made.bytes(), 4, false).unwrap();
    assert_eq!((layout.view().map(|view| view.across), layout.units().len()), (Some(22), 22 * 22));
    check_view(&made, 4, false);
}

#[test]
fn packets_that_would_be_out_of_order_have_no_view() {
    let base = made::File { plt: true, origin: (5, 3), tile_origin: (5, 3), precincts: 3, ..made::File::default() };
    for (progression, components, refused) in [
        (0, vec![1, 2], false),
        (1, vec![1, 2], false),
        (2, vec![1, 1], false),
        (2, vec![1, 2], true),
        (3, vec![1], true),
        (4, vec![1], true),
    ] {
        let made = made::File { progression, components, ..base.clone() };
        let file = made.bytes();
        assert_eq!(levels(&structure(&file)).next().is_none(), refused, "{made:?}");
        if refused {
            let error = view(&file, 1, false).unwrap_err().to_string();
            assert!(error.contains("tile 0 begins between two samples of 1/2"), "{error}");
        } else {
            check_view(&made, 1, true);
        }
        // A tile's own coding is not looked at.
        let own = vec![0xFF, 0x53, 0, 9, 0, 0, 2, 4, 4, 0, 1];
        let own = made::File { tile_segments: own, ..made }.bytes();
        let structure = structure(&own);
        let parts = structure.tile_parts.parts().iter().map(|part| PartPackets {
            segments: own[part.offset as usize + 12..][..11].to_vec().into(),
            packets: 40,
            runs: Vec::new(),
        });
        let error = reduce(&structure, &parts.collect::<Vec<_>>(), 1, false, &[]).unwrap_err().to_string();
        assert!(error.contains("tile 0 begins between"), "{error}");
    }
    // The same on a sample of the grid.
    let aligned = made::File { origin: (6, 2), tile_origin: (6, 2), progression: 4, levels: 1, ..base };
    check_view(&aligned, 1, false);
}

fn a_box(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    [&(8 + contents.len() as u32).to_be_bytes()[..], kind, contents].concat()
}

#[test]
fn boxes_tell_of_the_smaller_image() {
    let ihdr = a_box(b"ihdr", &[0, 0, 0, 60, 0, 0, 0, 80, 0, 1, 15, 7, 0, 0]);
    let jp2h = a_box(b"jp2h", &[ihdr, a_box(b"colr", b"\x02\0\0ihdr of a profile")].concat());
    let gml = br#"<gml:RectifiedGrid xmlns:gml="http://www.opengis.net/gml"><gml:origin>
        <gml:Point srsName="urn:ogc:def:crs:EPSG::32631"><gml:pos>300005 4999995</gml:pos></gml:Point></gml:origin>
        <gml:offsetVector>10 0</gml:offsetVector><gml:offsetVector>0 -10</gml:offsetVector></gml:RectifiedGrid>"#;
    let document = a_box(b"asoc", &[a_box(b"lbl ", b"gml.root-instance"), a_box(b"xml ", gml)].concat());
    let asoc = a_box(b"asoc", &[a_box(b"lbl ", b"gml.data"), document].concat());
    let boxes = [jp2h, asoc, a_box(b"xml ", b"<of-the-full-image/>"), a_box(b"uuid", &[9; 40])].concat();
    for jp2c in [LBox::ToEnd, LBox::Short(0), LBox::Extended(0)] {
        let made = made::File { boxes: boxes.clone(), jp2c: Some(jp2c), plt: true, ..made::File::default() };
        let out = check_view(&made, 2, false);
        let main = main_of(&out);
        let kinds: Vec<_> = main.boxes.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [*b"jP  ", *b"ftyp", *b"jp2h", *b"asoc"]);
        let bytes = |number: usize| {
            let (_, offset, length) = main.boxes[number];
            &out[offset as usize..][..length as usize]
        };
        assert_eq!(
            bytes(2)[8..32],
            [&b"\0\0\0\x16ihdr"[..], &[0, 0, 0, 15, 0, 0, 0, 20, 0, 1, 15, 7, 0, 0], b"\0\0"].concat()
        );
        let text = String::from_utf8_lossy(bytes(3));
        assert!(text.contains(">300020 4999980<") && text.contains(">40 0<") && text.contains(">0 -40<"), "{text}");
    }
    let bare = made::File { jp2c: None, plt: true, ..made::File::default() };
    assert!(check_view(&bare, 1, false).starts_with(&[0xFF, 0x4F, 0xFF, 0x51]));
}

#[test]
fn the_parts_of_a_level_end_with_its_last_packets() {
    for made in made::File::many() {
        let file = made.bytes();
        let structure = structure(&file);
        let packets = packets(&file, &structure);
        let all = structure.tile_parts.parts();
        for k in 0..=structure.main().coding.default.levels {
            let parts = needed_parts(&structure, &packets, k).unwrap();
            assert!(parts.is_sorted_by_key(|(_, offset, _)| *offset));
            let needed = made.needed(k);
            for tile in 0..structure.tile_parts.tiles() as u16 {
                let of_tile: Vec<_> = parts.iter().filter(|part| part.0 == tile).collect();
                let whole: Vec<_> = all.iter().filter(|part| part.tile == tile).map(TilePart::place).collect();
                let last = needed.iter().filter(|(of, _)| *of == tile).map(|(_, range)| range.end as u64).next_back();
                assert_eq!(of_tile.last().map(|(_, offset, length)| offset + u64::from(*length)), last, "1/2^{k}");
                let Some(before) = of_tile.len().checked_sub(1) else { continue };
                assert!(of_tile.iter().take(before).eq(whole.iter().take(before).collect::<Vec<_>>().iter()));
                assert_eq!(of_tile[before].1, whole[before].1);
            }
        }
    }
}

#[test]
fn parts_that_contradict_the_structure_are_refused() {
    let file = made::File { plt: true, ..made::File::default() }.bytes();
    let structure = structure(&file);
    let good = packets(&file, &structure);
    assert!(matches!(reduce(&structure, &good[1..], 1, false, &[]), Err(Error::Row { .. })));
    assert!(matches!(needed_parts(&structure, &good[1..], 1), Err(Error::Row { .. })));
    let mut longer = good.clone();
    longer[3].runs.last_mut().unwrap().length += 1;
    assert!(matches!(reduce(&structure, &longer, 1, false, &[]), Err(Error::Row { .. })));
    longer[3].runs.last_mut().unwrap().length = u32::MAX;
    assert!(matches!(reduce(&structure, &longer, 1, false, &[]), Err(Error::Row { .. })));
    for k in [0, 3, 32, 255] {
        assert!(matches!(reduce(&structure, &good, k, false, &[]), Err(Error::NoOverview { .. })), "{k}");
    }
}

#[test]
fn an_image_is_halved_31_times_at_most() {
    // SIZ has 32 bits: 2^32 is no factor.
    let made = made::File { levels: 32, plt: true, ..made::File::default() };
    let file = made.bytes();
    let levels: Vec<_> = levels(&structure(&file)).collect();
    assert_eq!(levels.last().unwrap().k, 31);
    assert_eq!(levels.last().unwrap().size, (1, 1));
    check_view(&made, 31, false);
    assert!(view(&file, 32, false).unwrap_err().to_string().contains("1/4294967296"));
}
