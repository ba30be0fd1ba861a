//! The walk that makes the row: from SOT to SOT along Psot (T.800 A.4.2), in one order, every link checked against the
//! standard.

use super::pieces::Pieces;
use crate::error::{Error, Result};
use crate::index::format::packets::MOST_PACKETS;
use crate::jp2::{EOC, MainHeader, Progress, SOT_LENGTH, Sot, TilePart, TilePartHeader, parse_tile_part_header};

/// TPsot numbers the tile-parts of a tile from 0 to 254 (Table A.6).
const MOST_PARTS: u16 = 255;

/// What a tile-part begins with.
const SOT: [u8; 2] = [0xFF, 0x90];

/// The tile-parts with their headers, in source order. `end` is where the codestream ends, inside the file.
///
/// # Errors
/// [`Error::Malformed`] with the offset of what breaks the standard; whatever the source fails with.
pub(super) fn tile_parts<'m>(
    pieces: &mut Pieces<'_>,
    main: &'m MainHeader,
    end: u64,
) -> Result<(Vec<TilePart>, Vec<TilePartHeader<'m>>)> {
    let mut tiles = Tiles::new(main.siz.tiles());
    let (mut parts, mut headers): (Vec<TilePart>, Vec<TilePartHeader<'m>>) = Default::default();
    let mut lengths = 0;
    let mut at = main.end;
    let mut open_ended = false;
    // Two bytes that are left once every tile is there are the EOC marker: no reader needs them from us.
    while !open_ended && at < end && (tiles.missing > 0 || end - at > EOC.len() as u64) {
        pieces.forget(at);
        let Some(sot) = next_sot(pieces, at, end, tiles.missing == 0)? else { break };
        tiles.count(&sot, at)?;
        // The last tile-part may leave its length to the EOC marker.
        open_ended = sot.length == 0;
        let length = part_length(pieces, &sot, at, end)?;
        let mut header = header(pieces, main, at, length)?;
        pieces.expect_header(header.packets);
        lengths += header.lengths.len();
        if lengths > MOST_PACKETS {
            header.lengths = Vec::new();
        }
        parts.push(TilePart { tile: sot.tile, offset: at, length, head: None });
        headers.push(header);
        at += u64::from(length);
    }
    tiles.check_complete(at, open_ended)?;
    Ok((parts, headers))
}

/// How many tile-parts of each tile there have been.
struct Tiles {
    parts: Vec<u16>,
    /// Tiles that have none yet.
    missing: usize,
}

impl Tiles {
    fn new(tiles: u32) -> Self {
        Self { parts: vec![0; tiles as usize], missing: tiles as usize }
    }

    fn count(&mut self, sot: &Sot, at: u64) -> Result<()> {
        let (tile, tiles) = (sot.tile, self.parts.len());
        let malformed = |what: String| Err(Error::malformed(at, "A.4.2", what));
        let Some(parts) = self.parts.get_mut(usize::from(tile)) else {
            return malformed(format!("a tile-part of tile {tile}, the image has {tiles} tiles"));
        };
        if *parts == 0 {
            self.missing -= 1;
        }
        *parts += 1;
        if *parts > MOST_PARTS {
            return malformed(format!("more than {MOST_PARTS} tile-parts of tile {tile}"));
        }
        Ok(())
    }

    fn check_complete(&self, at: u64, open_ended: bool) -> Result<()> {
        let (missing, tiles) = (self.missing, self.parts.len());
        let what = match (missing, open_ended) {
            (0, _) => return Ok(()),
            (_, true) => format!("Psot = 0 before the last tile-part: {missing} of the {tiles} tiles have none"),
            _ => format!("the codestream ends and {missing} of the {tiles} tiles have no tile-part: the file is cut"),
        };
        Err(Error::malformed(at, "A.4.4", what))
    }
}

/// The SOT marker segment at `at`; `None` where the tile-parts end there. `complete`: every tile has a tile-part.
fn next_sot(pieces: &mut Pieces<'_>, at: u64, end: u64, complete: bool) -> Result<Option<Sot>> {
    let bytes = pieces.at(at, SOT_LENGTH.min(end - at))?;
    // Without EOC, padding may follow the last tile-part.
    if bytes.starts_with(&EOC) || (complete && !bytes.starts_with(&[0xFF, 0x90])) {
        return Ok(None);
    }
    let inside = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
    let sot = Sot::parse(bytes.get(..inside).unwrap_or(bytes), at)?;
    // Some encoders end with a tile-part without data, which decoders skip.
    let is_bare = complete && u64::from(sot.length) == SOT_LENGTH && !pieces.at(at + SOT_LENGTH, 2)?.starts_with(&SOT);
    Ok((!is_bare).then_some(sot))
}

/// The length in bytes of the tile-part at `at`, which lies before `end`.
fn part_length(pieces: &mut Pieces<'_>, sot: &Sot, at: u64, end: u64) -> Result<u32> {
    let malformed = |what: String| Error::malformed(at, "A.4.2", what);
    let length = match sot.length {
        0 => {
            let marker = tail(pieces, end)?;
            let length = u32::try_from(end - at - marker);
            length.map_err(|_| malformed("a last tile-part (Psot = 0) of more than 4 GiB".to_owned()))?
        }
        length => length,
    };
    if length < 14 {
        return Err(malformed(format!("Psot = {length}: fewer bytes than SOT and SOD have")));
    }
    let part_end = at + u64::from(length);
    if part_end > end {
        let (part, tile) = (sot.part, sot.tile);
        return Err(malformed(format!(
            "tile-part {part} of tile {tile} ends at {part_end}, the codestream at {end}: the file is cut"
        )));
    }
    Ok(length)
}

/// The header of the tile-part of `length` bytes at `at`.
fn header<'m>(pieces: &mut Pieces<'_>, main: &'m MainHeader, at: u64, length: u32) -> Result<TilePartHeader<'m>> {
    let mut least = SOT_LENGTH;
    loop {
        let bytes = pieces.at(at, least)?;
        let inside = bytes.len().min(length as usize);
        match parse_tile_part_header(bytes.get(..inside).unwrap_or(bytes), at, length, main)? {
            Progress::Done(header) => return Ok(header),
            // Doubling, as for the main header.
            Progress::Need(need) => {
                least = (need - at).max((inside as u64).saturating_mul(2)).min(u64::from(length));
            }
        }
    }
}

/// The bytes of the EOC marker before `end`: 2, or 0 where there is none.
fn tail(pieces: &mut Pieces<'_>, end: u64) -> Result<u64> {
    let length = EOC.len() as u64;
    let bytes = pieces.at(end.saturating_sub(length), length)?;
    Ok(if bytes.starts_with(&EOC) { length } else { 0 })
}
