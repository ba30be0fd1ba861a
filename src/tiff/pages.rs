//! The directories of a real TIFF for people, and whether it is a COG (OGC 21-026, GDAL's driver and its validator).

use serde::Serialize;

use super::read::{Directory, Head, number};
use super::tags::{
    BITS_PER_SAMPLE, COMPRESSION, MASK, NEW_SUBFILE_TYPE, PREDICTOR, REDUCED, SAMPLE_FORMAT, SAMPLES_PER_PIXEL,
};
use super::tiles::{Division, counts, offsets};

/// An image up to so many pixels a side need not be in tiles, nor have overviews.
const SMALL: u64 = 512;

/// A directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Page {
    /// `image`, `overview`, `page`, `mask`, or `mask of an overview`.
    pub(crate) kind: &'static str,
    /// In pixels.
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) bands: u64,
    pub(crate) bits: u64,
    /// `unsigned`, `signed`, `float`, or `other`.
    pub(crate) samples: &'static str,
    /// Whether it is in tiles, and not in strips.
    pub(crate) is_tiled: bool,
    /// Columns and rows of a tile or strip.
    pub(crate) tile: [u64; 2],
    /// Tiles or strips.
    pub(crate) tiles: usize,
    /// Those that the file does not have.
    pub(crate) missing: usize,
    /// Their bytes together.
    pub(crate) bytes: u64,
    /// As GDAL calls it.
    pub(crate) compression: String,
    /// 1 for none, 2 for differences, 3 for those of floating point numbers.
    pub(crate) predictor: u64,
    /// Whether each band has tiles of its own.
    pub(crate) is_planar: bool,
}

impl Page {
    /// numpy's name for the type that GDAL gives its samples; `None` where numpy has none that is sure.
    pub(crate) fn dtype(&self) -> Option<&'static str> {
        Some(match (self.samples, self.bits) {
            ("unsigned", 1..=8) => "uint8",
            ("unsigned", 9..=16) => "uint16",
            ("unsigned", 17..=32) => "uint32",
            ("unsigned", 64) => "uint64",
            ("signed", 8) => "int8",
            ("signed", 16) => "int16",
            ("signed", 32) => "int32",
            ("signed", 64) => "int64",
            ("float", 16 | 24 | 32) => "float32",
            ("float", 64) => "float64",
            _ => return None,
        })
    }
}

impl Head {
    /// The directories in the order of the file.
    pub(crate) fn pages(&self) -> Vec<Page> {
        self.directories.iter().enumerate().map(|(place, directory)| page(place, directory)).collect()
    }

    /// The image, then its overviews in the order of the file.
    pub(crate) fn levels(&self) -> Vec<Page> {
        let pages = self.pages().into_iter().enumerate();
        pages.filter(|(place, page)| *place == 0 || page.kind == "overview").map(|(_, page)| page).collect()
    }

    /// Why the file is no COG; nothing where it is one.
    pub(crate) fn against_cog(&self) -> Vec<String> {
        let pages = self.pages();
        let mut against = Vec::new();
        let Some(first) = pages.first() else { return against };
        let is_small = |page: &Page| page.width <= SMALL && page.height <= SMALL;
        for (place, page) in pages.iter().enumerate().filter(|(_, page)| !page.is_tiled && !is_small(page)) {
            against.push(format!("directory {place} ({}) is in strips, not in tiles", page.kind));
        }
        let overviews: Vec<&Page> = pages.iter().filter(|page| page.kind == "overview").collect();
        if overviews.is_empty() && !is_small(first) {
            against.push("it has no overviews".to_owned());
        }
        let sizes = std::iter::once(first).chain(overviews.iter().copied()).map(|page| page.width);
        if !sizes.is_sorted_by(|one, next| one >= next) {
            against.push("its overviews are not in order, the finest first".to_owned());
        }
        let data: Vec<Option<u64>> = self.directories.iter().map(first_offset).collect();
        if data.iter().flatten().min().is_some_and(|least| *least < self.end) {
            against.push(format!("its header, which ends at byte {}, does not stand before all tiles", self.end));
        }
        // The coarsest overview comes first, so that the beginning of the file shows all of the image.
        let of_overviews = pages.iter().zip(&data).filter(|(page, _)| page.kind == "overview").map(|(_, first)| first);
        let order: Vec<u64> = data.first().into_iter().chain(of_overviews).flatten().copied().collect();
        if !order.is_sorted_by(|one, next| one >= next) {
            against.push(
                "the tiles of its overviews do not stand before those of the image, the coarsest first".to_owned(),
            );
        }
        against
    }
}

/// Where the first tile stands of those that the file has.
fn first_offset(directory: &Directory) -> Option<u64> {
    offsets(directory).iter().copied().filter(|offset| *offset > 0).min()
}

fn page(place: usize, directory: &Directory) -> Page {
    let of = |tag: u16| number(directory, tag);
    let subfile = of(NEW_SUBFILE_TYPE).unwrap_or(0);
    let kind = match (subfile & MASK > 0, subfile & REDUCED > 0) {
        (true, true) => "mask of an overview",
        (true, false) => "mask",
        (false, true) => "overview",
        (false, false) if place == 0 => "image",
        (false, false) => "page",
    };
    let Division { size: [width, height], is_tiled, tile, is_planar } = Division::of(directory);
    let counts = counts(directory);
    Page {
        kind,
        width,
        height,
        bands: of(SAMPLES_PER_PIXEL).unwrap_or(1),
        bits: of(BITS_PER_SAMPLE).unwrap_or(1),
        samples: match of(SAMPLE_FORMAT).unwrap_or(1) {
            1 => "unsigned",
            2 => "signed",
            3 => "float",
            _ => "other",
        },
        is_tiled,
        tile,
        tiles: offsets(directory).len(),
        missing: counts.iter().filter(|count| **count == 0).count(),
        bytes: counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
        compression: compression(of(COMPRESSION).unwrap_or(1)),
        predictor: of(PREDICTOR).unwrap_or(1),
        is_planar,
    }
}

/// GDAL's name of a compression, or the tag's number.
fn compression(number: u64) -> String {
    match number {
        1 => "none",
        2 => "CCITTRLE",
        3 => "CCITTFAX3",
        4 => "CCITTFAX4",
        5 => "LZW",
        6 => "old JPEG",
        7 => "JPEG",
        8 | 32_946 => "DEFLATE",
        32_773 => "PACKBITS",
        34_712 => "JPEG 2000",
        34_887 => "LERC",
        34_925 => "LZMA",
        50_000 => "ZSTD",
        50_001 => "WEBP",
        50_002 | 52_546 => "JXL",
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use crate::tiff::{Parsed, Pieces, made::Made, parse};

    #[test]
    fn why_a_file_is_no_cog_is_told() {
        let made = Made { is_big_endian: false, is_big: false, at: 60_000, size: 100_000 };
        let file = made.bytes(&[(10_980, 10_980, 500), (5490, 5490, 120)]);
        let mut pieces = Pieces::new(file.len() as u64);
        pieces.add(0, file.into());
        let Parsed::Done(head) = parse(&pieces).unwrap() else { panic!("all is there") };
        let kinds: Vec<&str> = head.pages().iter().map(|page| page.kind).collect();
        assert_eq!(kinds, ["image", "page"]);
        let against = head.against_cog();
        assert_eq!(against.len(), 3, "{against:?}");
        assert!(against[0].contains("directory 0 (image) is in strips") && against[2].contains("no overviews"));
    }
}
