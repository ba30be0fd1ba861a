//! Scans of files made here, of broken ones, and of real ones against a naive walk.

use std::path::{Path, PathBuf};

use super::*;
use crate::jp2::{LBox, made};
use crate::source::memory::Memory;

fn scanned(file: &[u8]) -> Result<Scanned> {
    scan(&Memory::new("file:///x.jp2", file.to_vec()))
}

/// Tile, offset and length of every tile-part, found by the shortest code that can.
fn naive(file: &[u8], first: u64) -> Vec<(u16, u64, u32)> {
    let mut at = first as usize;
    let mut parts = Vec::new();
    while file.get(at..at + 2) == Some(&[0xFF, 0x90]) {
        let tile = u16::from_be_bytes([file[at + 4], file[at + 5]]);
        let length = u32::from_be_bytes(file[at + 6..at + 10].try_into().unwrap());
        parts.push((tile, at as u64, length));
        at += length as usize;
    }
    parts
}

fn assert_is_naive(file: &[u8], scanned: &Scanned) {
    let parts: Vec<_> = scanned.parts.iter().map(|part| (part.tile, part.offset, part.length)).collect();
    assert_eq!(parts, naive(file, scanned.main.end));
    assert_eq!(scanned.header.len() as u64, scanned.main.end + SOT_LENGTH);
    assert_eq!(scanned.header, file[..scanned.header.len()]);
}

#[test]
fn every_kind_of_file_is_walked() {
    let base = made::File::default();
    for file in [
        base.clone(),
        made::File { jp2c: None, ..base.clone() },
        made::File { jp2c: Some(LBox::Short(0)), trailer: b"\0\0\0\x0Cxml abcd".to_vec(), ..base.clone() },
        made::File { jp2c: Some(LBox::Extended(0)), eoc: false, ..base.clone() },
        made::File { parts: 3, reversed: true, ..base.clone() },
        made::File { plt: true, tile: 8, ..base.clone() },
        made::File { tlm: true, parts: 2, ..base.clone() },
        // Too large to be read whole: tile-parts larger than a hop, and smaller.
        made::File { packet: 40_000, plt: true, ..base.clone() },
        made::File { width: 4000, height: 4000, tile: 100, packet: 60, ..base.clone() },
    ] {
        let bytes = file.bytes();
        let found = scanned(&bytes).unwrap();
        assert_is_naive(&bytes, &found);
        assert_eq!(found.has_tlm, file.tlm);
        let with_ends = found.parts.iter().filter(|p| p.head.as_ref().is_some_and(|h| !h.resolution_ends.is_empty()));
        assert_eq!(with_ends.count() == found.parts.len(), file.plt, "{file:?}");
    }
}

/// Rows outlive what they were read from by the hundred: none may hold the file.
#[test]
fn a_header_holds_no_more_memory_than_it_needs() {
    let Scanned { header, whole, .. } = scanned(&made::File::default().bytes()).unwrap();
    assert!(whole.is_some(), "the file was read at once");
    drop(whole);
    let length = header.len();
    assert!(header.try_into_mut().is_ok_and(|own| own.capacity() < length + 64));
}

#[test]
fn a_last_tile_part_may_leave_its_length_open() {
    for eoc in [true, false] {
        let closed = scanned(&made::File { eoc, ..made::File::default() }.bytes()).unwrap();
        let open = scanned(&made::File { eoc, open_end: true, ..made::File::default() }.bytes()).unwrap();
        assert_eq!(open.parts, closed.parts, "EOC: {eoc}");
    }
}

#[test]
fn a_cut_anywhere_is_told() {
    let bytes = made::File { plt: true, ..made::File::default() }.bytes();
    let whole = scanned(&bytes).unwrap();
    let last_end = whole.parts.last().unwrap().end() as usize;
    for length in (0..last_end).step_by(7).chain(last_end - 20..last_end) {
        let error = scanned(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Malformed { offset, .. } if offset <= length as u64), "{length}: {error}");
    }
    // Without its EOC marker every tile is there still.
    for length in last_end..bytes.len() {
        assert_eq!(scanned(&bytes[..length]).unwrap().parts, whole.parts);
    }
}

/// The made file with bytes of one of its SOTs changed.
fn with_sot(number: usize, at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = made::File::default().bytes();
    let sot = scanned(&bytes).unwrap().parts[number].offset as usize;
    bytes[sot + at..sot + at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn tile_parts_that_break_the_standard_are_told_by_offset_and_clause() {
    let last = 5;
    for (bytes, what) in [
        (with_sot(2, 6, &[0, 0, 0, 13]), "Psot = 13"),
        (with_sot(2, 6, &[0, 0, 0, 0]), "Psot = 0 before the last"),
        (with_sot(2, 6, &[0xFF, 0xFF, 0xFF, 0xFF]), "the file is cut"),
        (with_sot(2, 6, &[0, 0, 0, 200]), "SOT"),
        (with_sot(2, 4, &[0, 6]), "tile 6, the image has 6 tiles"),
        (with_sot(2, 4, &[0, 1]), "1 of the 6 tiles have no tile-part"),
        (with_sot(2, 0, &[0xFF, 0xD9]), "4 of the 6 tiles"),
        (with_sot(2, 0, &[0, 0]), "0000 where a tile-part"),
        (with_sot(last, 12, &[0xFF, 0x64, 0xFF, 0xFF]), "without an SOD"),
        (with_sot(last, 12, &[0, 0]), "marker segment was expected"),
    ] {
        let error = scanned(&bytes).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(what) && text.contains("at byte") && text.contains("T.800"), "{what}: {text}");
    }
}

#[test]
fn a_tile_has_at_most_255_tile_parts() {
    let bytes = made::File { width: 20, height: 20, packet: 20, parts: 255, ..made::File::default() }.bytes();
    assert_eq!(scanned(&bytes).unwrap().parts.len(), 255);
    let mut more = bytes[..bytes.len() - 2].to_vec();
    let part = scanned(&bytes).unwrap().parts[0].clone();
    more.extend_from_slice(&bytes[part.offset as usize..part.end() as usize]);
    assert!(scanned(&more).unwrap_err().to_string().contains("more than 255"));
}

#[test]
fn a_tlm_that_lies_is_not_believed() {
    let good = made::File { tlm: true, ..made::File::default() }.bytes();
    let tlm = good.windows(2).position(|pair| pair == [0xFF, 0x55]).unwrap();
    let parts = scanned(&good).unwrap().parts;
    for at in [6, 7, 8, 11] {
        let mut bytes = good.clone();
        bytes[tlm + at] ^= 1;
        let found = scanned(&bytes).unwrap();
        assert!(!found.has_tlm, "byte {at}");
        assert!(
            found.parts.iter().zip(&parts).all(|(a, b)| (a.tile, a.offset, a.length) == (b.tile, b.offset, b.length))
        );
    }
}

#[test]
fn a_tlm_whose_sum_is_right_is_found_wrong_by_a_walk() {
    let good = made::File { tlm: true, ..made::File::default() }.bytes();
    let tlm = good.windows(2).position(|pair| pair == [0xFF, 0x55]).unwrap();
    let mut bytes = good.clone();
    bytes.swap(tlm + 6, tlm + 9);
    let source = Memory::new("https://h/x.jp2", bytes);
    assert!(scan(&source).unwrap().has_tlm, "nothing of it is looked at");
    let walked = scan_without_tlm(&source).unwrap();
    assert!(!walked.has_tlm);
    assert_eq!(walked.parts, scan_without_tlm(&Memory::new("https://h/x.jp2", good)).unwrap().parts);
}

#[test]
fn what_follows_the_last_tile_part_is_no_matter() {
    let whole = made::File { plt: true, ..made::File::default() }.bytes();
    let expected = scanned(&whole).unwrap();
    let empty = |length| crate::jp2::Sot { tile: 0, length, part: 1, parts: 2 }.build();
    let stream = &whole[..whole.len() - 2];
    for rest in [
        &[0xFF, 0xD9][..],
        &[0; 5000],
        &[&[0xFF, 0xD9], &[0xA5; 5000][..]].concat(),
        &[&empty(12)[..], &[0xFF, 0xD9]].concat(),
        &[&empty(12)[..], &[0; 30]].concat(),
        &empty(12),
    ] {
        let found = scanned(&[stream, rest].concat()).unwrap();
        assert_eq!(found.parts, expected.parts, "{rest:?}");
        let record = crate::index::Record::from_scan(Default::default(), "", "", found);
        record.structure(record.header.as_ref().unwrap(), 0).unwrap();
    }
    // More packets may follow.
    let error = scanned(&[stream, &empty(12), &empty(14), &[0xFF, 0x93]].concat()).unwrap_err().to_string();
    assert!(error.contains("Psot = 12"), "{error}");
}

#[test]
fn a_box_that_claims_more_than_the_file_ends_with_it() {
    let file = made::File { jp2c: Some(LBox::Short(0)), plt: true, ..made::File::default() };
    let mut bytes = file.bytes();
    let (at, form) = scanned(&bytes).unwrap().main.jp2c.unwrap();
    let LBox::Short(length) = form else { panic!("{form:?}") };
    let expected = scanned(&bytes).unwrap().parts;
    bytes[at as usize..][..4].copy_from_slice(&(length + 100).to_be_bytes());
    assert_eq!(scanned(&bytes).unwrap().parts, expected);
}

#[test]
fn padding_of_plt_is_taken_away() {
    let plain = scanned(&made::File { plt: true, ..made::File::default() }.bytes()).unwrap();
    for parts in [1, 2] {
        let file = made::File { plt: true, parts, plt_padding: 30, ..made::File::default() };
        let found = scanned(&file.bytes()).unwrap();
        assert!(found.doubt.is_none(), "{:?}", found.doubt);
        assert!(found.parts.iter().all(|part| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty())));
        if parts == 1 {
            assert_eq!(found.lengths, plain.lengths);
        }
    }
}

#[test]
fn scanning_costs_few_requests_and_bytes() {
    let cost = |file: made::File| {
        let source = Memory::new("https://h/x.jp2", file.bytes());
        scan(&source).unwrap();
        (source.cost(), source.bytes.len() as u64)
    };
    let base = made::File { plt: true, ..made::File::default() };
    // 100 tile-parts in 2.7 MB, as a 60 m band has them.
    let ((reads, _), size) = cost(made::File { width: 320, height: 320, packet: 9000, ..base.clone() });
    assert!((2_500_000..3_000_000).contains(&size) && reads <= 3, "{reads} reads of {size} bytes");
    // Large tile-parts: one small read each.
    let ((reads, read), size) = cost(made::File { packet: 300_000, ..base.clone() });
    assert!(reads <= 7 && read < 270_000, "{reads} reads, {read} of {size} bytes");
    // A small file: all at once.
    let ((reads, read), size) = cost(base);
    assert!(reads == 1 && read <= size, "{reads} reads, {read} of {size} bytes");
}

const STRATEGIES: [Strategy; 4] = [Strategy::Auto, Strategy::Hop, Strategy::Stream, Strategy::Resync];

/// What a scan gives, to be compared.
fn outcome(source: &dyn Source, strategy: Strategy, lanes: usize) -> Result<String, String> {
    let found = scan_by(source, Effort { strategy, lanes }).map_err(|error| error.chain())?;
    let Scanned { meta, main, header, parts, has_tlm, lengths, whole, doubt } = found;
    Ok(format!("{meta:?} {main:?} {header:?} {parts:?} {has_tlm} {lengths:?} {} {doubt:?}", whole.is_some()))
}

/// A COM marker segment of the bytes of SOT marker segments, each as if a tile-part of `length` bytes began there.
fn decoys(length: u32) -> Vec<u8> {
    let sot = crate::jp2::Sot { tile: 1, length, part: 0, parts: 1 }.build();
    let body = sot.repeat(12);
    [&[0xFF, 0x64][..], &(body.len() as u16 + 2).to_be_bytes(), &body].concat()
}

/// Files that are too large to be read whole, of every structure.
fn large_files() -> Vec<made::File> {
    let large = |file: made::File| {
        // A number of packets that does not depend on their lengths.
        let (_, packets) = file.make();
        made::File { packet: 1_700_000 / packets.len() as u32, ..file }
    };
    let base = made::File { plt: true, width: 320, height: 320, ..made::File::default() };
    let mut files = made::File::many();
    files.extend([
        base.clone(),
        made::File { parts: 3, reversed: true, ..base.clone() },
        made::File { open_end: true, eoc: false, ..base.clone() },
        made::File { plt: false, tile: 8, ..base.clone() },
    ]);
    files.extend([14, 144, 9000, 60_000].map(|length| made::File { tile_segments: decoys(length), ..base.clone() }));
    files.into_iter().map(large).collect()
}

#[test]
fn every_strategy_finds_the_same() {
    for file in large_files() {
        let bytes = Bytes::from(file.bytes());
        assert!(bytes.len() > 1 << 20);
        // Cut in a packet, in a header, and not at all.
        let main_end = scan(&Memory::new("https://h/x.jp2", bytes.clone())).unwrap().main.end as usize;
        let cuts = [bytes.len() - 500, bytes.len() * 2 / 3, main_end + 14, main_end + 5];
        for (length, cheap) in
            [(bytes.len(), false), (bytes.len(), true)].into_iter().chain(cuts.map(|cut| (cut, false)))
        {
            let by = |strategy, lanes| {
                let source = Memory::new("https://h/x.jp2", bytes.slice(..length)).cheap(cheap);
                outcome(&source, strategy, lanes)
            };
            let expected = by(Strategy::Hop, 1);
            // A last tile-part whose length is left open ends wherever the file does.
            assert!(expected.is_ok() == (length == bytes.len()) || file.open_end, "{file:?}");
            for (strategy, lanes) in [
                (Strategy::Auto, 1),
                (Strategy::Auto, 16),
                (Strategy::Stream, 1),
                (Strategy::Stream, 3),
                (Strategy::Resync, 3),
                (Strategy::Resync, 16),
            ] {
                assert_eq!(by(strategy, lanes), expected, "{strategy:?} {lanes} {file:?}");
            }
        }
    }
}

#[test]
fn resync_takes_few_rounds_and_bytes() {
    // 121 tile-parts, like a 10 m band at a fifth of its size.
    let file = made::File { plt: true, width: 352, height: 352, packet: 60_000, ..made::File::default() };
    let bytes = Bytes::from(file.bytes());
    let size = bytes.len() as u64;
    for (lanes, most_rounds) in [(4, 38), (16, 15)] {
        let source = Memory::new("https://h/x.jp2", bytes.clone());
        scan_by(&source, Effort { strategy: Strategy::Resync, lanes }).unwrap();
        let ((requests, read), rounds) = (source.cost(), source.rounds());
        assert!(rounds <= most_rounds && requests <= 121 + 4 * lanes, "{rounds} rounds, {requests} requests");
        assert!((read - (256 << 10)) * 100 <= 12 * size, "{read} of {size} bytes");
        // The walk has found everything at hand: it reads one by one.
        let by_rounds = requests - 1;
        assert!(by_rounds >= rounds && rounds > 0);
    }
}

#[test]
fn a_cheap_source_is_asked_for_headers_alone() {
    let file = made::File { plt: true, packet: 30_000, ..made::File::default() };
    let source = Memory::new("file:///x.jp2", file.bytes()).cheap(true);
    assert!(scan(&source).unwrap().whole.is_none());
    let (reads, read) = source.cost();
    assert!(reads <= 7 && read <= 7 * 1024 + 8192 && source.rounds() == 0, "{reads} reads, {read} bytes");
}

/// Tile-parts of 14 bytes, each as short as one can be, cost no read each.
#[test]
fn chains_of_tiny_tile_parts_end() {
    let file = made::File { width: 8 * 250, height: 8 * 250, tile: 8, packet: 1, ..made::File::default() };
    let bytes = file.bytes();
    let main = scanned(&bytes).unwrap().main;
    let mut stream = bytes[..main.end as usize].to_vec();
    for number in 0..120_000u32 {
        let sot = crate::jp2::Sot { tile: (number % 62_500) as u16, length: 14, part: 0, parts: 0 };
        stream.extend_from_slice(&sot.build());
        stream.extend_from_slice(&[0xFF, 0x93]);
    }
    let stream = Bytes::from(stream);
    let expected = outcome(&Memory::new("https://h/x.jp2", stream.clone()), Strategy::Hop, 1);
    assert!(expected.is_ok());
    for strategy in STRATEGIES {
        let source = Memory::new("https://h/x.jp2", stream.clone());
        assert_eq!(outcome(&source, strategy, 16), expected);
        let (requests, read) = source.cost();
        assert!(requests < 2000 && read < 3 * stream.len() as u64, "{strategy:?}: {requests} requests, {read} bytes");
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_told() {
    let file = made::File { plt: true, width: 320, height: 320, packet: 9000, ..made::File::default() };
    let bytes = Bytes::from(file.bytes());
    for cheap in [false, true] {
        for strategy in STRATEGIES {
            let source = Memory::new("https://h/x.jp2", bytes.clone()).cheap(cheap);
            source.changes_after(1);
            let error = outcome(&source, strategy, 4).unwrap_err();
            assert!(error.contains("the file has changed"), "{strategy:?}: {error}");
        }
    }
}

#[test]
fn strategies_have_names() {
    assert_eq!(["auto", "hop", "stream", "resync"].map(|name| name.parse::<Strategy>().unwrap()), STRATEGIES);
    assert!("walk".parse::<Strategy>().unwrap_err().to_string().contains("auto, hop, stream or resync"));
}

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("VSITLM_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn jp2s(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            jp2s(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "jp2") {
            found.push(path);
        }
    }
}

#[test]
fn real_files_are_walked_and_kept() {
    let Some(folder) = data() else {
        println!("skipped: no ../shared/data (VSITLM_TEST_DATA)");
        return;
    };
    let mut files = Vec::new();
    jp2s(&folder, &mut files);
    assert!(!files.is_empty());
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let source = Memory::new("https://h/x.jp2", bytes.clone());
        let found = scan(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_is_naive(&bytes, &found);
        let key = crate::index::RecordKey::new(&crate::path::key_of_names(&path.to_string_lossy()).unwrap());
        let record = crate::index::Record::from_scan(key, &name, "https://h/x.jp2", found);
        record.structure(record.header.as_ref().unwrap(), 0).unwrap();
        let index = crate::index::row::write::build_index(std::slice::from_ref(&record)).unwrap();
        let file = crate::index::file::read::IndexFile::from_bytes("index", index.into()).unwrap();
        assert_eq!(crate::index::lookup::find::first_row(&file.into()).unwrap().unwrap(), record, "{name}");
        let ends = crate::index::format::blob::build_resolution_ends(&record.parts).map_or(0, |ends| ends.len());
        let (reads, read) = source.cost();
        println!(
            "{name}: {} bytes, {} tile-parts; {reads} reads of {read} bytes; {ends} bytes of resolution ends",
            bytes.len(),
            record.parts.len()
        );
    }
}
