//! What rows cost.

use super::*;
use crate::index::lookup::find::tests::record;
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;

/// A row with the lengths of a 10 m band of 108 MB, each of them somewhere between half and one and a half times the
/// one that a tile has on average, and times what the scene has in all; nothing about them can be foretold.
fn row(noise: &mut u64, product: u64) -> Record {
    let mut between = |low: f64, high: f64| {
        *noise ^= *noise << 13;
        *noise ^= *noise >> 7;
        *noise ^= *noise << 17;
        low + (high - low) * (*noise >> 11) as f64 / (1u64 << 53) as f64
    };
    let product = format!("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T{product:06}");
    let mut row = record(&product, "B03", 10);
    let scene = between(0.7, 1.3);
    let mut offset = row.first_sot.unwrap();
    for part in &mut row.parts {
        let head = part.head.as_mut().unwrap();
        head.packets = between(90.0, 110.0) as u32;
        let mut at = f64::from(head.packets);
        head.resolution_ends = [2_227.0, 6_984.0, 13_914.0, 52_603.0, 187_000.0, 663_000.0]
            .map(|mean| {
                at += mean * scene * between(0.5, 1.5);
                at as u32
            })
            .into();
        (part.offset, part.length) = (offset, at as u32);
        offset = part.end();
    }
    Record { file_size: Some(offset + 2), etag: Some(format!("\"{noise:032x}\"")), ..row }
}

/// Bands of a product at their best resolution: metres, and the bytes of a tile-part on average.
const BANDS: [(&str, u32, f64); 16] = [
    ("AOT", 10, 3_000.0),
    ("B01", 20, 150_000.0),
    ("B02", 10, 900_000.0),
    ("B03", 10, 900_000.0),
    ("B04", 10, 930_000.0),
    ("B05", 20, 350_000.0),
    ("B06", 20, 360_000.0),
    ("B07", 20, 370_000.0),
    ("B08", 10, 980_000.0),
    ("B09", 60, 27_000.0),
    ("B11", 20, 350_000.0),
    ("B12", 20, 350_000.0),
    ("B8A", 20, 370_000.0),
    ("SCL", 20, 12_000.0),
    ("TCI", 10, 1_100_000.0),
    ("WVP", 10, 200_000.0),
];

/// A row as alike to others as real ones are, by what was measured of real 60 m bands: tile-parts differ by a factor of
/// two or so, and the share that each resolution has of the next finer one by 3.5, 4.3, 5 and 8 %, the finest first.
fn real_row(noise: &mut u64, product: &str, (band, metres, mean): (&str, u32, f64)) -> Record {
    // The sum of twelve uniform numbers is nearly normal.
    let mut normal = |sigma: f64| {
        let uniform = (0..12).map(|_| {
            *noise ^= *noise << 13;
            *noise ^= *noise >> 7;
            *noise ^= *noise << 17;
            (*noise >> 11) as f64 / (1u64 << 53) as f64
        });
        (uniform.sum::<f64>() - 6.0) * sigma
    };
    let mut row = record(product, band, metres);
    let scene = normal(0.3).exp();
    let mut offset = row.first_sot.unwrap();
    for part in &mut row.parts {
        let packets = (100.0 + normal(10.0)) as u32;
        let mut bytes = (mean * scene * normal(0.5).exp()).clamp(200.0, 4e6);
        let mut ends = vec![packets + bytes as u32];
        for (share, sigma) in [(0.26, 0.035), (0.265, 0.043), (0.27, 0.05), (0.34, 0.08)] {
            bytes *= share * (1.0 + normal(sigma));
            ends.insert(0, packets + bytes as u32);
        }
        (part.offset, part.length) = (offset, ends[4]);
        part.head.as_mut().unwrap().packets = packets;
        part.head.as_mut().unwrap().resolution_ends = ends;
        offset = part.end();
    }
    Record { file_size: Some(offset + 2), etag: Some(format!("\"{noise:032x}\"")), ..row }
}

/// What `make bench` measures: a line of JSON.
#[test]
#[ignore = "it measures time: run by make bench, in release"]
fn bench_writing_the_rows_of_a_tile() {
    let mut noise = 88_172_645_463_325_252;
    let product = |n: u32| format!("S2A_MSIL2A_2024{:04}T105031_N0511_R051_T31UDQ_20241016T{n:06}", 101 + n % 1_100);
    let mut rows: Vec<StoredRow> = Vec::new();
    for n in 0..1_600 {
        rows.extend(BANDS.map(|band| StoredRow::from(&real_row(&mut noise, &product(n), band))));
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let (count, start) = (rows.len(), std::time::Instant::now());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tile.parquet");
    write_index(&path, rows.into_iter().map(Ok), Carried::default()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("{{\"rows\": {count}, \"seconds\": {seconds:.3}, \"bytes\": {bytes}}}");
}

#[test]
fn a_10_m_row_costs_no_more_than_2_000_bytes() {
    let mut noise = 88_172_645_463_325_252;
    let rows: Vec<_> = (0..512).map(|n| row(&mut noise, n)).collect();
    let bytes = build_index(&rows).unwrap();
    let length = bytes.len() as f64;
    let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(bytes)).unwrap();
    let mut columns = 0.0;
    for (place, column) in footer.file_metadata().schema_descr().columns().iter().enumerate() {
        let stored: i64 = footer.row_groups().iter().map(|group| group.column(place).compressed_size()).sum();
        let each = stored as f64 / rows.len() as f64;
        println!("{:>16} {each:7.1} bytes a row", column.name());
        columns += each;
    }
    let each = length / rows.len() as f64;
    println!("{:>16} {:7.1}\n{:>16} {each:7.1}", "footer", each - columns, "in all");
    assert!(each < 2_000.0, "{each} bytes a row");
}

#[test]
fn no_product_is_cut_in_two_where_a_row_group_holds_it() {
    let rows = |sizes: &[usize]| -> Vec<Record> {
        let of = |(product, files): (usize, &usize)| {
            let row = |file| record(&format!("S2A_{product:03}"), &format!("B{file:03}"), 60);
            (0..*files).map(row).collect::<Vec<_>>()
        };
        sizes.iter().enumerate().flat_map(of).collect()
    };
    for (products, groups) in [
        (vec![15; 40], vec![255, 255, 90]),
        (vec![16; 33], vec![256, 256, 16]),
        (vec![200, 56, 1], vec![256, 1]),
        (vec![10, 600, 10], vec![10, 256, 256, 98]),
        (vec![], vec![]),
    ] {
        let bytes = Bytes::from(build_index(&rows(&products)).unwrap());
        let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
        let sizes: Vec<_> = footer.row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(sizes, groups, "{products:?}");
    }
}
