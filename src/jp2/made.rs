//! JP2 files made in code for tests: right in structure, with noise for packets.

use std::ops::Range;

use super::pointers::build_plt;
use super::progression::{Packet, Packets};
use super::{
    EOC, LBox, MainHeader, Progress, Sot, TilePartHeader, build_jp2c_header, build_tlm, parse_main_header,
    parse_tile_part_header,
};

/// What to make. The default: 80 by 60 samples in tiles of 32, so 3 by 2 tiles, in order, one tile-part each.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The right and lower edges of the image.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// The left and upper edges of the image, and of the first tile.
    pub(crate) origin: (u32, u32),
    pub(crate) tile_origin: (u32, u32),
    pub(crate) tile: u32,
    pub(crate) levels: u8,
    /// The progression order, a number of Table A.16.
    pub(crate) progression: u8,
    pub(crate) layers: u16,
    /// PPx and PPy of all resolutions.
    pub(crate) precincts: u8,
    /// The separation of samples of each component, in both directions.
    pub(crate) components: Vec<u8>,
    /// Components with a COC, and the levels that it tells.
    pub(crate) coc: Vec<(u8, u8)>,
    /// Further marker segments of the main header, and of each tile's first tile-part.
    pub(crate) main_segments: Vec<u8>,
    pub(crate) tile_segments: Vec<u8>,
    /// How many lengths of 0 end each tile-part's PLT.
    pub(crate) plt_padding: usize,
    /// The codestream's box: as ESA writes it, with a length, extended; `None` for a bare codestream.
    pub(crate) jp2c: Option<LBox>,
    /// Boxes that stand before it.
    pub(crate) boxes: Vec<u8>,
    /// Tile-parts of each tile, one round after the other; each has its share of the packets.
    pub(crate) parts: u8,
    /// Whether the last tiles come first.
    pub(crate) reversed: bool,
    pub(crate) plt: bool,
    pub(crate) tlm: bool,
    /// Psot = 0 in the last tile-part.
    pub(crate) open_end: bool,
    pub(crate) eoc: bool,
    /// Bytes of a box that follows the codestream's box.
    pub(crate) trailer: Vec<u8>,
    /// The bytes of each packet, at least.
    pub(crate) packet: u32,
}

impl Default for File {
    fn default() -> Self {
        Self {
            width: 80,
            height: 60,
            origin: (0, 0),
            tile_origin: (0, 0),
            tile: 32,
            levels: 2,
            progression: 0,
            layers: 1,
            precincts: 8,
            components: vec![1],
            coc: Vec::new(),
            main_segments: Vec::new(),
            tile_segments: Vec::new(),
            plt_padding: 0,
            jp2c: Some(LBox::ToEnd),
            boxes: Vec::new(),
            parts: 1,
            reversed: false,
            plt: false,
            tlm: false,
            open_end: false,
            eoc: true,
            trailer: Vec::new(),
            packet: 40,
        }
    }
}

/// A packet of a made file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) tile: u16,
    /// NL - r: how often the image is halved where the packet is still needed.
    pub(crate) levels: u8,
    /// Its bytes in the file.
    pub(crate) range: Range<usize>,
}

/// A tile-part in the making.
struct Part {
    tile: u16,
    /// From SOT to the last packet.
    bytes: Vec<u8>,
    /// With ranges from the SOT marker's first byte.
    packets: Vec<Placed>,
}

impl File {
    fn main_header(&self) -> Vec<u8> {
        let count = self.components.len() as u16;
        let mut out = vec![0xFF, 0x4F, 0xFF, 0x51];
        out.extend_from_slice(&(38 + 3 * count).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        let ((x0, y0), (tile_x0, tile_y0)) = (self.origin, self.tile_origin);
        for value in [self.width, self.height, x0, y0, self.tile, self.tile, tile_x0, tile_y0] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&count.to_be_bytes());
        self.components.iter().for_each(|separation| out.extend_from_slice(&[15, *separation, *separation]));
        let precincts = |levels: u8| vec![self.precincts * 0x11; usize::from(levels) + 1];
        let [high, low] = self.layers.to_be_bytes();
        out.extend_from_slice(&[0xFF, 0x52, 0, 13 + self.levels, 1, self.progression, high, low, 0]);
        out.extend_from_slice(&[self.levels, 4, 4, 0, 1]);
        out.extend(precincts(self.levels));
        for (component, levels) in &self.coc {
            out.extend_from_slice(&[0xFF, 0x53, 0, 10 + levels, *component, 1, *levels, 4, 4, 0, 1]);
            out.extend(precincts(*levels));
        }
        out.extend_from_slice(&[0xFF, 0x5C, 0, 4 + 3 * self.levels, 0x40]);
        out.resize(out.len() + 1 + 3 * usize::from(self.levels), 0x80);
        out.extend_from_slice(&self.main_segments);
        out
    }

    /// The main header, understood, as if the file were a bare codestream.
    fn main(&self) -> MainHeader {
        let mut probe = self.main_header();
        probe.extend_from_slice(&[0xFF, 0x90]);
        let Progress::Done(main) = parse_main_header(&probe, u64::MAX).unwrap() else { panic!("a whole header") };
        main
    }

    fn tile_parts(&self) -> Vec<Part> {
        let main = self.main();
        let mut noise = 0x2545_F491_4F6C_DD1Du64;
        let mut parts = Vec::new();
        let tiles = main.siz.tiles() as u16;
        let header = [&[0; 12], &self.tile_segments[..], &[0xFF, 0x93]].concat();
        let parsed = parse_tile_part_header(&header, 0, header.len() as u32, &main).unwrap();
        let Progress::Done(TilePartHeader { coding: Ok(coding), .. }) = parsed else { panic!("a whole header") };
        for part in 0..self.parts {
            for index in 0..tiles {
                let tile = if self.reversed { tiles - 1 - index } else { index };
                let packets: Vec<Packet> = Packets::new(&main.siz, &coding, tile.into()).collect();
                let share = |part: u8| packets.len() * usize::from(part) / usize::from(self.parts);
                let share = share(part)..share(part + 1);
                let lengths: Vec<u32> =
                    share.clone().map(|n| self.packet + (n as u32 * 7 + u32::from(tile)) % 90).collect();
                let mut bytes = vec![0; 12];
                if part == 0 {
                    bytes.extend_from_slice(&self.tile_segments);
                }
                if self.plt {
                    bytes.extend(build_plt(0, &[&lengths[..], &vec![0; self.plt_padding]].concat()));
                }
                bytes.extend_from_slice(&[0xFF, 0x93]);
                let mut placed = Vec::new();
                for (packet, length) in packets[share].iter().zip(lengths) {
                    let start = bytes.len();
                    bytes.extend((0..length).map(|_| {
                        noise ^= noise << 13;
                        noise ^= noise >> 7;
                        noise ^= noise << 17;
                        (noise >> 32) as u8
                    }));
                    let levels = coding.component(packet.component).levels - packet.resolution;
                    placed.push(Placed { tile, levels, range: start..bytes.len() });
                }
                let length = bytes.len() as u32;
                bytes[..12].copy_from_slice(&Sot { tile, length, part, parts: self.parts }.build());
                parts.push(Part { tile, bytes, packets: placed });
            }
        }
        parts
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.make().0
    }

    /// The file's bytes, and where its packets lie, in the order of the file.
    pub(crate) fn make(&self) -> (Vec<u8>, Vec<Placed>) {
        let mut parts = self.tile_parts();
        if self.open_end {
            parts.last_mut().unwrap().bytes[6..10].fill(0);
        }
        let mut stream = self.main_header();
        if self.tlm {
            let entries: Vec<_> = parts.iter().map(|part| (part.tile, part.bytes.len() as u32)).collect();
            stream.extend(build_tlm(&entries));
        }
        let mut packets = Vec::new();
        for part in parts {
            let at = stream.len();
            packets.extend(part.packets.into_iter().map(|packet| {
                let range = at + packet.range.start..at + packet.range.end;
                Placed { range, ..packet }
            }));
            stream.extend(part.bytes);
        }
        if self.eoc {
            stream.extend_from_slice(&EOC);
        }
        let Some(lbox) = self.jp2c else { return (stream, packets) };
        let mut out = super::boxes::SIGNATURE.to_vec();
        out.extend_from_slice(b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 ");
        out.extend_from_slice(&self.boxes);
        let header = if matches!(lbox, LBox::Extended(_)) { 16 } else { 8 };
        out.extend(build_jp2c_header(lbox, stream.len() as u64 + header, false).unwrap());
        for packet in &mut packets {
            packet.range = packet.range.start + out.len()..packet.range.end + out.len();
        }
        out.extend(stream);
        out.extend_from_slice(&self.trailer);
        (out, packets)
    }

    /// Where the bytes lie that the image at 1/2^k is made of, packet by packet: by tile, in the order of the file.
    #[cfg(test)]
    pub(crate) fn needed(&self, k: u8) -> Vec<(u16, Range<usize>)> {
        let mut needed: Vec<_> =
            self.make().1.into_iter().filter(|packet| packet.levels >= k).map(|p| (p.tile, p.range)).collect();
        needed.sort_by_key(|(tile, _)| *tile);
        needed
    }

    /// Files of every structure that reduced views have to cope with, each with PLT.
    pub(crate) fn many() -> Vec<Self> {
        let base = Self { plt: true, levels: 4, width: 150, height: 90, ..Self::default() };
        let mut files = Vec::new();
        for progression in 0..5 {
            for layers in [1, 3] {
                for parts in [1, 3] {
                    let components = vec![1; 1 + usize::from(parts == 3 || progression == 4)];
                    files.push(Self { progression, layers, parts, components, ..base.clone() });
                }
            }
        }
        let several = Self { precincts: 3, components: vec![1, 2], parts: 2, reversed: true, ..base.clone() };
        files.extend((0..5).map(|progression| Self { progression, ..several.clone() }));
        files.extend([
            // Fewer levels in one component: its resolutions are of other factors.
            Self { components: vec![1, 1], coc: vec![(1, 2)], ..base.clone() },
            Self { components: vec![1, 1], coc: vec![(0, 5)], progression: 2, ..base.clone() },
            Self { origin: (37, 21), tile_origin: (16, 16), ..base.clone() },
            // Tiles that have no samples left at 1/16.
            Self { width: 87, height: 87, tile: 8, progression: 1, ..base.clone() },
            Self { jp2c: None, ..base.clone() },
            Self { tlm: true, open_end: true, ..base.clone() },
            Self { jp2c: Some(LBox::Short(0)), trailer: b"\0\0\0\x0Cxml <a/>".to_vec(), ..base },
        ]);
        files
    }
}
