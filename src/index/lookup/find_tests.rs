//! Look-ups in index files made here, published ones included.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::index::row::record::RecordKey;
use crate::index::row::write::build_index;
use crate::index::scan::scan;
use crate::jp2::{TilePart, TilePartHead, made};
use crate::path::key_of_names;
use crate::source::memory::Memory;
use crate::source::{OpenBy, Source};
use bytes::Bytes;

const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";

/// A row as a band of this resolution has, with as much chance in it as real ones have: 121 tile-parts at 10 m, five
/// resolutions, 2.3 kB of header.
pub(crate) fn record(product: &str, band: &str, resolution: u32) -> Record {
    let mut noise = product.bytes().chain(band.bytes()).fold(resolution, |n, b| n.wrapping_mul(31) ^ u32::from(b)) | 1;
    let mut random = |below: u32| {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        noise % below
    };
    let mut header =
        b"\0\0\0\x0CjP  \r\n\x87\n a header of a Sentinel-2 band, much the same in all of them ".repeat(28);
    header.extend(product.bytes().chain(band.bytes()));
    let first = header.len() as u64;
    let mut offset = first;
    let tiles = match resolution {
        10 => 121,
        20 => 81,
        _ => 100,
    };
    let parts: Vec<_> = (0..tiles)
        .map(|tile| {
            let packets = 45;
            let mut at = packets;
            let ends: Vec<u32> = [5_000, 15_000, 50_000, 180_000, 650_000]
                .iter()
                .map(|most| {
                    at += most / 2 + random(*most / 32);
                    at
                })
                .collect();
            let head = TilePartHead { kept: 12, packets, droppable: true, resolution_ends: ends };
            let part = TilePart { tile, offset, length: at, head: Some(head) };
            offset = part.end();
            part
        })
        .collect();
    Record {
        key: RecordKey { product_id: product.into(), mgrs_tile: "31UDQ".into(), band_id: band.into(), resolution },
        path: format!("Sentinel-2/MSI/L2A/{product}.SAFE/GRANULE/IMG_DATA/R{resolution}m/T31UDQ_{band}.jp2"),
        file_size: Some(offset + 2),
        first_sot: Some(first),
        header: Some(header.into()),
        parts,
        has_tlm: false,
        ranges: None,
        origin: Some(format!("s3://eodata/{product}/{band}")),
        etag: Some("\"0123456789abcdef\"".into()),
        last_modified: Some(1_729_000_000),
        packets: None,
        overviews: None,
    }
}

/// Asks `indexes`, which `open` gives, as a caller without credentials.
pub(crate) fn find_by(
    indexes: &str,
    key: &Key,
    origin: &str,
    open: impl Fn(&str) -> Result<Arc<dyn Source>> + Send + Sync,
) -> FoundRows {
    let files = OpenBy(|path: &str| open(path.strip_prefix("/vsicurl/").unwrap_or(path)));
    let indexes: Vec<String> = indexes.split(';').map(|index| index.trim().to_owned()).collect();
    find(&indexes, key, origin, &Caller::of_options(&[("VSITLM_TRANSPORT", "GDAL")]).with_files(&files))
}

fn key(band: &str) -> Key {
    key_of_names(&format!("{PRODUCT}.SAFE/GRANULE/x/IMG_DATA/T31UDQ_20241016T105031_{band}.jp2")).unwrap()
}

/// Asks an index in memory, under a name that no other test uses.
pub(crate) fn ask_bytes(name: &str, bytes: impl Into<Bytes>, key: &Key) -> (FoundRows, Arc<Memory>) {
    let memory = Arc::new(Memory::new(name, bytes));
    let source = memory.clone();
    (find_by(name, key, "", move |_: &str| Ok(source.clone() as Arc<dyn Source>)), memory)
}

#[test]
fn a_row_is_found_as_it_was_written() {
    let records = vec![record(PRODUCT, "B02", 10), record(PRODUCT, "B03", 10), record(PRODUCT, "B03_20m", 20)];
    let bytes = build_index(&records).unwrap();
    for (band, expected) in [("B02_10m", 0), ("B03_10m", 1), ("B03_20m", 2)] {
        let (found, _) = ask_bytes(&format!("https://test/written-{band}.parquet"), bytes.clone(), &key(band));
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        assert_eq!(found.records, [records[expected].clone()], "{band}");
    }
    let (found, _) = ask_bytes("https://test/written-none.parquet", bytes, &key("B04_10m"));
    assert!(found.records.is_empty() && found.warnings.is_empty());
}

/// Products of 16 files each, in their order.
fn products(count: u32) -> Vec<Record> {
    let bands = [
        ("AOT", 10),
        ("B01", 20),
        ("B02", 10),
        ("B03", 10),
        ("B04", 10),
        ("B05", 20),
        ("B06", 20),
        ("B07", 20),
        ("B08", 10),
        ("B09", 60),
        ("B11", 20),
        ("B12", 20),
        ("B8A", 20),
        ("SCL", 20),
        ("TCI", 10),
        ("WVP", 10),
    ];
    let mut rows = Vec::new();
    for n in 0..count {
        let (month, day, hour) = (1 + n / 140, 1 + n % 28, n / 28 % 24);
        let product = format!("S2A_MSIL2A_2024{month:02}{day:02}T{hour:02}5031_N0511_R051_T31UDQ_20241231T{n:06}");
        rows.extend(bands.iter().map(|(band, resolution)| record(&product, band, *resolution)));
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// The key of the file that a row is of.
fn key_of(row: &Record) -> Key {
    let time = row.key.product_id.split('_').nth(2).unwrap();
    let (band, resolution) = (&row.key.band_id, row.key.resolution);
    key_of_names(&format!("{}.SAFE/T31UDQ_{time}_{band}_{resolution}m.jp2", row.key.product_id)).unwrap()
}

/// Shards that come with one request, with two, and not whole.
#[test]
fn a_shard_costs_two_requests_and_its_time_series_little_more() {
    for (name, count, size, requests) in
        [("small", 30, 0..524_288, 1), ("middle", 70, 524_288..1_200_000, 2), ("large", 240, 1_200_000..5_000_000, 2)]
    {
        let rows = products(count);
        let entry = format!("https://test/shard-{name}");
        let memory = Arc::new(Memory::new(&entry, build_index(&rows).unwrap()));
        assert!(size.contains(&memory.bytes.len()), "{name}: {} bytes", memory.bytes.len());
        let source = memory.clone();
        let open = move |path: &str| -> Result<Arc<dyn Source>> {
            assert!(path.ends_with("shard-small/level=L2A/tile=31UDQ/year=2024/part-0.parquet") || name != "small");
            Ok(source.clone())
        };
        let ask = |row: &Record| {
            let found = find_by(&entry, &key_of(row), "", &open);
            assert_eq!(found.records, std::slice::from_ref(row), "{name}: {:?}", found.warnings);
        };
        // The first row group, which is the furthest from the end.
        ask(&rows[3]);
        let (reads, read) = memory.cost();
        println!("{name}: {} bytes, {reads} requests, {read} bytes read", memory.bytes.len());
        assert!(reads == requests && read <= 1_200_000, "{name}: {reads} requests, {read} bytes");
        assert_eq!(*memory.heads.lock().unwrap(), 0);
        rows[..256].iter().step_by(5).for_each(ask);
        assert_eq!(memory.cost().0, reads, "{name}: what came answers");
        rows.iter().step_by(13).for_each(ask);
        let groups = if name == "large" { rows.len() / 256 } else { 0 };
        assert!(memory.cost().0 <= reads + groups, "{name}: {:?}", memory.cost());
        let all = memory.cost();
        rows.iter().rev().step_by(17).for_each(ask);
        assert_eq!(memory.cost(), all, "{name}: each row group once");
    }
}

#[test]
fn a_row_that_is_not_there_is_looked_for_once() {
    let rows = products(400);
    let name = "https://test/shard-miss/";
    let memory = Arc::new(Memory::new(name, build_index(&rows).unwrap()));
    let source = memory.clone();
    let open = move |_: &str| -> Result<Arc<dyn Source>> { Ok(source.clone()) };
    let mut none = rows[100].clone();
    none.key.product_id.push('X');
    let misses = |key: &Key| {
        let found = find_by(name, key, "", &open);
        assert!(found.records.is_empty() && found.warnings.is_empty(), "{found:?}");
    };
    misses(&key_of(&none));
    assert!(memory.cost().0 <= 2, "{:?}", memory.cost());
    let before = memory.cost();
    misses(&key_of(&none));
    none.key.band_id = "B11".into();
    misses(&key_of(&none));
    // Before and after all of them: the statistics tell.
    none.key.product_id = "S2Z".to_owned() + &none.key.product_id[3..];
    misses(&key_of(&none));
    assert_eq!(memory.cost(), before);
}

/// Where the path tells no product, the ids say which row group has it.
#[test]
fn a_date_alone_reads_the_row_groups_that_have_it() {
    let mut rows = products(400);
    let mut other = rows.clone();
    for row in &mut other {
        row.key.product_id.replace_range(..3, "S2B");
        row.key.product_id = row.key.product_id.replace("T31UDQ", "T31UDP");
        row.key.mgrs_tile = "31UDP".into();
    }
    rows.extend(other);
    let (name, row) = ("https://test/by-date.parquet", &rows[4_003]);
    let time = row.key.product_id.split('_').nth(2).unwrap();
    let key = key_of_names(&format!("T31UDQ_{time}_{}_{}m.jp2", row.key.band_id, row.key.resolution)).unwrap();
    let (found, memory) = ask_bytes(name, build_index(&rows).unwrap(), &key);
    assert_eq!(found.records, std::slice::from_ref(row), "{:?}", found.warnings);
    assert!(memory.cost().0 <= 5 && memory.cost().1 < 600_000, "{:?}", memory.reads.lock().unwrap());
}

#[test]
fn a_large_index_is_not_read_whole() {
    let rows = products(1_600);
    let bytes = build_index(&rows).unwrap();
    let name = "https://test/large.parquet";
    let memory = Arc::new(Memory::new(name, bytes));
    let source = memory.clone();
    let open = move |_: &str| Ok(source.clone() as Arc<dyn Source>);
    let row = &rows[12_345];
    let found = find_by(name, &key_of(row), "", &open);
    assert_eq!(found.records, std::slice::from_ref(row));
    let (reads, read) = memory.cost();
    println!("{} bytes of index; first look-up: {reads} reads, {read} bytes", memory.bytes.len());
    assert!(reads <= 4 && read < 500_000, "{reads} reads, {read} bytes");
    assert!(memory.bytes.len() < 26 << 20, "{} bytes", memory.bytes.len());
    // The other bands of the product and the same again: nothing more.
    for other in rows.iter().filter(|other| other.key.product_id == row.key.product_id).take(3) {
        assert_eq!(find_by(name, &key_of(other), "", &open).records, std::slice::from_ref(other));
    }
    assert!(memory.cost().0 <= reads + 1, "{:?}", memory.cost());
}

#[test]
fn an_index_that_is_none_is_a_warning_that_names_it() {
    let good = build_index(&[record(PRODUCT, "B02", 10)]).unwrap();
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("text", b"<html>not found</html>".repeat(20)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("short", good[good.len() - 40..].to_vec()),
    ];
    let mut long = good.clone();
    let at = long.len() - 8;
    long[at..at + 4].copy_from_slice(&0x7FFF_FFFFu32.to_le_bytes());
    cases.push(("long-footer", long));
    for (name, bytes) in cases {
        let (found, _) =
            ask_bytes(&format!("https://user:secret@test/bad-{name}.parquet?secret"), bytes, &key("B02_10m"));
        let [warning] = &found.warnings[..] else { panic!("{name}: {:?}", found.warnings) };
        let text = warning.chain();
        assert!(text.contains(&format!("bad-{name}.parquet")) && !text.contains("secret"), "{text}");
        assert!(found.records.is_empty());
    }
}

#[test]
fn no_corruption_makes_a_look_up_panic() {
    let good = build_index(&[record(PRODUCT, "B02", 10), record(PRODUCT, "B03", 10)]).unwrap();
    let (key, wanted_key) = (key("B02_10m"), key("B02_10m"));
    let wanted = Wanted::new(&wanted_key, "");
    let mut noise = 88_172_645_463_325_252u64;
    for _ in 0..3_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            // The footer is the more interesting part.
            let from = if noise & 1 == 0 { 0 } else { bytes.len() - 1500 };
            let at = from + (noise >> 8) as usize % (bytes.len() - from);
            bytes[at] = (noise >> 40) as u8;
        }
        if let Ok(file) = IndexFile::from_bytes("corrupt", bytes.into()) {
            let _ = rows(&Arc::new(file), &wanted);
        }
    }
    let _ = key;
}

#[test]
fn the_next_index_is_asked_when_one_is_bad_or_silent() {
    let (bad, silent, good) =
        ("https://test/next-bad.parquet", "https://test/next-silent.parquet", "https://test/next.parquet");
    let open = |path: &str| -> Result<Arc<dyn Source>> {
        Ok(Arc::new(match path {
            path if path == bad => Memory::new(path, vec![1; 100]),
            path if path == silent => Memory::new(path, build_index(&[record("S2B", "B02", 10)]).unwrap()),
            path => Memory::new(path, build_index(&[record(PRODUCT, "B02", 10)]).unwrap()),
        }))
    };
    let found = find_by(&format!("{bad};{silent} ; {good}"), &key("B02_10m"), "", open);
    assert_eq!((found.records.len(), found.warnings.len()), (1, 1));
}

#[test]
fn a_bad_row_is_a_warning_and_the_others_are_read() {
    let mut bad = record(PRODUCT, "B02", 10);
    bad.file_size = Some(1 << 50);
    let mut lies = build_index(&[bad]).unwrap();
    // The size stands in the blob and in a column: rows whose two differ are refused.
    let mut short = record(PRODUCT, "B02", 10);
    short.parts[7].length = u32::MAX;
    let (found, _) = ask_bytes(
        "https://test/row-size.parquet",
        build_index(&[short, record(PRODUCT, "B02", 10)]).unwrap(),
        &key("B02_10m"),
    );
    assert_eq!((found.records.len(), found.warnings.len()), (1, 1));
    assert!(found.warnings[0].chain().contains("row-size.parquet, row"), "{}", found.warnings[0].chain());
    lies.truncate(lies.len() / 2);
    let (found, _) = ask_bytes("https://test/row-cut.parquet", lies, &key("B02_10m"));
    assert_eq!((found.records.len(), found.warnings.len()), (0, 1));
}

#[test]
fn a_remote_index_that_fails_is_not_asked_at_every_open() {
    for (name, times) in [("https://test/failing.parquet", 1), ("/vsimem/failing.parquet", 1)] {
        let asked = AtomicUsize::new(0);
        let open = |_: &str| {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(Error::read("no answer"))
        };
        for _ in 0..2 {
            let found = find_by(name, &key("B02_10m"), "", open);
            assert!(found.warnings[0].chain().contains("no answer"));
        }
        assert_eq!(asked.load(Ordering::Relaxed), times, "{name}");
    }
}

#[test]
fn many_products_can_be_meant() {
    let names = [
        "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206",
        "S2A_MSIL2A_20241016T105031_N0500_R051_T31UDQ_20250101T000000",
        "S2B_MSIL2A_20241016T115031_N0511_R051_T31UDQ_20241016T151206",
        "S2A_MSIL1C_20241016T105031_N0511_R051_T31UDQ_20241016T151206",
        "S2A_MSIL2A_20241017T105031_N0511_R051_T31UDQ_20241016T151206",
    ];
    let bytes = build_index(&{
        let mut rows: Vec<_> = names.iter().map(|name| record(name, "B02", 10)).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    })
    .unwrap();
    let ask = |name: &str, path: &str| {
        ask_bytes(&format!("https://test/{name}.parquet"), bytes.clone(), &key_of_names(path).unwrap()).0.records.len()
    };
    assert_eq!(ask("many-date", "tiles/31/U/DQ/2024/10/16/0/R10m/B02.jp2"), 3);
    assert_eq!(ask("many-time", "T31UDQ_20241016T105031_B02_10m.jp2"), 2);
    assert_eq!(ask("many-l1c", "T31UDQ_20241016T105031_B02.jp2"), 1);
}

#[test]
fn the_row_made_from_this_very_file_comes_first() {
    let mut rows = vec![record(PRODUCT, "B02", 10), record(PRODUCT, "B02", 10), record(PRODUCT, "B02", 10)];
    rows[0].header = None;
    rows[2].origin = Some("s3://here/x.jp2".into());
    let name = "https://test/origin.parquet";
    let bytes = build_index(&rows).unwrap();
    let open = move |path: &str| -> Result<Arc<dyn Source>> { Ok(Arc::new(Memory::new(path, bytes.clone()))) };
    let found = find_by(name, &key("B02_10m"), "s3://here/x.jp2", &open).records;
    assert_eq!(
        found
            .iter()
            .map(|row| (row.origin.as_deref() == Some("s3://here/x.jp2"), row.header.is_some()))
            .collect::<Vec<_>>(),
        [(true, true), (false, true), (false, false)]
    );
}

#[test]
fn templates_and_partitions_name_their_files() {
    let full = key("B02_10m");
    let paths = |entry: &str, key: &Key| places(entry, key).into_iter().map(|place| place.path).collect::<Vec<_>>();
    assert_eq!(paths("s3://b/v1/{level}-{mgrs_tile}.parquet", &full), ["s3://b/v1/L2A-31UDQ.parquet"]);
    assert_eq!(paths("s3://b/{year}/{mgrs_tile}.parquet", &full), ["s3://b/2024/31UDQ.parquet"]);
    assert_eq!(paths("s3://b/index.parquet", &full), ["s3://b/index.parquet"]);
    assert_eq!(paths("https://h/index/", &full), ["https://h/index/level=L2A/tile=31UDQ/year=2024/part-0.parquet"]);
    assert_eq!(paths("s3://b/index", &full), ["s3://b/index/level=L2A/tile=31UDQ/year=2024/part-0.parquet"]);
    let unknown = key_of_names("scene.jp2").unwrap();
    assert!(paths("s3://b/v1/{level}-{mgrs_tile}.parquet", &unknown).is_empty());
    assert!(paths("https://h/index/", &unknown).is_empty());
    let landsat = key_of_names("LC09_L2SP_199026_20231231_20240101_02_T1_SR_B4.TIF").unwrap();
    assert_eq!(paths("v1/{level}-{mgrs_tile}.parquet", &landsat), ["v1/L2SP-199026.parquet"]);
    assert_eq!(paths("s3://b/p/", &landsat), ["s3://b/p/level=L2SP/tile=199026/year=2023/part-0.parquet"]);
    let cog = key_of_names("S2A_5VPG_20240601_0_L2A/B04.tif").unwrap();
    assert_eq!(paths("s3://b/p/", &cog), ["s3://b/p/level=L2A/tile=05VPG/year=2024/part-0.parquet"]);
    let mask = key_of_names("tiles/31/U/DQ/2024/10/16/0/qi/MSK_DETFOO_B02.jp2").unwrap();
    assert_eq!(paths("v1/{level}-{mgrs_tile}.parquet", &mask), ["v1/L1C-31UDQ.parquet", "v1/L2A-31UDQ.parquet"]);
}

#[test]
fn a_missing_shard_is_a_miss_and_a_missing_file_a_warning() {
    let opened = AtomicUsize::new(0);
    let open = |_: &str| -> Result<Arc<dyn Source>> {
        opened.fetch_add(1, Ordering::Relaxed);
        Err(Error::not_found())
    };
    let ask = |index: &str| find_by(index, &key("B02_10m"), "", open).warnings.len();
    assert_eq!(ask("https://test/absent-{mgrs_tile}.parquet"), 0);
    assert_eq!(ask("https://test/absent-{mgrs_tile}.parquet"), 0);
    assert_eq!(opened.load(Ordering::Relaxed), 1, "asked once a minute");
    assert_eq!(ask("https://test/absent.parquet"), 1);
}

#[test]
fn a_row_of_a_file_with_its_own_tlm_keeps_its_heads() {
    let made = made::File { tlm: true, plt: true, ..made::File::default() };
    let told = made::File { tlm: false, ..made.clone() };
    let scanned = |made: &made::File| {
        let source = Memory::new("https://h/own.jp2", made.bytes());
        Record::from_scan(RecordKey::new(&key("B03_10m")), "own.jp2", "https://h/own.jp2", scan(&source).unwrap())
    };
    let mut row = scanned(&made);
    assert!(row.has_tlm && row.parts.iter().all(|part| part.head.is_none()), "remote: its TLM is taken at its word");
    // As `vsitlm index` finds them.
    for (part, other) in row.parts.iter_mut().zip(scanned(&told).parts) {
        part.head = other.head;
    }
    let (found, _) = ask_bytes("https://test/own-tlm.parquet", build_index(&[row.clone()]).unwrap(), &key("B03_10m"));
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    assert_eq!(found.records, [row.clone()]);
    let structure = row.structure(row.header.as_ref().unwrap(), 0).unwrap();
    assert_eq!(structure.tile_parts.parts(), row.parts);
    // Without them the row has no table at all: the TLM is in the header.
    row.parts.iter_mut().for_each(|part| part.head = None);
    let (found, _) = ask_bytes("https://test/own-tlm-bare.parquet", build_index(&[row]).unwrap(), &key("B03_10m"));
    assert!(found.records[0].has_tlm && found.records[0].parts.is_empty());
}
