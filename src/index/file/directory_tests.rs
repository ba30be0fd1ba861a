//! Directories, and look-ups by them.

use std::sync::OnceLock;

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;

use super::*;
use crate::index::format::columns::Column;
use crate::index::lookup::find::tests::{ask_bytes, record};
use crate::index::row::write::build_index;
use crate::index::{Record, RecordKey};
use crate::path::{Key, key_of_names};

/// Rows of bands whose files have a TLM of their own, so that they are made and stored cheaply: 100 row groups.
fn rows() -> &'static [Record] {
    static ROWS: OnceLock<Vec<Record>> = OnceLock::new();
    ROWS.get_or_init(|| (0..25_600).map(|number| row(number / 16, number % 16)).collect())
}

fn row(product: u32, band: u32) -> Record {
    let (month, day, hour, minute) = (1 + product / 672 % 12, 1 + product / 24 % 28, product % 24, product % 60);
    let product = format!(
        "S2A_MSIL2A_2024{month:02}{day:02}T{hour:02}{minute:02}31_N0511_R051_T31UDQ_20241231T{:06}",
        product % 7919
    );
    let origin = format!("s3://eodata/{product}/B{band:02}");
    let key =
        RecordKey { product_id: product, mgrs_tile: "31UDQ".into(), band_id: format!("B{band:02}"), resolution: 10 };
    Record {
        key,
        first_sot: None,
        header: None,
        parts: Vec::new(),
        has_tlm: true,
        ranges: None,
        origin: Some(origin),
        ..record("", "B01", 60)
    }
}

fn key_of(row: &Record) -> Key {
    let time = row.key.product_id.split('_').nth(2).unwrap();
    key_of_names(&format!("{}.SAFE/T31UDQ_{time}_{}_10m.jp2", row.key.product_id, row.key.band_id)).unwrap()
}

/// An index of [`rows`].
fn index() -> Bytes {
    static INDEX: OnceLock<Bytes> = OnceLock::new();
    INDEX.get_or_init(|| build_index(rows()).unwrap().into()).clone()
}

fn of_footer(bytes: &Bytes) -> Groups {
    let footer = ParquetMetaDataReader::new().parse_and_finish(bytes).unwrap();
    Groups::of_footer(footer.file_metadata().schema_descr(), footer.row_groups(), bytes.len() as u64).unwrap()
}

/// Where the directory of [`index`] lies.
fn range(bytes: &Bytes) -> Range<usize> {
    let place = place(&bytes[bytes.len() - 65_536..], bytes.len() as u64).unwrap();
    place.start as usize..place.end as usize
}

#[test]
fn a_directory_tells_what_the_footer_tells() {
    let bytes = index();
    let footer = of_footer(&bytes);
    let place = range(&bytes);
    let told = parse(&bytes[place.clone()], place.start as u64, bytes.len() as u64).unwrap();
    assert_eq!(told.groups(), footer.groups());
    assert_eq!((told.groups().len(), told.groups()[99].rows), (100, 256));
    for (told, footer) in told.columns().iter().zip(footer.columns()) {
        let of = |column: &ColumnDescPtr| {
            (column.path().clone(), column.physical_type(), column.max_def_level(), unit_number(column))
        };
        assert_eq!(told.as_ref().map(of), footer.as_ref().map(of));
    }
    assert!(told.columns()[Column::OverviewFactor as usize].is_none());
    let few = build_index(&rows()[..FEW * 256]).unwrap();
    assert!(super::place(&few, few.len() as u64).is_none(), "the footer is short");
}

#[test]
fn a_look_up_takes_the_end_the_directory_and_a_row_group() {
    let bytes = index();
    let row = &rows()[12_345];
    let (found, memory) = ask_bytes("https://test/directory.parquet", bytes.clone(), &key_of(row));
    assert_eq!(found.records, std::slice::from_ref(row), "{:?}", found.warnings);
    let place = range(&bytes);
    let reads = memory.reads.lock().unwrap().clone();
    assert_eq!(reads.len(), 3, "{reads:?}");
    assert_eq!(reads[1], (place.start as u64, place.len() as u64));
    assert_eq!(*memory.heads.lock().unwrap(), 0);
}

/// Whatever is wrong with the directory, the footer tells.
#[test]
fn a_directory_that_does_not_fit_is_none() {
    let good = index();
    let place = range(&good);
    let key = good.windows(KEY.len()).rposition(|window| window == KEY).unwrap();
    let size = good.len() as u64;
    let row = &rows()[777];
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes
    };
    let other = changed(key + KEY.len() + 2, b'9');
    let cases = [
        ("far", changed(key + KEY.len() + 5, b'x')),
        ("place", other),
        ("magic", changed(place.start, b'X')),
        ("version", changed(place.start + 4, 9)),
        ("sum", changed(place.start + 5, good[place.start + 5] ^ 1)),
        ("frame", changed(place.end - 9, good[place.end - 9] ^ 1)),
    ];
    for (name, bytes) in cases {
        let (found, memory) = ask_bytes(&format!("https://test/directory-{name}.parquet"), bytes, &key_of(row));
        assert_eq!((found.records.len(), found.warnings.len()), (1, 0), "{name}: {:?}", found.warnings);
        assert!(memory.cost().0 <= 4, "{name}: {:?}", memory.cost());
    }
    // In another place, or of a shorter file, it is none either.
    assert!(parse(&good[place.clone()], place.start as u64 + 1, size).is_none());
    assert!(parse(&good[place.clone()], place.start as u64, 10_000).is_none());
    let inside = |offset: u64, length: u64| {
        let value = format!("{offset} {length}");
        let entry = [KEY, &[0x18, value.len() as u8], value.as_bytes(), &[0; 40]].concat();
        super::place(&entry, 10 << 20)
    };
    assert_eq!(inside(100, 50), Some(100..150));
    assert_eq!((inside(100, MOST + 1), inside(10 << 20, 1), inside(u64::MAX, 1)), (None, None, None));
}

fn rows_of(claimed: u64) -> Option<u32> {
    crate::index::file::groups::rows(claimed).ok()
}

/// A directory around these bytes.
fn framed(whole: &[u8]) -> Vec<u8> {
    let frame = zstd::bulk::compress(whole, 1).unwrap();
    [MAGIC, &xxh64(&frame, 7).to_le_bytes(), &frame].concat()
}

#[test]
fn what_a_directory_claims_is_bounded() {
    let bytes = index();
    let place = range(&bytes);
    let whole = zstd::bulk::decompress(&bytes[place.start + FIXED..place.end], 1 << 20).unwrap();
    assert!(parse(&framed(&whole), 7, bytes.len() as u64).is_some());
    assert!(parse(&framed(&[&whole[..], &[0]].concat()), 7, bytes.len() as u64).is_none(), "more than there should be");
    assert!(parse(&framed(&vec![0; MOST_WHOLE as usize + 1]), 7, 1 << 40).is_none());
    assert_eq!((rows_of(4 << 20), rows_of(u64::MAX)), (Some(4 << 20), None));
    // More row groups than there are bytes of them.
    let columns = 1 + 5 * usize::from(whole[0]);
    let groups = [&whole[..columns], &[0xFF, 0xFF, 0xFF, 0x7F], &[0; 100]].concat();
    assert!(parse(&framed(&groups), 7, 1 << 40).is_none());
    // Long product ids by few bytes: the first has 2,000, all others are the same.
    let count = 4_096u64;
    let mut long = whole[..columns].to_vec();
    put_varint(&mut long, count);
    (0..count).for_each(|_| put_varint(&mut long, 256));
    long.push(0);
    put_varint(&mut long, 2_000);
    long.extend([b'S'; 2_000]);
    (1..2 * count).for_each(|_| {
        put_varint(&mut long, 2_000);
        long.push(0);
    });
    long.extend(vec![0; 2 * count as usize * usize::from(whole[0])]);
    assert!(parse(&framed(&long), 7, 1 << 40).is_none());
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let _ = place(&[KEY, &bytes].concat(), 1 << 30);
        let _ = parse(&bytes, 7, 1 << 30);
        let _ = parse(&framed(&bytes), 7, 1 << 30);
        let good = index();
        let place = range(&good);
        let mut whole = zstd::bulk::decompress(&good[place.start + FIXED..place.end], 1 << 20).unwrap();
        for (at, byte) in changes {
            let at = at.index(whole.len());
            whole[at] = byte;
        }
        if let Some(groups) = parse(&framed(&whole), 7, good.len() as u64) {
            for group in groups.groups() {
                assert!(group.chunks.iter().all(|chunk| chunk.range().end <= good.len() as u64));
            }
        }
    }
}

/// What the row groups of a million rows take: chunks as those of 10 m rows are long, products of many tiles.
#[test]
fn a_million_rows_take_little() {
    let mut noise = 88_172_645_463_325_252u64;
    let mut up_to = |below: u64| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise % below
    };
    let columns = of_footer(&index()).columns().clone();
    let mut start = 4;
    let groups: Vec<_> = (0..3_907u64)
        .map(|number| {
            let (day, second) = (number / 11, number % 11 * 7_200 + up_to(7_200));
            let mut product = || {
                let tile = up_to(60);
                let orbit = 1 + up_to(143);
                let made = up_to(86_400);
                let text = format!(
                    "S2A_MSIL2A_2024{:02}{:02}T{second:06}_N0511_R{orbit:03}_T{tile:02}UDQ_2024{:02}{:02}T{made:06}",
                    1 + day / 30,
                    1 + day % 30,
                    1 + day / 30,
                    1 + day % 30,
                );
                text.into_bytes().into()
            };
            let products = Some((product(), product()));
            start += 4_000 + up_to(2_000);
            let chunks = columns.iter().flatten().map(|column| {
                let length = match column.name() {
                    "resolution_ends" => 380_000 + up_to(30_000),
                    "index" => 120_000 + up_to(10_000),
                    _ => 300 + up_to(3_000),
                };
                let chunk = Chunk { start, length: length as u32, compression: codec_of(6).unwrap() };
                start = chunk.range().end;
                chunk
            });
            RowGroup { rows: 256, chunks: chunks.collect(), products }
        })
        .collect();
    let groups = Groups::new(columns, groups);
    let directory = build(&groups, start).unwrap();
    println!("{} bytes of directory, {} in memory, of {start} bytes of rows", directory.len(), groups.memory());
    let told = parse(&directory, start, start).unwrap();
    assert_eq!(told.groups(), groups.groups());
    assert!(directory.len() < 250_000, "{} bytes", directory.len());
    assert!(told.memory() < 3 << 20, "{} bytes", told.memory());
}
