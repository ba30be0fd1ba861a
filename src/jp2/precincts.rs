//! The division of a tile-component into resolutions, precincts and code-blocks (T.800 B.3 to B.7).
//!
//! All of it is separable, so that one axis is all there is to know: a [`Resolution`] is two of them. Coordinates are
//! those of the domain that the name says, ends exclusive; nothing is allocated.

use std::ops::Range;

use super::area::Area;
use super::coding::TileCoding;
use super::markers::Siz;

/// One axis of one resolution of a tile-component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    /// tx0: where the tile begins on the reference grid.
    tile: u32,
    /// tcx0 and tcx1: the tile-component's samples (B-12).
    component: (u32, u32),
    /// trx0 and trx1: the resolution's samples (B-14).
    resolution: (u32, u32),
    /// XRsiz: the component's separation of samples.
    separation: u8,
    /// NL - r: how often this resolution was halved.
    shift: u8,
    /// Whether it is the coarsest resolution, which has the LL sub-band alone.
    coarsest: bool,
    /// PPx: the precinct's width as a power of two.
    exponent: u8,
}

/// The edge `edge` of a finer domain in one that is 2^`shift` times coarser; edges are of 32 bits, `shift` up to 33.
fn coarser(edge: u32, shift: u32) -> u32 {
    u32::try_from(u64::from(edge).div_ceil(1 << shift)).unwrap_or(u32::MAX)
}

impl Axis {
    /// The axis of `resolution` of a tile that spans `extent` on the reference grid; `resolution` is at most `levels`,
    /// and `levels` at most 32.
    fn new(extent: &Range<u32>, separation: u8, levels: u8, resolution: u8, exponent: u8) -> Self {
        let component = |edge: u32| edge.div_ceil(u32::from(separation.max(1)));
        let (low, high) = (component(extent.start), component(extent.end));
        let shift = levels.saturating_sub(resolution);
        let halved = |edge: u32| coarser(edge, shift.into());
        Self {
            tile: extent.start,
            component: (low, high),
            resolution: (halved(low), halved(high)),
            separation,
            shift,
            coarsest: resolution == 0,
            exponent,
        }
    }

    /// numprecinctswide or -high (B-16).
    pub(super) fn precincts(&self) -> u64 {
        let (low, high) = self.resolution;
        if high > low { u64::from(high).div_ceil(1 << self.exponent) - u64::from(low >> self.exponent) } else { 0 }
    }

    /// trx0 to trx1: the samples of the resolution.
    pub(super) fn extent(&self) -> Range<u32> {
        self.resolution.0..self.resolution.1
    }

    /// Whether the precinct of this number has some of the samples `range`.
    fn touches(&self, precinct: u64, range: &Range<u32>) -> bool {
        let first = u64::from(self.resolution.0 >> self.exponent).saturating_add(precinct) << self.exponent;
        first < range.end.into() && u64::from(range.start) < first + (1 << self.exponent) && !range.is_empty()
    }

    /// Where the loops of the position progressions meet the precinct of this number, on the reference grid
    /// (B.12.1.3): at its corner, or at the tile's edge where the precinct begins before the tile.
    pub(super) fn position(&self, precinct: u64) -> u64 {
        let low = self.resolution.0;
        let corner = (u64::from(low >> self.exponent) + precinct) << self.exponent;
        if corner < u64::from(low) {
            return self.tile.into();
        }
        // The corner of a precinct that exists lies before the tile's end: 32 bits suffice.
        (corner << self.shift).saturating_mul(self.separation.into())
    }

    /// The samples that the precinct of this number has of the low or the `high` half of the bands of this axis (B-15, B.7).
    pub(super) fn band(&self, precinct: u64, high: bool) -> Range<u64> {
        // nb: the sub-bands of all resolutions but the coarsest are one halving further down than the resolution.
        let halving = u8::from(!self.coarsest);
        let levels = u32::from(self.shift + halving);
        let origin = if high { 1u64 << levels >> 1 } else { 0 };
        // For an edge before the origin the quotient is above -1, and rounds up to 0.
        let band = |edge: u32| u64::from(edge).saturating_sub(origin).div_ceil(1 << levels);
        let size = self.exponent.saturating_sub(halving);
        let first = (u64::from(self.resolution.0 >> self.exponent) + precinct) << size;
        band(self.component.0).max(first)..band(self.component.1).min(first + (1 << size))
    }

    /// The exponent of the code-blocks' side, where `exponent` is xcb or ycb (B-17, B-18).
    pub(super) fn block_exponent(&self, exponent: u8) -> u8 {
        exponent.min(self.exponent.saturating_sub(u8::from(!self.coarsest)))
    }

    /// How many code-blocks of 2^`exponent` samples the precinct of this number has, in the low or the `high` half of
    /// the bands of this axis (B-17, B-18, B.7).
    pub(super) fn code_blocks(&self, precinct: u64, high: bool, exponent: u8) -> u32 {
        let Range { start, end } = self.band(precinct, high);
        let exponent = self.block_exponent(exponent);
        let count = if end > start { end.div_ceil(1 << exponent) - (start >> exponent) } else { 0 };
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// One resolution of a tile-component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Resolution {
    /// The resolution of this number of a component of a tile; `None` where there is no such component or resolution.
    pub(crate) fn new(siz: &Siz, coding: &TileCoding, tile: u32, component: u16, resolution: u8) -> Option<Self> {
        let sampling = siz.components.get(usize::from(component))?;
        let coded = coding.component(component);
        let (ppx, ppy) = *coded.precincts.get(usize::from(resolution))?;
        let (x, y) = siz.tile_extent(tile);
        Some(Self {
            x: Axis::new(&x, sampling.dx, coded.levels, resolution, ppx),
            y: Axis::new(&y, sampling.dy, coded.levels, resolution, ppy),
        })
    }

    /// The number of precincts (B.6); 0 where there are no samples.
    pub(crate) fn precincts(&self) -> u64 {
        self.x.precincts().saturating_mul(self.y.precincts())
    }

    /// Where the position progressions meet the precinct of this number, y before x, on the reference grid.
    pub(super) fn position(&self, precinct: u64) -> (u64, u64) {
        let across = self.x.precincts().max(1);
        (self.y.position(precinct / across), self.x.position(precinct % across))
    }

    /// Whether the precinct of this number has samples of the columns `x` and rows `y`, all of them samples of the
    /// resolution, with its sub-bands interleaved.
    pub(crate) fn touches(&self, precinct: u64, x: &Range<u32>, y: &Range<u32>) -> bool {
        let across = self.x.precincts().max(1);
        self.x.touches(precinct % across, x) && self.y.touches(precinct / across, y)
    }

    /// The code-blocks across and down of each sub-band of a precinct, in the order in which packets have them: LL, or
    /// HL, LH and HH (B.9). `code_block` are xcb and ycb.
    pub(super) fn code_blocks(self, precinct: u64, code_block: (u8, u8)) -> impl Iterator<Item = (u32, u32)> {
        let across = self.x.precincts().max(1);
        let (column, row) = (precinct % across, precinct / across);
        self.bands().iter().map(move |(x, y)| {
            (self.x.code_blocks(column, *x, code_block.0), self.y.code_blocks(row, *y, code_block.1))
        })
    }

    /// The sub-bands in the order in which packets have them, and whether each is high-pass across and down: LL, or HL, LH
    /// and HH (B.9).
    pub(crate) fn bands(self) -> &'static [(bool, bool)] {
        if self.x.coarsest { &[(false, false)] } else { &[(true, false), (false, true), (true, true)] }
    }

    /// Where a code-block lies in its sub-band, columns and rows: the one at `block` in a precinct; `code_block` are xcb and
    /// ycb. Empty where there is no such code-block.
    pub(crate) fn block(self, precinct: u64, band: (bool, bool), block: (u32, u32), code_block: (u8, u8)) -> Area {
        let across = self.x.precincts().max(1);
        let axis = |axis: Axis, precinct: u64, high: bool, block: u32, exponent: u8| {
            let band = axis.band(precinct, high);
            let exponent = axis.block_exponent(exponent);
            let start = ((band.start >> exponent) + u64::from(block)) << exponent;
            let within =
                |edge: u64| u32::try_from(edge.clamp(band.start, band.end.max(band.start))).unwrap_or(u32::MAX);
            within(start)..within(start + (1 << exponent))
        };
        (
            axis(self.x, precinct % across, band.0, block.0, code_block.0),
            axis(self.y, precinct / across, band.1, block.1, code_block.1),
        )
    }

    /// The exponents of the code-blocks' width and height; `code_block` are xcb and ycb.
    pub(crate) fn block_exponents(self, code_block: (u8, u8)) -> (u8, u8) {
        (self.x.block_exponent(code_block.0), self.y.block_exponent(code_block.1))
    }

    /// The samples of the resolution, columns and rows.
    pub(crate) fn extent(self) -> Area {
        (self.x.extent(), self.y.extent())
    }
}

/// The number of packets of each resolution of a tile, all components and layers together.
pub(crate) fn packet_counts(siz: &Siz, coding: &TileCoding, tile: u32) -> Vec<u64> {
    let mut counts = Vec::new();
    for component in 0..siz.components.len() {
        let Ok(component) = u16::try_from(component) else { break };
        for resolution in 0..=coding.component(component).levels {
            let packets = Resolution::new(siz, coding, tile, component, resolution)
                .map_or(0, |found| found.precincts().saturating_mul(coding.layers.into()));
            match counts.get_mut(usize::from(resolution)) {
                Some(count) => *count = u64::saturating_add(*count, packets),
                None => counts.push(packets),
            }
        }
    }
    counts
}

/// The number of packets of a tile, at most 2^64 - 1.
pub(crate) fn packet_count(siz: &Siz, coding: &TileCoding, tile: u32) -> u64 {
    packet_counts(siz, coding, tile).into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precincts(extent: &Range<u32>, separation: u8, shift: u8, exponent: u8) -> u64 {
        Axis::new(extent, separation, shift, 0, exponent).precincts()
    }

    #[test]
    fn precincts_are_counted_as_the_standard_has_it() {
        // 0..1024 at full size in precincts of 256: 4; at 1/16 (0..64): 1. An edge tile 10240..10980: 740 wide, 3.
        assert_eq!(precincts(&(0..1024), 1, 0, 8), 4);
        assert_eq!(precincts(&(0..1024), 1, 4, 8), 1);
        assert_eq!(precincts(&(10240..10980), 1, 0, 8), 3);
        // Precincts are anchored at 0, not at the tile: 100..300 touches 0..256 and 256..512.
        assert_eq!(precincts(&(100..300), 1, 0, 8), 2);
        assert_eq!(precincts(&(5..5), 1, 0, 8), 0);
        assert_eq!(precincts(&(0..9), 2, 0, 2), 2);
        assert_eq!(precincts(&(0..u32::MAX), 1, 0, 0), u64::from(u32::MAX));
        assert_eq!(precincts(&(1..u32::MAX), 1, 32, 0), 0);
    }

    #[test]
    fn code_blocks_are_counted_as_the_standard_has_it() {
        // 0..100 with one level: the full resolution's bands have 50 samples, its precincts of 64 have 32 of each band.
        let full = Axis::new(&(0..100), 1, 1, 1, 6);
        assert_eq!((full.code_blocks(0, false, 4), full.code_blocks(1, false, 4)), (2, 2));
        // A code-block is no wider than the precinct's share of the band.
        assert_eq!((full.code_blocks(0, true, 6), full.code_blocks(1, true, 6)), (1, 1));
        // 3..5 at one level: the low band has ceil(3/2)..ceil(5/2) = 2..3, the high one ceil(2/2)..ceil(4/2) = 1..2.
        let odd = Axis::new(&(3..5), 1, 1, 1, 15);
        assert_eq!((odd.code_blocks(0, false, 2), odd.code_blocks(0, true, 2)), (1, 1));
        // 0..1: the one sample is of the low band.
        let one = Axis::new(&(0..1), 1, 1, 1, 15);
        assert_eq!((one.code_blocks(0, false, 2), one.code_blocks(0, true, 2)), (1, 0));
        // Code-blocks are anchored at 0: 3..9 touches 0..4, 4..8 and 8..12.
        assert_eq!(Axis::new(&(3..9), 1, 0, 0, 15).code_blocks(0, false, 2), 3);
        assert_eq!(Axis::new(&(0..u32::MAX), 1, 32, 1, 15).code_blocks(0, true, 2), 1);
    }
}
