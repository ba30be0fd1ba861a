//! Lengths of packets in indexes made here: what is read, and what is refused.

use std::path::{Path, PathBuf};

use super::*;
use crate::index::batch::rows::Rows;
use crate::index::lookup::find::tests::{find_by, record};
use crate::index::row::record::Record;
use crate::index::row::write::build_index;
use crate::index::scan::{Scanned, scan};
use crate::jp2::made;
use crate::path::key_of_names;
use crate::source::Source;
use crate::source::memory::Memory;

#[test]
fn a_row_keeps_what_its_file_tells() {
    let name = "https://test/packets.parquet";
    let product = |n: u32| format!("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T{n:06}");
    let made = made::File { plt: true, levels: 3, ..made::File::default() };
    let Scanned { lengths, parts, .. } = scan(&Memory::new("https://h/x.jp2", made.bytes())).unwrap();
    let row = |n: u32| {
        let mut row = record(&product(n), "B03", 10);
        if n % 3 != 2 {
            (row.parts, row.packets) = (parts.clone(), Some(PacketLengths::new(&parts, &lengths).unwrap()));
            (row.first_sot, row.file_size) = (Some(parts[0].offset), Some(1 << 20));
        }
        row
    };
    let rows: Vec<_> = (0..30).map(row).collect();
    let memory = Arc::new(Memory::new(name, build_index(&rows).unwrap()));
    let ask = |n: u32| {
        let key = key_of_names(&format!("{}.SAFE/T31UDQ_20241016T105031_B03_10m.jp2", product(n))).unwrap();
        let source = memory.clone();
        find_by(name, &key, "", move |_: &str| Ok(source.clone() as Arc<dyn Source>)).records.remove(0)
    };
    let (one, other, without) = (ask(0), ask(1), ask(2));
    assert_eq!(memory.cost().0, 2, "no look-up reads packets");
    assert_eq!(without.packets, None);
    let read = |row: &Record| row.packets.as_ref().unwrap().lengths(&row.parts).unwrap();
    assert_eq!(read(&one), lengths);
    assert_eq!(memory.cost().0, 4, "the offset index and a page");
    assert_eq!(read(&other), lengths);
    assert_eq!(memory.cost().0, 5, "a page");
    // Those of another file are no answer.
    let error = one.packets.as_ref().unwrap().lengths(&parts[1..]).unwrap_err().chain();
    assert!(error.contains("the packets of row 0 of row group 0: "), "{error}");
}

#[test]
fn rows_that_are_copied_cost_no_request_each() {
    let made = made::File { plt: true, ..made::File::default() };
    let Scanned { lengths, parts, .. } = scan(&Memory::new("https://h/x.jp2", made.bytes())).unwrap();
    let row = |n: u32| Record {
        packets: Some(PacketLengths::new(&parts, &lengths).unwrap()),
        ..record(&format!("S2A_{n:03}"), "B03", 10)
    };
    let memory = Arc::new(Memory::new(
        "https://test/copied.parquet",
        build_index(&(0..300).map(row).collect::<Vec<_>>()).unwrap(),
    ));
    let file = Arc::new(IndexFile::open("copied", memory.clone(), false).unwrap());
    let mut rows = Rows::new(false);
    rows.add_file(&file, true, &mut |error| panic!("{error}"));
    let value = row(0).packets.unwrap().value().unwrap();
    for row in rows.iter(0..300) {
        assert_eq!(row.unwrap().packets.unwrap().value().unwrap(), value);
    }
    // The end, and of each of two row groups the look-up columns, the packets and their offset index.
    assert_eq!(memory.cost().0, 1 + 2 * 3);
}

#[test]
fn a_count_that_cannot_be_is_refused() {
    let rows = [record("P", "B03", 10)];
    let file = Arc::new(IndexFile::from_bytes("m", build_index(&rows).unwrap().into()).unwrap());
    for count in [0, -1, i64::MAX, MOST_PACKETS as i64 + 1] {
        assert!(PacketLengths::of_row(&file, 0, 0, count).unwrap_err().chain().contains("packet_count is"));
    }
    let error = PacketLengths::of_row(&file, 0, 0, 1).unwrap().lengths(&[]).unwrap_err();
    assert!(error.chain().contains("no such column"));
}

/// The JP2s below a folder.
fn jp2s(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.extension() {
            _ if path.is_dir() => jp2s(&path, found),
            Some(extension) if extension == "jp2" => found.push(path),
            _ => {}
        }
    }
}

/// What real files take: run with --nocapture, VSITLM_TEST_DATA naming their folder.
#[test]
fn real_lengths_are_kept() {
    let folder = std::env::var_os("VSITLM_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let mut files = Vec::new();
    jp2s(&folder, &mut files);
    for path in files {
        let (bytes, name) = (std::fs::read(&path).unwrap(), path.file_name().unwrap().to_string_lossy().into_owned());
        let found = scan(&Memory::new("file:///x.jp2", bytes)).unwrap();
        let packets = PacketLengths::new(&found.parts, &found.lengths);
        let packets = packets.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(packets.lengths(&found.parts).unwrap(), found.lengths, "{name}");
        println!("{name}: {} packets in {} bytes", packets.count(), packets.value().unwrap().len());
    }
}
