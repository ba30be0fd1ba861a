//! The rows of several index files, and those that wait to be written, as one sorted list without doubles. Of each row
//! there are some two hundred bytes in memory; the row itself is read when it is written.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::journal::Journal;
use crate::error::{Error, Result};
use crate::index::file::pages::read_ahead;
use crate::index::file::read::IndexFile;
use crate::index::format::bytes::hash;
use crate::index::format::columns::Paged;
use crate::index::format::schema::Carried;
use crate::index::row::partition::partition_of;
use crate::index::row::record::RecordKey;
use crate::index::row::stored::{StoredRow, read_group};

/// What is known of a file by its row, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownFile {
    pub(crate) size: Option<u64>,
    /// A hash of its ETag.
    etag: Option<u64>,
    pub(crate) last_modified: Option<i64>,
    /// Whether the row records how long its packets are; a TIFF has none.
    pub(crate) has_packets: bool,
    /// Whether the row has the cloud cover.
    pub(crate) has_cloud_cover: bool,
    /// Whether the row has the time of sensing.
    pub(crate) has_datetime: bool,
    /// Whether the row is not in the output yet.
    pub(crate) is_new: bool,
}

impl KnownFile {
    /// By a row that is not in the output yet.
    pub(crate) fn staged(row: &StoredRow) -> Self {
        Self::of(row, true)
    }

    /// The greatest wins.
    fn rank(&self, wins: Wins) -> (bool, Option<i64>, bool) {
        (wins == Wins::New && self.is_new, self.last_modified, self.is_new)
    }

    fn of(row: &StoredRow, is_new: bool) -> Self {
        Self {
            size: row.file_size,
            etag: row.etag.as_deref().map(hash_of_etag),
            last_modified: row.last_modified,
            has_packets: row.packets.is_some() || row.is_of_tiff(),
            has_cloud_cover: row.cloud_cover.is_some(),
            has_datetime: row.datetime.is_some(),
            is_new,
        }
    }

    /// Whether a file of this size, ETag and date is still the one of the row. What is not known is not compared.
    pub(crate) fn is_still(&self, size: u64, etag: Option<&str>, last_modified: Option<i64>) -> bool {
        let same = |one: Option<i64>, other: Option<i64>| one.zip(other).is_none_or(|(one, other)| one == other);
        let etags = self.etag.zip(etag.map(hash_of_etag));
        self.size == Some(size) && etags.map_or_else(|| same(self.last_modified, last_modified), |(a, b)| a == b)
    }
}

/// Which of two rows of one file is left; of equals the new one, then the one added last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wins {
    /// The one that is not in the output yet: the file was just read.
    New,
    /// The one whose file was modified last.
    Newest,
}

/// Where a row is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowPlace {
    File { file: u32, group: u32, row: u32 },
    Journal(usize),
}

#[derive(Debug)]
struct RowEntry {
    /// The partition, where there are some, then the key and the path, with NUL between them.
    sort: String,
    /// How many bytes of `sort` are the file's key, and how many of these the partition.
    key: u32,
    partition: u32,
    origin: u64,
    known: KnownFile,
    carried: Carried,
    place: RowPlace,
}

impl RowEntry {
    fn key(&self) -> &str {
        self.sort.get(..self.key as usize).unwrap_or_default()
    }

    fn partition(&self) -> &str {
        self.sort.get(..self.partition as usize).unwrap_or_default()
    }
}

/// A key that files of several places have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedKey {
    /// Product and band.
    pub(crate) key: String,
    pub(crate) paths: Vec<String>,
}

/// Rows of one file of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// `level=L2A/tile=31UDQ/year=2024`, or nothing.
    pub(crate) name: String,
    /// Their numbers, for [`Rows::iter`].
    pub(crate) rows: Range<usize>,
    /// Whether any of them is not in the output yet.
    pub(crate) has_new: bool,
    /// What they carry.
    pub(crate) carried: Carried,
}

/// See the module.
pub(crate) struct Rows {
    partitioned: bool,
    files: Vec<Arc<IndexFile>>,
    journal: Option<Journal>,
    entries: Vec<RowEntry>,
}

impl Rows {
    /// None yet. `partitioned`: in the order of the partition layout, else by their keys alone.
    pub(crate) fn new(partitioned: bool) -> Self {
        Self { partitioned, files: Vec::new(), journal: None, entries: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds all rows of an index file, which are new or in the output already. What cannot be decoded of it goes to
    /// `complain`, row group by row group.
    pub(crate) fn add_file(&mut self, file: &Arc<IndexFile>, is_new: bool, complain: &mut dyn FnMut(Error)) {
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(file.clone());
        for group in 0..file.groups() {
            let mut warnings = Vec::new();
            match read_group(file, group, &mut warnings) {
                Ok(rows) => {
                    for (row, columns) in rows.iter().enumerate() {
                        let place = |group, row| RowPlace::File { file: number, group, row };
                        if let (Ok(group), Ok(row)) = (u32::try_from(group), u32::try_from(row)) {
                            self.add(columns, place(group, row), is_new, complain);
                        }
                    }
                }
                Err(error) => warnings.push(error),
            }
            warnings.into_iter().for_each(&mut *complain);
        }
    }

    /// Adds all rows that wait in `journal`.
    pub(crate) fn add_journal(&mut self, journal: Journal, complain: &mut dyn FnMut(Error)) {
        for number in 0..journal.len() {
            match journal.get(number) {
                Ok(row) => self.add(&row, RowPlace::Journal(number), true, complain),
                Err(error) => complain(error),
            }
        }
        self.journal = Some(journal);
    }

    fn add(&mut self, row: &StoredRow, place: RowPlace, is_new: bool, complain: &mut dyn FnMut(Error)) {
        let partition = if self.partitioned { partition_of(&row.key) } else { Some(String::new()) };
        let Some(partition) = partition else {
            let what =
                "its name has no level, tile and year, so it has no place in the partition layout: write it to a \
                        single file"
                    .to_owned();
            let file = row.origin.clone().unwrap_or_else(|| row.path.clone());
            return complain(Error::InFile { file, source: Box::new(Error::Row { what }) });
        };
        let RecordKey { product_id, mgrs_tile, band_id, resolution } = &row.key;
        let origin = row.origin.as_deref().map_or(0, hash);
        let mut sort = format!("{partition}\0{product_id}\0{mgrs_tile}\0{band_id}\0{resolution:010}");
        if product_id.is_empty() {
            // Such files differ by nothing but where they lie.
            sort.push_str(&format!("\0{origin:016x}"));
        }
        let key = sort.len() as u32;
        sort.push('\0');
        sort.push_str(&row.path);
        let known = KnownFile::of(row, is_new);
        let carried = row.carried();
        let partition = partition.len() as u32;
        self.entries.push(RowEntry { sort, key, partition, origin, known, carried, place });
    }

    /// What the rows record of the files at their origins, by [`hash`]; of two rows of one origin the one added last.
    pub(crate) fn known(&self) -> HashMap<u64, KnownFile> {
        self.entries.iter().filter(|entry| entry.origin != 0).map(|entry| (entry.origin, entry.known)).collect()
    }

    /// Sorts them, and leaves one of those that are of one file: of one key and origin, or of one key and size. Gives the
    /// keys that several places have a file of.
    pub(crate) fn sort(&mut self, wins: Wins) -> Vec<SharedKey> {
        let mut entries = std::mem::take(&mut self.entries);
        // The sort is stable, so of equals the one added last comes first.
        entries.reverse();
        entries.sort_by(|a, b| a.key().cmp(b.key()).then_with(|| b.known.rank(wins).cmp(&a.known.rank(wins))));
        let shared = entries.chunk_by(|a, b| a.key() == b.key()).filter_map(shared_by).collect();
        let mut kept: Vec<RowEntry> = Vec::with_capacity(entries.len());
        for entry in entries {
            let is_same_file = |other: &RowEntry| {
                let sizes = other.known.size.zip(entry.known.size);
                (other.origin == entry.origin && entry.origin != 0) || sizes.is_some_and(|(one, two)| one == two)
            };
            let of_key = kept.iter().rev().take_while(|other| other.key() == entry.key());
            if !{ of_key }.any(is_same_file) {
                kept.push(entry);
            }
        }
        self.entries = kept;
        shared
    }

    /// The names of the partitions of all rows.
    pub(crate) fn partition_names(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| entry.partition().to_owned()).collect()
    }

    /// The partitions, once the rows are sorted; one with an empty name where there is no such layout.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        let mut start = 0;
        let partition = |entries: &[RowEntry]| {
            let rows = start..start + entries.len();
            start = rows.end;
            Some(Partition {
                name: entries.first()?.partition().to_owned(),
                rows,
                has_new: entries.iter().any(|entry| entry.known.is_new),
                carried: Carried::all(entries.iter().map(|entry| entry.carried)),
            })
        };
        self.entries.chunk_by(|a, b| a.partition() == b.partition()).filter_map(partition).collect()
    }

    /// The rows of these numbers, each read when it is asked for.
    pub(crate) fn iter(&self, range: Range<usize>) -> impl Iterator<Item = Result<StoredRow>> {
        // The row group read last of each file: rows that lie side by side are wanted one after the other.
        let mut groups: HashMap<u32, (u32, Vec<StoredRow>)> = HashMap::new();
        self.entries.get(range).unwrap_or_default().iter().map(move |entry| match entry.place {
            RowPlace::Journal(number) => match &self.journal {
                Some(journal) => journal.get(number),
                None => Err(Error::read("a row that nobody keeps")),
            },
            RowPlace::File { file, group, row } => {
                if groups.get(&file).is_none_or(|(kept, _)| *kept != group) {
                    let open = self.files.get(file as usize).ok_or_else(|| Error::read("a row of no file"))?;
                    // What is wrong with single rows was reported when they were added.
                    groups.insert(file, (group, read_group(open, group as usize, &mut Vec::new())?));
                    read_ahead(open, group as usize, Paged::Packets)?;
                }
                let row = groups.get(&file).and_then(|(_, rows)| rows.get(row as usize)).cloned();
                row.ok_or_else(|| Error::read("an index changed while it was read"))
            }
        })
    }

    /// Gives the journal back, which nobody needs any more once everything is written.
    pub(crate) fn into_journal(self) -> Option<Journal> {
        self.journal
    }
}

/// The key of these rows, where they were made from several places.
fn shared_by(entries: &[RowEntry]) -> Option<SharedKey> {
    let first = entries.first()?;
    let mut parts = first.key().get(first.partition as usize + 1..).unwrap_or_default().split('\0');
    let (product, band) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let mut places: Vec<&RowEntry> = Vec::new();
    for entry in entries {
        if places.iter().all(|other| other.origin != entry.origin) {
            places.push(entry);
        }
    }
    let path = |entry: &&RowEntry| entry.sort.get(entry.key as usize + 1..).unwrap_or_default().to_owned();
    let paths = places.iter().map(path).collect();
    (places.len() > 1).then(|| SharedKey { key: format!("{product} {band}"), paths })
}

/// A weak ETag is of the same bytes as the strong one.
fn hash_of_etag(etag: &str) -> u64 {
    hash(etag.strip_prefix("W/").unwrap_or(etag))
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
