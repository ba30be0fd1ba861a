//! JP2 files made in code for tests: right in structure, with noise for packets.

use super::pointers::build_plt;
use super::precincts::packet_count;
use super::{EOC, LBox, Progress, Sot, build_jp2c_header, build_tlm, parse_main_header};

/// What to make. The default: 80 by 60 samples in tiles of 32, so 3 by 2 tiles, in order, one tile-part each.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) tile: u32,
    pub(crate) levels: u8,
    /// The codestream's box: as ESA writes it, with a length, extended; `None` for a bare codestream.
    pub(crate) jp2c: Option<LBox>,
    /// Tile-parts of each tile, one round after the other.
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
            tile: 32,
            levels: 2,
            jp2c: Some(LBox::ToEnd),
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

impl File {
    fn main_header(&self) -> Vec<u8> {
        let mut out = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for value in [self.width, self.height, 0, 0, self.tile, self.tile, 0, 0] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&[0, 1, 15, 1, 1]);
        out.extend_from_slice(&[0xFF, 0x52, 0, 13 + self.levels, 1, 0, 0, 1, 0, self.levels, 4, 4, 0, 1]);
        out.resize(out.len() + usize::from(self.levels) + 1, 0x88);
        out.extend_from_slice(&[0xFF, 0x5C, 0, 4 + 3 * self.levels, 0x40]);
        out.resize(out.len() + 1 + 3 * usize::from(self.levels), 0x80);
        out
    }

    /// The tile-parts as tile, part number and bytes from SOT to the last packet.
    fn tile_parts(&self) -> Vec<(u16, u8, Vec<u8>)> {
        let mut probe = self.main_header();
        probe.extend_from_slice(&[0xFF, 0x90]);
        let Progress::Done(main) = parse_main_header(&probe, u64::MAX).unwrap() else { panic!("a whole header") };
        let mut noise = 0x2545_F491_4F6C_DD1Du64;
        let mut parts = Vec::new();
        for part in 0..self.parts {
            let tiles = main.siz.tiles() as u16;
            for index in 0..tiles {
                let tile = if self.reversed { tiles - 1 - index } else { index };
                let count: u64 = packet_count(&main.siz, &main.coding, tile.into());
                let lengths: Vec<u32> =
                    (0..count).map(|n| self.packet + (n as u32 * 7 + u32::from(tile)) % 90).collect();
                let mut bytes = vec![0; 12];
                if self.plt {
                    bytes.extend(build_plt(0, &lengths));
                }
                bytes.extend_from_slice(&[0xFF, 0x93]);
                for _ in 0..lengths.iter().sum::<u32>() {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    bytes.push((noise >> 32) as u8);
                }
                let length = bytes.len() as u32;
                bytes[..12].copy_from_slice(&Sot { tile, length, part, parts: self.parts }.build());
                parts.push((tile, part, bytes));
            }
        }
        parts
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut parts = self.tile_parts();
        if self.open_end {
            let last = &mut parts.last_mut().unwrap().2;
            last[6..10].fill(0);
        }
        let mut stream = self.main_header();
        if self.tlm {
            let entries: Vec<_> = parts.iter().map(|(tile, _, bytes)| (*tile, bytes.len() as u32)).collect();
            stream.extend(build_tlm(&entries));
        }
        for (_, _, bytes) in &parts {
            stream.extend_from_slice(bytes);
        }
        if self.eoc {
            stream.extend_from_slice(&EOC);
        }
        let Some(lbox) = self.jp2c else { return stream };
        let mut out = super::boxes::SIGNATURE.to_vec();
        out.extend_from_slice(b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 ");
        let header = if matches!(lbox, LBox::Extended(_)) { 16 } else { 8 };
        out.extend(build_jp2c_header(lbox, stream.len() as u64 + header, false).unwrap());
        out.extend(stream);
        out.extend_from_slice(&self.trailer);
        out
    }
}
