//! The virtual file against an oracle: the same file, materialised whole and read from memory.

use std::sync::Arc;

use proptest::prelude::*;

use super::at_place::{check_end, opened};
use super::virtual_file::Expected;
use super::*;
use crate::error::{Error, Result};
use crate::index::{Record, RecordKey, scan};
use crate::jp2::{LBox, made};
use crate::layout::{Content, VirtualOffset};
use crate::path::Location;
use crate::source::memory::Memory;
use crate::source::{Access, Caller, Meta, Source};

/// A file, and what reading it must give.
pub(super) struct Case {
    pub(super) file: VirtualFile,
    pub(super) memory: Arc<Memory>,
    pub(super) oracle: Vec<u8>,
}

/// `name` keeps the files of different tests apart in the process's cache.
fn case(name: &str, made: &made::File, change: impl FnOnce(&mut Record)) -> Case {
    case_with(name, made, &[], |_| Ok(()), change)
}

/// The same, its row unchanged.
pub(super) fn case_of(name: &str, made: &made::File) -> Case {
    case(name, made, |_| ())
}

/// The same with these options, and with what happens before ranges are read.
pub(super) fn case_with(
    name: &str,
    made: &made::File,
    options: &[(&str, &str)],
    before: fn(&Memory) -> Result<()>,
    change: impl FnOnce(&mut Record),
) -> Case {
    let bytes = made.bytes();
    let mut memory = Memory::new(&format!("mem://{name}"), bytes.clone());
    memory.before = before;
    let memory = Arc::new(memory);
    let mut record = Record::from_scan(RecordKey::default(), name, memory.origin(), scan(&*memory).unwrap());
    change(&mut record);
    let opened = opened(&record, &*memory).unwrap();
    let file = VirtualFile::new(name.to_owned(), memory.clone(), access(options), opened);
    let oracle = materialise(&file, &bytes);
    memory.reads.lock().unwrap().clear();
    Case { file, memory, oracle }
}

/// A caller with these options, without a store on the disk.
pub(super) fn caller(set: &[(&str, &str)]) -> Caller<'static> {
    let usual = [("VSITLM_MERGE_GAP", "100"), ("VSITLM_CACHE_DIR", "NO"), ("VSITLM_OVERVIEWS", "ALL")];
    Caller::of_options(&[set, &usual].concat())
}

/// How such a caller reaches a file.
pub(super) fn access(set: &[(&str, &str)]) -> Access {
    caller(set).access(&Location::Host("/vsimem/x.jp2".into())).unwrap()
}

/// The whole of a virtual file over `source`.
pub(super) fn materialise(file: &VirtualFile, source: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (_, content) in file.layout.segments_from(VirtualOffset(0)) {
        match content {
            Content::Inline(inline) => out.extend_from_slice(inline),
            Content::Source(range) => out.extend_from_slice(&source[range.start.0 as usize..range.end.0 as usize]),
        }
    }
    out
}

pub(super) fn read(file: &VirtualFile, offset: u64, length: usize, ahead: &mut Ahead) -> Vec<u8> {
    let mut buffer = vec![0xEE; length];
    let done = file.read_at(offset, &mut buffer, ahead).unwrap();
    buffer.truncate(done);
    buffer
}

/// Where the tile-parts of a virtual file begin: the offsets of their SOT markers.
fn sots(case: &Case) -> Vec<usize> {
    let header = case.oracle.windows(12).position(|w| w.starts_with(&[0xFF, 0x90, 0, 10])).unwrap();
    let mut at = header;
    let mut found = Vec::new();
    while case.oracle[at..].starts_with(&[0xFF, 0x90]) {
        found.push(at);
        at += u32::from_be_bytes(case.oracle[at + 6..at + 10].try_into().unwrap()) as usize;
    }
    found
}

#[test]
fn every_byte_is_the_oracles() {
    for (number, made) in [
        made::File::default(),
        made::File { plt: true, jp2c: Some(LBox::Short(0)), trailer: vec![7; 3000], ..made::File::default() },
        made::File { parts: 3, plt: true, reversed: true, ..made::File::default() },
        made::File { tlm: true, ..made::File::default() },
        made::File { jp2c: None, open_end: true, ..made::File::default() },
    ]
    .iter()
    .enumerate()
    {
        for step in [1, 7, 1024, 1 << 20] {
            let case = case(&format!("every-{number}-{step}"), made, |_| ());
            let mut ahead = Ahead::default();
            let mut copy = Vec::new();
            loop {
                let piece = read(&case.file, copy.len() as u64, step, &mut ahead);
                if piece.is_empty() {
                    break;
                }
                copy.extend(piece);
            }
            assert!(copy == case.oracle, "file {number} by {step}");
        }
    }
}

#[test]
fn a_tile_is_one_request() {
    let case = case("one-request", &made::File { packet: 3000, ..made::File::default() }, |_| ());
    let (mut ahead, at) = (Ahead::default(), sots(&case)[2]);
    let length = sots(&case)[3] - at;
    let probe = case.file.probe(at as u64, 1024).unwrap();
    assert_eq!(probe, 12, "the SOT marker segment alone");
    assert_eq!(read(&case.file, at as u64, 12, &mut ahead), case.oracle[at..at + 12]);
    assert_eq!(case.memory.cost(), (0, 0), "answered from the index");
    read(&case.file, at as u64 + 12, 1024, &mut ahead);
    read(&case.file, at as u64 + 1036, length - 1036, &mut ahead);
    read(&case.file, (at + length) as u64, 1024, &mut ahead);
    assert_eq!(case.memory.cost(), (1, length as u64 + 1024), "the tile-part, and the kilobyte that decoders peek at");
}

#[test]
fn probes_stop_at_inline_bytes_only_where_they_may() {
    let case = case("probes", &made::File { packet: 3000, ..made::File::default() }, |_| ());
    let sot = sots(&case)[0] as u64;
    assert_eq!(case.file.probe(sot - 100, 1024), Some(114), "from the main header past the first SOT and SOD");
    assert_eq!(case.file.probe(0, sot + 12), None, "nothing of a body is asked for");
    assert_eq!(case.file.probe(sot, 1025), None, "no decoder's look");
    assert_eq!(case.file.probe(sot + 14, 1024), None, "in a body");
    assert_eq!(case.file.probe(case.file.size() - 2, 1024), None, "at the end");
}

#[test]
fn a_read_that_crosses_from_the_header_fetches_what_it_asks() {
    let case = case("ingest", &made::File { packet: 3000, ..made::File::default() }, |_| ());
    let length = sots(&case)[0] + 500;
    assert_eq!(read(&case.file, 0, length, &mut Ahead::default()), case.oracle[..length]);
    assert_eq!(case.memory.cost(), (1, 500), "from the SOT marker on, which tells whether the row is true");
}

#[test]
fn reading_on_in_order_fetches_ahead() {
    let made = made::File { width: 640, height: 640, packet: 3000, ..made::File::default() };
    let case = case("ahead", &made, |_| ());
    let mut ahead = Ahead::default();
    let sots = sots(&case);
    let tile = |number: usize, ahead: &mut Ahead| read(&case.file, sots[number] as u64 + 14, 2000, ahead);
    tile(0, &mut ahead);
    tile(1, &mut ahead);
    assert_eq!(case.memory.cost().0, 2, "two neighbours may be a window's");
    for number in 2..400 {
        tile(number, &mut ahead);
    }
    let rounds = case.memory.rounds();
    assert!(rounds < 12, "{rounds} rounds of requests for 400 tile-parts in order");
}

#[test]
fn a_row_of_another_file_is_found_at_the_first_tile_part() {
    // Reads at a tile-part, and on from the header.
    for (name, crosses) in [("other-row", false), ("other-row-ingested", true)] {
        let made = made::File { packet: 3000, ..made::File::default() };
        let case = case(name, &made, |record| {
            let (first, second) = (record.parts[0].length, record.parts[1].length);
            record.parts[0].length = first - 50;
            record.parts[1].length = second + 50;
            record.parts[1].offset -= 50;
        });
        let at = sots(&case)[1] as u64 + 12;
        let (offset, length) = if crosses { (0, at as usize + 10) } else { (at, 10) };
        let error = case.file.read_at(offset, &mut vec![0; length], &mut Ahead::default()).unwrap_err();
        assert!(matches!(error.root(), Error::Row { .. }), "{}", error.chain());
        assert!(registry::get().is_set_aside(&access(&[]).identity, &format!("mem://{name}")));
    }
}

#[test]
fn tile_parts_behind_the_tables_end_are_found() {
    // Each tile's second half follows all first ones.
    let made = made::File { parts: 2, packet: 3000, ..made::File::default() };
    let bytes = made.bytes();
    for (cheap, rest, padding) in [(true, 6, 0), (false, 6, 0), (true, 0, 9), (false, 0, 9000)] {
        let source = Memory::new("mem://end", [&bytes[..], &vec![0; padding]].concat()).cheap(cheap);
        let mut record = Record::from_scan(RecordKey::default(), "", "", scan(&source).unwrap());
        record.parts.truncate(record.parts.len() - rest);
        let structure = record.structure(record.header.as_ref().unwrap(), 0).unwrap();
        let checked = check_end(&source, &structure);
        assert_eq!(matches!(checked, Err(Error::Row { .. })), rest > 0, "{checked:?}");
    }
    // What a file usually has behind its tile-parts costs no request.
    let source = Memory::new("mem://end", [&bytes[..], &[0; 1000]].concat());
    let record = Record::from_scan(RecordKey::default(), "", "", scan(&source).unwrap());
    let structure = record.structure(record.header.as_ref().unwrap(), 0).unwrap();
    let before = source.cost();
    check_end(&source, &structure).unwrap();
    assert_eq!(source.cost(), before);
}

#[test]
fn a_changed_file_is_found_at_the_first_response() {
    let made = made::File { packet: 3000, ..made::File::default() };
    let other_etag = case("etag", &made, |record| record.etag = Some("\"old\"".into()));
    let error = other_etag.file.read_at(5_000, &mut [0; 10], &mut Ahead::default()).unwrap_err();
    assert!(error.chain().contains("\"old\"") && error.chain().contains("\"e\""), "{}", error.chain());
    let no_etag = case("no-etag", &made, |record| record.etag = None);
    no_etag.file.read_at(5_000, &mut [0; 10], &mut Ahead::default()).unwrap();
}

#[test]
fn rows_and_files_are_compared_by_what_both_tell() {
    let meta = |size, etag: Option<&str>, date| Meta { size, etag: etag.map(str::to_owned), last_modified: date };
    let row = |size, etag: Option<&str>, date| Expected { size, etag: etag.map(str::to_owned), last_modified: date };
    let fits = |row: Expected, meta| row.mismatch(&meta).is_none();
    assert!(fits(row(Some(5), Some("a"), Some(1)), meta(5, Some("a"), Some(2))), "equal ETags are the same file");
    assert!(!fits(row(Some(5), Some("a"), Some(1)), meta(5, Some("b"), Some(1))));
    assert!(fits(row(Some(5), Some("\"a\""), None), meta(5, Some("W/\"a\""), None)), "weak, but the same");
    assert!(!fits(row(Some(5), None, Some(1)), meta(5, Some("b"), Some(2))));
    assert!(!fits(row(Some(5), None, None), meta(6, None, None)));
    assert!(fits(row(None, None, None), meta(6, None, None)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_reads_are_the_oracles(
        seed: u32,
        plt: bool,
        parts in 1u8..3,
        packet in 1u32..2000,
        reads in prop::collection::vec((0usize..70_000, 0usize..9_000, any::<bool>(), 0usize..2), 1..60),
    ) {
        let made = made::File { plt, parts, packet, ..made::File::default() };
        let case = case(&format!("random-{seed}-{plt}-{parts}-{packet}"), &made, |_| ());
        let mut handles = [(Ahead::default(), 0usize), (Ahead::default(), 0usize)];
        for (offset, length, on, handle) in reads {
            let (ahead, position) = &mut handles[handle];
            let offset = if on { *position } else { offset };
            let bytes = read(&case.file, offset as u64, length, ahead);
            let end = (offset + length).min(case.oracle.len());
            prop_assert_eq!(&bytes[..], case.oracle.get(offset..end).unwrap_or_default());
            *position = offset + bytes.len();
        }
    }
}

#[test]
fn options_of_the_files_path_are_not_the_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("T31UDQ_20240601T105031_B03_10m.jp2");
    std::fs::write(&file, made::File::default().bytes()).unwrap();
    let asked = std::sync::Mutex::new(Vec::new());
    let get = |path: &str, option: &str| {
        asked.lock().unwrap().push((path.to_owned(), option.to_owned()));
        match option {
            "VSITLM_INDEX" => Some("http://127.0.0.1:1/none.parquet".to_owned()),
            "VSITLM_CACHE_DIR" => Some("NO".to_owned()),
            "GDAL_HTTP_MAX_RETRY" => Some("0".to_owned()),
            _ => None,
        }
    };
    let request = crate::path::parse(file.to_str().unwrap()).unwrap();
    open(&request, &Caller::new(&get)).unwrap();
    let paths: std::collections::BTreeSet<_> = asked.into_inner().unwrap().into_iter().collect();
    let of = |path: &str| paths.contains(&(path.to_owned(), "GDAL_HTTP_BEARER".to_owned()));
    assert!(of(file.to_str().unwrap()) && of("/vsicurl/http://127.0.0.1:1/none.parquet"));
}

#[test]
fn a_wrong_row_of_a_local_file_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jp2");
    let bytes = made::File { packet: 3000, ..made::File::default() }.bytes();
    std::fs::write(&path, &bytes).unwrap();
    let request = crate::path::parse(path.to_str().unwrap()).unwrap();
    let caller = caller(&[]);
    let source = caller.source(&request.location).unwrap();
    let mut record = Record::from_scan(RecordKey::default(), "x.jp2", source.origin(), scan(&*source).unwrap());
    let right = opened(&record, &*source).unwrap().layout;
    (record.parts[0].tile, record.parts[1].tile) = (record.parts[1].tile, record.parts[0].tile);
    assert!(
        opened(&record, &*source).is_ok_and(|opened| opened.layout != right),
        "it contradicts nothing but the file"
    );
    crate::index::learned_put(&caller.access(&request.location).unwrap(), &record);
    let file = open(&request, &caller).unwrap();
    assert!(file.layout == right, "the row was set aside");
}
