//! What the fuzz targets (`fuzz/`) drive: each takes bytes as they may come from anywhere, and asserts what must hold of
//! what they give. Compiled for fuzzing alone.
//!
//! What every target finds by itself: panics, arithmetic that overflows, endless loops, and memory that the input claims
//! instead of filling it.

mod checks;
mod drive;
mod index;
mod memory;
mod seeds;

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

pub use index::{index, row};
pub use seeds::seeds;

use crate::decode::{Codestream, Target};
use crate::jp2::{
    Progress, SOT_LENGTH, Sot, TilePart, TilePartHeader, build_reduced_header, build_tlm, divide, packet_lengths,
    parse_main_header, parse_tile_part_header, parse_tlm_segments, reduce_tile_segments, resolution_ends,
};
use crate::options::Options;
use crate::path::{self, View};
use crate::tiff::{self, Parsed, Pieces, StoredImage};
use drive::{drive, split, unique};
use memory::Host;

/// A file's boxes and main header, and those of its reduced views.
pub fn main_header(data: &[u8]) {
    let size = data.len() as u64;
    let parsed = parse_main_header(data, size);
    // A file that is known in part is asked for more, and what more tells is the same.
    for cut in [data.len() / 2, data.len().saturating_sub(1)] {
        match (parse_main_header(&data[..cut], size), &parsed) {
            (Ok(Progress::Need(need)), _) => assert!(need > cut as u64 && need <= size, "{need} of {size} at {cut}"),
            (Ok(Progress::Done(early)), Ok(Progress::Done(main))) => assert_eq!(&early, main),
            (Err(early), Err(error)) => assert_eq!(early.to_string(), error.to_string()),
            (early, _) => panic!("the first {cut} bytes give {early:?}, all of them {parsed:?}"),
        }
    }
    let main = match parsed {
        Ok(Progress::Done(main)) => main,
        Ok(Progress::Need(need)) => panic!("byte {need} of a file of {size}"),
        Err(_) => return,
    };
    assert!(main.end <= size);
    for tile in [0, main.siz.tiles() / 2, main.siz.tiles() - 1] {
        let (columns, rows) = main.siz.tile_extent(tile);
        assert!(!columns.is_empty() && !rows.is_empty(), "tile {tile}");
    }
    if main.has_tlm() {
        let _ = parse_tlm_segments(&main.tlm(data).concat());
    }
    for k in 1..=main.coding.default.levels {
        let Some(grid) = main.siz.reduce(k) else { continue };
        let Ok(header) = build_reduced_header(data, &main, &grid, k) else { continue };
        // Its marker segments are parsed as those of any file: they end where a tile-part begins.
        let probe = [&header[..], &[0xFF, 0x90]].concat();
        match parse_main_header(&probe, probe.len() as u64) {
            Ok(Progress::Done(view)) => assert_eq!(view.siz, grid.siz, "1/2^{k}"),
            other => panic!("1/2^{k}: {other:?}"),
        }
    }
}

/// The samples of a file: a window of a hundred or so, whole and in pieces, and now and then by two threads. The first byte
/// says how often the image is halved, the next two where the window is.
pub fn decode(data: &[u8]) {
    const SIDE: u32 = 12;
    let Some(([k, column, row], data)) = data.split_first_chunk() else { return };
    let Ok(codestream) = Codestream::new(data) else { return };
    // Starting threads takes longer than decoding.
    let (k, threads) = (k % 34, 1 + usize::from(*k >= 224));
    let Some((x, y)) = codestream.area(0, k) else { return };
    let span = |range: &Range<u32>, part: u8| {
        let start = range.start + (u64::from(range.end - range.start) * u64::from(part) / 256) as u32;
        start..range.end.min(start.saturating_add(SIDE))
    };
    let window = (span(&x, *column), span(&y, *row));
    let components: Vec<u16> = (0..codestream.main().siz.components.len().min(3) as u16).collect();
    let decode = |window: &(Range<u32>, Range<u32>), threads: usize| {
        let (width, height) = (window.0.len(), window.1.len());
        let mut samples = vec![i32::MIN; width * height * components.len()];
        let target = Target { samples: &mut samples, row: width, component: width * height };
        codestream.decode(window, k, &components, threads, None, target).map(|()| samples)
    };
    let Ok(whole) = decode(&window, 1) else { return };
    assert!(!whole.contains(&i32::MIN), "samples that nobody wrote");
    if threads > 1 {
        assert_eq!(decode(&window, threads).expect("as before"), whole);
    }
    // What a part needs, the whole needed.
    let part = (window.0.start..window.0.end - window.0.len() as u32 / 2, window.1.end - 1..window.1.end);
    let of_part = decode(&part, 1).expect("a part of what was decoded");
    let (width, height) = (window.0.len(), window.1.len());
    for (plane, row) in whole.chunks(width * height).zip(of_part.chunks(part.0.len())) {
        assert_eq!(plane[width * (height - 1)..][..row.len()], *row);
    }
}

/// A window of a component at 1/2^k.
pub struct Samples {
    /// The columns of the component there.
    pub width: usize,
    /// Its rows.
    pub height: usize,
    /// The window's columns, counted from the component's first.
    pub columns: Range<usize>,
    /// Its rows, likewise.
    pub rows: Range<usize>,
    /// Its samples, row by row.
    pub samples: Vec<i32>,
}

/// A window of a component of a codestream at 1/2^k: `part` says where it begins and ends, in 1/256 of the component.
///
/// # Errors
/// What the decoder says.
pub fn samples(data: &[u8], k: u8, component: u16, part: [u8; 4]) -> Result<Samples, String> {
    let error = |error: crate::Error| error.chain();
    let codestream = Codestream::new(data).map_err(error)?;
    let (x, y) = codestream.area(component, k).ok_or("no such component")?;
    let span = |range: &Range<u32>, from: u8, to: u8| {
        let place = |part: u8| (range.len() * usize::from(part)).div_euclid(256);
        place(from.min(to))..(place(from.max(to)) + 1).min(range.len())
    };
    let [left, top, right, bottom] = part;
    let (columns, rows) = (span(&x, left, right), span(&y, top, bottom));
    let of = |all: &Range<u32>, part: &Range<usize>| all.start + part.start as u32..all.start + part.end as u32;
    let mut samples = vec![i32::MIN; columns.len() * rows.len()];
    if !samples.is_empty() {
        let target = Target { samples: &mut samples, row: columns.len(), component: 0 };
        codestream.decode(&(of(&x, &columns), of(&y, &rows)), k, &[component], 1, None, target).map_err(error)?;
    }
    Ok(Samples { width: x.len(), height: y.len(), columns, rows, samples })
}

/// A TIFF: its header, whole and in pieces, where its tiles lie, and windows of its images.
pub fn tiff(data: &[u8]) {
    const SIDE: u32 = 12;
    let size = data.len() as u64;
    let mut pieces = Pieces::new(size);
    pieces.add(0, Bytes::copy_from_slice(data));
    let head = match tiff::parse(&pieces) {
        Ok(Parsed::Done(head)) => head,
        Ok(Parsed::Needs(range)) => panic!("{range:?} of a file of {size}"),
        Err(_) => return,
    };
    // A file that is known in part is asked for more, and what more tells is the same.
    let mut pieces = Pieces::new(size);
    pieces.add(0, Bytes::copy_from_slice(&data[..data.len() / 3]));
    for _ in 0..4096 {
        match tiff::parse(&pieces).expect("as all of it") {
            Parsed::Done(again) => {
                // As text: some of its numbers may be none (NaN), which equal nothing.
                assert_eq!(format!("{again:?}"), format!("{head:?}"));
                break;
            }
            Parsed::Needs(range) => {
                assert!(range.start < range.end && range.end <= size && pieces.get(&range).is_none());
                pieces.add(range.start, Bytes::copy_from_slice(&data[range.start as usize..range.end as usize]));
            }
        }
    }
    let is_apart = |ranges: &[Range<u64>]| {
        ranges.iter().all(|range| range.start < range.end && range.end <= size)
            && ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
    };
    assert!(is_apart(&head.ranges) && is_apart(&head.tiles(size)));
    let _ = (head.pages(), head.against_cog(), head.georeference(), head.shape());
    if head.check(size).is_err() {
        return;
    }
    let Ok(image) = StoredImage::of(&head, size) else { return };
    for level in &image.levels {
        let (width, height) = level.size;
        let window = (width - width.min(SIDE)..width, height / 2..height.min(height / 2 + SIDE));
        let bands = [1];
        let bands = if level.bands > 4 { Some(&bands[..]) } else { None };
        let Ok(plan) = level.plan(&window, bands) else { continue };
        let bytes = |range: &Range<u64>| Bytes::copy_from_slice(&data[range.start as usize..range.end as usize]);
        let fetched: Vec<Bytes> = plan.iter().map(bytes).collect();
        if let Ok(pixels) = level.decode(&window, bands, &fetched, 1) {
            assert_eq!(pixels.shape[1..], [window.1.len(), window.0.len()]);
        }
    }
}

/// TLM marker segments.
pub fn tlm(data: &[u8]) {
    let Ok(entries) = parse_tlm_segments(data) else { return };
    assert!(entries.len() <= data.len() / 2);
    if entries.iter().all(|(_, length)| *length > 0) && !entries.is_empty() {
        assert_eq!(parse_tlm_segments(&build_tlm(&entries)).expect("as it was built"), entries);
    }
}

/// The headers of tile-parts, PLT and all, and the packets that they tell of: a whole main header, a length of two bytes
/// for each tile-part, and the tile-parts themselves.
pub fn tile_parts(data: &[u8]) {
    let Ok(Progress::Done(main)) = parse_main_header(data, data.len() as u64) else { return };
    let tail = &data[main.end as usize..];
    let (mut parts, mut headers) = (Vec::new(), Vec::<TilePartHeader<'_>>::new());
    let mut at = 0;
    while parts.len() < 64
        && let Ok(sot) = Sot::parse(&tail[at..], main.end + at as u64)
    {
        assert_eq!(Sot::parse(&sot.build(), 0).expect("as it was built"), sot);
        let length = if sot.length == 0 { (tail.len() - at) as u32 } else { sot.length };
        if length as u64 <= SOT_LENGTH || length as usize > tail.len() - at {
            break;
        }
        let offset = main.end + at as u64;
        let Ok(Progress::Done(header)) = parse_tile_part_header(&tail[at..at + length as usize], offset, length, &main)
        else {
            break;
        };
        assert!(u64::from(header.kept) >= SOT_LENGTH && header.kept < header.packets && header.packets <= length);
        if let Some(grid) = main.siz.reduce(1) {
            let segments = &tail[at + SOT_LENGTH as usize..at + header.packets as usize - 2];
            let _ = reduce_tile_segments(segments, offset + SOT_LENGTH, &main, &grid, (sot.tile, 1));
        }
        if u32::from(sot.tile) < main.siz.tiles() {
            headers.push(header);
            parts.push(TilePart { tile: sot.tile, offset, length, head: None });
        }
        at += length as usize;
    }
    if let Ok(runs) = divide(&main, &parts, &headers) {
        let ends = resolution_ends(&main, &parts, &headers, &runs);
        for ((part, header), runs) in parts.iter().zip(&headers).zip(&runs) {
            let told: u64 = runs.iter().map(|run| u64::from(run.length)).sum();
            assert_eq!(told + u64::from(header.packets), u64::from(part.length), "every byte is a packet's");
        }
        for (part, ends) in parts.iter().zip(ends.unwrap_or_default()) {
            assert!(ends.is_sorted() && ends.last().is_none_or(|end| *end == part.length));
        }
    }
}

/// The headers of packets: a bare codestream, of which all that follows its main header is the packets of tile 0, in two
/// tile-parts.
pub fn packets(data: &[u8]) {
    let Ok(Progress::Done(main)) = parse_main_header(data, data.len() as u64) else { return };
    let packets = &data[main.end as usize..];
    let (one, other) = packets.split_at(packets.len() / 2);
    for parts in [&[(main.end, packets)][..], &[(main.end, one), (main.end + one.len() as u64, other)]] {
        let Ok(lengths) = packet_lengths(&main.siz, &main.coding, 0, parts) else { continue };
        for (lengths, (_, bytes)) in lengths.iter().zip(parts) {
            assert_eq!(lengths.iter().map(|length| *length as usize).sum::<usize>(), bytes.len());
        }
    }
}

/// Paths after `/vsitlm/`.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let request = match path::parse(text) {
        Ok(request) => request,
        Err(error) => return drop(error.chain()),
    };
    let again = match request.view {
        View::Overviews => path::parse(&request.name()),
        // A file may be called as the list of another's overviews is.
        _ => path::parse_file(&request.name()),
    };
    assert_eq!(again.expect("a name is a path"), request);
    let location = &request.location;
    let back = ["/vsitlm/", "/vsitlm?"].iter().any(|prefix| location.gdal_path().starts_with(prefix));
    assert!(!back, "it leads back here");
    let shown = location.display();
    if let path::Location::Http { .. } = location {
        assert!(!shown.contains(['?', '#']), "{shown}");
        let host = shown.split('/').nth(2).unwrap_or_default();
        assert!(!host.contains('@'), "{shown}");
    }
    let _ = (location.archive_path(), location.is_jp2(), path::key_of(location));
}

/// The values of options: lines of `NAME=value`.
pub fn options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let set: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |name: &str| set.get(name).map(|value| (*value).to_owned());
    match Options::resolve(&get) {
        Ok(options) => {
            assert!(options.limits.connections.is_none_or(|connections| (1..=1024).contains(&connections)));
            let shown = format!("{options:?}");
            for name in ["GDAL_HTTP_USERPWD", "GDAL_HTTP_BEARER", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
                // As a value of another option it is none.
                let is_secret = |value: &str| value.starts_with("secret-") && text.matches(value).count() == 1;
                let is_shown = |value: &str| is_secret(value) && shown.contains(value);
                assert!(!get(name).is_some_and(|secret| is_shown(&secret)), "{name} in {shown}");
            }
        }
        Err(error) => drop(error.chain()),
    }
}

/// A whole virtual file: its bytes after one that tells how it is read. It is walked, composed, opened and read, and so
/// are its reduced views and their list.
pub fn file(data: &[u8]) {
    let Some(([how], bytes)) = split(data, 1).and_then(|(how, bytes)| Some((<&[u8; 1]>::try_from(how).ok()?, bytes)))
    else {
        return;
    };
    let host = Host { jp2: Bytes::copy_from_slice(bytes), index: None, is_cheap: how & 1 != 0 };
    let large = how & 2 != 0;
    let get = |name: &str| match name {
        "VSITLM_CACHE_DIR" => Some("NO".to_owned()),
        "VSITLM_OVERVIEW_PREFETCH" if large => Some("0".to_owned()),
        "VSITLM_MERGE_GAP" => Some("64".to_owned()),
        "VSITLM_CACHE_SIZE" => Some("1MB".to_owned()),
        _ => None,
    };
    let request = path::parse(&format!("/vsimem/{}/x.jp2", unique())).expect("a path");
    drive(&request, &get, &host);
}
