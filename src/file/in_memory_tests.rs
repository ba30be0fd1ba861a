//! A tile by itself gives the samples that it has in its file, or an error: whatever is missing of it.

use super::*;
use crate::decode::Values;
use crate::error::Error;
use crate::jp2::{Progress, Sot, packet_lengths, parse_main_header, parse_tile_part_header};

/// Bare codestreams of one component: tile-parts by resolution and by layer, tiles at odd places of the grid, code-blocks of
/// every style.
const FILES: [&[u8]; 4] = [
    include_bytes!("../../tests/data/packets/lrcp_parts.j2k"),
    include_bytes!("../../tests/data/packets/lrcp_layers.j2k"),
    include_bytes!("../../tests/data/packets/rpcl_offsets.j2k"),
    include_bytes!("../../tests/data/packets/rlcp_styles.j2k"),
];

/// A file's main header, and the tile-parts of each tile.
fn taken_apart(bytes: &[u8]) -> (&[u8], Vec<Vec<&[u8]>>) {
    let Progress::Done(main) = parse_main_header(bytes, bytes.len() as u64).unwrap() else { panic!("a whole file") };
    let mut tiles = vec![Vec::new(); main.siz.tiles() as usize];
    let (header, mut rest) = bytes.split_at(main.end as usize);
    while rest.starts_with(&[0xFF, 0x90]) {
        let sot = Sot::parse(rest, 0).unwrap();
        let (part, behind) = rest.split_at(sot.length as usize);
        tiles[usize::from(sot.tile)].push(part);
        rest = behind;
    }
    (header, tiles)
}

/// The numbers of resolutions that a file has.
fn levels(bytes: &[u8]) -> u8 {
    let Progress::Done(main) = parse_main_header(bytes, bytes.len() as u64).unwrap() else { panic!("a whole file") };
    main.coding.default.levels
}

/// How many bytes of the tile-parts of a tile, side by side, the image at 1/2^k needs.
fn needed(file: &[u8], tile: u32, parts: &[&[u8]], k: u8) -> usize {
    use crate::jp2::Packets;
    let Progress::Done(main) = parse_main_header(file, file.len() as u64).unwrap() else { panic!("a whole file") };
    let packets = parts.iter().map(|part| {
        let header = parse_tile_part_header(part, 0, part.len() as u32, &main).unwrap();
        let Progress::Done(header) = header else { panic!("a whole tile-part") };
        (0, &part[header.packets as usize..])
    });
    let packets: Vec<_> = packets.collect();
    let lengths = packet_lengths(&main.siz, &main.coding, tile, &packets).unwrap();
    let mut order = Packets::new(&main.siz, &main.coding, tile);
    let (mut start, mut needed) = (0, 0);
    for ((part, (_, packets)), lengths) in parts.iter().zip(&packets).zip(lengths) {
        let mut at = start + part.len() - packets.len();
        for (length, packet) in lengths.iter().zip(order.by_ref()) {
            at += *length as usize;
            if main.coding.component(packet.component).levels - packet.resolution >= k {
                needed = at;
            }
        }
        start += part.len();
    }
    needed
}

fn bytes_of(samples: &Samples) -> ([usize; 3], Vec<u8>) {
    (samples.shape, samples.rectangle((0, 0), (samples.shape[2], samples.shape[1])))
}

/// The samples that the tile has in its file.
fn right(file: &[u8], tile: u32, k: u8) -> ([usize; 3], Vec<u8>) {
    let Progress::Done(main) = parse_main_header(file, file.len() as u64).unwrap() else { panic!("a whole file") };
    let (image, of_tile) = (main.siz.component_area(0, k).unwrap(), main.siz.tile_area(tile, 0, k).unwrap());
    let (x, y) = (of_tile.0.start - image.0.start, of_tile.1.start - image.1.start);
    let window = Window { x, y, width: of_tile.0.len() as u32, height: of_tile.1.len() as u32 };
    bytes_of(&decode_bytes(file, Some(&window), k, Some(&[1]), 1).unwrap())
}

#[test]
fn a_tile_by_itself_is_what_it_is_in_its_file() {
    for file in FILES {
        let (header, tiles) = taken_apart(file);
        for (tile, parts) in (0..).zip(&tiles) {
            for k in 0..=levels(file) {
                let right = right(file, tile, k);
                for end in [&[][..], &[0xFF, 0xD9]] {
                    let bytes = [header, &parts.concat(), end].concat();
                    let whole = decode_tile(&bytes, None, k, None, 2).unwrap();
                    assert_eq!(bytes_of(&whole), right, "tile {tile} at 1/2^{k}");
                    let [_, height, width] = whole.shape;
                    // Filled up with 0 where the image ends.
                    let tile = WholeTile::new(&bytes, k).unwrap();
                    let mut padded = vec![7; tile.bytes() as usize + 1];
                    tile.decode(1, &mut padded[..tile.bytes() as usize]).unwrap();
                    let (across, down) = (tile.size.0 as usize, tile.size.1 as usize);
                    assert!(across >= width && down >= height && padded.pop() == Some(7));
                    assert_eq!(padded, whole.rectangle((0, 0), (across, down)));
                    // A window that reaches beyond the tile has what the tile has.
                    let window = Window { x: 1, y: 2, width: u32::MAX, height: u32::MAX };
                    let part = decode_tile(&bytes, Some(&window), k, None, 1).unwrap();
                    assert_eq!(part.shape, [1, height.saturating_sub(2), width.saturating_sub(1)]);
                    let (_, part) = bytes_of(&part);
                    assert_eq!(part, whole.rectangle((1, 2), (width.saturating_sub(1), height.saturating_sub(2))));
                    let outside = Window { x: u32::MAX, y: 0, width: 1, height: 1 };
                    let nothing = decode_tile(&bytes, Some(&outside), k, None, 1).unwrap();
                    assert_eq!(
                        (nothing.shape[2], matches!(nothing.values, Values::U8(values) if values.is_empty())),
                        (0, true)
                    );
                }
            }
        }
    }
}

#[test]
fn a_tile_that_is_cut_is_right_or_an_error() {
    for file in FILES {
        let (header, tiles) = taken_apart(file);
        for (tile, parts) in (0..).zip(&tiles) {
            let all = parts.concat();
            for k in 0..=levels(file) {
                let (right, needed) = (right(file, tile, k), needed(file, tile, parts, k));
                for length in 0..=all.len() {
                    for end in [&[][..], &[0xFF, 0xD9]] {
                        let bytes = [header, &all[..length], end].concat();
                        match decode_tile(&bytes, None, k, None, 1) {
                            Ok(samples) => {
                                assert!(length >= needed, "{length} of {needed} bytes of tile {tile} at 1/2^{k}");
                                assert_eq!(bytes_of(&samples), right);
                            }
                            Err(Error::Malformed { .. }) => {
                                // In a tile-part's header nothing is known of what follows.
                                let is_within_header = length > needed && length < all.len();
                                assert!(length < needed || is_within_header, "{length} of {needed} at 1/2^{k}");
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn tile_parts_that_do_not_belong_together_are_refused() {
    let refused = |bytes: Vec<u8>, why: &str| match decode_tile(&bytes, None, 0, None, 1) {
        Err(error @ Error::Malformed { .. }) => assert!(error.to_string().contains(why), "{error}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused: {why}"),
    };
    let (header, tiles) = taken_apart(FILES[0]);
    let parts = &tiles[0];
    assert!(parts.len() > 2, "several tile-parts of one tile");
    refused([header, &parts[1..].concat()].concat(), "where tile-part 0 was expected");
    refused([header, parts[0], &parts[2..].concat()].concat(), "where tile-part 1 was expected");
    refused([header, &parts.concat(), &[0, 1, 2]].concat(), "3 bytes behind a tile-part");
    // A part that is cut has taken in the one behind it: what its last packet lacks would be taken from that.
    let k = levels(FILES[0]);
    let before = &parts[..6];
    assert_eq!(needed(FILES[0], 0, parts, k), parts[..7].concat().len(), "the seventh part ends with the last packet");
    let last = &parts[6][..parts[6].len() - 3];
    let mut open = last.to_vec();
    open[6..10].fill(0);
    for last in [last, &open] {
        let bytes = [header, &before.concat(), last, parts[7]].concat();
        assert!(matches!(decode_tile(&bytes, None, k, None, 1), Err(Error::Malformed { .. })));
    }
    let (header, tiles) = taken_apart(FILES[2]);
    assert!(tiles.len() > 1);
    refused([header, &tiles[0].concat(), &tiles[1].concat()].concat(), "tiles 0 and 1");
    let mut other = tiles[0].concat();
    other[4..6].copy_from_slice(&[1, 0]);
    refused([header, &other].concat(), "tile 256, the image has");
    refused(header.to_vec(), "first tile-part");
}
