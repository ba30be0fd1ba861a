//! Walking a JP2 from tile-part to tile-part, once, to make its index row; `tiff` does the same for a TIFF, whose header says
//! all.
//!
//! ```text
//! scan ─► main header ─► plan ─► resync ─► walk ─► Scanned
//!                                   └─► pieces ◄─┘
//! ```
//!
//! One walk along Psot, from SOT to SOT (T.800 A.4.2), makes the row and checks every link. What differs is how the bytes
//! come that it looks at: `plan` chooses by what requests and bytes cost, `resync` fetches them from several places at the
//! same time, `pieces` holds them and fetches what is missing. So the row is the same whichever way it was made, and a
//! guess that was wrong costs time alone.

pub(super) mod heads;
pub(super) mod own_tlm;
mod pieces;
mod plan;
mod resync;
pub(super) mod tiff;
mod walk;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::jp2::{MainHeader, Progress, SOT_LENGTH, TilePart, parse_main_header};
use crate::source::{Meta, Source};
use heads::{are_wrong, set_heads};
use own_tlm::own_tile_parts;
use pieces::Pieces;
use plan::Plan;
pub(crate) use plan::{Effort, Strategy};

/// What a scan found.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    /// Size, ETag and date of the file as it was read.
    pub(crate) meta: Meta,
    /// The main header.
    pub(crate) main: MainHeader,
    /// The file up to the end of the first SOT marker segment.
    pub(crate) header: Bytes,
    /// The tile-parts in source order; every tile has at least one.
    pub(crate) parts: Vec<TilePart>,
    /// Whether the file has a TLM of its own that fits it. Then `parts` may be made from that, without heads.
    pub(crate) has_tlm: bool,
    /// The lengths in bytes of all packets of each tile-part, where its headers were read and record them; else empty.
    pub(crate) lengths: Vec<Vec<u32>>,
    /// The file, where it was read whole: small remote ones are.
    pub(crate) whole: Option<Bytes>,
    /// What is wrong with the lengths of packets that the file records (PLT), where something is. It is then served without
    /// reduced views.
    pub(crate) doubt: Option<Error>,
}

/// Reads a file's headers, as fast as its source allows.
///
/// # Errors
/// As [`scan_by`].
pub(crate) fn scan(source: &dyn Source) -> Result<Scanned> {
    scan_by(source, Effort { strategy: Strategy::Auto, lanes: source.lanes() })
}

/// Reads a file's headers, those of its tile-parts too where it has a TLM: for a file whose TLM has turned out wrong.
///
/// # Errors
/// As [`scan_by`].
pub(crate) fn scan_without_tlm(source: &dyn Source) -> Result<Scanned> {
    scan_with(source, Effort { strategy: Strategy::Auto, lanes: source.lanes() }, false)
}

/// Reads a file's headers. What comes out depends on the file alone, not on `effort`.
///
/// # Errors
/// [`Error::Malformed`] with the offset of what breaks the standard; [`Error::Changed`] where the file does not stay what
/// it is; whatever `source` fails with.
pub(crate) fn scan_by(source: &dyn Source, effort: Effort) -> Result<Scanned> {
    scan_with(source, effort, true)
}

fn scan_with(source: &dyn Source, effort: Effort, believes_tlm: bool) -> Result<Scanned> {
    let mut pieces = Pieces::new(source)?;
    let main = main_header(&mut pieces)?;
    let meta = pieces.meta().clone();
    // Rows are kept, and a slice would keep all that was read with it: of a small file the whole.
    let header = header(&mut pieces, main.end + SOT_LENGTH)?;
    let end = main.codestream_end_in(meta.size);
    let whole = pieces.whole();
    let own = if main.has_tlm() { own_tile_parts(&main, &header, meta.size).ok() } else { None };
    let entries = |parts: &[TilePart]| parts.iter().map(|part| (part.tile, part.length)).collect::<Vec<_>>();
    let (has_tlm, parts, lengths, doubt) = match own {
        Some(parts) if believes_tlm && !source.is_cheap() => (true, parts, Vec::new(), None),
        // Where a walk costs nothing, a TLM is not taken at its word.
        own => {
            match plan::choose(effort, &pieces, &main, end) {
                Plan::Hop => {}
                Plan::Stream { requests } => pieces.stream(requests, end),
                Plan::Resync { chains } => resync::explore(&mut pieces, &main, end, chains)?,
            }
            let (mut found, mut headers) = walk::tile_parts(&mut pieces, &main, end)?;
            let divided = set_heads(&main, &mut found, &mut headers);
            let doubt = divided.as_ref().err().filter(|_| are_wrong(&main, &headers)).cloned();
            let lengths = divided.map_or_else(|_| Vec::new(), |_| headers.into_iter().map(|h| h.lengths).collect());
            (own.is_some_and(|own| entries(&own) == entries(&found)), found, lengths, doubt)
        }
    };
    source.check_unchanged(&meta)?;
    Ok(Scanned { meta, main, header, parts, has_tlm, lengths, whole, doubt })
}

fn main_header(pieces: &mut Pieces<'_>) -> Result<MainHeader> {
    let size = pieces.meta().size;
    let mut need = 0;
    loop {
        let prefix = pieces.at(0, need)?;
        match parse_main_header(prefix, size)? {
            Progress::Done(main) => return Ok(main),
            // Doubling: a header that asks byte by byte costs few reads all the same.
            Progress::Need(end) => need = end.max((prefix.len() as u64).saturating_mul(2)),
        }
    }
}

/// A copy of the file's first `length` bytes, which end with the first SOT marker segment.
fn header(pieces: &mut Pieces<'_>, length: u64) -> Result<Bytes> {
    let cut = || Error::malformed(length - SOT_LENGTH, "A.4.2", "the file ends in its first SOT: it is cut");
    let bytes = pieces.at(0, length)?;
    let whole = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
    whole.map(Bytes::copy_from_slice).ok_or_else(cut)
}

#[cfg(test)]
mod tests;
