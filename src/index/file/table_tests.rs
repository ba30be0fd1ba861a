//! Tables made here.

use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

/// A parquet file of this schema: each column by its definition levels and its values, rows in groups of `rows`.
pub(crate) fn made(schema: &str, columns: &[(Vec<i16>, Vec<&str>)], rows: usize, codec: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let all = columns[0].0.len();
    for start in (0..all).step_by(rows) {
        let end = all.min(start + rows);
        let mut group = writer.next_row_group().unwrap();
        for (levels, values) in columns {
            let most = *levels.iter().max().unwrap();
            let valued = |levels: &[i16]| levels.iter().filter(|level| **level == most).count();
            let (first, count) = (valued(&levels[..start]), valued(&levels[start..end]));
            let (values, levels) = (&values[first..first + count], Some(&levels[start..end]));
            let mut column = group.next_column().unwrap().unwrap();
            fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(values: &[&str]) -> Vec<T> {
                values.iter().map(|text| text.parse().unwrap()).collect()
            }
            match column.untyped() {
                ColumnWriter::Int32ColumnWriter(column) => column.write_batch(&parsed(values), levels, None),
                ColumnWriter::Int64ColumnWriter(column) => column.write_batch(&parsed(values), levels, None),
                ColumnWriter::FloatColumnWriter(column) => column.write_batch(&parsed(values), levels, None),
                ColumnWriter::DoubleColumnWriter(column) => column.write_batch(&parsed(values), levels, None),
                ColumnWriter::ByteArrayColumnWriter(column) => {
                    let values: Vec<ByteArray> = values.iter().map(|text| ByteArray::from(*text)).collect();
                    column.write_batch(&values, levels, None)
                }
                _ => panic!("a column of another type"),
            }
            .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

const SCHEMA: &str = "message x {
    required binary id (STRING);
    optional group assets { optional group a { optional binary href (STRING); } }
}";

fn columns() -> Vec<(Vec<i16>, Vec<&'static str>)> {
    vec![(vec![0, 0, 0, 0, 0], vec!["1", "2", "3", "4", "5"]), (vec![3, 0, 1, 2, 3], vec!["first", "last"])]
}

#[test]
fn numbers_of_any_type_are_read() {
    for (kind, second) in [("double", "99.5"), ("float", "99.5"), ("int32", "99"), ("int64", "99")] {
        let schema = format!("message x {{ optional binary a; optional {kind} eo:cloud_cover; }}");
        let columns = [(vec![1; 3], vec!["1", "2", "3"]), (vec![1, 0, 1], vec!["7", second])];
        let table = Table::new("x", made(&schema, &columns, 2, Compression::SNAPPY).into()).unwrap();
        let read = |group, name| table.numbers(group, name).unwrap();
        assert_eq!(
            (read(0, "eo:cloud_cover"), read(1, "eo:cloud_cover")),
            (vec![Some(7.0), None], vec![second.parse().ok()])
        );
        assert!(read(0, "a").is_empty() && read(0, "cloud_cover").is_empty());
    }
}

#[test]
fn times_of_any_unit_are_read() {
    for (unit, first, second) in [
        ("MILLIS", "1717239391024", "-1"),
        ("MICROS", "1717239391024000", "-1000"),
        ("NANOS", "1717239391024000999", "-999001"),
    ] {
        for utc in [true, false] {
            let schema =
                format!("message x {{ optional int64 datetime (TIMESTAMP({unit},{utc})); optional int64 n; }}");
            let columns = [(vec![1, 0, 1], vec![first, second]), (vec![1; 3], vec!["1"; 3])];
            let table = Table::new("x", made(&schema, &columns, 2, Compression::SNAPPY).into()).unwrap();
            let read = |group, name| table.instants(group, name).unwrap();
            assert_eq!(read(0, "datetime"), [Some(1_717_239_391_024_000), None], "{unit}");
            assert_eq!(read(1, "datetime"), [Some(-1000)], "{unit}");
            assert!(read(0, "n").is_empty() && read(0, "none").is_empty());
        }
    }
    let schema = "message x { optional int64 datetime (TIMESTAMP(MILLIS,true)); }";
    let columns = [(vec![1], vec!["9223372036854775807"])];
    let table = Table::new("x", made(schema, &columns, 1, Compression::SNAPPY).into()).unwrap();
    assert_eq!(table.instants(0, "datetime").unwrap(), [None], "no time that can be told in microseconds");
}

#[test]
fn nested_text_is_read_whatever_is_null_around_it() {
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
    for codec in codecs {
        let table = Table::new("x", made(SCHEMA, &columns(), 2, codec).into()).unwrap();
        assert_eq!((table.groups(), table.rows(2)), (3, 1));
        let place = table.columns()[&["assets".to_owned(), "a".to_owned(), "href".to_owned()][..]];
        let read = |group, place| table.values(group, place).unwrap().iter().map(|it| it.map(str::to_owned)).collect();
        let values: [Vec<Option<String>>; 3] = [0, 1, 2].map(|group| read(group, Some(place)));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(values.concat(), [text("first"), None, None, None, text("last")]);
        let id = table.columns()[&["id".to_owned()][..]];
        assert_eq!((read(1, Some(id)), read(2, None)), (vec![text("3"), text("4")], vec![None]));
    }
}

#[test]
fn bytes_that_lie_are_errors() {
    let good = made(SCHEMA, &columns(), 2, Compression::SNAPPY);
    assert!(Table::new("x", Bytes::from_static(b"<html>")).is_err());
    // Whatever byte is wrong, it is an error or another text, and neither a panic nor a lot of memory.
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xFF;
        if let Ok(table) = Table::new("x", bad.into()) {
            for group in 0..table.groups() {
                for place in table.columns().into_values() {
                    let _ = table.values(group, Some(place));
                }
            }
        }
    }
}

/// A file without rows whose schema is a column in so many groups, each in the next.
pub(crate) fn nested(groups: usize) -> Vec<u8> {
    let varint = |number: usize| [number as u8 | 0x80, (number >> 7) as u8];
    // FileMetaData: version; the schema's root and groups (repetition, name, children), and a column (type first).
    let mut footer = [&[0x15, 2, 0x19, 0xFC][..], &varint(groups + 2), &[0x48, 1, b'm', 0x15, 2, 0]].concat();
    (0..groups).for_each(|_| footer.extend([0x35, 2, 0x18, 1, b'g', 0x15, 2, 0]));
    footer.extend([0x15, 2, 0x25, 2, 0x18, 1, b'x', 0]);
    footer.extend([0x16, 0, 0x19, 0x0C, 0]);
    [b"PAR1", &footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

#[test]
fn a_schema_that_is_deep_is_read_and_one_that_is_too_deep_refused() {
    assert_eq!(Table::new("x", nested(4_000).into()).unwrap().groups(), 0);
    let error = Table::new("x", nested(16_000).into()).err().unwrap().chain();
    assert!(error.contains("more than 4096 nodes"), "{error}");
}
