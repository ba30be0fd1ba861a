//! Overviews in indexes made here: what is read, and what is refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use parquet::file::metadata::ParquetMetaDataReader;

use super::*;
use crate::index::file::pages::value_of_page;
use crate::index::format::columns::MOST_PAGE;
use crate::index::format::thrift::page_of_row;
use crate::index::lookup::find::tests::{find_by, record};
use crate::index::row::record::Record;
use crate::index::row::write::build_index;
use crate::index::scan::scan;
use crate::index::{FoundRows, RecordKey};
use crate::jp2::made;
use crate::path::key_of_names;
use crate::source::memory::Memory;
use crate::source::{Meta, SourceOffset};

fn options() -> Options {
    Options::resolve(&|_| None).unwrap()
}

fn product(n: u32) -> String {
    format!("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T{n:06}")
}

/// The value with these packets, as a row that was just made has it.
fn held(k: u8, packets: &[u8]) -> EmbeddedOverviews {
    let value = [&[VERSION, k], packets].concat();
    let range = SourceOffset(0)..SourceOffset(value.len() as u64);
    EmbeddedOverviews::of_value(k, Arc::new(Memory::new("file:///held", value)), range)
}

/// Noise, other for each row.
fn packets(n: u32, length: usize) -> Vec<u8> {
    let mut noise = n.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        (noise >> 8) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// An index whose rows have overviews of so many bytes, but for every seventh.
fn index(rows: u32, length: usize) -> Vec<u8> {
    let rows: Vec<_> = (0..rows)
        .map(|n| Record {
            overviews: (n % 7 != 6).then(|| held(4, &packets(n, length + n as usize))),
            ..record(&product(n), "B03", 10)
        })
        .collect();
    build_index(&rows).unwrap()
}

/// Asks for the row of a product, in an index in memory.
fn ask(name: &str, memory: &Arc<Memory>, n: u32) -> FoundRows {
    let key = key_of_names(&format!("{}.SAFE/T31UDQ_20241016T105031_B03_10m.jp2", product(n))).unwrap();
    let source = memory.clone();
    find_by(name, &key, "", move |_: &str| Ok(source.clone() as Arc<dyn Source>))
}

fn opened(bytes: impl Into<Bytes>) -> Arc<IndexFile> {
    Arc::new(IndexFile::from_bytes("memory.parquet", bytes.into()).unwrap())
}

fn at(file: &Arc<IndexFile>, row: usize) -> EmbeddedOverviews {
    EmbeddedOverviews::of_row(file, 0, row, 16).unwrap()
}

#[test]
fn a_look_up_reads_none_and_a_value_is_read_alone() {
    const LENGTH: usize = 100_000;
    let name = "https://test/overviews.parquet";
    let memory = Arc::new(Memory::new(name, index(600, LENGTH)));
    let found = ask(name, &memory, 302);
    let [row] = &found.records[..] else { panic!("{:?}", found.warnings) };
    let (reads, looked) = memory.cost();
    let overviews = row.overviews.clone().unwrap();
    assert_eq!((overviews.k(), overviews.fetch().unwrap()), (4, (4, packets(302, LENGTH + 302).into())));
    let (after, read) = memory.cost();
    let beside = read - looked - LENGTH as u64 - 302;
    println!("look-up: {reads} reads, {looked} bytes; the overviews: {}, {beside} bytes beside them", after - reads);
    assert!(looked < 700_000 && after - reads == 2 && beside < 8_000, "{looked} {beside}");
    // Another row of the group: its page alone.
    let found = ask(name, &memory, 303);
    let (before, _) = memory.cost();
    assert_eq!(found.records[0].overviews.as_ref().unwrap().fetch().unwrap().1, packets(303, LENGTH + 303));
    assert_eq!(memory.cost().0, before + 1);
    // A row without: nothing to fetch.
    assert_eq!(ask(name, &memory, 6).records[0].overviews, None);
    assert!(ask(name, &memory, 6).warnings.is_empty());
}

#[test]
fn an_index_without_overviews_is_what_it_was() {
    let rows: Vec<_> = (0..3).map(|n| record(&product(n), "B03", 10)).collect();
    let bytes = Bytes::from(build_index(&rows).unwrap());
    let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    assert!(opened(bytes).paged(0, Paged::Overviews).is_none());
    let group = footer.row_group(0);
    assert_eq!(group.num_columns(), 25);
    assert!(group.columns().iter().all(|chunk| chunk.offset_index_offset().is_none()));
}

#[test]
fn what_is_made_is_what_is_read() {
    let (file, k) = (made::File { plt: true, levels: 3, ..made::File::default() }, 2);
    let bytes: Bytes = file.bytes().into();
    let memory = Arc::new(Memory::new("https://test/a.jp2", bytes.clone()));
    let scanned = scan(&*memory).unwrap();
    let source: Arc<dyn Source> = memory.clone();
    let whole = build_overviews(&scanned.parts, k, &source, Some(&bytes), &options()).unwrap().unwrap();
    let value = build_overviews(&scanned.parts, k, &source, None, &options()).unwrap().unwrap();
    assert_eq!(value, whole);
    let mut row = Record::from_scan(RecordKey::default(), "a.jp2", "https://test/a.jp2", scanned);
    let end = SourceOffset(value.len() as u64);
    row.overviews = Some(EmbeddedOverviews::of_value(k, Arc::new(Memory::new("v", value)), SourceOffset(0)..end));
    let file = opened(build_index(std::slice::from_ref(&row)).unwrap());
    let overviews = EmbeddedOverviews::of_row(&file, 0, 0, 4).unwrap();
    let (_, packets) = overviews.fetch().unwrap();
    let split = overviews.split(&row.parts, &packets).unwrap();
    for (part, packets) in row.parts.iter().zip(&split) {
        let head = part.head.as_ref().unwrap();
        let from = |offset: u32| (part.offset + u64::from(offset)) as usize;
        assert_eq!(packets[..], bytes[from(head.packets)..from(head.resolution_ends[1])]);
    }
    assert_eq!(split.len(), row.parts.len());
    let others = EmbeddedOverviews::of_row(&file, 0, 0, 2).unwrap();
    for wrong in [overviews.split(&row.parts, &packets.slice(1..)), others.split(&row.parts, &packets)] {
        assert!(wrong.unwrap_err().chain().contains("by its resolution_ends"));
    }
}

#[test]
fn a_file_that_does_not_tell_its_resolutions_has_none() {
    let of = |file: &made::File, k| {
        let source: Arc<dyn Source> = Arc::new(Memory::new("https://test/b.jp2", file.bytes()));
        build_overviews(&scan(&*source).unwrap().parts, k, &source, None, &options()).unwrap()
    };
    let told = made::File { plt: true, levels: 3, ..made::File::default() };
    assert!(of(&told, 3).is_ok());
    assert!(of(&told, 4).unwrap_err().contains("its coarsest factor is 8"));
    assert!(of(&made::File { plt: false, ..told.clone() }, 1).unwrap_err().contains("not known"));
    assert!(of(&made::File { tlm: true, ..told }, 1).unwrap_err().contains("not known"), "remote: no heads yet");
    assert!(overview_ranges(&[], 1).is_err());
}

#[test]
fn factors_are_powers_of_two() {
    for (factor, k) in [(2, 1), (16, 4), (1 << 32, 32)] {
        assert_eq!(parse_factor(factor), Ok(k));
    }
    for factor in [0, 1, 3, 24, 1 << 33, u64::MAX] {
        assert!(parse_factor(factor).unwrap_err().contains("power of two from 2 to 4294967296"), "{factor}");
    }
    assert!(EmbeddedOverviews::of_row(&opened(index(1, 10)), 0, 0, -16).is_err());
}

/// A copy of `good` with some bytes, which stand there once, replaced.
fn patched(good: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<_> = good.windows(from.len()).enumerate().filter(|(_, window)| *window == from).collect();
    let [(place, _)] = places[..] else { panic!("{} places", places.len()) };
    [&good[..place], to, &good[place + from.len()..]].concat()
}

fn varint(value: i64) -> Vec<u8> {
    let mut value = (value << 1 ^ value >> 63) as u64;
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Asks an index in memory for a row's overviews, which cannot be had.
fn refused(bytes: Vec<u8>, row: usize) -> String {
    let error = at(&opened(bytes), row).fetch().unwrap_err();
    assert!(matches!(error, Error::Index { .. }));
    let text = error.chain();
    assert!(text.contains("memory.parquet"), "{text}");
    text
}

#[test]
fn corrupt_columns_are_refused() {
    let good = index(8, 5_000);
    let file = opened(good.clone());
    assert_eq!(at(&file, 1).fetch().unwrap().1, packets(1, 5_001));
    assert!(refused(good.clone(), 6).contains("row 6 of row group 0: null"));
    assert!(refused(good.clone(), 8).contains("offset index without its page"));
    assert!(EmbeddedOverviews::of_row(&file, 1, 0, 16).unwrap().fetch().is_err(), "no such row group");

    // The page of row 1: its place, and what its header says.
    let chunk = file.paged(0, Paged::Overviews).unwrap();
    let (first, length) = (chunk.offset_index_offset().unwrap(), chunk.offset_index_length().unwrap());
    let offsets = &good[first as usize..][..length as usize];
    let page = page_of_row(offsets, 1).unwrap();
    let place = |offset: i64, length: i64| [&[0x16][..], &varint(offset), &[0x15], &varint(length), &[0x16]].concat();
    let told = place(page.offset, page.length);
    let moved = |offset: i64, length: i64| {
        let to = place(offset, length);
        assert_eq!(to.len(), told.len(), "a patch keeps every other place");
        refused(patched(&good, &told, &to), 1)
    };
    assert!(moved(page.offset + 7, page.length).contains("page header"));
    assert!(moved(page.offset, page.length + 1).contains("are left"));
    assert!(moved(page.offset, page.length - 1).contains("are left"));
    assert!(moved(first - page.length + 5, page.length).contains("page said to lie"), "beyond the chunk");
    assert!(moved(-page.offset, page.length).contains("page said to be"));
    assert!(moved(page.offset, -page.length).contains("page said to be"));
    let header = good[page.offset as usize..][..40].to_vec();
    let stored = varint(5_001 + 2 + 4 + 6);
    let sizes = |whole: &[u8], kept: &[u8]| [&[0x15, 0, 0x15][..], whole, &[0x15], kept].concat();
    assert!(header.starts_with(&sizes(&stored, &stored)), "{header:?}");
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[page.offset as usize + at..][..bytes.len()].copy_from_slice(bytes);
        refused(bad, 1)
    };
    assert!(with(1, &[4]).contains("type 2"), "a dictionary");
    assert!(with(3, &varint(1 << 12)).contains("that are 4096 where 5013 are left"));
    assert!(with(0, &sizes(&varint(i64::MAX), &stored)).contains("page"));
    // Levels, then the value: its length and its version.
    let body = (page.length - 5_013) as usize;
    assert!(with(body, &[0xFF; 4]).contains("levels that are cut"));
    assert!(with(body + 5, &[0]).contains("null"));
    assert!(with(body + 6, &[0xFF; 4]).contains("a value that is cut"));
    assert!(with(body + 6, &[1, 0]).contains("a value of"));
    assert!(with(body + 10, &[2]).contains("version 2"));
    assert!(with(body + 11, &[5]).contains("k = 5"));
}

#[test]
fn an_offset_index_that_is_cut_or_elsewhere_is_refused() {
    let good = index(8, 5_000);
    let chunk = opened(good.clone());
    let chunk = chunk.paged(0, Paged::Overviews).unwrap();
    let (first, length) = (chunk.offset_index_offset().unwrap(), i64::from(chunk.offset_index_length().unwrap()));
    let told = [varint(first), vec![0x15], varint(length)].concat();
    let moved = |offset: i64, length: i64| {
        let to = [varint(offset), vec![0x15], varint(length)].concat();
        let mut bad = patched(&good, &told, &to);
        // The footer has grown with its numbers.
        let at = bad.len() - 8;
        let footer = u32::from_le_bytes(bad[at..at + 4].try_into().unwrap()) as usize + to.len() - told.len();
        bad[at..at + 4].copy_from_slice(&(footer as u32).to_le_bytes());
        refused(bad, 7)
    };
    assert!(moved(first, length - 2).contains("without its page"));
    assert!(moved(first, i32::MAX.into()).contains("offset index said to lie"));
    assert!(moved(good.len() as i64 - 5, length).contains("offset index said to lie"));
    assert!(moved(-first, length).contains("without an offset index"));
    let mut zeros = good.clone();
    zeros[first as usize..][..length as usize].fill(0);
    assert!(refused(zeros, 7).contains("without its page"));
}

/// A file with a hole of a terabyte before its footer, which refuses to be read in large pieces.
struct Huge {
    pages: Bytes,
    footer: Bytes,
}

const HUGE: u64 = 1 << 40;

impl Source for Huge {
    fn origin(&self) -> &str {
        "https://test/huge.parquet"
    }

    fn is_cheap(&self) -> bool {
        false
    }

    fn head(&self) -> Result<Meta> {
        Ok(Meta { size: HUGE, etag: None, last_modified: None })
    }

    fn seen(&self) -> Option<Meta> {
        self.head().ok()
    }

    fn read_into(&self, _: SourceOffset, _: &mut [u8]) -> Result<()> {
        Err(Error::read("not asked for"))
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        ranges.iter().map(|range| self.read_up_to(range.start, range.end.0 - range.start.0)).collect()
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        assert!(length <= MOST_PAGE, "{length} bytes read");
        let footer = HUGE - self.footer.len() as u64;
        let byte = |at: u64| match at.checked_sub(footer) {
            Some(at) => self.footer[at as usize],
            None => self.pages.get(at as usize).copied().unwrap_or(0),
        };
        Ok((offset.0..(offset.0 + length).min(HUGE)).map(byte).collect())
    }
}

#[test]
fn nothing_larger_than_a_page_is_read_whatever_a_large_file_claims() {
    let good = index(2, 5_000);
    let file = opened(good.clone());
    let chunk = file.paged(0, Paged::Overviews).unwrap();
    let (first, length) = (chunk.offset_index_offset().unwrap(), i64::from(chunk.offset_index_length().unwrap()));
    let page = page_of_row(&good[first as usize..][..length as usize], 1).unwrap();
    let size = [&[0x16][..], &varint(chunk.compressed_size())].concat().repeat(2);
    let longer = [&[0x16][..], &varint(1 << 39)].concat().repeat(2);
    let index_at = |offset: i64, length: i64| [varint(offset), vec![0x15], varint(length)].concat();
    // Another offset index, of a page of so many bytes, at the end of the pages; and a footer that leads to it.
    let fetch = |page_length: i64, index_length: Option<i64>| {
        let end = good.len() - 8 - u32::from_le_bytes(good[good.len() - 8..][..4].try_into().unwrap()) as usize;
        let offsets = [&[0x19, 0x1C, 0x16][..], &varint(page.offset), &[0x15], &varint(page_length), &[0x16, 2, 0, 0]];
        let offsets = offsets.concat();
        let told = index_at(end as i64, index_length.unwrap_or(offsets.len() as i64));
        let footer = patched(&good[end..good.len() - 8], &index_at(first, length), &told);
        let footer = patched(&footer, &size, &longer);
        let footer = [&footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat().into();
        let source = Huge { pages: [&good[..end], &offsets].concat().into(), footer };
        let file = IndexFile::open("memory.parquet", Arc::new(source), false).unwrap();
        at(&Arc::new(file), 1).fetch()
    };
    assert_eq!(fetch(page.length, None).unwrap().1, packets(1, 5_001), "large files are read");
    assert!(fetch(MOST_PAGE as i64 + 1, None).unwrap_err().chain().contains("page said to lie"));
    assert!(fetch(i32::MAX.into(), None).unwrap_err().chain().contains("page said to lie"));
    assert!(fetch(page.length, Some(1 << 21)).unwrap_err().chain().contains("offset index said to lie"));
    assert!(fetch(page.length + 100, None).unwrap_err().chain().contains("are left"));
}

#[test]
fn a_row_with_corrupt_overviews_is_a_row() {
    let name = "https://test/overviews-corrupt.parquet";
    let good = index(2, 5_000);
    let chunk = opened(good.clone()).paged(0, Paged::Overviews).unwrap().data_page_offset() as usize;
    let bytes = [&good[..chunk], &vec![0xEE; 5_100], &good[chunk + 5_100..]].concat();
    let memory = Arc::new(Memory::new(name, bytes));
    let found = ask(name, &memory, 0);
    assert!(found.warnings.is_empty() && found.records.len() == 1, "{:?}", found.warnings);
    let text = found.records[0].overviews.as_ref().unwrap().fetch().unwrap_err().chain();
    assert!(text.contains("overviews-corrupt.parquet") && text.contains("row 0 of row group 0"), "{text}");
    // The file may be another by now: the next look-up opens it anew.
    let before = memory.cost().0;
    assert_eq!(ask(name, &memory, 0).records.len(), 1);
    assert!(memory.cost().0 > before);
}

#[test]
fn a_read_that_fails_is_told_as_such() {
    static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);
    let name = "https://test/overviews-failing.parquet";
    let mut memory = Memory::new(name, index(2, 5_000));
    memory.before = |_| match LEFT.load(Ordering::Relaxed) {
        0 => Err(Error::read("no answer")),
        _ => Ok(()),
    };
    let found = ask(name, &Arc::new(memory), 0);
    LEFT.store(0, Ordering::Relaxed);
    let error = found.records[0].overviews.as_ref().unwrap().fetch().unwrap_err();
    assert!(matches!(error.root(), Error::Read { .. }) && error.chain().contains("overviews-failing.parquet"));
}

proptest! {
    #[test]
    fn values_are_read_as_they_are_written(lengths in prop::collection::vec(prop::option::of(0usize..3_000), 1..20)) {
        let rows: Vec<_> = lengths.iter().zip(0..).map(|(length, n)| Record {
            overviews: length.map(|length| held(4, &packets(n, length))),
            ..record(&product(n), "B03", 10)
        }).collect();
        let file = opened(build_index(&rows).unwrap());
        for (row, length) in lengths.iter().enumerate() {
            let read = at(&file, row).fetch();
            match length {
                Some(length) => prop_assert_eq!(&read.unwrap().1, &packets(row as u32, *length)),
                None => prop_assert!(read.is_err()),
            }
        }
    }

    #[test]
    fn no_corruption_makes_a_fetch_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        from_end in any::<bool>(),
    ) {
        let good = index(4, 60);
        let mut bytes = good.clone();
        for (at, byte) in changes {
            // The pages and the offset indexes stand before the footer, at the end.
            let part = if from_end { 0..bytes.len() } else { bytes.len() - 1_900..bytes.len() };
            let at = part.start + at.index(part.len());
            bytes[at] = byte;
        }
        if let Ok(file) = IndexFile::from_bytes("corrupt", bytes.into()) {
            let file = Arc::new(file);
            for row in 0..5 {
                let _ = at(&file, row).fetch();
            }
        }
    }

    #[test]
    fn no_bytes_make_the_page_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), nullable in any::<bool>()) {
        let _ = page_of_row(&bytes, 0);
        let whole = index(1, 60);
        let good = opened(whole.clone());
        let (start, length) = good.paged(0, Paged::Overviews).unwrap().byte_range();
        let mut page = whole[start as usize..(start + length) as usize].to_vec();
        let length = bytes.len().min(page.len() / 2);
        let _ = value_of_page(&page.clone().into(), nullable);
        page.truncate(page.len() - length / 2);
        page[..length.min(30)].copy_from_slice(&bytes[..length.min(30)]);
        let _ = value_of_page(&page.into(), nullable);
        let _ = value_of_page(&bytes.into(), nullable);
    }
}
