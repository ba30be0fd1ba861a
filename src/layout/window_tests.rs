//! Window views, materialised and read again, packet by packet.

use proptest::prelude::*;

use super::*;
use crate::jp2::{PartLengths, Progress, made, parse_main_header, parse_tile_part_header, parse_tlm_segments};
use crate::layout::compose::tests::{materialise, structure};
use crate::layout::{Content, VirtualOffset};

fn main_of(file: &[u8]) -> MainHeader {
    let Progress::Done(main) = parse_main_header(file, file.len() as u64).unwrap() else { panic!("all is there") };
    main
}

/// The packets of every tile of a file that has PLT.
fn packets(file: &[u8], structure: &Structure, main: &MainHeader) -> Vec<TilePackets> {
    let parts = structure.tile_parts.parts();
    let mut tiles: Vec<Option<TilePackets>> = vec![None; main.siz.tiles() as usize];
    for (number, part) in parts.iter().enumerate() {
        let start = part.offset as usize;
        let parsed = parse_tile_part_header(&file[start..], part.offset, part.length, main).unwrap();
        let Progress::Done(header) = parsed else { panic!("all is there") };
        let segments = file[start + 12..start + header.packets as usize - 2].to_vec().into();
        let lengths = PartLengths { number, segments, packets: header.packets, lengths: header.lengths };
        let coding = header.coding.unwrap().into_owned();
        tiles[usize::from(part.tile)]
            .get_or_insert_with(|| TilePackets { coding, parts: Vec::new() })
            .parts
            .push(lengths);
    }
    let tiles = tiles.into_iter().zip(0..);
    tiles.map(|(tile, number)| tile.unwrap().checked(main, number, parts).unwrap()).collect()
}

fn view(file: &[u8], k: u8, window: &Window, gap: Option<u64>) -> Result<Layout> {
    let structure = structure(file);
    let tiles = packets(file, &structure, &main_of(file));
    place(&structure, k, std::slice::from_ref(window))?.compose(&|tile| tiles.get(usize::from(tile)), gap)
}

/// Checks a view against the file that it is of: its packets are those that the window needs, at their places, and empty
/// ones.
fn check_view(file: &[u8], k: u8, window: &Window, gap: Option<u64>) {
    let layout = view(file, k, window, gap).unwrap_or_else(|error| panic!("{}", error.chain()));
    let out = materialise(&layout, file);
    let (full, main) = (main_of(file), main_of(&out));
    let whole = full.siz.reduce(k).unwrap();
    let area = |origin: (u32, u32)| {
        let (x, y) = (origin.0 + window.x, origin.1 + window.y);
        (x..x + window.width, y..y + window.height)
    };
    let area = area((whole.siz.x0, whole.siz.y0));
    let grid = whole.crop(&area);
    assert_eq!(main.siz, grid.siz);
    let given = structure(file);
    let place = place(&given, k, std::slice::from_ref(window)).unwrap();
    assert_eq!((place.image(), place.tiles()), (grid.siz.size(), &*grid.tiles));

    let walked = structure(&out);
    let sots: Vec<_> = walked.tile_parts.parts().iter().map(|part| (part.tile, part.length)).collect();
    assert_eq!(parse_tlm_segments(&main.tlm(&out).concat()).unwrap(), sots);
    let told = packets(file, &given, &full);
    for part in walked.tile_parts.parts() {
        let tile = grid.tiles[usize::from(part.tile)];
        let parsed = parse_tile_part_header(&out[part.offset as usize..], part.offset, part.length, &main).unwrap();
        let Progress::Done(header) = parsed else { panic!("all is there") };
        let mut rest = &out[part.offset as usize + header.packets as usize..part.end() as usize];
        let TilePackets { coding, parts } = &told[usize::from(tile)];
        let support = Support::new(&full.siz, coding, tile.into(), &area, k);
        let mut all = Packets::new(&full.siz, coding, tile.into());
        for lengths in parts {
            let mut at = given.tile_parts.parts()[lengths.number].offset as usize + lengths.packets as usize;
            for (length, packet) in lengths.lengths.iter().zip(all.by_ref()) {
                let bytes = &file[at..at + *length as usize];
                at += *length as usize;
                if coding.component(packet.component).levels - packet.resolution < k {
                    continue;
                }
                let expected = if support.needs(&packet) { bytes } else { &[0][..] };
                rest = rest.strip_prefix(expected).unwrap_or_else(|| panic!("{packet:?} of tile {tile}, {window}"));
            }
        }
        assert!(rest.is_empty());
    }
    check_units(&layout, gap);
}

/// Each stretch of the source is in a unit, and no tile-part costs more requests than it should.
fn check_units(layout: &Layout, gap: Option<u64>) {
    let units = layout.units();
    assert!(units.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start), "ascending and disjoint");
    for (_, content) in layout.segments_from(VirtualOffset(0)) {
        if let Content::Source(range) = content {
            assert!(units.iter().any(|unit| unit.range.start <= range.start && range.end <= unit.range.end));
        }
    }
    assert!(layout.view().unwrap().is_window);
    if gap.is_none() {
        let most = layout.view().unwrap().across as usize * RANGES * 16;
        assert!(units.len() <= most);
    }
}

#[test]
fn views_are_files_of_the_packets_that_a_window_needs() {
    let is_plain = |made: &made::File| made.components.iter().all(|dx| *dx == 1) && made.origin == made.tile_origin;
    for made in made::File::many().into_iter().filter(is_plain) {
        let file = made.bytes();
        let (width, height) = main_of(&file).siz.size();
        for (x, y, w, h) in [(0, 0, 1, 1), (30, 20, 10, 10), (width - 1, height - 1, 1, 1), (0, 0, width, height)] {
            for gap in [None, Some(0), Some(1000)] {
                check_view(&file, 0, &Window { x, y, width: w, height: h }, gap);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_window_of_any_level(
        (progression, layers, parts, precincts) in (0u8..5, 1u16..3, 1u8..3, 3u8..7),
        k in 0u8..3,
        (x, y, w, h) in (0u32..150, 0u32..90, 1u32..60, 1u32..60),
    ) {
        let made = made::File {
            plt: true, levels: 3, width: 150, height: 90, progression, layers, parts, precincts, ..made::File::default()
        };
        let size = size_at(&main_of(&made.bytes()), k).unwrap();
        let (x, y) = (x % size.0, y % size.1);
        let window = Window { x, y, width: w.min(size.0 - x), height: h.min(size.1 - y) };
        check_view(&made.bytes(), k, &window, None);
    }

    #[test]
    fn bridges_leave_at_most_four_ranges(steps in prop::collection::vec((1u64..5000, 1u64..5000), 0..30), gap in prop::option::of(0u64..3000)) {
        let mut at = 0;
        let ranges: Vec<_> = steps.iter().map(|(skip, length)| { at += skip + length; at - length..at }).collect();
        let bridged = bridge(ranges.clone(), gap, RANGES);
        prop_assert!(ranges.iter().all(|range| bridged.iter().any(|b| b.start <= range.start && range.end <= b.end)));
        prop_assert!(bridged.windows(2).all(|pair| pair[0].end < pair[1].start));
        match gap {
            Some(gap) => prop_assert!(bridged.windows(2).all(|pair| pair[1].start - pair[0].end > gap)),
            None => prop_assert!(bridged.len() <= RANGES),
        }
    }
}

#[test]
fn what_is_no_window_is_refused() {
    let file = made::File { plt: true, ..made::File::default() }.bytes();
    let refused = |x, y, width, height, k| view(&file, k, &Window { x, y, width, height }, None).unwrap_err();
    for (x, y, width, height) in [(0, 0, 0, 5), (0, 0, 5, 0), (80, 0, 1, 1), (79, 0, 2, 1), (0, u32::MAX, 1, u32::MAX)]
    {
        let error = refused(x, y, width, height, 0);
        assert!(matches!(error, Error::Window { image: (80, 60), .. }), "{error}");
    }
    assert!(matches!(refused(0, 0, 41, 1, 1), Error::Window { image: (40, 30), .. }));
    assert!(refused(0, 0, 1, 1, 3).to_string().contains("the factors are 2, 4"));
    let sub_sampled = made::File { plt: true, components: vec![1, 2], ..made::File::default() }.bytes();
    let error = view(&sub_sampled, 0, &Window { x: 0, y: 0, width: 1, height: 1 }, None).unwrap_err();
    assert!(error.to_string().contains("sub-sampled"), "{error}");
    let cut = made::File { plt: true, origin: (5, 5), ..made::File::default() }.bytes();
    let error = view(&cut, 0, &Window { x: 0, y: 0, width: 1, height: 1 }, None).unwrap_err();
    assert!(error.to_string().contains("cut by the image's edge"), "{error}");
}
