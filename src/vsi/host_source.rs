//! Files of GDAL's own file systems as a [`Source`]: what the native transport cannot read.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::handler::Host;
use crate::error::{Error, Result};
use crate::process::lock;
use crate::source::{Meta, Source, SourceOffset, SourceRange};

/// An open file of the host's.
pub(super) trait HostFile: Send {
    /// Reads from `offset` on and gives the number of bytes read: fewer than asked at the end or where reading failed.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> usize;
}

/// File systems of GDAL's that read over a network.
const REMOTE: [&str; 9] =
    ["/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift", "/vsiwebhdfs", "/vsihdfs"];

/// The most handles that read one file at the same time.
const MOST_HANDLES: usize = 8;

/// One file of the host's.
pub(super) struct HostSource {
    host: &'static dyn Host,
    path: String,
    origin: String,
    cheap: bool,
    meta: Meta,
    /// Handles that nobody uses now. GDAL's credentials are bound to the thread that opens, so one is opened at once.
    idle: Mutex<Vec<Box<dyn HostFile>>>,
}

impl HostSource {
    /// Opens `path`, a path of GDAL's.
    pub(super) fn open(host: &'static dyn Host, path: &str) -> Result<Arc<dyn Source>> {
        let file = host.open_file(path).ok_or(Error::NotFound)?;
        let (size, last_modified) = host.file_size(path).ok_or(Error::NotFound)?;
        let origin = path.split('?').next().unwrap_or_default().to_owned();
        Ok(Arc::new(Self {
            host,
            cheap: !REMOTE.iter().any(|prefix| path.contains(prefix)),
            path: path.to_owned(),
            origin,
            meta: Meta { size, etag: None, last_modified },
            idle: Mutex::new(vec![file]),
        }))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let idle = lock(&self.idle).pop();
        let mut file = match idle.or_else(|| self.host.open_file(&self.path)) {
            Some(file) => file,
            None => return Err(Error::read("GDAL's own file system cannot open the file again")),
        };
        let done = file.read_at(offset, buffer);
        let mut idle = lock(&self.idle);
        if idle.len() < MOST_HANDLES {
            idle.push(file);
        }
        drop(idle);
        if done == buffer.len() {
            return Ok(());
        }
        Err(Error::read(format!(
            "GDAL's own file system gave {done} of the {} bytes at {offset}: see its message",
            buffer.len()
        )))
    }
}

impl Source for HostSource {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn is_for_any_thread(&self) -> bool {
        false
    }

    fn is_cheap(&self) -> bool {
        self.cheap
    }

    fn head(&self) -> Result<Meta> {
        Ok(self.meta.clone())
    }

    fn seen(&self) -> Option<Meta> {
        Some(self.meta.clone())
    }

    fn read_into(&self, offset: SourceOffset, buffer: &mut [u8]) -> Result<()> {
        self.read(offset.0, buffer)
    }

    fn read_ranges(&self, ranges: &[SourceRange]) -> Result<Vec<Bytes>> {
        ranges
            .iter()
            .map(|range| {
                let length = range.end.0.saturating_sub(range.start.0);
                if range.end.0 > self.meta.size {
                    return Err(Error::read(format!("bytes up to {} of a file of {}", range.end.0, self.meta.size)));
                }
                let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
                self.read(range.start.0, &mut buffer)?;
                Ok(buffer.into())
            })
            .collect()
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        let end = self.meta.size.min(offset.0.saturating_add(length)).max(offset.0);
        let mut ranges = self.read_ranges(&[offset..SourceOffset(end)])?;
        Ok(ranges.pop().unwrap_or_default())
    }
}
