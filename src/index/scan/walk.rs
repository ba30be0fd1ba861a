//! The walk that makes the row: from SOT to SOT along Psot (T.800 A.4.2), in one order, every link held against the
//! standard.

use super::pieces::Pieces;
use crate::error::{Error, Result};
use crate::index::heads::MOST_PACKETS;
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
    let tiles = main.siz.tiles();
    let mut counts = vec![0u16; tiles as usize];
    let mut missing = tiles;
    let (mut parts, mut headers): (Vec<TilePart>, Vec<TilePartHeader<'m>>) = Default::default();
    let mut lengths = 0;
    let mut at = main.end;
    let mut open_ended = false;
    // Two bytes that are left once every tile is there are the EOC marker: no reader needs them from us.
    while !open_ended && at < end && (missing > 0 || end - at > EOC.len() as u64) {
        pieces.forget(at);
        let bytes = pieces.at(at, SOT_LENGTH.min(end - at))?;
        if bytes.starts_with(&EOC) {
            break;
        }
        if missing == 0 && !bytes.starts_with(&SOT) {
            break; // padding after the last tile-part, in a file without EOC
        }
        let sot = Sot::parse(
            bytes.get(..usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len())).unwrap_or(bytes),
            at,
        )?;
        if missing == 0 && u64::from(sot.length) == SOT_LENGTH && !pieces.at(at + SOT_LENGTH, 2)?.starts_with(&SOT) {
            break; // a tile-part without data, which some encoders end with and decoders skip
        }
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
                let marker = tail(pieces, end)?;
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
        let mut least = SOT_LENGTH;
        let mut header = loop {
            let bytes = pieces.at(at, least)?;
            let inside = bytes.len().min(length as usize);
            match parse_tile_part_header(bytes.get(..inside).unwrap_or(bytes), at, length, main)? {
                Progress::Done(header) => break header,
                // Doubling, as for the main header.
                Progress::Need(need) => {
                    least = (need - at).max((inside as u64).saturating_mul(2)).min(u64::from(length));
                }
            }
        };
        pieces.expect_header(header.packets);
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

/// The bytes of the EOC marker before `end`: 2, or 0 where there is none.
fn tail(pieces: &mut Pieces<'_>, end: u64) -> Result<u64> {
    let length = EOC.len() as u64;
    let bytes = pieces.at(end.saturating_sub(length), length)?;
    Ok(if bytes.starts_with(&EOC) { length } else { 0 })
}
