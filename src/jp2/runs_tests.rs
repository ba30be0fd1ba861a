//! What is taken from a tile, against packets whose places are known.

use super::super::{Progress, Sot, made, parse_main_header, parse_tile_part_header};
use super::*;

/// A file, walked.
struct Walked {
    file: Vec<u8>,
    main: MainHeader,
    parts: Vec<TilePart>,
}

impl Walked {
    fn new(made: &made::File) -> Self {
        let file = made.bytes();
        let Progress::Done(main) = parse_main_header(&file, file.len() as u64).unwrap() else { panic!("all is there") };
        let mut parts = Vec::new();
        let mut at = main.end as usize;
        while file.get(at..at + 2) == Some(&[0xFF, 0x90]) {
            let sot = Sot::parse(&file[at..], at as u64).unwrap();
            let end = main.codestream_end.unwrap_or(file.len() as u64) as u32;
            let length = if sot.length == 0 { end - at as u32 - 2 } else { sot.length };
            parts.push(TilePart { tile: sot.tile, offset: at as u64, length, head: None });
            at += length as usize;
        }
        Self { file, main, parts }
    }

    fn headers(&self) -> Vec<TilePartHeader<'_>> {
        let header = |part: &TilePart| match parse_tile_part_header(
            &self.file[part.offset as usize..],
            part.offset,
            part.length,
            &self.main,
        ) {
            Ok(Progress::Done(header)) => header,
            other => panic!("{other:?}"),
        };
        self.parts.iter().map(header).collect()
    }

    /// The bytes that 1/2^k is made of by the runs, tile by tile.
    fn taken(&self, runs: &[Vec<Run>], k: u8) -> Vec<Vec<u8>> {
        let mut tiles = vec![Vec::new(); self.main.siz.tiles() as usize];
        for ((part, header), runs) in self.parts.iter().zip(self.headers()).zip(runs) {
            let mut at = part.offset as usize + header.packets as usize;
            for run in runs {
                let end = at + run.length as usize;
                if run.levels >= k {
                    tiles[usize::from(part.tile)].extend_from_slice(&self.file[at..end]);
                }
                at = end;
            }
            assert_eq!(at as u64, part.end(), "runs are all packets");
        }
        tiles
    }

    fn ends(&self) -> Option<Vec<Vec<u32>>> {
        let headers = self.headers();
        resolution_ends(&self.main, &self.parts, &headers, &divide(&self.main, &self.parts, &headers).unwrap())
    }
}

/// The packets that 1/2^k needs, tile by tile.
fn needed(made: &made::File, file: &[u8], tiles: u32, k: u8) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new(); tiles as usize];
    for (tile, range) in made.needed(k) {
        out[usize::from(tile)].extend_from_slice(&file[range]);
    }
    out
}

#[test]
fn runs_keep_just_the_packets_that_a_view_needs() {
    for made in made::File::many() {
        let walked = Walked::new(&made);
        let runs = divide(&walked.main, &walked.parts, &walked.headers()).unwrap();
        for k in 0..=made.levels + 1 {
            let needed = needed(&made, &walked.file, walked.main.siz.tiles(), k);
            assert!(walked.taken(&runs, k) == needed, "1/2^{k} of {made:?}");
        }
        let merged = runs.iter().all(|runs| runs.windows(2).all(|pair| pair[0].levels != pair[1].levels));
        assert!(merged, "neighbours are one run");
    }
}

#[test]
fn ends_are_where_the_packets_of_a_view_end() {
    for made in made::File::many() {
        let walked = Walked::new(&made);
        let Some(ends) = walked.ends() else { continue };
        let (_, packets) = made.make();
        for ((part, header), ends) in walked.parts.iter().zip(walked.headers()).zip(ends) {
            assert_eq!(ends.len(), usize::from(made.levels) + 1);
            let range = part.offset as usize..part.end() as usize;
            let here: Vec<_> = packets.iter().filter(|packet| range.contains(&packet.range.start)).collect();
            for (k, end) in (0..=made.levels).rev().zip(ends) {
                let last = here.iter().filter(|packet| packet.levels >= k).map(|packet| packet.range.end).max();
                let expected = last.unwrap_or(range.start + header.packets as usize);
                assert_eq!(range.start + end as usize, expected, "1/2^{k} of {made:?}");
            }
        }
    }
}

#[test]
fn ends_are_known_where_resolutions_stand_one_after_the_other() {
    let base = made::File { plt: true, levels: 3, components: vec![1, 1], ..made::File::default() };
    for parts in [1, 3] {
        for (progression, layers, known) in [
            (0, 1, true),
            (0, 2, false),
            (1, 1, true),
            (1, 2, true),
            (2, 1, true),
            (2, 2, true),
            (3, 1, false),
            (4, 1, false),
        ] {
            let made = made::File { progression, layers, parts, ..base.clone() };
            assert_eq!(Walked::new(&made).ends().is_some(), known, "{progression} {layers} {parts}");
            assert_eq!(Walked::new(&made).main.coding.is_by_resolution(), known);
        }
    }
    // One component: its position does not mix resolutions with one precinct each.
    let one = made::File { progression: 4, components: vec![1], ..base.clone() };
    assert!(Walked::new(&one).ends().is_some());
    let fewer = made::File { progression: 1, coc: vec![(1, 1)], ..base };
    assert!(Walked::new(&fewer).ends().is_none(), "resolutions of one number are of different factors");
}

#[test]
fn lengths_that_do_not_add_up_are_refused_with_both_numbers() {
    // All packets in one tile-part, or one in each.
    for (parts, progression) in [(1, 0), (3, 3)] {
        let made = made::File { plt: true, parts, progression, ..made::File::default() };
        let walked = Walked::new(&made);
        let refused = |change: &dyn Fn(&mut [TilePartHeader<'_>])| {
            let mut headers = walked.headers();
            change(&mut headers);
            match divide(&walked.main, &walked.parts, &headers) {
                Err(Error::NoOverview { what }) => what,
                other => panic!("{other:?}"),
            }
        };
        let what = refused(&|headers| headers[2].lengths.truncate(0));
        let fewer = if parts == 1 { "(no PLT)" } else { "tells of 2 packets of tile 2, which has 3" };
        assert!(what.contains(fewer), "{what}");
        let what = refused(&|headers| headers[2].lengths.push(1));
        assert!(what.contains("tells of 4 packets of tile 2, which has 3"), "{what}");
        let what = refused(&|headers| headers[2].lengths[0] += 1);
        let length = walked.parts[2].length;
        assert!(what.contains(&format!("end at byte {} of a tile-part of {length} bytes", length + 1)), "{what}");
        let what = refused(&|headers| headers[2].lengths[0] = u32::MAX);
        assert!(what.contains("tile 2"), "{what}");
        let what = refused(&|headers| headers.iter_mut().for_each(|header| header.lengths.clear()));
        assert!(what.contains("no PLT"), "{what}");
        let what = refused(&|headers| headers[2].markers.extend([0xFF5F]));
        assert!(what.contains("POC in tile 2"), "{what}");
    }
}

#[test]
fn markers_of_the_main_header_forbid_it_too() {
    for (code, name) in [(0x5F, "POC"), (0x60, "PPM"), (0x5E, "RGN")] {
        let made = made::File { plt: true, main_segments: vec![0xFF, code, 0, 3, 0], ..made::File::default() };
        let walked = Walked::new(&made);
        let error = divide(&walked.main, &walked.parts, &walked.headers()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("main header"), "{error}");
    }
}
