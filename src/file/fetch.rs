//! Fetching all that decoding a file reads, without blocking a thread.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::VirtualFile;
use crate::error::{Result, ResultExt};
use crate::layout::{Content, VirtualOffset};
use crate::path::Window;
use crate::source::{Fetched, SourceRange, fetch_units_async};

impl VirtualFile {
    /// Whether [`VirtualFile::fetch_all`] asks nobody on the caller's thread.
    pub(crate) fn is_ready(&self) -> bool {
        self.embedded.as_ref().is_none_or(|embedded| embedded.is_read())
    }

    /// Reads what of the file the index carries: blocks.
    pub(crate) fn make_ready(&self) {
        if !self.is_ready() {
            let _ = self.missing();
        }
    }

    /// The units that reading the file from its first byte to its last asks the source for. None for a text, which has no
    /// bytes of the source, nor for packets that the index carries.
    fn missing(&self) -> Vec<usize> {
        self.missing_in(&(0..self.size()))
    }

    /// The same for a part of the file.
    fn missing_in(&self, part: &Range<u64>) -> Vec<usize> {
        let embedded = |range: &SourceRange| self.embedded.as_ref().is_some_and(|all| all.bytes(range).is_some());
        let mut units: Vec<usize> = Vec::new();
        let segments = self.layout.segments_from(VirtualOffset(part.start));
        for (_, content) in segments.take_while(|(start, _)| start.0 < part.end) {
            let Content::Source(range) = content else { continue };
            if embedded(range) {
                continue;
            }
            let first = self.unit_at(range.start.0).unwrap_or(self.units());
            let within = |unit: &usize| self.unit_range(*unit).start < range.end;
            units.extend((first..self.units()).take_while(within));
        }
        units.sort_unstable();
        units.dedup();
        units
    }

    /// Whether the first read fetches the file whole, so that there is no need to find out what of it is wanted.
    pub(crate) fn is_fetched_whole(&self) -> bool {
        self.small_file().is_some()
    }

    /// Brings into the cache the headers of tile-parts that [`VirtualFile::packets_of`] reads, under the same terms as
    /// [`VirtualFile::fetch_all`].
    ///
    /// # Errors
    /// As those of [`VirtualFile::needs_headers`] and [`VirtualFile::read_at`].
    pub(crate) async fn fetch_headers(self: &Arc<Self>, factor: u32, windows: &[Window]) -> Result<Fetched> {
        let headers = self.missing_headers(factor, windows).in_file(&self.name)?;
        let file = self.clone();
        let check = move |_: usize, _: &Bytes| file.confirm();
        let fetched = fetch_units_async(&self.source, &headers, &self.access.options, check).await;
        fetched.inspect_err(|error| self.doubt_row(error)).in_file(&self.name)
    }

    /// Brings into the cache what decoding the file reads, for a task of the engine's runtime; see [`VirtualFile::is_ready`].
    /// Dropping the future ends its requests. It is there to be read as long as the cache keeps it.
    ///
    /// # Errors
    /// As those of [`VirtualFile::read_at`].
    pub(crate) async fn fetch_all(self: &Arc<Self>) -> Result<Fetched> {
        self.fetch_units(self.missing()).await
    }

    /// The same for what [`VirtualFile::samples_of_view`] reads.
    ///
    /// # Errors
    /// As those of [`VirtualFile::read_at`].
    pub(crate) async fn fetch_window(self: &Arc<Self>, factor: u32, window: &Window) -> Result<Fetched> {
        let parts = self.parts_of_window(factor, window).in_file(&self.name)?;
        self.fetch_units(parts.iter().flat_map(|part| self.missing_in(part)).collect()).await
    }

    /// Brings into the cache the tile-parts that `window` of the image at 1/factor touches, under the same terms as
    /// [`VirtualFile::fetch_all`]: where it is not known which of their packets it needs.
    ///
    /// # Errors
    /// As [`VirtualFile::samples_of_tiles`].
    pub(crate) async fn fetch_tiles(self: &Arc<Self>, factor: u32, window: &Window) -> Result<Fetched> {
        self.fetch_units(self.touched(factor, window).in_file(&self.name)?).await
    }

    async fn fetch_units(self: &Arc<Self>, numbers: Vec<usize>) -> Result<Fetched> {
        let numbers = if self.source.is_cheap() { Vec::new() } else { numbers };
        let whole = self.small_file().filter(|_| !numbers.is_empty());
        let ranges: Vec<SourceRange> = match &whole {
            Some(whole) => vec![whole.clone()],
            None => numbers.iter().map(|number| self.unit_range(*number)).collect(),
        };
        let file = self.clone();
        let is_whole = whole.is_some();
        let numbers: Arc<[usize]> = numbers.into();
        let check = move |index: usize, bytes: &Bytes| {
            file.confirm()?;
            match numbers.get(index) {
                _ if is_whole => file.check_sots(0, 0, bytes),
                Some(number) => file.check_sot(*number, bytes),
                None => Ok(()),
            }
        };
        let fetched = fetch_units_async(&self.source, &ranges, &self.fetching(), check).await;
        fetched.inspect_err(|error| self.doubt_row(error)).in_file(&self.name)
    }
}
