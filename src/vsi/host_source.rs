//! Files of GDAL's own file systems as a [`Source`]: what the native transport cannot read.
//!
//! GDAL finds credentials in the options of the thread that opens and reads, so all of a file's opens and reads run under
//! the options of the thread that opened it first. Several ranges are read side by side, each on a handle of its own, by
//! threads that end before the call does: none outlives GDAL when the process ends.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use bytes::Bytes;

use super::host::{Host, HostFile, ThreadOptions};
use crate::error::{Error, Result};
use crate::path;
use crate::process::{PerProcess, lock};
use crate::source::{self, Host as Counted, Identity, Meta, Source, SourceOffset, SourceRange};

/// File systems of GDAL's that read over a network.
const REMOTE: [&str; 9] =
    ["/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift", "/vsiwebhdfs", "/vsihdfs"];

/// The most handles that read one file at the same time in one call, and that are kept open.
const MOST_HANDLES: usize = 8;

/// One file of the host's.
pub(super) struct HostSource {
    host: &'static dyn Host,
    path: String,
    origin: String,
    identity: String,
    cheap: bool,
    meta: Meta,
    options: ThreadOptions,
    idle: PerProcess<Idle>,
}

/// One process's handles that nobody uses now.
///
/// A forked child leaves its parent's alone, open and unread: a connection or a file's offset would be shared with the
/// parent, and a close is heard at the other end. The list itself may have been in the middle of a change at the fork.
struct Idle {
    pid: u32,
    handles: ManuallyDrop<Mutex<Vec<Box<dyn HostFile>>>>,
}

impl Default for Idle {
    fn default() -> Self {
        Self { pid: std::process::id(), handles: ManuallyDrop::default() }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            drop(std::mem::take(&mut *lock(&self.handles)));
        }
    }
}

impl HostSource {
    /// Opens `path`, a path of GDAL's, for a caller with this identity.
    pub(super) fn open(host: &'static dyn Host, path: &str, identity: &Identity) -> Result<Arc<dyn Source>> {
        let file = host.open_file(path).ok_or_else(Error::not_found)?;
        let (size, last_modified) = host.file_size(path).ok_or_else(Error::not_found)?;
        let origin = path.split('?').next().unwrap_or_default().to_owned();
        let source = Self {
            host,
            cheap: !REMOTE.iter().any(|prefix| path.contains(prefix)),
            path: path.to_owned(),
            identity: format!("{path}#{}", identity.number()),
            origin,
            meta: Meta { size, etag: None, last_modified },
            options: host.thread_options(),
            idle: PerProcess::new(),
        };
        source.put_back(file);
        Ok(Arc::new(source))
    }

    /// Keeps a handle for the next read.
    fn put_back(&self, file: Box<dyn HostFile>) {
        let mut idle = lock(&self.idle.get().handles);
        if idle.len() < MOST_HANDLES {
            idle.push(file);
        }
    }

    /// Fills `buffer` on this thread.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut outcome = Ok(());
        self.host.with_thread_options(&self.options, &mut || outcome = self.read_with_options(offset, buffer));
        if let Some(counted) = Source::host(self) {
            counted.note_read(outcome.is_ok().then_some(buffer.len() as u64));
        }
        outcome
    }

    /// See [`HostSource::read`]; the file's options hold on this thread. A handle that has failed is not used again.
    fn read_with_options(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.host.forget_error();
        let why = || match without_secrets(&self.host.last_error()) {
            said if said.is_empty() => String::new(),
            said => format!(": {said}"),
        };
        let idle = lock(&self.idle.get().handles).pop();
        let Some(mut file) = idle.or_else(|| self.host.open_file(&self.path)) else {
            return Err(Error::read(format!("GDAL's own file system cannot open the file again{}", why())));
        };
        let done = file.read_at(offset, buffer);
        if done == buffer.len() {
            self.put_back(file);
            return Ok(());
        }
        Err(Error::read(format!(
            "GDAL's own file system gave {done} of the {} bytes at {offset}{}",
            buffer.len(),
            why()
        )))
    }

    /// Reads one range on this thread.
    fn read_range(&self, range: &SourceRange) -> Result<Bytes> {
        if range.end.0 > self.meta.size {
            return Err(Error::read(format!("bytes up to {} of a file of {}", range.end.0, self.meta.size)));
        }
        let length = usize::try_from(range.end.0.saturating_sub(range.start.0)).unwrap_or(usize::MAX);
        let mut buffer = Vec::new();
        let reserved = buffer.try_reserve_exact(length);
        reserved.map_err(|_| Error::read(format!("no memory for the {length} bytes at {}", range.start.0)))?;
        buffer.resize(length, 0);
        self.read(range.start.0, &mut buffer)?;
        Ok(buffer.into())
    }

    /// How many threads read `ranges`: none but this one where that is as fast. GDAL keeps a thread's connections for the
    /// thread's own next read, and a new one costs as much as two or three reads.
    fn threads_for(&self, ranges: &[SourceRange]) -> usize {
        match ranges.len().div_ceil(2).min(self.lanes()) {
            1 => 0,
            threads => threads,
        }
    }
}

/// A message of GDAL's without query strings and user info.
fn without_secrets(message: &str) -> String {
    message.split_whitespace().map(path::without_secrets).collect::<Vec<_>>().join(" ")
}

impl Source for HostSource {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn is_cheap(&self) -> bool {
        self.cheap
    }

    /// By the file system: which hosts GDAL asks it does not tell.
    fn host(&self) -> Option<Arc<Counted>> {
        let name = self.path.split(['/', '?']).nth(1).unwrap_or_default();
        (!self.cheap).then(|| source::host(&format!("/{name}/")))
    }

    fn lanes(&self) -> usize {
        if self.cheap { 1 } else { MOST_HANDLES }
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
        let mut answers = vec![Bytes::new(); ranges.len()];
        self.read_each(ranges, &mut |number, bytes| {
            if let Some(answer) = answers.get_mut(number) {
                *answer = bytes;
            }
        })?;
        Ok(answers)
    }

    fn read_each(&self, ranges: &[SourceRange], each: &mut dyn FnMut(usize, Bytes)) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = |tell: &mut dyn FnMut(usize, Result<Bytes>) -> bool| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(range) = ranges.get(number) else { break };
                if !tell(number, self.read_range(range)) {
                    break;
                }
            }
        };
        let mut outcome = Ok(());
        let mut take = |number: usize, answer: Result<Bytes>| match answer {
            Ok(bytes) => {
                each(number, bytes);
                true
            }
            Err(error) => {
                // What nobody has begun is left.
                next.store(ranges.len(), Ordering::Relaxed);
                outcome = outcome.clone().and(Err(error));
                false
            }
        };
        let threads = self.threads_for(ranges);
        thread::scope(|scope| {
            let (sender, answers) = mpsc::channel();
            let started = (0..threads).filter(|_| {
                let (sender, work) = (sender.clone(), &work);
                let lane = move || work(&mut |number, answer| sender.send((number, answer)).is_ok());
                thread::Builder::new().name("vsitlm-gdal".into()).spawn_scoped(scope, lane).is_ok()
            });
            if started.count() == 0 {
                return work(&mut take); // also where the system gives no thread
            }
            drop(sender);
            answers.into_iter().for_each(|(number, answer)| {
                take(number, answer);
            });
        });
        outcome
    }

    fn read_up_to(&self, offset: SourceOffset, length: u64) -> Result<Bytes> {
        let end = self.meta.size.min(offset.0.saturating_add(length)).max(offset.0);
        self.read_range(&(offset..SourceOffset(end)))
    }
}

#[cfg(test)]
#[path = "host_source_tests.rs"]
pub(super) mod tests;
