//! What a JP2 is made of, and what reading it costs.

use serde::Serialize;

use crate::error::{Error, Result, ResultExt};
use crate::file;
use crate::index::{FoundRows, PacketLengths, Record, Scanned, find, scan};
use crate::jp2::{LBox, MainHeader, PROGRESSIONS, TilePart};
use crate::path::{Key, Location, key_of};
use crate::source::{self, Caller, Source};

/// What a JP2 is made of.
#[derive(Debug, Serialize)]
pub(crate) struct Anatomy {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    etag: Option<String>,
    /// What an index calls it.
    key: Option<String>,
    pub(crate) boxes: Vec<FileBox>,
    pub(crate) image: Image,
    pub(crate) tiles: Tiles,
    pub(crate) coding: Coding,
    /// What of it this program's decoder leaves out; `None` where it decodes the file.
    pub(crate) left_out: Option<String>,
    pub(crate) tile_parts: TileParts,
    /// Whether it has a TLM of its own, and whether that fits the file.
    pub(crate) tlm: bool,
    pub(crate) tlm_fits: bool,
    pub(crate) tile_parts_with_resolutions: usize,
    /// Its rows; `None` where no index was asked.
    pub(crate) index: Option<Vec<IndexRow>>,
    pub(crate) overviews: Vec<Overview>,
}

/// A box at the top of the file.
#[derive(Debug, Serialize)]
pub(crate) struct FileBox {
    pub(crate) kind: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// How the codestream's box writes its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<&'static str>,
}

/// The image, in pixels.
#[derive(Debug, Serialize)]
pub(crate) struct Image {
    pub(crate) width: u32,
    pub(crate) height: u32,
    offset: [u32; 2],
    pub(crate) components: Vec<Component>,
}

/// A component.
#[derive(Debug, Serialize)]
pub(crate) struct Component {
    pub(crate) bits: u8,
    signed: bool,
    dx: u8,
    dy: u8,
}

/// Its tiles, in pixels.
#[derive(Debug, Serialize)]
pub(crate) struct Tiles {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) across: u32,
    pub(crate) down: u32,
    count: u32,
}

/// How it is coded.
#[derive(Debug, Serialize)]
pub(crate) struct Coding {
    pub(crate) progression: Option<&'static str>,
    pub(crate) layers: u16,
    pub(crate) levels: u8,
    pub(crate) code_block: [u32; 2],
    pub(crate) wavelet: &'static str,
    component_transform: bool,
    sop: bool,
    eph: bool,
    /// Of each resolution, the coarsest first.
    pub(crate) precincts: Vec<[u32; 2]>,
}

/// Its tile-parts: how many, and their bytes.
#[derive(Debug, Serialize)]
pub(crate) struct TileParts {
    pub(crate) count: usize,
    pub(crate) least: Option<u64>,
    pub(crate) mean: u64,
    pub(crate) greatest: Option<u64>,
    pub(crate) first_sot: u64,
}

/// A row that an index has of it.
#[derive(Debug, Serialize)]
pub(crate) struct IndexRow {
    pub(crate) product_id: String,
    pub(crate) band_id: String,
    resolution: u32,
    pub(crate) origin: Option<String>,
    file_size: Option<u64>,
    has_header: bool,
    packet_count: Option<u32>,
    /// Whether the row is of a file of this size.
    pub(crate) fits_size: bool,
}

/// What an overview needs.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Overview {
    pub(crate) factor: u64,
    pub(crate) width: u64,
    pub(crate) height: u64,
    /// Of its packets.
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    /// Of what the requests fetch.
    pub(crate) bytes_with_gaps: u64,
    /// Of the file.
    pub(crate) share: f64,
}

/// Scans the JP2 at `location`, which `source` reads; with it what an index of the options, asked for the file's row,
/// could not answer.
///
/// # Errors
/// As [`scan`].
pub(crate) fn scan_jp2(location: &Location, source: &dyn Source, caller: &Caller<'_>) -> Result<(Anatomy, Vec<Error>)> {
    let name = location.display();
    let scanned = scan(source).in_file(&name)?;
    let gap = source::merge_gap(source, &caller.access(location).in_file(&name)?.options);
    let (key, found) = found_rows(location, source, caller)?;
    let anatomy = Anatomy::new(name, &scanned, key.as_ref(), found.as_ref(), gap);
    Ok((anatomy, found.map_or_else(Vec::new, |found| found.warnings)))
}

/// What an index calls the file at `location`, which `source` reads, and what the indexes of the options have of it; `None`
/// where there are none.
///
/// # Errors
/// [`Error::Option`] for options that cannot be.
pub(super) fn found_rows(
    location: &Location,
    source: &dyn Source,
    caller: &Caller<'_>,
) -> Result<(Option<Key>, Option<FoundRows>)> {
    let options = caller.access(location).in_file(&location.display())?.options;
    // The names of the folders that a local file lies in name the product.
    let whole = match location {
        Location::Local(path) => Location::Local(path.canonicalize().unwrap_or_else(|_| path.clone())),
        other => other.clone(),
    };
    let key = key_of(&whole);
    let found = match &key {
        Some(key) if !options.index.is_empty() => Some(find(&options.index, key, source.origin(), caller)),
        _ => None,
    };
    Ok((key, found))
}

impl Anatomy {
    fn new(file: String, scanned: &Scanned, key: Option<&Key>, found: Option<&FoundRows>, gap: u64) -> Self {
        let Scanned { meta, main, parts, .. } = scanned;
        let has_resolutions =
            |part: &&TilePart| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty());
        Self {
            file,
            bytes: meta.size,
            etag: meta.etag.clone(),
            key: key.map(|key| format!("{key:?}")),
            boxes: boxes(main, meta.size),
            image: Image::new(main),
            tiles: Tiles::new(main),
            coding: Coding::new(main),
            left_out: file::left_out(main),
            tile_parts: TileParts::new(parts, main.end),
            tlm: main.has_tlm(),
            tlm_fits: scanned.has_tlm,
            tile_parts_with_resolutions: parts.iter().filter(has_resolutions).count(),
            index: found.map(|found| {
                let of_jp2s = found.records.iter().filter(|row| !row.is_of_tiff());
                of_jp2s.map(|row| IndexRow::new(row, meta.size)).collect()
            }),
            overviews: overviews(parts, main.coding.default.levels, main.siz.size(), meta.size, gap),
        }
    }
}

fn boxes(main: &MainHeader, file_size: u64) -> Vec<FileBox> {
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let kind =
        |kind: &[u8; 4]| kind.iter().map(|byte| if printable(*byte) { char::from(*byte) } else { '?' }).collect();
    let others = main.boxes.iter().map(|(code, offset, bytes)| (kind(code), *offset, *bytes));
    let mut boxes: Vec<FileBox> =
        others.map(|(kind, offset, bytes)| FileBox { kind, offset, bytes, length: None }).collect();
    if let Some((offset, length)) = main.jp2c {
        let form = match length {
            LBox::ToEnd => "LBox = 0, to the end of the file",
            LBox::Short(_) => "LBox",
            LBox::Extended(_) => "XLBox",
        };
        let bytes = main.codestream_end.unwrap_or(file_size).saturating_sub(offset);
        boxes.push(FileBox { kind: "jp2c".to_owned(), offset, bytes, length: Some(form) });
    }
    boxes
}

impl Image {
    fn new(main: &MainHeader) -> Self {
        let (width, height) = main.siz.size();
        // T.800 A.5.1: the sign stands in the highest bit of Ssiz.
        let component = |c: &crate::jp2::Component| Component {
            bits: (c.depth & 0x7F) + 1,
            signed: c.depth & 0x80 != 0,
            dx: c.dx,
            dy: c.dy,
        };
        let components = main.siz.components.iter().map(component).collect();
        Self { width, height, offset: [main.siz.x0, main.siz.y0], components }
    }
}

impl Tiles {
    fn new(main: &MainHeader) -> Self {
        let siz = &main.siz;
        Self {
            width: siz.tile_width,
            height: siz.tile_height,
            across: siz.tiles_across(),
            down: siz.tiles_down(),
            count: siz.tiles(),
        }
    }
}

impl Coding {
    fn new(main: &MainHeader) -> Self {
        let (coding, component) = (&main.coding, &main.coding.default);
        let powers = |(x, y): (u8, u8)| [1u32 << x, 1u32 << y];
        Self {
            progression: PROGRESSIONS.get(usize::from(coding.progression)).copied(),
            layers: coding.layers,
            levels: component.levels,
            code_block: powers(component.code_block),
            wavelet: if component.reversible { "5/3" } else { "9/7" },
            component_transform: coding.multiple_component_transform,
            sop: coding.sop,
            eph: coding.eph,
            precincts: component.precincts.iter().copied().map(powers).collect(),
        }
    }
}

impl TileParts {
    fn new(parts: &[TilePart], first_sot: u64) -> Self {
        let lengths = || parts.iter().map(|part| u64::from(part.length));
        Self {
            count: parts.len(),
            least: lengths().min(),
            mean: lengths().sum::<u64>() / (parts.len() as u64).max(1),
            greatest: lengths().max(),
            first_sot,
        }
    }
}

impl IndexRow {
    pub(super) fn new(record: &Record, file_size: u64) -> Self {
        Self {
            product_id: record.key.product_id.clone(),
            band_id: record.key.band_id.clone(),
            resolution: record.key.resolution,
            origin: record.origin.clone(),
            file_size: record.file_size,
            has_header: record.header.is_some(),
            packet_count: record.packets.as_ref().map(PacketLengths::count),
            fits_size: record.file_size.is_none_or(|size| size == file_size),
        }
    }
}

/// What an overview of each factor needs: its packets, which are the first of every tile-part. `gap` is what two ranges
/// may be apart and still be one request. Empty where it is not known where the resolutions end.
fn overviews(parts: &[TilePart], levels: u8, image: (u32, u32), file_size: u64, gap: u64) -> Vec<Overview> {
    let of = |reduce: u8| {
        let (mut bytes, mut requests, mut fetched) = (0u64, 0u64, 0u64);
        let mut last: Option<u64> = None;
        for part in parts {
            let head = part.head.as_ref()?;
            let end = head.resolution_ends.get(usize::from(levels - reduce))?;
            let (start, end) = (part.offset + u64::from(head.packets), part.offset + u64::from(*end));
            if start >= end {
                continue;
            }
            bytes += end - start;
            match last {
                Some(before) if start <= before.saturating_add(gap) => fetched += end - before,
                _ => {
                    requests += 1;
                    fetched += end - start;
                }
            }
            last = Some(end);
        }
        let factor = 1u64 << reduce;
        let at = |edge: u32| u64::from(edge).div_ceil(factor);
        let share = bytes as f64 / file_size.max(1) as f64;
        let (width, height) = (at(image.0), at(image.1));
        Some(Overview { factor, width, height, bytes, requests, bytes_with_gaps: fetched, share })
    };
    (1..=levels).map(of).collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::jp2::{TilePartHead, made};
    use crate::source::memory::Memory;

    /// The anatomy of a file, without an index.
    pub(crate) fn anatomy(file: &made::File) -> Anatomy {
        let scanned = scan(&Memory::new("file:///x.jp2", file.bytes())).unwrap();
        Anatomy::new("x.jp2".to_owned(), &scanned, None, None, 0)
    }

    #[test]
    fn overviews_of_files_with_several_tile_parts_are_described() {
        for parts in [1, 3] {
            let made = made::File { plt: true, parts, progression: 1, components: vec![1, 1], ..made::File::default() };
            let anatomy = anatomy(&made);
            assert_eq!(anatomy.tile_parts.count, 6 * usize::from(parts));
            for (index, k) in [(0, 1), (1, 2)] {
                let bytes: usize = made.needed(k).iter().map(|(_, range)| range.len()).sum();
                assert_eq!(anatomy.overviews[index].bytes, bytes as u64, "1/{} of {parts} tile-parts", 1 << k);
            }
        }
        // Resolutions that are mixed have no prefix.
        let mixed = anatomy(&made::File { plt: true, layers: 2, ..made::File::default() });
        assert_eq!(mixed.overviews, []);
    }

    #[test]
    fn an_overview_is_the_first_packets_of_every_tile_part() {
        let part = |tile: u16| TilePart {
            tile,
            offset: 1000 + 100 * u64::from(tile),
            length: 100,
            head: Some(TilePartHead { kept: 12, packets: 20, droppable: true, resolution_ends: vec![30, 50, 100] }),
        };
        let parts = [part(0), part(1), part(2)];
        let facts: Vec<_> = overviews(&parts, 2, (101, 50), 300, 50)
            .iter()
            .map(|overview| (overview.factor, overview.bytes, overview.requests, overview.width))
            .collect();
        assert_eq!(facts, [(2, 90, 3, 51), (4, 30, 3, 26)]);
        let merged = overviews(&parts, 2, (101, 50), 300, 70);
        assert_eq!((merged[0].requests, merged[0].bytes_with_gaps), (1, 230));
        let mut unknown = parts.to_vec();
        unknown[1].head = None;
        assert!(overviews(&unknown, 2, (101, 50), 300, 70).is_empty());
    }
}
