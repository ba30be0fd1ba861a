//! A reduced view out of the index: packets that its row carries.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use once_cell::race::OnceBox;

use super::known::Known;
use crate::index::EmbeddedOverviews;
use crate::jp2::TilePart;
use crate::process::{PerProcess, lock};
use crate::source::SourceRange;
use crate::trace;

/// The packets of one row, read from the index by the first read that needs them and kept as long as the
/// view is open.
pub(super) struct Embedded {
    overviews: EmbeddedOverviews,
    parts: Arc<[TilePart]>,
    /// Those of each tile-part; `None` where they could not be read.
    packets: OnceBox<Option<Vec<Bytes>>>,
}

/// Threads that read one view read its packets once. After fork() the child has another lock.
static READING: PerProcess<Mutex<()>> = PerProcess::new();

impl Embedded {
    /// What the row carries for the image at 1/factor.
    pub(super) fn of(known: &Known, factor: u32) -> Option<Self> {
        let overviews = known.record.overviews.clone().filter(|overviews| 1 << overviews.k() <= u64::from(factor))?;
        Some(Self { overviews, parts: known.structure.tile_parts.parts().into(), packets: OnceBox::new() })
    }

    /// Bytes of the file, where they are packets that the row carries. Where the index is corrupt or cannot be read, the
    /// file itself has them too.
    pub(super) fn bytes(&self, wanted: &SourceRange) -> Option<Bytes> {
        let number = self.parts.partition_point(|part| part.offset <= wanted.start.0).checked_sub(1)?;
        let part = self.parts.get(number)?;
        let packets = part.offset + u64::from(part.head.as_ref()?.packets);
        let at = |offset: u64| usize::try_from(offset.checked_sub(packets)?).ok();
        let (start, end) = (at(wanted.start.0)?, at(wanted.end.0)?);
        let held = self.packets()?.get(number)?;
        (start <= end && end <= held.len()).then(|| held.slice(start..end))
    }

    /// Whether asking for bytes asks the index no more.
    pub(super) fn is_read(&self) -> bool {
        self.packets.get().is_some()
    }

    fn packets(&self) -> Option<&Vec<Bytes>> {
        if self.packets.get().is_none() {
            let _one = lock(READING.get());
            self.packets.get_or_init(|| {
                let read = self.overviews.fetch().and_then(|(_, packets)| self.overviews.split(&self.parts, &packets));
                Box::new(read.inspect_err(|error| trace::debug(|| error.chain())).ok())
            });
        }
        self.packets.get()?.as_ref()
    }
}
