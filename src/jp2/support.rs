//! Which packets a window of an image is made of: those of the precincts that the support of its samples touches
//! (T.800 B.6, F.3).
//!
//! A sample of one resolution is made of samples of its sub-bands nearby. Interleaved (F.3.3), with low-pass samples at
//! even places and high-pass samples at odd ones, the sub-bands of a resolution have its own coordinates, and so do its
//! precincts; so one range an axis tells what a resolution must have, and half of it, rounded up, what the next coarser
//! one must. At the edges of a tile the signal is mirrored (F.3.7), and what is mirrored into reach is within reach.

use std::ops::Range;

use super::coding::{ComponentCoding, TileCoding};
use super::markers::Siz;
use super::precincts::Resolution;
use super::progression::Packet;

/// How far the sub-band samples reach that a sample is made of, in interleaved samples (Table F.2 and F.3): by the
/// reversible 5-3 filter, and by the irreversible 9-7 one.
const REACH_5_3: u32 = 2;
const REACH_9_7: u32 = 4;

/// A rectangle of samples of a component, or of one of its resolutions: columns and rows.
pub(crate) type Area = (Range<u32>, Range<u32>);

/// What one tile must have for a window of the image at 1/2^k.
#[derive(Debug)]
pub(crate) struct Support<'a> {
    siz: &'a Siz,
    coding: &'a TileCoding,
    tile: u32,
    /// By component: the samples that are needed of each resolution, the coarsest first; of finer ones than 1/2^k none.
    components: Vec<Vec<Area>>,
}

impl<'a> Support<'a> {
    /// That of the samples `window` of the image at 1/2^k, in coordinates of its grid, which is that of every component:
    /// their samples must not be separated (XRsiz and YRsiz are 1).
    pub(crate) fn new(siz: &'a Siz, coding: &'a TileCoding, tile: u32, window: &Area, k: u8) -> Self {
        let components = (0..siz.components.len()).filter_map(|component| u16::try_from(component).ok());
        let components = components.map(|component| {
            let coded = coding.component(component);
            let areas = |axis: &dyn Fn(&Resolution) -> Range<u32>, window: &Range<u32>| {
                let extent = |resolution: u8| {
                    Resolution::new(siz, coding, tile, component, resolution).map_or(0..0, |found| axis(&found))
                };
                reach(coded, window, k, &extent)
            };
            let x = areas(&|resolution| resolution.x.extent(), &window.0);
            let y = areas(&|resolution| resolution.y.extent(), &window.1);
            x.into_iter().zip(y).collect()
        });
        Self { siz, coding, tile, components: components.collect() }
    }

    /// Whether the window is made of this packet.
    pub(crate) fn needs(&self, packet: &Packet) -> bool {
        let area = self.components.get(usize::from(packet.component));
        let area = area.and_then(|areas| areas.get(usize::from(packet.resolution)));
        let grid = Resolution::new(self.siz, self.coding, self.tile, packet.component, packet.resolution);
        area.zip(grid).is_some_and(|((x, y), grid)| grid.touches(packet.precinct, x, y))
    }
}

/// The samples of each resolution of a tile-component, along one axis, that the samples `window` at 1/2^k are made of: the
/// coarsest resolution first, `extent` being the samples that a resolution has.
fn reach(coded: &ComponentCoding, window: &Range<u32>, k: u8, extent: &dyn Fn(u8) -> Range<u32>) -> Vec<Range<u32>> {
    let reach = if coded.reversible { REACH_5_3 } else { REACH_9_7 };
    let Some(finest) = coded.levels.checked_sub(k) else { return Vec::new() };
    let within = |range: Range<u32>, has: Range<u32>| range.start.max(has.start)..range.end.min(has.end);
    let mut wanted = within(window.clone(), extent(finest));
    let mut ranges = Vec::with_capacity(usize::from(finest) + 1);
    for resolution in (1..=finest).rev() {
        if wanted.is_empty() {
            break;
        }
        let has = extent(resolution);
        let interleaved = within(wanted.start.saturating_sub(reach)..wanted.end.saturating_add(reach), has);
        wanted = interleaved.start.div_ceil(2)..interleaved.end.div_ceil(2);
        ranges.push(interleaved);
    }
    ranges.resize(finest.into(), 0..0);
    ranges.push(wanted);
    ranges.reverse();
    ranges
}
