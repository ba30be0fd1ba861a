//! Packet lengths against those of an encoder (PLT), and of packets made here.

use std::collections::BTreeMap;

use super::super::coding::ComponentCoding;
use super::super::markers::Component;
use super::super::packets::parse_tile_part_header;
use super::super::progression::tests::{coding, siz};
use super::super::{Progress, Sot, parse_main_header};
use super::*;
use proptest::prelude::*;

/// Files of tests/data/packets, which its make.sh made, with the number of packets of each.
const FILES: [(&str, &[u8], usize); 9] = [
    ("cprl_ends", include_bytes!("../../tests/data/packets/cprl_ends.j2k"), 12),
    ("lrcp_layers", include_bytes!("../../tests/data/packets/lrcp_layers.j2k"), 12),
    ("lrcp_parts", include_bytes!("../../tests/data/packets/lrcp_parts.j2k"), 9),
    ("lrcp_raw_ends", include_bytes!("../../tests/data/packets/lrcp_raw_ends.j2k"), 6),
    ("pcrl_sampling", include_bytes!("../../tests/data/packets/pcrl_sampling.j2k"), 52),
    ("rlcp_one_sample", include_bytes!("../../tests/data/packets/rlcp_one_sample.j2k"), 2),
    ("rlcp_raw", include_bytes!("../../tests/data/packets/rlcp_raw.j2k"), 2),
    ("rlcp_styles", include_bytes!("../../tests/data/packets/rlcp_styles.j2k"), 180),
    ("rpcl_offsets", include_bytes!("../../tests/data/packets/rpcl_offsets.j2k"), 156),
];

/// A tile of a file: its coding, its packets and, by PLT, their lengths.
struct Told {
    tile: u32,
    coding: TileCoding,
    parts: Vec<(u64, Vec<u8>)>,
    lengths: Vec<Vec<u32>>,
}

impl Told {
    fn read(&self, siz: &Siz) -> Result<Vec<Vec<u32>>> {
        let parts: Vec<_> = self.parts.iter().map(|(base, bytes)| (*base, &bytes[..])).collect();
        packet_lengths(siz, &self.coding, self.tile, &parts)
    }

    /// The packets of all tile-parts, as if there were one.
    fn joined(&self) -> (u64, Vec<u8>) {
        (self.parts[0].0, self.parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect())
    }
}

fn tiles(file: &[u8]) -> (Siz, Vec<Told>) {
    let Progress::Done(main) = parse_main_header(file, file.len() as u64).unwrap() else { panic!("all is there") };
    let mut tiles: BTreeMap<u16, Told> = BTreeMap::new();
    let mut at = main.end as usize;
    while file[at..].starts_with(&[0xFF, 0x90]) {
        let sot = Sot::parse(&file[at..], at as u64).unwrap();
        let parsed = parse_tile_part_header(&file[at..], at as u64, sot.length, &main).unwrap();
        let Progress::Done(header) = parsed else { panic!("all is there") };
        let (first, end) = (at + header.packets as usize, at + sot.length as usize);
        let tile = tiles.entry(sot.tile).or_insert_with(|| Told {
            tile: sot.tile.into(),
            coding: header.coding.unwrap().into_owned(),
            parts: Vec::new(),
            lengths: Vec::new(),
        });
        tile.parts.push((first as u64, file[first..end].to_vec()));
        tile.lengths.push(header.lengths);
        at = end;
    }
    (main.siz, tiles.into_values().collect())
}

#[test]
fn lengths_are_those_that_the_encoder_wrote() {
    for (name, file, packets) in FILES {
        let (siz, tiles) = tiles(file);
        for tile in &tiles {
            let lengths = tile.read(&siz).unwrap_or_else(|error| panic!("{name}, tile {}: {error}", tile.tile));
            assert_eq!(lengths, tile.lengths, "{name}, tile {}", tile.tile);
        }
        assert_eq!(tiles.iter().flat_map(|tile| &tile.lengths).map(Vec::len).sum::<usize>(), packets, "{name}");
    }
}

#[test]
fn a_cut_or_longer_tile_is_refused_with_its_place() {
    let (siz, tiles) = tiles(FILES[1].1);
    for tile in &tiles {
        let (base, bytes) = tile.joined();
        let end = base + bytes.len() as u64;
        for length in 0..bytes.len() {
            let error = packet_lengths(&siz, &tile.coding, tile.tile, &[(base, &bytes[..length])]).unwrap_err();
            let Error::Malformed { offset, .. } = error else { panic!("{error}") };
            assert!((base..end).contains(&offset), "{error}");
        }
        let longer = [&bytes[..], &[0]].concat();
        let error = packet_lengths(&siz, &tile.coding, tile.tile, &[(base, &longer)]).unwrap_err();
        assert!(
            error.to_string().contains(&format!("1 bytes after the 12 packets of tile 0 at byte {end} ")),
            "{error}"
        );
    }
}

#[test]
fn sop_and_eph_are_looked_at() {
    let (siz, tiles) = tiles(FILES[8].1);
    let tile = &tiles[0];
    assert!(tile.coding.sop && tile.coding.eph);
    let (base, bytes) = &tile.parts[0];
    let read = |coding: &TileCoding, bytes: &[u8]| packet_lengths(&siz, coding, 0, &[(*base, bytes)]).map(drop);
    let second = tile.lengths[0][0] as usize;
    assert_eq!(bytes[second..second + 6], [0xFF, 0x91, 0, 4, 0, 1]);
    let mut wrong = bytes.clone();
    wrong[second + 5] = 2;
    let error = read(&tile.coding, &wrong).unwrap_err().to_string();
    assert!(error.contains("packet 1 ") && error.contains("A.8.1"), "{error}");
    // SOP may be absent.
    let without = [&bytes[..second], &bytes[second + 6..]].concat();
    read(&tile.coding, &without).unwrap();
    let no_sop = TileCoding { sop: false, ..tile.coding.clone() };
    assert!(read(&no_sop, bytes).unwrap_err().to_string().contains("FF91"));
    let eph = bytes.windows(2).position(|two| two == EPH).unwrap();
    let without = [&bytes[..eph], &bytes[eph + 2..]].concat();
    let error = read(&tile.coding, &without).unwrap_err().to_string();
    assert!(error.contains("no EPH marker after the header of packet 0") && error.contains("A.8.2"), "{error}");
}

#[test]
fn styles_of_later_parts_are_refused() {
    let (siz, tiles) = tiles(FILES[1].1);
    let mut coding = tiles[0].coding.clone();
    coding.default.style = 0x40;
    let (base, bytes) = tiles[0].joined();
    let error = packet_lengths(&siz, &coding, 0, &[(base, &bytes)]).unwrap_err().to_string();
    assert!(error.contains("style 0x40"), "{error}");
}

#[test]
fn what_is_remembered_has_a_limit() {
    let (siz, tiles) = tiles(FILES[1].1);
    let (coding, (base, bytes)) = (&tiles[0].coding, tiles[0].joined());
    let packet = Packets::new(&siz, coding, 0).next().unwrap();
    let read = |kept: usize| {
        let mut tile = PacketReader { kept, ..PacketReader::new(&siz, coding, 0) };
        tile.packet(&bytes, base, packet).map(|_| tile.kept - kept)
    };
    let one = read(0).unwrap();
    assert!(one > 0 && read(MOST_KEPT - one).is_ok());
    let error = read(MOST_KEPT - one + 1).unwrap_err().to_string();
    assert!(error.contains("take up too much memory"), "{error}");
}

/// 2^32 by 2^32 samples in code-blocks of 4 by 4, every precinct having 2^24 of them: a reader that took the header at
/// its word would never end.
#[test]
fn huge_claims_cost_nothing() {
    let component = Component { depth: 7, dx: 1, dy: 1 };
    let edge = u32::MAX;
    let siz = Siz {
        x1: edge,
        y1: edge,
        x0: 0,
        y0: 0,
        tile_width: edge,
        tile_height: edge,
        tile_x0: 0,
        tile_y0: 0,
        components: vec![component; 3],
    };
    let default =
        ComponentCoding { levels: 32, code_block: (2, 2), style: 0, reversible: true, precincts: vec![(15, 15); 33] };
    for progression in 0..5 {
        let coding = TileCoding {
            progression,
            layers: 65_535,
            multiple_component_transform: false,
            sop: false,
            eph: false,
            default: default.clone(),
            exceptions: BTreeMap::new(),
        };
        // Not empty, and the roots of the trees leave out all that there is; or the first code-blocks are told of.
        for byte in [0x80, 0xA0, 0x00, 0xC0, 0xFE] {
            let error = packet_lengths(&siz, &coding, 0, &[(0, &[byte; 3000])]).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
        }
    }
}

/// Writes bits as B.10.1 has it.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    bits: Vec<bool>,
}

impl Writer {
    fn bit(&mut self, bit: bool) {
        self.bits.push(bit);
        let room = if self.bytes.last() == Some(&0xFF) { 7 } else { 8 };
        if self.bits.len() == room {
            self.bytes.push(self.bits.drain(..).fold(0, |byte, bit| byte << 1 | u8::from(bit)));
        }
    }

    fn number(&mut self, value: u32, count: u32) {
        (0..count).rev().for_each(|shift| self.bit(value >> shift & 1 == 1));
    }

    fn finish(mut self) -> Vec<u8> {
        while !self.bits.is_empty() || self.bytes.last() == Some(&0xFF) {
            self.bit(false);
        }
        self.bytes
    }
}

/// A tag tree written as B.10.2 has it: every level in full, the leaves first.
struct WrittenTree {
    /// The width of each level, and its nodes: value, low and known.
    levels: Vec<(u32, Nodes)>,
}

type Nodes = Vec<(u32, u32, bool)>;

impl WrittenTree {
    fn new(width: u32, height: u32, leaf: impl Fn(u32, u32) -> u32) -> Self {
        let (mut width, mut height) = (width, height);
        let mut values: Vec<u32> =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| leaf(x, y)).collect();
        let mut levels = Vec::new();
        loop {
            levels.push((width, values.iter().map(|value| (*value, 0, false)).collect()));
            if width <= 1 && height <= 1 {
                return Self { levels };
            }
            let (w, h) = (width.div_ceil(2), height.div_ceil(2));
            let mut next = vec![u32::MAX; (w * h) as usize];
            for (at, value) in values.iter().enumerate() {
                let (x, y) = (at as u32 % width, at as u32 / width);
                let parent = &mut next[(y / 2 * w + x / 2) as usize];
                *parent = (*parent).min(*value);
            }
            (width, height, values) = (w, h, next);
        }
    }

    fn write(&mut self, x: u32, y: u32, limit: u32, out: &mut Writer) {
        let mut least = 0;
        for (level, (width, nodes)) in self.levels.iter_mut().enumerate().rev() {
            let (value, low, known) = &mut nodes[((y >> level) * *width + (x >> level)) as usize];
            *low = least.max(*low);
            while *low < limit && !*known {
                *known = *low >= *value;
                out.bit(*known);
                *low += u32::from(!*known);
            }
            least = *low;
        }
    }
}

/// Writes the packets of a tile, their contents chosen by `dice`; what it returns are their bytes and lengths.
fn write_packets(siz: &Siz, coding: &TileCoding, tile: u32, mut dice: impl FnMut(u32) -> u32) -> (Vec<u8>, Vec<u32>) {
    struct Block {
        first: u32,
        passes: u32,
        lblock: u32,
    }
    struct Band {
        width: u32,
        blocks: Vec<Block>,
        inclusion: WrittenTree,
        zero_planes: WrittenTree,
    }
    let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
    let mut precincts: HashMap<(u16, u8, u64), Vec<Band>> = HashMap::new();
    let layers = u32::from(coding.layers);
    for (number, packet) in Packets::new(siz, coding, tile).enumerate() {
        let coded = coding.component(packet.component);
        let bands = precincts.entry((packet.component, packet.resolution, packet.precinct)).or_insert_with(|| {
            let grid = Resolution::new(siz, coding, tile, packet.component, packet.resolution).unwrap();
            let bands = grid.code_blocks(packet.precinct, coded.code_block);
            bands
                .map(|(width, height)| {
                    let firsts: Vec<u32> = (0..width * height).map(|_| dice(layers + 2)).collect();
                    let planes: Vec<u32> = firsts.iter().map(|_| dice(6)).collect();
                    Band {
                        width,
                        inclusion: WrittenTree::new(width, height, |x, y| firsts[(y * width + x) as usize]),
                        zero_planes: WrittenTree::new(width, height, |x, y| planes[(y * width + x) as usize]),
                        blocks: firsts.into_iter().map(|first| Block { first, passes: 0, lblock: 3 }).collect(),
                    }
                })
                .collect()
        });
        let start = bytes.len();
        if coding.sop && dice(2) == 0 {
            bytes.extend([0xFF, 0x91, 0, 4]);
            bytes.extend((number as u16).to_be_bytes());
        }
        let mut out = Writer::default();
        let mut body = 0;
        let layer = u32::from(packet.layer);
        let empty = !bands.iter().flat_map(|band| &band.blocks).any(|block| block.first == layer) && dice(2) == 0;
        out.bit(!empty);
        for band in bands.iter_mut().filter(|_| !empty) {
            for (at, block) in band.blocks.iter_mut().enumerate() {
                let (x, y) = (at as u32 % band.width, at as u32 / band.width);
                if block.first < layer {
                    let more = dice(2) == 0;
                    out.bit(more);
                    if !more {
                        continue;
                    }
                } else {
                    band.inclusion.write(x, y, layer + 1, &mut out);
                    if block.first > layer {
                        continue;
                    }
                    (1..8).for_each(|limit| band.zero_planes.write(x, y, limit, &mut out));
                }
                let passes = [1, 2, 3, 5, 6, 12, 36, 37, 164][dice(9) as usize];
                match passes {
                    1 => out.number(0, 1),
                    2 => out.number(0b10, 2),
                    3..6 => out.number(0b1100 + passes - 3, 4),
                    6..37 => out.number(0b1111 << 5 | (passes - 6), 9),
                    _ => out.number(0x1FF << 7 | (passes - 37), 16),
                }
                // Table D.9, pass by pass: where codeword segments end.
                let mut segments = vec![0u32];
                for pass in block.passes..block.passes + passes {
                    *segments.last_mut().unwrap() += 1;
                    let all = coded.style & 4 != 0;
                    let raw = coded.style & 1 != 0 && pass >= 9 && (pass - 9) % 3 != 1;
                    if all || raw {
                        segments.push(0);
                    }
                }
                segments.retain(|count| *count > 0);
                block.passes += passes;
                let most = 2 + 60 / segments.len() as u32;
                let sized: Vec<(u32, u32)> = segments.into_iter().map(|count| (count, dice(most))).collect();
                let bits = |count: u32| count.ilog2();
                while sized.iter().any(|(count, size)| *size >> (block.lblock + bits(*count)) != 0) || dice(8) == 0 {
                    block.lblock += 1;
                    out.bit(true);
                }
                out.bit(false);
                for (count, size) in sized {
                    out.number(size, block.lblock + bits(count));
                    body += size;
                }
            }
        }
        bytes.extend(out.finish());
        if coding.eph {
            bytes.extend(EPH);
        }
        bytes.extend((0..body).map(|_| dice(256) as u8));
        lengths.push((bytes.len() - start) as u32);
    }
    (bytes, lengths)
}

/// Numbers below those asked for, all told by the seed.
fn dice(mut seed: u64) -> impl FnMut(u32) -> u32 {
    move |sides| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % sides
    }
}

proptest! {
    #[test]
    fn packets_are_read_as_they_are_written(
        siz in siz(), mut coding in coding(0u8..5, 7), tile: u32, seed: u64, flags: (bool, bool),
        styles in prop::collection::vec((0u8..64, 2u8..5, 2u8..5), 5), split: prop::sample::Index,
    ) {
        let tile = tile % siz.tiles();
        (coding.sop, coding.eph) = flags;
        let coded = coding.exceptions.values_mut().chain([&mut coding.default]);
        for (coded, (style, xcb, ycb)) in coded.zip(styles) {
            (coded.style, coded.code_block) = (style, (xcb, ycb));
        }
        let (bytes, lengths) = write_packets(&siz, &coding, tile, dice(seed));
        let (first, second) = lengths.split_at(split.index(lengths.len() + 1));
        let (head, tail) = bytes.split_at(first.iter().sum::<u32>() as usize);
        let parts = [(100, head), (9000, &[][..]), (10_000, tail)];
        let read = packet_lengths(&siz, &coding, tile, &parts).unwrap();
        prop_assert_eq!(read, vec![first.to_vec(), Vec::new(), second.to_vec()]);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        file in 0usize..9, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..300), mut coding in coding(0u8..5, 16), huge in siz(), big: u32,
    ) {
        let (siz, tiles) = tiles(FILES[file].1);
        for tile in tiles {
            let (base, mut bytes) = tile.joined();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            // As far as they can be read, they are all told of.
            if let Ok(lengths) = packet_lengths(&siz, &tile.coding, tile.tile, &[(base, &bytes)]) {
                prop_assert_eq!(lengths.concat().iter().sum::<u32>() as usize, bytes.len());
            }
        }
        let siz = Siz { x1: huge.x1.max(big), tile_width: huge.tile_width.max(big), ..huge };
        coding.layers = coding.layers.max(noise.len() as u16);
        let _ = packet_lengths(&siz, &coding, 0, &[(u64::MAX - 10, &noise)]);
    }
}
