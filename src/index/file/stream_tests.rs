//! Streams over files made here.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};

use super::*;
use crate::index::RecordKey;
use crate::index::file::table::made;
use crate::index::lookup::find::tests::record;
use crate::index::row::overviews::EmbeddedOverviews;
use crate::index::row::packets::PacketLengths;
use crate::index::row::record::Record;
use crate::index::row::write::build_index;
use crate::source::memory::Memory;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;

fn stream(files: &[Arc<Memory>]) -> Result<RowStream> {
    let (count, files) = (files.len(), files.to_vec());
    RowStream::new(count, Box::new(move |file| Ok((format!("{file}.parquet"), files[file].clone() as Arc<dyn Source>))))
}

fn memory(bytes: impl Into<Bytes>) -> Arc<Memory> {
    Arc::new(Memory::new("https://test/i.parquet", bytes))
}

fn row(n: usize) -> Record {
    Record { etag: n.is_multiple_of(2).then(|| format!("\"{n}\"")), ..record(&format!("S2A_{n:04}"), "B03", 10) }
}

/// The texts of a column, whatever batches they come in.
fn texts(batches: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    let of = |batch: &RecordBatch| -> Vec<Option<String>> {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>().clone();
        column.iter().map(|text| text.map(str::to_owned)).collect()
    };
    batches.iter().flat_map(of).collect()
}

#[test]
fn a_stream_has_every_column_of_every_row_and_reads_a_row_group_at_a_time() {
    let rows: Vec<Record> = (0..600).map(row).collect();
    let file = memory(build_index(&rows).unwrap());
    let mut stream = stream(std::slice::from_ref(&file)).unwrap();
    let names: Vec<_> = stream.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!((names.len(), &names[..4]), (22, &["product_id", "band_id", "path", "index"].map(str::to_owned)[..]));
    let opened = file.cost().0;
    let first = stream.next().unwrap().unwrap();
    assert_eq!((first.num_rows(), file.cost().0 - opened), (256, 1));
    let mut batches = vec![first];
    batches.extend(stream.by_ref().map(Result::unwrap));
    assert_eq!(file.cost().0 - opened, 3);
    assert_eq!(
        texts(&batches, "product_id"),
        rows.iter().map(|row| Some(row.key.product_id.clone())).collect::<Vec<_>>()
    );
    assert_eq!(texts(&batches, "etag"), rows.iter().map(|row| row.etag.clone()).collect::<Vec<_>>());
    let times = batches[0].column_by_name("last_modified").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
    assert_eq!(times.value(0), rows[0].last_modified.unwrap() * 1_000_000);
    assert!(stream.next().is_none());
}

#[test]
fn a_column_that_some_files_lack_is_null_there() {
    let packets = Record { packets: Some(PacketLengths::of_bytes(9, vec![1, 2].into())), ..row(0) };
    let overviews = Record { overviews: Some(EmbeddedOverviews::of_bytes(3, vec![1, 3, 7].into())), ..row(1) };
    let v1 =
        made("message v1 { required binary product_id (STRING); }", &[(vec![0], vec!["old"])], 1, Compression::SNAPPY);
    let files = [vec![packets], vec![overviews]].map(|rows| memory(build_index(&rows).unwrap()));
    let batches: Vec<_> =
        stream(&[files[0].clone(), files[1].clone(), memory(v1)]).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 1, 1]);
    let values =
        |name: &str| batches.iter().map(|batch| batch.column_by_name(name).unwrap().clone()).collect::<Vec<_>>();
    let counts = values("packet_count");
    assert_eq!(counts[0].as_primitive::<Int64Type>().value(0), 9);
    assert!(counts[1].is_null(0) && counts[2].is_null(0));
    assert_eq!(values("overviews")[1].as_binary::<i32>().value(0), [1, 3, 7]);
    assert_eq!(texts(&batches, "mgrs_tile")[1..], [Some(row(1).key.mgrs_tile), None]);
    let group = "message x { optional group product_id { optional binary x (STRING); } }";
    let other = made(group, &[(vec![2], vec!["x"])], 1, Compression::SNAPPY);
    assert!(stream(&[files[0].clone(), memory(other)]).err().unwrap().chain().contains("not of one kind"));
}

#[test]
fn what_is_wrong_ends_the_stream() {
    let good = build_index(&(0..300).map(row).collect::<Vec<_>>()).unwrap();
    assert!(stream(&[memory(good[..good.len() - 1].to_vec())]).is_err());
    let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(good.clone())).unwrap();
    let (start, length) = footer.row_group(1).column(1).byte_range();
    let mut bad = good.clone();
    bad[start as usize..(start + length) as usize].fill(0);
    let mut batches = stream(&[memory(bad)]).unwrap();
    batches.next().unwrap().unwrap();
    let error = batches.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("0.parquet") && error.contains("row group 1: column band_id"), "{error}");
    assert!(batches.next().is_none());
    for before in [|_: &Memory| Err(Error::read("on purpose")), |_: &Memory| panic!("on purpose")] {
        let mut file = Memory::new("https://test/i.parquet", good.clone());
        file.before = before;
        let mut batches = stream(&[Arc::new(file)]).unwrap();
        assert!(batches.next().unwrap().unwrap_err().to_string().contains("on purpose"));
        assert!(batches.next().is_none());
    }
    // Messages are C strings in the end.
    let key = RecordKey { product_id: "a\0b".into(), ..RecordKey::default() };
    let mut nul = stream(&[memory(build_index(&[Record { key, ..row(0) }]).unwrap())]).unwrap();
    assert!(nul.next().unwrap().is_ok());
}
