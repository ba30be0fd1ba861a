//! Tiles: from packets to the code-blocks that a window needs (T.800 Annex B), and from these to samples of components.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::block::{BlockCoding, Piece};
use super::contexts::Orientation;
use super::kept::BlockId;
use super::wavelet::{self, Filter, HIGH, Irreversible, LOW, Plane, Reversible, halves};
use crate::error::{Error, Result};
use crate::jp2::{
    Area, Packet, PacketReader, Packets, Quantization, Quantizations, Resolution, Siz, TileCoding, areas, overlap,
};
use crate::process::lock;

/// A code-block that is decoded.
pub(super) struct Block {
    /// The component's place among those of the tile.
    pub(super) component: usize,
    /// Where it stands, for messages.
    resolution: u8,
    band: u8,
    /// Where it lies in its sub-band.
    area: Area,
    pub(super) coding: BlockCoding,
    pub(super) pieces: Range<usize>,
    coefficients: Mutex<Option<Box<[i32]>>>,
}

/// A sub-band, as far as the window needs it.
struct Band {
    /// The samples that are needed.
    needed: Area,
    /// The exponents of the code-blocks' width and height.
    exponents: (u8, u8),
    /// Column and row of the first code-block that is needed.
    first: (u32, u32),
    across: usize,
    /// The code-blocks that are needed, row by row: their places in the tile, from 1 on, or 0 for one that no packet has.
    blocks: Vec<u32>,
    /// Mb: how many magnitude bit-planes there are.
    planes: u32,
    /// What a coefficient is multiplied by: half its step, and what the filter scales by.
    step: f32,
}

impl Band {
    fn place(&self, block: &Area) -> Option<usize> {
        let column = (block.0.start >> self.exponents.0).checked_sub(self.first.0)? as usize;
        let row = (block.1.start >> self.exponents.1).checked_sub(self.first.1)? as usize;
        (column < self.across).then_some(row * self.across + column)
    }
}

/// Samples of a component.
pub(super) enum Samples {
    Whole(Plane<i32>),
    Float(Plane<f32>),
}

/// A component of a tile.
pub(super) struct Component {
    pub(super) index: u16,
    reversible: bool,
    /// The samples of the window that the tile has, in coordinates of the component at 1/2^k.
    pub(super) wanted: Area,
    /// By resolution, the coarsest first: the samples that are needed, with the sub-bands interleaved, and these.
    resolutions: Vec<(Area, Vec<Band>)>,
    /// How many code-blocks are still to be decoded, and one.
    pub(super) left: AtomicUsize,
    pub(super) samples: Mutex<Option<Samples>>,
}

/// A tile, ready to be decoded.
pub(super) struct Tile<'a> {
    pub(super) number: u32,
    pub(super) multiple_component_transform: bool,
    pub(super) components: Vec<Component>,
    pub(super) blocks: Vec<Block>,
    pub(super) pieces: Vec<Piece<'a>>,
    /// How many components are still to be transformed.
    pub(super) left: AtomicUsize,
}

/// The bytes of the packets of one tile-part, and where they stand in the file.
pub(super) type PartBytes<'a> = (u64, &'a [u8]);

impl<'a> Tile<'a> {
    /// Reads the packets of a tile for what `windows` need of it: those of the components in question, each with its samples
    /// of the component at 1/2^k.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the packets are not those of the tile; [`Error::Undecoded`] for what this room leaves out.
    pub(super) fn new(
        siz: &Siz,
        coding: &TileCoding,
        quantizations: &Quantizations,
        number: u32,
        parts: &[PartBytes<'a>],
        windows: &[(u16, Area)],
        k: u8,
    ) -> Result<Self> {
        let at = parts.first().map_or(0, |part| part.0);
        let mut components = Vec::with_capacity(windows.len());
        for (index, window) in windows {
            let quantization = quantizations
                .component(*index)
                .ok_or_else(|| Error::malformed(at, "A.6.4", "no QCD marker segment in the main header"))?;
            components.push(component(siz, coding, quantization, (number, *index), window, k, at)?);
        }
        let left = AtomicUsize::new(components.len());
        let multiple_component_transform = coding.multiple_component_transform;
        let mut tile =
            Self { number, multiple_component_transform, components, blocks: Vec::new(), pieces: Vec::new(), left };
        let mut of_blocks = Vec::new();
        let mut packets = Packets::new(siz, coding, number);
        let mut reader = PacketReader::new(siz, coding, number);
        // What comes after the last packet of the resolutions in question is not looked at.
        let mut left = tile.packets(siz, coding);
        for (base, bytes) in parts {
            let mut rest = *bytes;
            while !rest.is_empty() && left > 0 {
                let offset = base + (bytes.len() - rest.len()) as u64;
                let Some(packet) = packets.next() else {
                    // Padding: decoders read no further.
                    break;
                };
                let length = reader.packet(rest, offset, packet)?;
                let Some((bytes, behind)) = rest.split_at_checked(length) else {
                    let what = format!("a packet of tile {number} with {length} bytes, its tile-part ends before");
                    return Err(Error::malformed(offset, "B.9", what));
                };
                tile.take(siz, coding, packet, &reader, bytes, &mut of_blocks, offset)?;
                left -= u64::from(tile.has(&packet));
                rest = behind;
            }
        }
        if left > 0 {
            let end = parts.last().map_or(at, |(base, bytes)| base + bytes.len() as u64);
            return Err(Error::malformed(end, "B.12.1", format!("tile {number} ends before its last packet")));
        }
        tile.sort(of_blocks);
        Ok(tile)
    }

    /// How many packets there are of the components and resolutions in question.
    fn packets(&self, siz: &Siz, coding: &TileCoding) -> u64 {
        let of_component = |component: &Component| {
            let precincts = |resolution: u8| {
                Resolution::new(siz, coding, self.number, component.index, resolution)
                    .map_or(0, |grid| grid.precincts())
            };
            (0..).take(component.resolutions.len()).map(precincts).fold(0, u64::saturating_add)
        };
        let precincts = self.components.iter().map(of_component).fold(0, u64::saturating_add);
        precincts.saturating_mul(coding.layers.into())
    }

    /// Whether a packet is one of these.
    fn has(&self, packet: &Packet) -> bool {
        let component = self.components.iter().find(|component| component.index == packet.component);
        component.is_some_and(|component| usize::from(packet.resolution) < component.resolutions.len())
    }

    /// Takes from a packet what the window needs.
    #[expect(clippy::too_many_arguments, reason = "a packet and where it stands")]
    fn take(
        &mut self,
        siz: &Siz,
        coding: &TileCoding,
        packet: Packet,
        reader: &PacketReader<'_>,
        bytes: &'a [u8],
        of_blocks: &mut Vec<(u32, Piece<'a>)>,
        offset: u64,
    ) -> Result<()> {
        let (mut start, contributions) = reader.contributions();
        let Some(component) = self.components.iter().position(|component| component.index == packet.component) else {
            return Ok(());
        };
        let of_component = &mut self.components[component];
        let coded = coding.component(packet.component);
        let grid = Resolution::new(siz, coding, self.number, packet.component, packet.resolution);
        let resolution = of_component.resolutions.get_mut(usize::from(packet.resolution));
        let Some(((area, bands), grid)) = resolution.zip(grid) else { return Ok(()) };
        if !grid.touches(packet.precinct, &area.0, &area.1) {
            return Ok(());
        }
        for found in contributions {
            let from = start;
            start += found.length as usize;
            let (Some(band), Some(kind)) =
                (bands.get_mut(usize::from(found.band)), grid.bands().get(usize::from(found.band)))
            else {
                continue;
            };
            let area = grid.block(packet.precinct, *kind, found.block, coded.code_block);
            if !overlap(&area, &band.needed) {
                continue;
            }
            let Some(block) = band.place(&area).and_then(|place| band.blocks.get_mut(place)) else { continue };
            if *block == 0 {
                let planes = band.planes.checked_sub(found.zero_planes).ok_or_else(|| {
                    let (planes, zero) = (band.planes, found.zero_planes);
                    let what = format!("{zero} zero bit-planes of {planes}");
                    at_block(self.number, packet.component, packet.resolution, &area, offset, ("B.10.5", what))
                })?;
                let coding = BlockCoding {
                    width: area.0.len(),
                    height: area.1.len(),
                    orientation: match kind {
                        (true, true) => Orientation::Diagonal,
                        (true, false) => Orientation::Horizontal,
                        _ => Orientation::Vertical,
                    },
                    style: coded.style,
                    planes,
                    reversible: coded.reversible,
                };
                self.blocks.push(Block {
                    component,
                    resolution: packet.resolution,
                    band: found.band,
                    area,
                    coding,
                    pieces: 0..0,
                    coefficients: Mutex::new(None),
                });
                *of_component.left.get_mut() += 1;
                *block = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
            }
            let bytes = bytes.get(from..start).unwrap_or_default();
            of_blocks.push((*block - 1, Piece { passes: found.passes, continues: found.continues, bytes }));
        }
        Ok(())
    }

    /// Puts the pieces of each code-block side by side.
    fn sort(&mut self, mut of_blocks: Vec<(u32, Piece<'a>)>) {
        of_blocks.sort_by_key(|(block, _)| *block);
        let mut start = 0;
        for pieces in of_blocks.chunk_by(|one, next| one.0 == next.0) {
            let end = start + pieces.len();
            if let Some(block) = pieces.first().and_then(|(block, _)| self.blocks.get_mut(*block as usize)) {
                block.pieces = start..end;
            }
            start = end;
        }
        self.pieces = of_blocks.into_iter().map(|(_, piece)| piece).collect();
    }

    /// The pieces of a code-block.
    pub(super) fn pieces(&self, block: &Block) -> &[Piece<'a>] {
        self.pieces.get(block.pieces.clone()).unwrap_or_default()
    }

    /// What a code-block is called.
    pub(super) fn id(&self, block: &Block) -> BlockId {
        BlockId {
            tile: self.number,
            component: self.components.get(block.component).map_or(0, |component| component.index),
            resolution: block.resolution,
            band: block.band,
            at: (block.area.0.start, block.area.1.start),
        }
    }

    /// An error in one of its code-blocks.
    pub(super) fn refused(&self, block: &Block, why: super::block::Refused) -> Error {
        let index = self.components.get(block.component).map_or(0, |component| component.index);
        at_block(self.number, index, block.resolution, &block.area, 0, why)
    }

    /// Makes the samples of component `number` of the tile's, all of whose code-blocks are decoded.
    pub(super) fn transform(&self, number: usize, component: &Component) -> Samples {
        // What was decoded is given back as soon as it was used.
        let decoded: Vec<Option<Box<[i32]>>> = self
            .blocks
            .iter()
            .map(|block| if block.component == number { lock(&block.coefficients).take() } else { None })
            .collect();
        let source = Source { blocks: &self.blocks, decoded: &decoded };
        if component.reversible {
            Samples::Whole(reversible(component, &source))
        } else {
            Samples::Float(irreversible(component, &source))
        }
    }
}

impl Block {
    /// Keeps what was decoded.
    pub(super) fn set(&self, coefficients: Box<[i32]>) {
        *lock(&self.coefficients) = Some(coefficients);
    }
}

fn at_block(tile: u32, component: u16, resolution: u8, area: &Area, offset: u64, why: super::block::Refused) -> Error {
    let (clause, what) = why;
    let (x, y) = (area.0.start, area.1.start);
    let what = format!(
        "{what} in the code-block at column {x}, row {y} of resolution {resolution} of component {component} of tile {tile}"
    );
    Error::malformed(offset, clause, what)
}

/// What a window needs of a component.
fn component(
    siz: &Siz,
    coding: &TileCoding,
    quantization: &Quantization,
    (tile, index): (u32, u16),
    window: &Area,
    k: u8,
    offset: u64,
) -> Result<Component> {
    let coded = coding.component(index);
    let depth = siz.components.get(usize::from(index)).map_or(0, |component| u32::from(component.depth & 0x7F) + 1);
    let areas = areas(siz, coding, (tile, index), window, k);
    let finest = Resolution::new(siz, coding, tile, index, coded.levels.saturating_sub(k)).map(Resolution::extent);
    let within = |range: &Range<u32>, has: Range<u32>| {
        let start = range.start.max(has.start);
        start..range.end.min(has.end).max(start)
    };
    let wanted = finest.map_or((0..0, 0..0), |(x, y)| (within(&window.0, x), within(&window.1, y)));
    let mut resolutions = Vec::with_capacity(areas.len());
    for (resolution, area) in (0u8..).zip(areas) {
        let Some(grid) = Resolution::new(siz, coding, tile, index, resolution) else { break };
        let mut bands = Vec::with_capacity(3);
        for (number, (high_x, high_y)) in (0u8..).zip(grid.bands()) {
            let (exponent, mantissa) = quantization.step(resolution, number).ok_or_else(|| {
                let what = format!("no step size for resolution {resolution} of component {index}");
                Error::malformed(offset, "A.6.4", what)
            })?;
            let needed = if resolution == 0 {
                area.clone()
            } else {
                let half = |range: &Range<u32>, high: bool| if high { halves(range).1 } else { halves(range).0 };
                (half(&area.0, *high_x), half(&area.1, *high_y))
            };
            let exponents = grid.block_exponents(coded.code_block);
            let first = (needed.0.start >> exponents.0, needed.1.start >> exponents.1);
            let count = |range: &Range<u32>, exponent: u8| {
                let end = (u64::from(range.end) + (1 << exponent) - 1) >> exponent;
                if range.is_empty() { 0 } else { end as usize - (range.start >> exponent) as usize }
            };
            let (across, down) = (count(&needed.0, exponents.0), count(&needed.1, exponents.1));
            // E-2 and E-3. Half, since coefficients are twice as large.
            let gain = u32::from(*high_x) + u32::from(*high_y);
            let range = (depth + gain) as i32 - i32::from(exponent);
            let step = (1.0 + f32::from(mantissa) / 2048.0) * 2f32.powi(range - 1);
            let scale = |high: bool| match (resolution, high) {
                (0, _) => 1.0,
                (_, true) => HIGH,
                (_, false) => LOW,
            };
            bands.push(Band {
                needed,
                exponents,
                first,
                across,
                blocks: vec![0; across * down],
                planes: (u32::from(quantization.guard) + u32::from(exponent)).saturating_sub(1),
                step: step * scale(*high_x) * scale(*high_y),
            });
        }
        resolutions.push((area, bands));
    }
    Ok(Component {
        index,
        reversible: coded.reversible,
        wanted,
        resolutions,
        left: AtomicUsize::new(1),
        samples: Mutex::new(None),
    })
}

/// The coefficients of a tile's code-blocks.
struct Source<'a> {
    blocks: &'a [Block],
    decoded: &'a [Option<Box<[i32]>>],
}

impl Source<'_> {
    /// Writes a row of a sub-band to `out`, each coefficient made a sample by `convert`. Those of code-blocks that no packet
    /// has are 0.
    #[inline(always)]
    fn row<T: Copy + Default>(&self, band: &Band, row: u32, out: &mut [T], convert: impl Fn(i32) -> T) {
        out.fill(T::default());
        let columns = &band.needed.0;
        let Some(line) = (row >> band.exponents.1).checked_sub(band.first.1) else { return };
        let places = band.blocks.iter().skip(line as usize * band.across).take(band.across);
        for number in places.filter_map(|number| (*number as usize).checked_sub(1)) {
            let (Some(block), Some(Some(decoded))) = (self.blocks.get(number), self.decoded.get(number)) else {
                continue;
            };
            let (start, end) = (block.area.0.start.max(columns.start), block.area.0.end.min(columns.end));
            let Some(down) = row.checked_sub(block.area.1.start).filter(|_| start < end) else { continue };
            let from = down as usize * block.area.0.len() + (start - block.area.0.start) as usize;
            let length = (end - start) as usize;
            let to = (start - columns.start) as usize;
            let (Some(from), Some(to)) = (decoded.get(from..from + length), out.get_mut(to..to + length)) else {
                continue;
            };
            for (to, from) in to.iter_mut().zip(from) {
                *to = convert(*from);
            }
        }
    }
}

fn inverse<F: Filter>(
    component: &Component,
    source: &Source<'_>,
    convert: impl Fn(&Band, i32) -> F::Sample,
    scale: impl Fn(F::Sample) -> F::Sample,
) -> Plane<F::Sample> {
    let mut resolutions = component.resolutions.iter();
    let Some((area, bands)) = resolutions.next() else {
        return Plane { area: (0..0, 0..0), samples: Vec::new() };
    };
    let mut plane = Plane { area: area.clone(), samples: vec![F::Sample::default(); area.0.len() * area.1.len()] };
    if let Some(band) = bands.first()
        && !area.0.is_empty()
    {
        for (row, out) in area.1.clone().zip(plane.samples.chunks_exact_mut(area.0.len())) {
            source.row(band, row, out, |value| convert(band, value));
        }
    }
    for (area, bands) in resolutions {
        let [horizontal, vertical, diagonal] = &bands[..] else { break };
        let columns = halves(&area.0).0;
        plane = wavelet::synthesize::<F>(area, |is_high, row, low, high| {
            if is_high {
                source.row(vertical, row, low, |value| convert(vertical, value));
                source.row(diagonal, row, high, |value| convert(diagonal, value));
            } else {
                for (to, from) in low.iter_mut().zip(plane.row(row, &columns)) {
                    *to = scale(*from);
                }
                source.row(horizontal, row, high, |value| convert(horizontal, value));
            }
        });
    }
    plane
}

fn reversible(component: &Component, source: &Source<'_>) -> Plane<i32> {
    inverse::<Reversible>(component, source, |_, value| value, |value| value)
}

fn irreversible(component: &Component, source: &Source<'_>) -> Plane<f32> {
    inverse::<Irreversible>(component, source, |band, value| value as f32 * band.step, |value| value * (LOW * LOW))
}

/// Counts down, and says whether that was the last.
pub(super) fn is_last(left: &AtomicUsize) -> bool {
    left.fetch_sub(1, Ordering::AcqRel) == 1
}
