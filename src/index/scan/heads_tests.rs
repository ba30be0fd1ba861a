//! Headers of tile-parts, read where a row lacks them, and packets that are read for want of PLT.

use super::*;
use crate::index::scan::{Scanned, scan};
use crate::jp2::{TilePartHead, made};
use crate::source::memory::Memory;

/// Files of tests/data/packets, and whether a row can tell where their resolutions end.
const FILES: [(&str, &[u8], bool); 9] = [
    ("cprl_ends", include_bytes!("../../../tests/data/packets/cprl_ends.j2k"), false),
    ("lrcp_layers", include_bytes!("../../../tests/data/packets/lrcp_layers.j2k"), false),
    ("lrcp_parts", include_bytes!("../../../tests/data/packets/lrcp_parts.j2k"), false),
    ("lrcp_raw_ends", include_bytes!("../../../tests/data/packets/lrcp_raw_ends.j2k"), false),
    ("pcrl_sampling", include_bytes!("../../../tests/data/packets/pcrl_sampling.j2k"), false),
    ("rlcp_one_sample", include_bytes!("../../../tests/data/packets/rlcp_one_sample.j2k"), true),
    ("rlcp_raw", include_bytes!("../../../tests/data/packets/rlcp_raw.j2k"), true),
    ("rlcp_styles", include_bytes!("../../../tests/data/packets/rlcp_styles.j2k"), true),
    ("rpcl_offsets", include_bytes!("../../../tests/data/packets/rpcl_offsets.j2k"), true),
];

fn scanned(file: &[u8]) -> Scanned {
    scan(&Memory::new("file:///x.jp2", file.to_vec())).unwrap()
}

fn heads(parts: &[TilePart]) -> Vec<TilePartHead> {
    parts.iter().map(|part| part.head.clone().unwrap()).collect()
}

/// Reads the heads of a file: what came of it, the tile-parts, and the source.
fn read(
    name: &str,
    file: &[u8],
    change: &dyn Fn(&mut [TilePart]),
) -> (Result<Vec<PartPackets>>, Vec<TilePart>, Arc<Memory>) {
    let Scanned { main, mut parts, .. } = scanned(file);
    parts.iter_mut().for_each(|part| part.head = None);
    change(&mut parts);
    let memory = Arc::new(Memory::new(&format!("mem://heads-{name}"), file.to_vec()));
    let options = Options::resolve(&|option| (option == "VSITLM_MERGE_GAP").then(|| "0".to_owned())).unwrap();
    let source: Arc<dyn Source> = memory.clone();
    let packets = read_heads(&source, &main, &mut parts, &options);
    (packets, parts, memory)
}

#[test]
fn heads_are_those_of_a_scan_whatever_the_header() {
    let long = made::File { plt: true, packet: 2000, layers: 400, ..made::File::default() };
    let comments = [[0xFF, 0x64, 0, 202].to_vec(), vec![7; 200]].concat().repeat(40);
    for (name, made, rounds) in [
        ("short", made::File { plt: true, packet: 2000, ..made::File::default() }, 1),
        ("no-plt", made::File { packet: 2000, ..made::File::default() }, 1),
        ("plt", long.clone(), 3),
        ("parts", made::File { parts: 3, ..long.clone() }, 2),
        ("comments", made::File { tile_segments: comments, packet: 5000, plt: true, ..made::File::default() }, 5),
    ] {
        let file = made.bytes();
        let (packets, parts, memory) = read(name, &file, &|_| ());
        assert_eq!(parts, scanned(&file).parts, "{name}");
        assert_eq!(packets.is_ok(), made.plt);
        assert_eq!(memory.rounds(), rounds, "{name}");
        for (part, packets) in parts.iter().zip(packets.into_iter().flatten()) {
            let start = part.offset as usize;
            assert_eq!(packets.segments, file[start + 12..start + packets.packets as usize - 2], "{name}");
            let bytes: u64 = packets.runs.iter().map(|run| u64::from(run.length)).sum();
            assert_eq!(u64::from(packets.packets) + bytes, u64::from(part.length));
        }
    }
}

#[test]
fn tile_parts_that_are_not_where_they_should_be_are_the_rows_fault() {
    let file = made::File { plt: true, packet: 2000, ..made::File::default() }.bytes();
    let refused = |name: &str, change: &dyn Fn(&mut [TilePart])| {
        let (packets, parts, _) = read(name, &file, change);
        assert!(matches!(packets, Err(Error::Row { .. })), "{name}: {packets:?}");
        assert!(parts.iter().all(|part| part.head.is_none()));
    };
    refused("tile", &|parts| parts[3].tile = 0);
    refused("length", &|parts| parts[3].length -= 1);
    refused("offset", &|parts| parts[3].offset += 1);
}

#[test]
fn headers_without_end_are_not_read() {
    let comment = [[0xFF, 0x64, 0xFF, 0xFF].to_vec(), vec![7; 65_533]].concat();
    let file =
        made::File { width: 32, height: 32, tile_segments: comment.repeat(17), plt: true, ..made::File::default() };
    let (packets, _, memory) = read("giant", &file.bytes(), &|_| ());
    assert!(matches!(&packets, Err(Error::NoOverview { what }) if what.contains("1048576")), "{packets:?}");
    assert!(memory.cost().1 < 4 << 20, "{} bytes", memory.cost().1);
    // So many tile-parts that looking at each is too much: nothing is read, and the row is not to blame.
    let file = made::File { plt: true, packet: 2000, ..made::File::default() }.bytes();
    let Scanned { main, parts, .. } = scanned(&file);
    let mut parts: Vec<_> = parts.iter().cycle().take(140_000).cloned().collect();
    let memory = Arc::new(Memory::new("mem://heads-many", file));
    let source: Arc<dyn Source> = memory.clone();
    let packets = read_heads(&source, &main, &mut parts, &Options::resolve(&|_| None).unwrap());
    assert!(matches!(&packets, Err(Error::NoOverview { what }) if what.contains("67108864")), "{packets:?}");
    assert_eq!(memory.rounds(), 0);
}

/// The file without its PLT marker segments.
fn without_plt(file: &[u8]) -> Vec<u8> {
    let parts = scanned(file).parts;
    let mut out = file[..parts[0].offset as usize].to_vec();
    for part in &parts {
        let bytes = &file[part.offset as usize..part.end() as usize];
        let start = out.len();
        out.extend_from_slice(&bytes[..12]);
        let mut at = 12;
        while bytes[at..at + 2] != [0xFF, 0x93] {
            let end = at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            if bytes[at..at + 2] != [0xFF, 0x58] {
                out.extend_from_slice(&bytes[at..end]);
            }
            at = end;
        }
        out.extend_from_slice(&bytes[at..]);
        let length = (out.len() - start) as u32;
        out[start + 6..start + 10].copy_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(&file[parts.last().unwrap().end() as usize..]);
    out
}

#[test]
fn packets_that_were_read_tell_what_plt_tells() {
    for (name, file, is_told) in FILES {
        let told = scanned(file);
        let file = without_plt(file);
        let Scanned { main, mut parts, .. } = scanned(&file);
        let before = heads(&parts);
        assert!(before.iter().all(|head| head.resolution_ends.is_empty()));
        let parsed = parse_packets(&Memory::new("file:///x.jp2", file), &main, &mut parts);
        assert_eq!(parsed.unwrap_or_else(|error| panic!("{name}: {error}")), told.lengths, "{name}");
        if !is_told {
            assert_eq!(heads(&parts), before, "resolutions that are mixed");
            continue;
        }
        for (head, told) in heads(&parts).iter().zip(heads(&told.parts)) {
            let lengths = |head: &TilePartHead| -> Vec<u32> {
                head.resolution_ends.iter().map(|end| end - head.packets).collect()
            };
            assert!(!told.resolution_ends.is_empty(), "{name}");
            assert_eq!(lengths(head), lengths(&told), "{name}");
        }
    }
}

#[test]
fn packets_that_cannot_be_read_are_no_overview() {
    let parsed = |made: &made::File| {
        let file = made.bytes();
        let Scanned { main, mut parts, .. } = scanned(&file);
        let memory = Memory::new("file:///x.jp2", file);
        let error = parse_packets(&memory, &main, &mut parts).unwrap_err();
        assert!(heads(&parts).iter().all(|head| head.resolution_ends.is_empty()));
        (error, memory.cost().0)
    };
    // Noise is no packets.
    let (error, _) = parsed(&made::File::default());
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let marker = |code: u8| vec![0xFF, code, 0, 5, 0, 0, 1];
    let (error, reads) = parsed(&made::File { main_segments: marker(0x5F), ..made::File::default() });
    assert!(error.to_string().contains("POC in its main header") && reads == 0, "{error}");
    let (error, _) = parsed(&made::File { tile_segments: marker(0x61), ..made::File::default() });
    assert!(error.to_string().contains("PPT in tile 0"), "{error}");
}

#[test]
fn only_lengths_that_are_wrong_are_doubted() {
    let base = made::File { plt: true, ..made::File::default() };
    let doubt = |file: &[u8]| scanned(file).doubt.map(|error| error.to_string());
    assert_eq!(doubt(&base.bytes()), None);
    assert_eq!(doubt(&made::File { plt: false, ..base.clone() }.bytes()), None, "none are told");
    // A progression that changes makes them worthless, not wrong.
    let poc = vec![0xFF, 0x5F, 0, 5, 0, 0, 1];
    assert_eq!(doubt(&made::File { main_segments: poc.clone(), ..base.clone() }.bytes()), None);
    assert_eq!(doubt(&made::File { tile_segments: poc, ..base.clone() }.bytes()), None);
    let mut file = base.bytes();
    let plt = file.windows(2).position(|two| two == [0xFF, 0x58]).unwrap();
    file[plt + 5] ^= 1;
    assert!(doubt(&file).unwrap().contains("by its PLT the packets of tile 0 end at"));
    assert!(heads(&scanned(&file).parts).iter().all(|head| head.resolution_ends.is_empty()));
}
