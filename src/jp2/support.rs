//! Which packets a window of an image is made of: those of the precincts that the support of its samples touches
//! (T.800 B.6, F.3).
//!
//! A sample of one resolution is made of samples of its sub-bands nearby. Interleaved (F.3.3), with low-pass samples at
//! even places and high-pass samples at odd ones, the sub-bands of a resolution have its own coordinates, and so do its
//! precincts; so one range an axis tells what a resolution must have, and half of it, rounded up, what the next coarser
//! one must. At the edges of a tile the signal is mirrored (F.3.7), and what is mirrored into reach is within reach.

use std::ops::Range;

use super::area::Area;
use super::coding::{ComponentCoding, TileCoding};
use super::markers::Siz;
use super::precincts::Resolution;
use super::progression::Packet;

/// How far the sub-band samples reach that an odd sample is made of, in interleaved samples (F.3.8): as far as there are
/// lifting steps, of the reversible 5-3 filter, and of the irreversible 9-7 one.
const REACH_5_3: u32 = 2;
const REACH_9_7: u32 = 4;

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
        let components = components.map(|component| areas(siz, coding, (tile, component), window, k));
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

/// The samples of each resolution of a tile's component that the samples `window` of the component at 1/2^k are made of, its
/// sub-bands interleaved: the coarsest resolution first, of finer ones than 1/2^k none.
pub(crate) fn areas(siz: &Siz, coding: &TileCoding, (tile, component): (u32, u16), window: &Area, k: u8) -> Vec<Area> {
    let coded = coding.component(component);
    let along = |axis: &dyn Fn(&Resolution) -> Range<u32>, window: &Range<u32>| {
        let extent = |resolution: u8| {
            Resolution::new(siz, coding, tile, component, resolution).map_or(0..0, |found| axis(&found))
        };
        reach(coded, window, k, &extent)
    };
    let x = along(&|resolution| resolution.x.extent(), &window.0);
    let y = along(&|resolution| resolution.y.extent(), &window.1);
    x.into_iter().zip(y).collect()
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
        // An even sample is made by one lifting step less than an odd one.
        let (before, after) = (reach - u32::from(wanted.start % 2 == 0), reach - u32::from(wanted.end % 2 == 1));
        let interleaved = within(wanted.start.saturating_sub(before)..wanted.end.saturating_add(after), has);
        wanted = interleaved.start.div_ceil(2)..interleaved.end.div_ceil(2);
        ranges.push(interleaved);
    }
    ranges.resize(finest.into(), 0..0);
    ranges.push(wanted);
    ranges.reverse();
    ranges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::markers::Component;
    use super::super::progression::Packets;
    use super::super::progression::tests::{coding, siz};
    use super::*;

    /// F.3.6 to F.3.8 word by word: which interleaved samples the samples `wanted` are made of, by lifting steps; those
    /// outside `has` are mirrored at its ends.
    fn lifted(wanted: &BTreeSet<i64>, has: &Range<i64>, reversible: bool) -> BTreeSet<i64> {
        let mirror = |mut at: i64| {
            while !has.contains(&at) && has.end - has.start > 1 {
                at = if at < has.start { 2 * has.start - at } else { 2 * (has.end - 1) - at };
            }
            if has.contains(&at) { at } else { has.start }
        };
        let steps = if reversible { 2 } else { 4 };
        // The last step makes the odd samples of the even ones beside them, the one before the even ones of the odd ones.
        let mut samples = wanted.clone();
        for step in 0..steps {
            let odd = if step % 2 == 0 { 1 } else { 0 };
            let sides = samples.iter().filter(|at| at.rem_euclid(2) == odd).flat_map(|at| [at - 1, at + 1]);
            let sides: Vec<i64> = sides.map(mirror).collect();
            samples.extend(sides);
        }
        samples
    }

    /// The samples of each resolution of an axis that `window` is made of, the coarsest first.
    fn naive(window: &Range<u32>, extents: &[Range<u32>], reversible: bool) -> Vec<BTreeSet<u32>> {
        let finest = extents.last().unwrap();
        let mut wanted: BTreeSet<i64> = window.clone().filter(|at| finest.contains(at)).map(i64::from).collect();
        let mut out = Vec::new();
        for extent in extents.iter().skip(1).rev() {
            let samples = lifted(&wanted, &(extent.start.into()..extent.end.into()), reversible);
            out.push(samples.iter().map(|at| *at as u32).collect());
            wanted = samples.into_iter().filter(|at| at % 2 == 0).map(|at| at / 2).collect();
        }
        out.push(wanted.into_iter().map(|at| at as u32).collect());
        out.reverse();
        out
    }

    proptest! {
        /// Every packet that a sample of the window depends on is needed, and no other.
        #[test]
        fn no_packet_is_missing_or_too_many(
            mut siz in siz(), mut coding in coding(0u8..5, 5), tile: u32, reversible: bool, k in 0u8..3,
            at in (0u32..90, 0u32..90), size in (1u32..30, 1u32..30),
        ) {
            siz.components.iter_mut().for_each(|component| *component = Component { dx: 1, dy: 1, ..*component });
            coding.default.reversible = reversible;
            coding.exceptions.values_mut().for_each(|coding| coding.reversible = reversible);
            let tile = tile % siz.tiles();
            let window = (at.0..at.0 + size.0, at.1..at.1 + size.1);
            let support = Support::new(&siz, &coding, tile, &window, k);
            for packet in Packets::new(&siz, &coding, tile) {
                let coded = coding.component(packet.component);
                let Some(finest) = coded.levels.checked_sub(k) else { continue };
                let grid = |r: u8| Resolution::new(&siz, &coding, tile, packet.component, r).unwrap();
                let needed = packet.resolution <= finest && {
                    let axis = |extent: &dyn Fn(u8) -> Range<u32>, window: &Range<u32>| {
                        naive(window, &(0..=finest).map(extent).collect::<Vec<_>>(), reversible)
                            .swap_remove(packet.resolution.into())
                    };
                    let columns = axis(&|r| grid(r).x.extent(), &window.0);
                    let rows = axis(&|r| grid(r).y.extent(), &window.1);
                    let here = grid(packet.resolution);
                    let touched = |x: u32, y: u32| here.touches(packet.precinct, &(x..x + 1), &(y..y + 1));
                    columns.iter().any(|x| rows.iter().any(|y| touched(*x, *y)))
                };
                prop_assert_eq!(needed, support.needs(&packet), "{:?}", packet);
                prop_assert!(packet.resolution <= finest || !support.needs(&packet));
            }
        }
    }

    #[test]
    fn a_small_window_needs_few_packets() {
        // A tile of 1024 samples as Sentinel-2's 10 m bands have it: 1 + 1 + 1 + 4 + 16 packets.
        let (x1, y1) = (1024, 1024);
        let components = vec![Component { depth: 14, dx: 1, dy: 1 }];
        let siz = Siz { x0: 0, y0: 0, x1, y1, tile_width: x1, tile_height: y1, tile_x0: 0, tile_y0: 0, components };
        let default =
            ComponentCoding { levels: 4, code_block: (6, 6), style: 0, reversible: true, precincts: vec![(8, 8); 5] };
        let coding = TileCoding {
            progression: 0,
            layers: 1,
            multiple_component_transform: false,
            sop: false,
            eph: false,
            default,
            exceptions: Default::default(),
        };
        let needed = |x: Range<u32>, y: Range<u32>, k: u8| {
            let support = Support::new(&siz, &coding, 0, &(x, y), k);
            let mut counts = [0; 5];
            for packet in Packets::new(&siz, &coding, 0).filter(|packet| support.needs(packet)) {
                counts[usize::from(packet.resolution)] += 1;
            }
            counts
        };
        assert_eq!(needed(100..164, 100..164, 0), [1, 1, 1, 1, 1]);
        assert_eq!(needed(2..255, 2..255, 0), [1, 1, 1, 1, 1], "an even sample is made of its two neighbours");
        assert_eq!(needed(2..256, 2..255, 0), [1, 1, 1, 1, 2], "an odd one of two on each side");
        assert_eq!(needed(480..544, 480..544, 0), [1, 1, 1, 4, 4], "where precincts of two resolutions meet");
        assert_eq!(needed(0..1024, 0..1024, 0), [1, 1, 1, 4, 16]);
        assert_eq!(needed(100..164, 100..164, 1), [1, 1, 1, 1, 0]);
        assert_eq!(needed(0..0, 0..10, 0), [0; 5]);
        assert_eq!(needed(2000..2010, 0..10, 0), [0; 5], "another tile's");
    }
}
