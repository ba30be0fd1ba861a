//! Lists of rows from files and from a journal.

use super::*;
use crate::index::lookup::find::tests::record;
use crate::index::row::record::Record;
use crate::index::row::write::build_index;
use crate::path::Location;
use crate::source::Caller;

const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
const OLDER: &str = "S2B_MSIL2A_20231016T105031_N0509_R051_T31UDQ_20231016T151206";

fn file(name: &str, records: &[Record]) -> Arc<IndexFile> {
    IndexFile::from_bytes(name, build_index(records).unwrap().into()).unwrap().into()
}

fn none(error: Error) {
    panic!("{}", error.chain());
}

fn bands(rows: &Rows, range: Range<usize>) -> Vec<String> {
    rows.iter(range).map(|row| row.unwrap().key.band_id).collect()
}

#[test]
fn rows_of_several_files_are_sorted_as_one() {
    let many: Vec<_> = (0..300).map(|n| record(PRODUCT, &format!("X{n:03}"), 10)).collect();
    let (even, odd): (Vec<_>, Vec<_>) = many.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    let side = |rows: Vec<(usize, Record)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    let mut rows = Rows::new(false);
    rows.add_file(&file("even", &side(even)), false, &mut none);
    rows.add_file(&file("odd", &side(odd)), false, &mut none);
    assert_eq!(rows.sort(Wins::Newest), []);
    let read: Vec<_> = rows.iter(0..rows.len()).map(|row| row.unwrap().record().unwrap()).collect();
    assert_eq!(read, many);
    let whole = Partition { name: String::new(), rows: 0..300, has_new: false, carried: Carried::default() };
    assert_eq!(rows.partitions(), [whole]);
}

#[test]
fn partitions_stand_together() {
    let mut rows = Rows::new(true);
    let records = [record(PRODUCT, "B02", 10), record(PRODUCT, "B03", 10), record(OLDER, "B02", 10)];
    rows.add_file(&file("x", &records), false, &mut none);
    rows.sort(Wins::Newest);
    let partitions: Vec<_> = rows.partitions().into_iter().map(|partition| (partition.name, partition.rows)).collect();
    let expected = [("level=L2A/tile=31UDQ/year=2023".into(), 0..1), ("level=L2A/tile=31UDQ/year=2024".into(), 1..3)];
    assert_eq!(partitions, expected);
    let unknown = Record { key: RecordKey::default(), ..record(PRODUCT, "B02", 10) };
    let mut told = Vec::new();
    rows.add_file(&file("y", &[unknown]), false, &mut |error| told.push(error.chain()));
    assert!(told.len() == 1 && told[0].contains("single file"), "{told:?}");
}

#[test]
fn the_newest_row_of_a_file_is_left() {
    let base = record(PRODUCT, "B02", 10);
    let path = |path: &str, row: Record| Record { path: path.into(), ..row };
    let aged = |modified, row: Record| Record { last_modified: Some(modified), ..row };
    let elsewhere = |row: Record| Record { origin: Some("gs://other/B02".into()), ..row };
    let left = |files: &[Vec<Record>]| {
        let mut rows = Rows::new(false);
        files
            .iter()
            .enumerate()
            .for_each(|(n, records)| rows.add_file(&file(&format!("{n}"), records), false, &mut none));
        let shared = rows.sort(Wins::Newest);
        let paths: Vec<_> = rows.iter(0..rows.len()).map(|row| row.unwrap().path).collect();
        (paths, shared.into_iter().map(|shared| shared.paths.len()).collect::<Vec<_>>())
    };
    let (one, two) = (path("one", base.clone()), path("two", base.clone()));
    assert_eq!(left(&[vec![one.clone()], vec![two.clone()]]), (vec!["two".into()], vec![]), "the later of equals");
    assert_eq!(left(&[vec![aged(9_999_999_999, one.clone())], vec![two.clone()]]).0, ["one"], "the newer file");
    // A copy at another place: one row serves both. Another file of the same name is none.
    assert_eq!(left(&[vec![one.clone()], vec![elsewhere(two.clone())]]), (vec!["two".into()], vec![2]));
    let longer = record(PRODUCT, "B02", 20);
    let longer = Record { key: base.key.clone(), ..path("longer", elsewhere(longer)) };
    assert_eq!(left(&[vec![one.clone()], vec![longer]]).0.len(), 2);
    // Files whose names tell nothing are told apart by where they lie.
    let nameless = |row: Record| Record { key: RecordKey { band_id: "x".into(), ..RecordKey::default() }, ..row };
    assert_eq!(left(&[vec![nameless(one.clone()), nameless(elsewhere(two))], vec![nameless(one)]]).0.len(), 2);
}

#[test]
fn a_changed_file_is_known_by_its_row() {
    let mut rows = Rows::new(false);
    let row = record(PRODUCT, "B02", 10);
    let (size, etag) = (row.file_size.unwrap(), row.etag.clone().unwrap());
    rows.add_file(&file("x", std::slice::from_ref(&row)), false, &mut none);
    let known = rows.known()[&hash(row.origin.as_deref().unwrap())];
    assert!(known.is_still(size, Some(&etag), None) && known.is_still(size, Some(&format!("W/{etag}")), Some(1)));
    assert!(known.is_still(size, None, None) && known.is_still(size, None, row.last_modified));
    assert!(!known.is_still(size + 1, Some(&etag), None) && !known.is_still(size, Some("\"x\""), row.last_modified));
    assert!(!known.is_still(size, None, Some(1)));
}

#[test]
fn rows_that_wait_come_with_those_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| Caller::of_environment().source(&Location::Local(path.to_owned()));
    let journal = Journal::open(&folder.path().join("journal"), &open, &mut |_| ()).unwrap();
    // What was just read is right, also where an older file has taken the place of the one in the index.
    let changed = Record { path: "changed".into(), last_modified: Some(1), ..record(PRODUCT, "B02", 10) };
    journal.append(&StoredRow::from(&record(PRODUCT, "B8A", 20))).unwrap();
    journal.append(&StoredRow::from(&changed)).unwrap();
    let mut rows = Rows::new(false);
    rows.add_file(&file("x", &[record(PRODUCT, "B02", 10), record(PRODUCT, "B03", 10)]), false, &mut none);
    rows.add_journal(journal, &mut none);
    assert!(rows.known().values().filter(|known| known.is_new).count() == 2);
    rows.sort(Wins::New);
    assert_eq!(bands(&rows, 0..3), ["B02", "B03", "B8A"]);
    assert_eq!(rows.iter(0..1).next().unwrap().unwrap().path, "changed");
    let [partition] = &rows.partitions()[..] else { panic!("one") };
    assert!(partition.has_new && partition.carried == Carried::default());
    assert!(rows.into_journal().is_some());
}
