//! Where an index is written to: one file, or the partition layout below a folder or prefix.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::place::locate;
use super::report::{Failure, Report};
use super::shards::open_index;
use crate::error::{Error, Result};
use crate::index::{Partition, Rows, SHARD, build_index_of, hash, write_index, write_whole};
use crate::options::Options;
use crate::path::Location;
use crate::source::{self, Caller};

/// Where an index is written to.
pub(crate) struct Output {
    /// As the user has written it.
    text: String,
    is_partitioned: bool,
}

/// What came of writing it.
#[derive(Default)]
pub(super) struct Written {
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// Files that could not be written, and why.
    pub(super) failures: Vec<Failure>,
}

impl Output {
    /// What `-o` names: a name that ends in `.parquet` is one file.
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), is_partitioned: !text.ends_with(".parquet") }
    }

    /// How messages name it.
    pub(crate) fn display(&self) -> String {
        locate(&self.text).map_or_else(|_| self.text.clone(), |location| location.display())
    }

    /// Whether it is the partition layout.
    pub(super) fn is_partitioned(&self) -> bool {
        self.is_partitioned
    }

    fn file(&self, partition: &str) -> Result<Location> {
        if !self.is_partitioned {
            return locate(&self.text);
        }
        locate(&format!("{}/{partition}/{SHARD}", self.text.trim_end_matches('/')))
    }

    /// Where what failed is listed. In a folder under a name that readers of datasets pass over.
    fn failures(&self) -> Result<Location> {
        if self.is_partitioned {
            return locate(&format!("{}/_failures.jsonl", self.text.trim_end_matches('/')));
        }
        locate(&format!("{}.failures.jsonl", self.text))
    }

    /// Where rows wait until it is written: beside it, or for an output that is not of this machine in the user's cache
    /// folder. `slice` keeps the parts of one output apart.
    pub(super) fn stage(&self, slice: &str, options: &Options) -> Result<PathBuf> {
        let folder = match locate(&self.text)? {
            // The folder of a single file is the user's to make: a name that is mistyped should not become one.
            Location::Local(path) if !self.is_partitioned => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                return Ok(path.with_file_name(format!(".{name}{slice}.stage")));
            }
            Location::Local(folder) => folder,
            _ => options.learned.clone().unwrap_or_else(std::env::temp_dir).join("stage"),
        };
        let cannot = |error: std::io::Error| Error::Index {
            index: self.display(),
            what: format!("the folder {} cannot be made: {error}", folder.display()),
        };
        std::fs::create_dir_all(&folder).map_err(cannot)?;
        Ok(folder.join(format!(".{:016x}{slice}.stage", hash(&self.text))))
    }

    /// Adds the rows that these partitions of it have already.
    ///
    /// # Errors
    /// [`Error::Index`] where a file is corrupt: written anew without them, its rows would be lost.
    pub(super) fn add_existing(
        &self,
        rows: &mut Rows,
        partitions: &BTreeSet<String>,
        caller: &Caller<'_>,
    ) -> Result<()> {
        for partition in partitions {
            let file = match open_index(&self.file(partition)?, caller) {
                Err(error) if matches!(error.root(), Error::NotFound { .. }) => continue,
                file => file?,
            };
            let mut trouble = None;
            rows.add_file(&file, false, &mut |error| trouble = Some(error));
            trouble.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Writes each of its files that `rows`, which are sorted, have something new for. One that fails stops no other.
    pub(super) fn write(&self, rows: &Rows, caller: &Caller<'_>, report: &dyn Report) -> Written {
        let mut written = Written::default();
        for partition in rows.partitions().iter().filter(|partition| partition.has_new) {
            match self.write_partition(rows, partition, caller) {
                Ok(bytes) => {
                    written.files += 1;
                    written.bytes += bytes;
                }
                Err(error) => {
                    report.say(&error.chain());
                    written.failures.push(Failure::new(format!("{} {}", self.display(), partition.name), &error));
                }
            }
        }
        written
    }

    /// Writes the rows of a partition under their final name: whole, or not at all. Gives the bytes of the file.
    fn write_partition(&self, rows: &Rows, partition: &Partition, caller: &Caller<'_>) -> Result<u64> {
        let location = self.file(&partition.name)?;
        let rows = rows.iter(partition.rows.clone());
        let Location::Local(path) = &location else {
            let bytes = build_index_of(rows, partition.carried)?;
            let length = bytes.len() as u64;
            source::put(&location, bytes.into(), &caller.access(&location)?)?;
            return Ok(length);
        };
        let bad = |error: std::io::Error| cannot_write(&location, &error);
        path.parent()
            .map_or(Ok(()), |folder| if self.is_partitioned { std::fs::create_dir_all(folder) } else { Ok(()) })
            .map_err(bad)?;
        write_index(path, rows, partition.carried)?;
        Ok(std::fs::metadata(path).map_err(bad)?.len())
    }

    /// Writes what failed, one JSON object a line, to `file` or beside the output; a file of this machine that an earlier
    /// run has left goes where nothing failed. Gives its name.
    pub(super) fn write_failures(
        &self,
        file: Option<&str>,
        failures: &[Failure],
        caller: &Caller<'_>,
    ) -> Result<Option<String>> {
        let location = file.map_or_else(|| self.failures(), locate)?;
        let line = |failure: &Failure| serde_json::to_string(failure).unwrap_or_default() + "\n";
        let lines: String = failures.iter().map(line).collect();
        match &location {
            Location::Local(path) if failures.is_empty() => {
                let _ = std::fs::remove_file(path);
                return Ok(None);
            }
            Location::Local(path) => {
                write_whole(path, |file| std::io::Write::write_all(file, lines.as_bytes()))
                    .map_err(|error| cannot_write(&location, &error))?;
            }
            _ if failures.is_empty() => return Ok(None),
            _ => source::put(&location, lines.into_bytes().into(), &caller.access(&location)?)?,
        }
        Ok(Some(location.display()))
    }
}

fn cannot_write(location: &Location, error: &std::io::Error) -> Error {
    Error::Index { index: location.display(), what: format!("it could not be written: {error}") }
}
