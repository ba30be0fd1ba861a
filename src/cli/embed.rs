//! `vsitlm index --embed-overviews N`: the overviews of each file, which wait on the disk until the index is written,
//! since those of an archive are more than memory holds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::open;
use crate::error::{Error, Result};
use crate::index::{EmbeddedOverviews, Record, build_overviews, parse_factor};
use crate::options::Options;
use crate::path::Location;
use crate::process::lock;
use crate::source::{Source, SourceOffset};

/// The overviews that were read.
pub(super) struct Embedder {
    k: u8,
    /// A file without a name beside the index, and its length in bytes.
    file: Mutex<(File, u64)>,
    source: Arc<dyn Source>,
    output: String,
}

/// What `--embed-overviews` takes: k of N = 2^k.
pub(super) fn factor(text: &str) -> Result<u8, String> {
    parse_factor(text.parse().unwrap_or(0)).map_err(|expected| format!("use {expected}"))
}

impl Embedder {
    /// Nothing yet, of factor 2^k, for the index `output`.
    pub(super) fn new(k: u8, output: &Path, options: &Options) -> Result<Self> {
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let shown = output.display().to_string();
        let file = tempfile::Builder::new().prefix(".vsitlm-").suffix(".part").tempfile_in(folder);
        let (file, path) = file.map_err(|error| cannot_keep(&shown, &error))?.into_parts();
        let source = open(&Location::Local(path.to_path_buf()), options)?;
        // From here on the two open files are all there is of it: nothing is left when the program ends, however it does.
        drop(path);
        Ok(Self { k, file: Mutex::new((file, 0)), source, output: shown })
    }

    /// Gives `record` its overviews, read from `source` or from `whole`; or tells why it has none.
    pub(super) fn embed(
        &self,
        record: &mut Record,
        source: &Arc<dyn Source>,
        whole: Option<&Bytes>,
        options: &Options,
    ) -> Result<Option<String>> {
        let value = match build_overviews(&record.parts, self.k, source, whole, options)? {
            Ok(value) => value,
            Err(why) => return Ok(Some(why)),
        };
        let mut file = lock(&self.file);
        let (file, end) = &mut *file;
        // At the place, not after what a failed write may have left.
        file.write_all_at(&value, *end).map_err(|error| cannot_keep(&self.output, &error))?;
        let start = *end;
        *end += value.len() as u64;
        let range = SourceOffset(start)..SourceOffset(*end);
        record.overviews = Some(EmbeddedOverviews::of_value(self.k, self.source.clone(), range));
        Ok(None)
    }

    /// The factor, and the bytes of all overviews.
    pub(super) fn told(&self) -> (u64, u64) {
        (1 << self.k, lock(&self.file).1)
    }
}

fn cannot_keep(index: &str, error: &std::io::Error) -> Error {
    Error::Index { index: index.to_owned(), what: format!("overviews cannot be kept beside it: {error}") }
}
