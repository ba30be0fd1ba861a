//! What rows cost.

use super::*;
use crate::index::find::tests::record;
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

#[test]
fn a_10_m_row_costs_no_more_than_2_500_bytes() {
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
    assert!(each < 2_500.0, "{each} bytes a row");
}
