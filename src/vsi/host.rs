//! One libgdal, as this room needs it.

use std::ffi::CString;

/// How a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Warning,
    OpenFailed,
    ReadFailed,
}

/// One libgdal, as the handler needs it.
pub(super) trait Host: Send + Sync {
    /// A configuration option, as it holds for `path` on this thread.
    fn option(&self, path: &str, name: &str) -> Option<String>;
    /// Raises an error or warning on this thread, when the callback that runs there is over.
    fn report(&self, message: &str, severity: Severity);
    /// Opens a file of the host's own file systems.
    fn open_file(&self, path: &str) -> Option<Box<dyn HostFile>>;
    /// Its size in bytes, and when it was last modified in seconds since 1970-01-01 UTC.
    fn file_size(&self, path: &str) -> Option<(u64, Option<i64>)>;
    /// Empties the host's cache of blocks, but for those that are in use.
    fn forget_blocks(&self);
    /// Makes the host's cache of blocks so small that it holds one at a time, until [`Host::restore_cache`].
    fn shrink_cache(&self);
    /// Gives the cache the limit that it had, where nobody has set another.
    fn restore_cache(&self);
    /// The configuration options that hold on this thread alone.
    fn thread_options(&self) -> ThreadOptions;
    /// Those that hold on every thread, where a program has set them.
    fn process_options(&self) -> ThreadOptions;
    /// Runs `work` once with `options` in place of this thread's own, which come back afterwards.
    fn with_thread_options(&self, options: &ThreadOptions, work: &mut dyn FnMut());
    /// Forgets this thread's last error, so that [`Host::last_error`] tells of what comes.
    fn forget_error(&self);
    /// What the host's last error on this thread said, or nothing.
    fn last_error(&self) -> String;
}

/// An open file of the host's.
pub(super) trait HostFile: Send {
    /// Reads from `offset` on and gives the number of bytes read: fewer than asked at the end or where reading failed.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> usize;
}

/// Configuration options that hold on one thread, each as `NAME=value`.
pub(super) type ThreadOptions = Vec<CString>;
