//! Walking a JP2 from tile-part to tile-part, once, to make its index row.
//!
//! Psot leads from SOT to SOT (T.800 A.4.2), so headers are read and packets are jumped over: one small read a
//! tile-part where they are large, one large read for many where they are small.

use bytes::Bytes;

use super::heads::{MOST_PACKETS, are_wrong, set_heads};
use super::record::own_tile_parts;
use crate::error::{Error, Result};
use crate::jp2::{
    EOC, MainHeader, Progress, SOT_LENGTH, Sot, TilePart, TilePartHeader, parse_main_header, parse_tile_part_header,
};
use crate::source::{Meta, Source, SourceOffset};

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
    /// The file, where it was read whole: small ones are.
    pub(crate) whole: Option<Bytes>,
    /// What is wrong with the lengths of packets that the file tells (PLT), where something is. It is then served without
    /// reduced views.
    pub(crate) doubt: Option<Error>,
}

/// The first read of a local file: real headers have about 2.3 kB.
const FIRST: u64 = 8 << 10;
/// The first read of a remote one: what costs no more than another request, so that small files come with it.
const FIRST_REMOTE: u64 = 256 << 10;
/// One hop: an SOT segment, PLT, SOD.
const HOP: u64 = 1 << 10;
/// Files up to this size are read whole at once.
const SMALL_FILE: u64 = 1 << 20;
/// One read for many small tile-parts: a 60 m band of 2.7 MB takes three reads in all.
const BLOCK: u64 = 3 << 19;
/// Up to this length tile-parts are small: jumping over their packets costs more than reading them.
const SMALL_PART: u64 = 128 << 10;
/// TPsot numbers the tile-parts of a tile from 0 to 254 (Table A.6).
const MOST_PARTS: u16 = 255;

/// Reads a file's headers.
///
/// # Errors
/// [`Error::Malformed`] with the offset of what breaks the standard; whatever `source` fails with.
pub(crate) fn scan(source: &dyn Source) -> Result<Scanned> {
    let mut window = Window::new(source)?;
    let main = main_header(&mut window)?;
    // Rows are kept, and a slice would keep all that was read with it: of a small file the whole.
    let header = Bytes::copy_from_slice(&window.slice(0, main.end + SOT_LENGTH)?);
    let size = window.meta.size;
    let end = match main.codestream_end {
        Some(end) if end > size => {
            let at = main.jp2c.map_or(0, |(offset, _)| offset);
            return Err(Error::malformed(
                at,
                "I.4",
                format!("a jp2c box that ends at {end}, the file at {size}: it is cut"),
            ));
        }
        Some(end) => end,
        None => size,
    };
    let whole = (window.bytes.len() as u64 == size).then(|| window.bytes.clone());
    let own = if main.has_tlm() { own_tile_parts(&main, &header, size).ok() } else { None };
    let told = |parts: &[TilePart]| parts.iter().map(|part| (part.tile, part.length)).collect::<Vec<_>>();
    let (has_tlm, parts, doubt) = match own {
        Some(parts) if !source.is_cheap() => (true, parts, None),
        // Where a walk costs nothing, a TLM is not taken at its word.
        own => {
            let (mut found, headers) = tile_parts(&mut window, &main, end)?;
            let divided = set_heads(&main, &mut found, &headers);
            let doubt = divided.err().filter(|_| are_wrong(&main, &headers));
            (own.is_some_and(|own| told(&own) == told(&found)), found, doubt)
        }
    };
    Ok(Scanned { meta: window.meta, main, header, parts, has_tlm, whole, doubt })
}

fn main_header(window: &mut Window<'_>) -> Result<MainHeader> {
    let size = window.meta.size;
    loop {
        let prefix = window.at(0, 0, 0)?;
        let have = prefix.len() as u64;
        match parse_main_header(prefix, size)? {
            Progress::Done(main) => return Ok(main),
            // Doubling: a header that asks byte by byte costs few reads all the same.
            Progress::Need(end) => window.extend(end.max(have.saturating_mul(2)))?,
        }
    }
}

/// Hops from SOT to SOT. `end` is where the codestream ends, inside the file.
fn tile_parts<'m>(
    window: &mut Window<'_>,
    main: &'m MainHeader,
    end: u64,
) -> Result<(Vec<TilePart>, Vec<TilePartHeader<'m>>)> {
    let tiles = main.siz.tiles();
    let mut counts = vec![0u16; tiles as usize];
    let mut missing = tiles;
    let (mut parts, mut headers): (Vec<TilePart>, Vec<TilePartHeader<'m>>) = Default::default();
    let mut lengths = 0;
    let mut at = main.end;
    let mut open_ended = false;
    // Two bytes that are left once every tile is there are the EOC marker: no reader needs them from us.
    while !open_ended && at < end && (missing > 0 || end - at > EOC.len() as u64) {
        let block = window.block(parts.last());
        let bytes = window.at(at, SOT_LENGTH.min(end - at), block)?;
        if bytes.starts_with(&EOC) {
            break;
        }
        if missing == 0 && !bytes.starts_with(&[0xFF, 0x90]) {
            break; // padding after the last tile-part, in a file without EOC
        }
        let sot = Sot::parse(
            bytes.get(..usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len())).unwrap_or(bytes),
            at,
        )?;
        let Some(count) = counts.get_mut(usize::from(sot.tile)) else {
            return Err(Error::malformed(
                at,
                "A.4.2",
                format!("a tile-part of tile {}, the image has {tiles} tiles", sot.tile),
            ));
        };
        if *count == 0 {
            missing -= 1;
        }
        *count += 1;
        if *count > MOST_PARTS {
            return Err(Error::malformed(
                at,
                "A.4.2",
                format!("more than {MOST_PARTS} tile-parts of tile {}", sot.tile),
            ));
        }
        let length = match sot.length {
            0 => {
                // The last tile-part may leave its length to the EOC marker.
                open_ended = true;
                let marker = window.tail(end)?;
                u32::try_from(end - at - marker)
                    .map_err(|_| Error::malformed(at, "A.4.2", "a last tile-part (Psot = 0) of more than 4 GiB"))?
            }
            length => length,
        };
        if length < 14 {
            return Err(Error::malformed(at, "A.4.2", format!("Psot = {length}: fewer bytes than SOT and SOD have")));
        }
        let part_end = at + u64::from(length);
        if part_end > end {
            return Err(Error::malformed(
                at,
                "A.4.2",
                format!(
                    "tile-part {} of tile {} ends at {part_end}, the codestream at {end}: the file is cut",
                    sot.part, sot.tile
                ),
            ));
        }
        let mut header = loop {
            let bytes = window.at(at, SOT_LENGTH, block)?;
            let inside = bytes.len().min(length as usize);
            match parse_tile_part_header(bytes.get(..inside).unwrap_or(bytes), at, length, main)? {
                Progress::Done(header) => break header,
                Progress::Need(need) => {
                    let have = inside as u64;
                    window.at(at, (need - at).max(have.saturating_mul(2)).min(u64::from(length)), block)?;
                }
            }
        };
        lengths += header.lengths.len();
        if lengths > MOST_PACKETS {
            header.lengths = Vec::new();
        }
        parts.push(TilePart { tile: sot.tile, offset: at, length, head: None });
        headers.push(header);
        at = part_end;
    }
    if missing > 0 {
        return Err(Error::malformed(
            at,
            "A.4.4",
            if open_ended {
                format!("Psot = 0 before the last tile-part: {missing} of the {tiles} tiles have none")
            } else {
                format!("the codestream ends and {missing} of the {tiles} tiles have no tile-part: the file is cut")
            },
        ));
    }
    Ok((parts, headers))
}

/// The bytes read last.
struct Window<'a> {
    source: &'a dyn Source,
    meta: Meta,
    start: u64,
    bytes: Bytes,
}

impl<'a> Window<'a> {
    fn new(source: &'a dyn Source) -> Result<Self> {
        let first = if source.is_cheap() { FIRST } else { FIRST_REMOTE };
        let bytes = source.read_up_to(SourceOffset(0), first)?;
        let meta = match source.seen() {
            Some(meta) => meta,
            None => source.head()?,
        };
        let mut window = Self { source, meta, start: 0, bytes };
        // One read of a small file costs less than hopping through it.
        if window.meta.size <= SMALL_FILE {
            window.extend(window.meta.size)?;
        }
        Ok(window)
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Makes the window reach `end`, or the file's end.
    fn extend(&mut self, end: u64) -> Result<()> {
        let (from, end) = (self.end(), end.min(self.meta.size));
        if from < end {
            let more = self.read(from, end - from)?;
            self.bytes = [&self.bytes[..], &more[..]].concat().into();
        }
        Ok(())
    }

    fn read(&self, offset: u64, length: u64) -> Result<Bytes> {
        let bytes = self.source.read_up_to(SourceOffset(offset), length)?;
        if bytes.len() as u64 != length.min(self.meta.size.saturating_sub(offset)) {
            return Err(Error::Changed {
                what: format!("{} bytes at {offset} of a file of {} bytes", bytes.len(), self.meta.size),
            });
        }
        Ok(bytes)
    }

    /// What is at hand from `offset` on: at least `least` bytes, less only where the file ends; `block` bytes are read
    /// where they are not there yet.
    fn at(&mut self, offset: u64, least: u64, block: u64) -> Result<&[u8]> {
        let wanted = offset.saturating_add(least).min(self.meta.size);
        if offset < self.start || offset > self.end() {
            (self.start, self.bytes) = (offset, self.read(offset, least.max(block))?);
        } else if self.end() < wanted {
            let kept = self.bytes.slice(usize::try_from(offset - self.start).unwrap_or(0)..);
            (self.start, self.bytes) = (offset, kept);
            self.extend(wanted.max(self.end().saturating_add(block)))?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).unwrap_or_default())
    }

    /// How much to read at the next SOT, by the tile-part before it.
    fn block(&self, last: Option<&TilePart>) -> u64 {
        match last {
            Some(part) if u64::from(part.length) <= SMALL_PART && !self.source.is_cheap() => BLOCK,
            _ => HOP,
        }
    }

    /// The bytes of the EOC marker before `end`: 2, or 0 where there is none.
    fn tail(&self, end: u64) -> Result<u64> {
        let length = EOC.len() as u64;
        Ok(if *self.read(end.saturating_sub(length), length)? == EOC { length } else { 0 })
    }

    fn slice(&self, start: u64, end: u64) -> Result<Bytes> {
        let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
        if self.start != 0 || range.end > self.bytes.len() {
            return Err(Error::malformed(start, "A.3", "a header that was not read whole"));
        }
        Ok(self.bytes.slice(range))
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
