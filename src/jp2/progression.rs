//! The packets of a tile in the order of the codestream, for every progression order (T.800 B.12.1).
//!
//! [`Packets`] holds one entry for each resolution of each component that has precincts, and nothing per packet: what a
//! header claims costs nothing until it is asked for, and each step yields a packet. POC is not heeded (B.12.2).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::coding::TileCoding;
use super::markers::Siz;
use super::precincts::Resolution;

/// One packet of a tile (B.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packet {
    /// The layer.
    pub(crate) layer: u16,
    /// The resolution, 0 being the coarsest.
    pub(crate) resolution: u8,
    /// The component.
    pub(crate) component: u16,
    /// The precinct, counted row by row in its resolution of its component (B.6).
    pub(crate) precinct: u64,
}

/// A resolution of a component that has precincts.
#[derive(Debug, Clone, Copy)]
struct Entry {
    component: u16,
    resolution: u8,
    precincts: u64,
    grid: Resolution,
}

/// What the loops of the position progressions meet next of an entry: y, x, the entry's index and the precinct.
type Meeting = Reverse<(u64, u64, usize, u64)>;

/// An iterator over the packets of a tile.
///
/// The loops of all five orders are these: the entries fall into groups that come one after the other; in a group,
/// either all of layer 0 comes before all of layer 1, or the precincts come by their position, each with all its layers.
#[derive(Debug, Clone)]
pub(crate) struct Packets {
    progression: u8,
    layers: u16,
    /// In the order of their groups, and in a group in the order in which its innermost loops meet them.
    entries: Vec<Entry>,
    /// The group at hand.
    group: Range<usize>,
    layer: u16,
    /// By layers: the entry and the precinct of the next packet.
    entry: usize,
    precinct: u64,
    /// By position: the next precinct of each entry of the group.
    meetings: BinaryHeap<Meeting>,
}

impl Packets {
    /// The packets of the tile of index `tile`.
    pub(crate) fn new(siz: &Siz, coding: &TileCoding, tile: u32) -> Self {
        let mut entries = Vec::new();
        for component in 0..siz.components.len() {
            let Ok(component) = u16::try_from(component) else { break };
            for resolution in 0..=coding.component(component).levels {
                let Some(grid) = Resolution::new(siz, coding, tile, component, resolution) else { break };
                let precincts = grid.precincts();
                if precincts > 0 {
                    entries.push(Entry { component, resolution, precincts, grid });
                }
            }
        }
        // LRCP, RLCP and RPCL: resolutions before components. PCRL and CPRL: as they are.
        if coding.progression <= 2 {
            entries.sort_by_key(|entry| (entry.resolution, entry.component));
        }
        let mut packets = Self {
            progression: coding.progression,
            layers: coding.layers,
            entries,
            group: 0..0,
            layer: 0,
            entry: 0,
            precinct: 0,
            meetings: BinaryHeap::new(),
        };
        packets.open(0);
        packets
    }

    /// Opens the group that begins at this entry.
    fn open(&mut self, start: usize) {
        let group = |entry: &Entry| match self.progression {
            1 | 2 => u16::from(entry.resolution),
            4 => entry.component,
            _ => 0,
        };
        let rest = self.entries.get(start..).unwrap_or_default();
        let of = rest.first().map(group);
        let end = start + rest.iter().take_while(|entry| Some(group(entry)) == of).count();
        (self.group, self.layer, self.entry, self.precinct) = (start..end, 0, start, 0);
        if self.progression >= 2 {
            self.meetings = (start..end).filter_map(|index| self.meeting(index, 0)).collect();
        }
    }

    fn meeting(&self, index: usize, precinct: u64) -> Option<Meeting> {
        let entry = self.entries.get(index)?;
        let (y, x) = entry.grid.position(precinct);
        (precinct < entry.precincts).then_some(Reverse((y, x, index, precinct)))
    }

    /// LRCP and RLCP: layers, then entries, then precincts.
    fn next_by_layer(&mut self) -> Option<Packet> {
        let entry = *self.entries.get(self.entry)?;
        let packet = entry.packet(self.layer, self.precinct);
        self.precinct += 1;
        if self.precinct == entry.precincts {
            (self.precinct, self.entry) = (0, self.entry + 1);
            if self.entry == self.group.end {
                (self.entry, self.layer) = (self.group.start, self.layer + 1);
                if self.layer >= self.layers {
                    self.open(self.group.end);
                }
            }
        }
        Some(packet)
    }

    /// RPCL, PCRL and CPRL: positions, then entries, then layers.
    fn next_by_position(&mut self) -> Option<Packet> {
        let &Reverse((_, _, index, precinct)) = self.meetings.peek()?;
        let packet = self.entries.get(index)?.packet(self.layer, precinct);
        self.layer += 1;
        if self.layer >= self.layers {
            self.layer = 0;
            self.meetings.pop();
            self.meetings.extend(self.meeting(index, precinct + 1));
            if self.meetings.is_empty() {
                self.open(self.group.end);
            }
        }
        Some(packet)
    }
}

impl Entry {
    fn packet(&self, layer: u16, precinct: u64) -> Packet {
        Packet { layer, resolution: self.resolution, component: self.component, precinct }
    }
}

impl Iterator for Packets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        if self.progression >= 2 { self.next_by_position() } else { self.next_by_layer() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::super::coding::ComponentCoding;
    use super::super::markers::Component;
    use super::super::precincts::{packet_count, packet_counts};
    use super::*;
    use proptest::prelude::*;

    /// B.12.1 word by word: every sample of the reference grid is looked at.
    fn naive(siz: &Siz, coding: &TileCoding, tile: u32) -> Vec<Packet> {
        let (tx, ty) = siz.tile_extent(tile);
        let (tx, ty) = (u64::from(tx.start)..tx.end.into(), u64::from(ty.start)..ty.end.into());
        let components = 0..siz.components.len() as u16;
        let most = components.clone().map(|c| coding.component(c).levels).max().unwrap();
        let has = |c: u16, r: u8| r <= coding.component(c).levels;
        let count = |c, r| Resolution::new(siz, coding, tile, c, r).map_or(0, |grid| grid.precincts());
        let mut out = Vec::new();
        let mut seen: BTreeMap<(u16, u8), u64> = BTreeMap::new();
        let all = |out: &mut Vec<Packet>, l, r, c| {
            out.extend((0..count(c, r)).map(|k| Packet { layer: l, resolution: r, component: c, precinct: k }));
        };
        // "for the next precinct, k, if one exists"
        let mut at = |out: &mut Vec<Packet>, y: u64, x: u64, c: u16, r: u8| {
            if !has(c, r) || count(c, r) == 0 {
                return;
            }
            let coded = coding.component(c);
            let (ppx, ppy) = coded.precincts[usize::from(r)];
            let meets = |v: u64, t0: u64, separation: u8, pp: u8| {
                let halvings = coded.levels - r;
                let tr0 = t0.div_ceil(separation.into()).div_ceil(1 << halvings);
                v.is_multiple_of(u64::from(separation) << (pp + halvings))
                    || (v == t0 && !(tr0 << halvings).is_multiple_of(1 << (pp + halvings)))
            };
            let sampling = siz.components[usize::from(c)];
            if meets(y, ty.start, sampling.dy, ppy) && meets(x, tx.start, sampling.dx, ppx) {
                let k = seen.entry((c, r)).or_default();
                if *k < count(c, r) {
                    out.extend((0..coding.layers).map(|l| Packet {
                        layer: l,
                        resolution: r,
                        component: c,
                        precinct: *k,
                    }));
                    *k += 1;
                }
            }
        };
        match coding.progression {
            0 => {
                for l in 0..coding.layers {
                    (0..=most).for_each(|r| components.clone().for_each(|c| all(&mut out, l, r, c)));
                }
            }
            1 => {
                for r in 0..=most {
                    (0..coding.layers).for_each(|l| components.clone().for_each(|c| all(&mut out, l, r, c)));
                }
            }
            2 => {
                for (r, y) in (0..=most).flat_map(|r| ty.clone().map(move |y| (r, y))) {
                    tx.clone().for_each(|x| components.clone().for_each(|c| at(&mut out, y, x, c, r)));
                }
            }
            3 => {
                for (y, x) in ty.clone().flat_map(|y| tx.clone().map(move |x| (y, x))) {
                    components.clone().for_each(|c| (0..=most).for_each(|r| at(&mut out, y, x, c, r)));
                }
            }
            _ => {
                for (c, y) in components.flat_map(|c| ty.clone().map(move |y| (c, y))) {
                    tx.clone().for_each(|x| (0..=most).for_each(|r| at(&mut out, y, x, c, r)));
                }
            }
        }
        out
    }

    fn component_coding(most: u8) -> impl Strategy<Value = ComponentCoding> {
        prop::collection::vec((1u8..most, 1u8..most), 1..5).prop_map(|mut precincts| {
            precincts[0] = (precincts[0].0 - 1, precincts[0].1 - 1);
            let levels = precincts.len() as u8 - 1;
            ComponentCoding { levels, code_block: (2, 2), style: 0, reversible: true, precincts }
        })
    }

    pub(in crate::jp2) fn siz() -> impl Strategy<Value = Siz> {
        let edges = (0u32..40, 0u32..40, 1u32..60, 1u32..60, 0u32..40, 0u32..40, 1u32..60, 1u32..60);
        let components = prop::collection::vec((1u8..5, 1u8..5), 1..4);
        (edges, components).prop_map(|((x0, y0, width, height, left, up, tile_width, tile_height), components)| Siz {
            x1: x0 + width,
            y1: y0 + height,
            x0,
            y0,
            // The first tile reaches into the image (B.3).
            tile_width: tile_width.max(x0.min(left) + 1),
            tile_height: tile_height.max(y0.min(up) + 1),
            tile_x0: x0 - x0.min(left),
            tile_y0: y0 - y0.min(up),
            components: components.into_iter().map(|(dx, dy)| Component { depth: 7, dx, dy }).collect(),
        })
    }

    pub(in crate::jp2) fn coding(
        progression: impl Strategy<Value = u8>,
        most: u8,
    ) -> impl Strategy<Value = TileCoding> {
        let exceptions = prop::collection::btree_map(0u16..4, component_coding(most), 0..3);
        (progression, 1u16..4, component_coding(most), exceptions).prop_map(
            |(progression, layers, default, exceptions)| TileCoding {
                progression,
                layers,
                multiple_component_transform: false,
                sop: false,
                eph: false,
                default,
                exceptions,
            },
        )
    }

    proptest! {
        #[test]
        fn packets_come_as_the_loops_of_the_standard_have_them(siz in siz(), coding in coding(0u8..5, 5), tile: u32) {
            let tile = tile % siz.tiles();
            let packets: Vec<Packet> = Packets::new(&siz, &coding, tile).collect();
            prop_assert_eq!(&packets, &naive(&siz, &coding, tile));
            // As many as were counted, each of them once.
            prop_assert_eq!(packets.len() as u64, packet_count(&siz, &coding, tile));
            prop_assert_eq!(packets.iter().collect::<HashSet<_>>().len(), packets.len());
            for (resolution, count) in packet_counts(&siz, &coding, tile).into_iter().enumerate() {
                let of = packets.iter().filter(|packet| usize::from(packet.resolution) == resolution).count();
                prop_assert_eq!(of as u64, count);
            }
        }

        #[test]
        fn huge_claims_cost_nothing(
            edges: [u32; 8], separations in prop::collection::vec((1u8.., 1u8..), 1..4),
            mut coding in coding(0u8..5, 16), layers in 1u16.., levels in 0u8..33,
        ) {
            let [x0, x1] = [edges[0].min(edges[1]), edges[0].max(edges[1]).max(1)];
            let [y0, y1] = [edges[2].min(edges[3]), edges[2].max(edges[3]).max(1)];
            let (tile_x0, tile_y0) = (edges[4].min(x0), edges[5].min(y0));
            let components = separations.into_iter().map(|(dx, dy)| Component { depth: 7, dx, dy }).collect();
            let [tile_width, tile_height] = [edges[6].max(1), edges[7].max(1)];
            let siz = Siz { x0: x0.min(x1 - 1), y0: y0.min(y1 - 1), x1, y1, tile_x0, tile_y0, tile_width, tile_height, components };
            coding.layers = layers;
            coding.default.levels = levels;
            coding.default.precincts.resize(usize::from(levels) + 1, (1, 1));
            let count = packet_count(&siz, &coding, 0);
            let first = Packets::new(&siz, &coding, 0).take(100).count() as u64;
            prop_assert_eq!(first, count.min(100));
        }
    }
}
