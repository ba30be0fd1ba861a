//! Rows that wait on the disk until the index is written: a journal of one frame a row, which outlives the process.
//!
//! A process that is ended at any moment leaves whole frames and at most one that is cut, which is cut off when the
//! journal is opened again. A frame is two lengths (u32), a checksum (XXH64, u64), both little-endian, and as many bytes:
//! the row ([`Waiting`], by postcard), then its overviews, which can be large, and are read when they are written.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::index::format::bytes::xxh64;
use crate::index::row::overviews::EmbeddedOverviews;
use crate::index::row::packets::PacketLengths;
use crate::index::row::stored::StoredRow;
use crate::process::lock;
use crate::source::{Source, SourceOffset, SourceRange};

/// What a journal begins with: its format's version.
const MAGIC: &[u8] = b"vsitlm journal 5\n";
/// Both lengths, and the checksum of what follows.
const FRAME: u64 = 16;
/// The longest row and the longest overviews.
const MOST: u32 = 96 << 20;

/// The journal.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next frame goes, and where the frames lie that were written or found.
    frames: Mutex<(u64, Vec<Frame>)>,
    /// The same file, for overviews.
    source: Arc<dyn Source>,
}

/// A row as a frame has it.
#[derive(Serialize, Deserialize)]
struct Waiting<R> {
    row: R,
    /// How many packets there are, and the value of their lengths.
    packets: Option<(u32, Bytes)>,
    /// That of the overviews that follow the row.
    k: Option<u8>,
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Where it begins, its lengths and checksum included.
    at: u64,
    row: u32,
    overviews: u32,
}

impl Frame {
    fn overviews(&self) -> SourceRange {
        let start = self.at + FRAME + u64::from(self.row);
        SourceOffset(start)..SourceOffset(start + u64::from(self.overviews))
    }

    fn end(&self) -> u64 {
        self.overviews().end.0
    }
}

impl Journal {
    /// Opens the journal at `path`, or makes it; `open` opens a file of this machine. The rows that it holds are given to
    /// `each`, one by one, since they can be more than memory holds.
    ///
    /// # Errors
    /// [`Error::Index`] where the folder cannot be written to, or the file is no journal.
    pub(crate) fn open(
        path: &Path,
        open: &dyn Fn(&Path) -> Result<Arc<dyn Source>>,
        each: &mut dyn FnMut(&StoredRow),
    ) -> Result<Self> {
        let bad = |error: std::io::Error| cannot_keep(path, &error.to_string());
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(bad)?;
        file.try_lock().map_err(|_| cannot_keep(path, "another run writes to the same output"))?;
        let size = file.metadata().map_err(bad)?.len();
        let mut start = vec![0; size.min(MAGIC.len() as u64) as usize];
        file.read_exact_at(&mut start, 0).map_err(bad)?;
        if !MAGIC.starts_with(&start) {
            return Err(cannot_keep(path, "it is not a journal of this version: remove it, or move it away"));
        }
        // It may be new, or cut within its first line.
        if start.len() < MAGIC.len() {
            file.write_all_at(MAGIC, 0).map_err(bad)?;
        }
        let source = open(path)?;
        let journal =
            Self { path: path.to_owned(), file, frames: Mutex::new((MAGIC.len() as u64, Vec::new())), source };
        journal.recover(size, each).map_err(bad)?;
        Ok(journal)
    }

    /// Finds the frames of a run before this one, and cuts off what follows the last whole one.
    fn recover(&self, size: u64, each: &mut dyn FnMut(&StoredRow)) -> std::io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut at = MAGIC.len() as u64;
        reader.seek(SeekFrom::Start(at))?;
        let mut frames = Vec::new();
        while at + FRAME <= size {
            let mut head = [0; FRAME as usize];
            reader.read_exact(&mut head)?;
            let Some((frame, sum)) = head_of(&head, at).filter(|(frame, _)| frame.end() <= size) else { break };
            let mut payload = vec![0; (frame.end() - at - FRAME) as usize];
            reader.read_exact(&mut payload)?;
            let row = (xxh64(&payload, 0) == sum).then(|| {
                payload.truncate(frame.row as usize);
                self.parse(&frame, &payload)
            });
            let Some(row) = row.flatten() else { break };
            at = frame.end();
            frames.push(frame);
            each(&row);
        }
        self.file.set_len(at)?;
        *lock(&self.frames) = (at, frames);
        Ok(())
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        lock(&self.frames).1.len()
    }

    /// Adds a row, its overviews included.
    ///
    /// # Errors
    /// [`Error::Index`] where the disk is full, or the like; whatever reading its overviews fails with.
    pub(crate) fn append(&self, row: &StoredRow) -> Result<()> {
        let packets = row.packets.as_ref().map(|packets| Ok((packets.count(), packets.value()?))).transpose()?;
        let overviews = row.overviews.as_ref().map(EmbeddedOverviews::value).transpose()?.unwrap_or_default();
        let waiting = Waiting { row, packets, k: row.overviews.as_ref().map(EmbeddedOverviews::k) };
        let bytes = postcard::to_extend(&waiting, vec![0; FRAME as usize]);
        let mut bytes = bytes.map_err(|error| cannot_keep(&self.path, &error.to_string()))?;
        let length = |length: usize| u32::try_from(length).ok().filter(|length| *length <= MOST);
        let (Some(row), Some(rest)) = (length(bytes.len() - FRAME as usize), length(overviews.len())) else {
            return Err(cannot_keep(&self.path, "a row of more than 96 MiB"));
        };
        bytes.extend_from_slice(&overviews);
        let (head, payload) = bytes.split_at_mut(FRAME as usize);
        let sum = xxh64(payload, 0);
        head.copy_from_slice(&[&row.to_le_bytes()[..], &rest.to_le_bytes(), &sum.to_le_bytes()].concat());
        let mut frames = lock(&self.frames);
        let frame = Frame { at: frames.0, row, overviews: rest };
        // At the place, not after what a failed write may have left.
        self.file.write_all_at(&bytes, frame.at).map_err(|error| cannot_keep(&self.path, &error.to_string()))?;
        frames.0 = frame.end();
        frames.1.push(frame);
        Ok(())
    }

    /// The row with this number, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Index`] where it cannot be read any more.
    pub(crate) fn get(&self, number: usize) -> Result<StoredRow> {
        let frame = lock(&self.frames).1.get(number).copied();
        let row = frame.and_then(|frame| {
            let mut columns = vec![0; frame.row as usize];
            self.file.read_exact_at(&mut columns, frame.at + FRAME).ok()?;
            self.parse(&frame, &columns)
        });
        row.ok_or_else(|| cannot_keep(&self.path, "a row that was kept cannot be read"))
    }

    /// Removes it.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// The row of a frame.
    fn parse(&self, frame: &Frame, bytes: &[u8]) -> Option<StoredRow> {
        let Waiting { mut row, packets, k } = postcard::from_bytes::<Waiting<StoredRow>>(bytes).ok()?;
        row.packets = packets.map(|(count, value)| PacketLengths::of_bytes(count, value));
        row.overviews = k.map(|k| EmbeddedOverviews::of_value(k, self.source.clone(), frame.overviews()));
        Some(row)
    }
}

/// A frame that begins with `head`, and the checksum of what follows.
fn head_of(head: &[u8; FRAME as usize], at: u64) -> Option<(Frame, u64)> {
    let number = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let (row, overviews) = (number(0)?, number(4)?);
    let sum = u64::from_le_bytes(*head.last_chunk()?);
    (row <= MOST && overviews <= MOST).then_some((Frame { at, row, overviews }, sum))
}

fn cannot_keep(path: &Path, what: &str) -> Error {
    Error::Index { index: path.display().to_string(), what: format!("rows cannot be kept until it is written: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::lookup::find::tests::record;
    use crate::index::row::record::RecordKey;
    use crate::path::Location;
    use crate::source::Caller;

    fn open(path: &Path) -> Result<(Journal, Vec<StoredRow>)> {
        let mut rows = Vec::new();
        let open = |path: &Path| Caller::of_environment().source(&Location::Local(path.to_owned()));
        Ok((Journal::open(path, &open, &mut |row| rows.push(row.clone()))?, rows))
    }

    fn rows() -> Vec<StoredRow> {
        let row = |band, metres| StoredRow::from(&record("P", band, metres));
        let bare =
            StoredRow { key: RecordKey { product_id: "P".into(), ..RecordKey::default() }, ..StoredRow::default() };
        vec![row("B02", 10), bare, row("B05", 20)]
    }

    #[test]
    fn rows_come_back_after_the_end_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, found) = open(&path).unwrap();
        assert!(found.is_empty());
        rows().iter().for_each(|row| journal.append(row).unwrap());
        assert_eq!(journal.get(2).unwrap(), rows()[2]);
        drop(journal);
        let (journal, found) = open(&path).unwrap();
        assert_eq!(found, rows());
        assert_eq!((journal.len(), journal.get(1).unwrap()), (3, rows().remove(1)));
        journal.append(&rows()[0]).unwrap();
        assert_eq!(journal.get(3).unwrap(), rows()[0]);
        assert!(journal.get(4).is_err());
        journal.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_that_is_cut_anywhere_loses_the_cut_row_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, _) = open(&path).unwrap();
        let mut ends = vec![MAGIC.len() as u64];
        for row in rows() {
            journal.append(&row).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len());
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(97).chain(ends.iter().map(|end| *end as usize)) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let kept = ends.iter().skip(1).filter(|end| **end <= cut as u64).count();
            let (journal, found) = open(&path).unwrap();
            assert_eq!(found, rows()[..kept], "{cut}");
            // And goes on from there.
            journal.append(&rows()[2]).unwrap();
            drop(journal);
            assert_eq!(open(&path).unwrap().1.len(), kept + 1, "{cut}");
        }
        // A bit that fell over is no row.
        let mut bytes = whole.clone();
        bytes[(ends[1] + FRAME) as usize + 2] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(open(&path).unwrap().1, rows()[..1]);
        for other in [&b"something else of the user's"[..], b"short", b"vsitlm stage 2\n"] {
            std::fs::write(&path, other).unwrap();
            assert!(open(&path).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), other);
        }
    }

    #[test]
    fn what_a_row_carries_waits_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(&folder.path().join("journal")).unwrap();
        let row = StoredRow {
            packets: Some(PacketLengths::of_bytes(9, vec![1, 2].into())),
            overviews: Some(EmbeddedOverviews::of_bytes(3, vec![1, 3, 7, 8].into())),
            cloud_cover: Some(12.5),
            ..rows().remove(0)
        };
        journal.append(&row).unwrap();
        journal.append(&StoredRow { packets: None, ..row.clone() }).unwrap();
        journal.append(&StoredRow { overviews: None, ..row.clone() }).unwrap();
        let kept = journal.get(0).unwrap();
        assert_eq!((&kept.packets, kept.cloud_cover), (&row.packets, Some(12.5)));
        let overviews = kept.overviews.unwrap();
        assert_eq!((overviews.k(), &overviews.value().unwrap()[..]), (3, &[1, 3, 7, 8][..]));
        assert!(journal.get(1).unwrap().packets.is_none() && journal.get(1).unwrap().overviews.is_some());
        assert_eq!(journal.get(2).unwrap(), StoredRow { overviews: None, ..row });
    }
}
