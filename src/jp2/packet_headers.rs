//! Where packets end in a tile that has no PLT: their headers, read one after the other (T.800 B.9, B.10).
//!
//! A header is understood only by what the headers of lower layers said of the same precinct, and a packet is found only
//! by the length of the one before it; so all of a tile's packets are read, in their order. What is kept and done is
//! paid for by bits: tag trees and code-blocks exist from the first bit on that tells of them, and what one bit leaves out
//! is left out in one step, so that a header that claims a billion code-blocks costs nothing.

use std::collections::HashMap;

use super::bits::Bits;
use super::cells::Cells;
use super::coding::{BYPASS, KNOWN_STYLES, TERMINATE_ALL, TileCoding};
use super::markers::Siz;
use super::precincts::Resolution;
use super::progression::{Packet, Packets};
use super::tag_tree::{TagTree, Told};
use crate::error::{Error, Result};

/// Start of packet, with its length field (A.8.1).
const SOP: [u8; 4] = [0xFF, 0x91, 0, 4];
/// End of packet header (A.8.2).
const EPH: [u8; 2] = [0xFF, 0x92];
/// The bytes of an SOP marker segment.
const SOP_LENGTH: usize = 6;

/// The most bytes of memory that a tile's precincts may take up between the packets of one layer and the next: some
/// hundred for each code-block that they have told of.
const MOST_KEPT: usize = 256 << 20;

/// The packets of one tile-part: where they begin in the file, in bytes, and themselves.
pub(crate) type TilePartPackets<'a> = (u64, &'a [u8]);

/// The length in bytes of every packet of a tile, tile-part by tile-part, SOP, header and EPH included, as PLT has it
/// (A.7.3). `parts` are all tile-parts of the tile in their order.
///
/// Packet headers must stand in the packets (no PPM, PPT), in one progression (no POC).
///
/// # Errors
/// [`Error::Malformed`] where the bytes are not exactly the packets that the tile has.
pub(crate) fn packet_lengths(
    siz: &Siz,
    coding: &TileCoding,
    tile: u32,
    parts: &[TilePartPackets<'_>],
) -> Result<Vec<Vec<u32>>> {
    let mut packets = Packets::new(siz, coding, tile);
    let mut read = PacketReader::new(siz, coding, tile);
    let mut out = Vec::with_capacity(parts.len());
    let mut end = 0;
    for (base, bytes) in parts {
        let mut rest = *bytes;
        let mut lengths = Vec::new();
        end = base.saturating_add(bytes.len() as u64);
        while !rest.is_empty() {
            let offset = end - rest.len() as u64;
            let Some(packet) = packets.next() else {
                let what = format!("{} bytes after the {} packets of tile {tile}", rest.len(), read.number);
                return Err(Error::malformed(offset, "B.12.1", what));
            };
            let length = read.packet(rest, offset, packet)?;
            let cut = || {
                let what =
                    format!("packet {} of tile {tile} with {length} bytes, its tile-part ends before", read.number - 1);
                Error::malformed(offset, "B.9", what)
            };
            rest = rest.split_at_checked(length).ok_or_else(cut)?.1;
            lengths.push(u32::try_from(length).map_err(|_| cut())?);
        }
        out.push(lengths);
    }
    if packets.next().is_some() {
        let what = format!("tile {tile} ends after packet {}, others are missing", read.number);
        return Err(Error::malformed(end, "B.12.1", what));
    }
    Ok(out)
}

/// What a packet has of one codeword segment of a code-block (B.10.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contribution {
    /// The sub-band in its resolution: LL, or HL, LH and HH.
    pub(crate) band: u8,
    /// The code-block's column and row in its precinct.
    pub(crate) block: (u32, u32),
    /// P: how many of the code-block's most significant bit-planes are zero.
    pub(crate) zero_planes: u32,
    /// The code-block's coding passes before these.
    pub(crate) first: u32,
    /// The coding passes that the packet has.
    pub(crate) passes: u32,
    /// Whether the segment was begun by an earlier packet.
    pub(crate) continues: bool,
    /// Its bytes.
    pub(crate) length: u32,
}

/// A tile whose packets are being read.
pub(crate) struct PacketReader<'a> {
    siz: &'a Siz,
    coding: &'a TileCoding,
    tile: u32,
    /// The packets so far.
    number: u64,
    /// By component, resolution and number: the precincts that had a packet which is not empty, and will have others.
    precincts: HashMap<(u16, u8, u64), Vec<SubBand>>,
    /// The bytes of memory that they take up.
    kept: usize,
    /// What the last packet has of code-blocks, in the order of its bytes.
    contributions: Vec<Contribution>,
    /// The length of the last packet's header in bytes, all that stands before its code-blocks included.
    header: usize,
}

impl<'a> PacketReader<'a> {
    /// For the packets of `tile`, of which none was read.
    pub(crate) fn new(siz: &'a Siz, coding: &'a TileCoding, tile: u32) -> Self {
        let (precincts, contributions) = (HashMap::new(), Vec::new());
        Self { siz, coding, tile, number: 0, precincts, kept: 0, contributions, header: 0 }
    }

    /// What the last packet has of code-blocks, in the order of its bytes, and where these begin in it.
    pub(crate) fn contributions(&self) -> (usize, &[Contribution]) {
        (self.header, &self.contributions)
    }

    /// Reads the header of the packet at the beginning of `bytes`, which stand at `offset`: the packet's length, which may be
    /// more than they are. Packets are read in their order, one after the other.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the header is none.
    pub(crate) fn packet(&mut self, bytes: &[u8], offset: u64, packet: Packet) -> Result<usize> {
        let mut length = 0;
        if self.coding.sop && bytes.starts_with(&SOP) {
            // Nsop counts the tile's packets and begins anew after 65,535.
            let nsop = u16::try_from(self.number % 65_536).unwrap_or(0);
            if bytes.get(SOP.len()..SOP_LENGTH) != Some(&nsop.to_be_bytes()) {
                let what = format!("an SOP marker segment that is not that of packet {}", self.number);
                return Err(Error::malformed(offset, "A.8.1", what));
            }
            length = SOP_LENGTH;
        }
        let mut bits = Bits::new(bytes.get(length..).unwrap_or_default(), offset.saturating_add(length as u64));
        self.contributions.clear();
        // The zero-length bit (B.10.3).
        let body = if bits.bit()? == 1 { self.parse(&mut bits, offset, packet)? } else { 0 };
        length += bits.finish()?;
        if self.coding.eph {
            if !bytes.get(length..).is_some_and(|rest| rest.starts_with(&EPH)) {
                let what = format!("no EPH marker after the header of packet {}", self.number);
                return Err(Error::malformed(offset.saturating_add(length as u64), "A.8.2", what));
            }
            length += EPH.len();
        }
        self.header = length;
        self.number += 1;
        Ok(usize::try_from(body).map_or(usize::MAX, |body| length.saturating_add(body)))
    }

    /// The bytes that follow the header of a packet that is not empty.
    fn parse(&mut self, bits: &mut Bits<'_>, offset: u64, packet: Packet) -> Result<u64> {
        let Packet { layer, resolution, component, precinct } = packet;
        let coded = self.coding.component(component);
        if coded.style & !KNOWN_STYLES != 0 {
            let what = format!("code-blocks of style {:#04x}, whose lengths Table A.19 does not tell", coded.style);
            return Err(Error::malformed(offset, "A.6.1", what));
        }
        let key = (component, resolution, precinct);
        let earlier = if layer > 0 { self.precincts.remove(&key) } else { None };
        self.kept -= memory(earlier.as_deref().unwrap_or_default());
        let mut bands = earlier.unwrap_or_else(|| {
            let grid = Resolution::new(self.siz, self.coding, self.tile, component, resolution);
            grid.map_or_else(Vec::new, |grid| grid.code_blocks(precinct, coded.code_block).map(SubBand::new).collect())
        });
        let mut body = 0u64;
        for (number, band) in (0..).zip(&mut bands) {
            let mut found = Found { band: number, style: coded.style, all: &mut self.contributions };
            body = body.saturating_add(band.parse(bits, layer, &mut found)?);
        }
        if layer + 1 < self.coding.layers {
            self.kept += memory(&bands);
            if self.kept > MOST_KEPT {
                let what =
                    format!("packet {} of tile {}, whose precincts take up too much memory", self.number, self.tile);
                return Err(Error::malformed(offset, "B.10", what));
            }
            self.precincts.insert(key, bands);
        }
        Ok(body)
    }
}

/// The bytes of memory that the sub-bands of a precinct take up, about.
fn memory(bands: &[SubBand]) -> usize {
    bands
        .iter()
        .map(|band| size_of::<SubBand>() + band.inclusion.memory() + band.zero_planes.memory() + band.included.memory())
        .sum()
}

/// The code-blocks of one sub-band that belong to one precinct (B.7), and what the packets said of them so far.
#[derive(Debug)]
struct SubBand {
    width: u32,
    height: u32,
    /// In which layer code-blocks are included first (B.10.4).
    inclusion: TagTree,
    /// How many of their most significant bit-planes are zero (B.10.5).
    zero_planes: TagTree,
    /// Those that were included.
    included: Cells<CodeBlock>,
}

/// A code-block.
#[derive(Debug, Clone, Copy, Default)]
struct CodeBlock {
    /// The coding passes so far: none until it was included.
    passes: u32,
    /// Lblock (B.10.7.1).
    lblock: u32,
    /// P: how many of its most significant bit-planes are zero.
    zero_planes: u32,
    /// How many passes the last codeword segment may still take.
    open: u32,
}

/// Where contributions to the code-blocks of a sub-band are put.
struct Found<'a> {
    band: u8,
    style: u8,
    all: &'a mut Vec<Contribution>,
}

impl SubBand {
    fn new((width, height): (u32, u32)) -> Self {
        Self {
            width,
            height,
            inclusion: TagTree::new(width, height),
            zero_planes: TagTree::new(width, height),
            included: Cells::new(width, height),
        }
    }

    /// Parses what a packet header says of this sub-band: the bytes of its code-blocks' contributions (B.10.4 to B.10.7).
    fn parse(&mut self, bits: &mut Bits<'_>, layer: u16, found: &mut Found<'_>) -> Result<u64> {
        let mut body = 0u64;
        let mut row = 0;
        while row < self.height && self.width > 0 {
            // Where all that this row has is left out by nodes of the tree, so it is until the first of them ends.
            let mut next_row = self.height;
            let mut column = 0;
            while column < self.width {
                let block = if layer > 0 { self.included.get(column, row) } else { None };
                if let Some(block) = block.filter(|block| block.passes > 0) {
                    if bits.bit()? == 1 {
                        body = body.saturating_add(block.parse(bits, (column, row), found)?);
                    }
                    next_row = row + 1;
                    column += 1;
                    continue;
                }
                match self.inclusion.value(column, row, u32::from(layer) + 1, bits)? {
                    Told::Value(_) => {
                        let zero_planes = match self.zero_planes.value(column, row, u32::MAX, bits)? {
                            Told::Value(planes) => planes,
                            Told::AtLeast { .. } => u32::MAX,
                        };
                        let block = self.included.at(column, row);
                        *block = CodeBlock { passes: 0, lblock: 3, zero_planes, open: 0 };
                        body = body.saturating_add(block.parse(bits, (column, row), found)?);
                        next_row = row + 1;
                        column += 1;
                    }
                    Told::AtLeast { right, lower } => {
                        next_row = next_row.min(lower);
                        column = right;
                    }
                }
            }
            row = next_row;
        }
        Ok(body)
    }
}

impl CodeBlock {
    /// Parses the number of coding passes and the lengths of their codeword segments: the sum of the latter.
    fn parse(&mut self, bits: &mut Bits<'_>, block: (u32, u32), found: &mut Found<'_>) -> Result<u64> {
        let mut passes = coding_passes(bits)?;
        while bits.bit()? == 1 {
            self.lblock = self.lblock.saturating_add(1);
        }
        let mut bytes = 0u64;
        while passes > 0 {
            let continues = self.open > 0;
            if !continues {
                self.open = segment_left(self.passes, found.style);
            }
            let of_segment = passes.min(self.open);
            let length = bits.number(self.lblock.saturating_add(of_segment.ilog2()))?;
            bytes = bytes.saturating_add(length.into());
            found.all.push(Contribution {
                band: found.band,
                block,
                zero_planes: self.zero_planes,
                first: self.passes,
                passes: of_segment,
                continues,
                length,
            });
            self.passes = self.passes.saturating_add(of_segment);
            self.open -= of_segment;
            passes -= of_segment;
        }
        Ok(bytes)
    }
}

/// The number of coding passes (Table B.4), 1 to 164.
fn coding_passes(bits: &mut Bits<'_>) -> Result<u32> {
    for (count, first) in [(1, 1), (1, 2), (2, 3), (5, 6)] {
        let value = bits.number(count)?;
        if value + 1 < 1 << count {
            return Ok(first + value);
        }
    }
    Ok(37 + bits.number(7)?)
}

/// How many passes the codeword segment takes that begins with a code-block's next pass, `passes` being there already
/// (B.10.7.2, Table D.9).
fn segment_left(passes: u32, style: u8) -> u32 {
    if style & TERMINATE_ALL != 0 {
        return 1;
    }
    if style & BYPASS == 0 {
        return u32::MAX;
    }
    // The first ten passes end with the fourth bit-plane's cleanup; then two raw ones and one arithmetic one take turns.
    match passes.checked_sub(10) {
        None => 10 - passes,
        Some(later) if later % 3 == 0 => 2,
        Some(_) => 1,
    }
}

#[cfg(test)]
#[path = "packet_headers_tests.rs"]
mod tests;
