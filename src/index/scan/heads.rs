//! The headers of tile-parts, and where each resolution's packets lie by them.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::index::format::packets::MOST_PACKETS;
use crate::jp2::{
    MainHeader, PartLengths, PartPackets, Progress, Run, Sot, TilePackets, TilePart, TilePartHeader, by_tile, divide,
    packet_lengths, parse_tile_part_header, resolution_ends, trim_padding,
};
use crate::options::Options;
use crate::source::{Source, SourceOffset, SourceRange, fetch_units};

/// What is read first of each tile-part: a PLT of a hundred packets and more fits.
const FIRST: u64 = 512;
/// A longer header of a tile-part holds no PLT that is worth reading.
const LONGEST: u64 = 1 << 20;
/// All headers together: those of 1,849 tile-parts have 0.2 MB.
const MOST: u64 = 64 << 20;

/// The runs of all tile-parts by their headers. `parts` get the heads that the headers make, whatever comes of it; where the
/// lengths of packets are wrong or unknown, no resolution's end is known. `headers` lose the padding of their PLT.
///
/// # Errors
/// As [`divide`].
pub(super) fn set_heads(
    main: &MainHeader,
    parts: &mut [TilePart],
    headers: &mut [TilePartHeader<'_>],
) -> Result<Vec<Vec<Run>>> {
    trim_padding(main, parts, headers);
    let divided = divide(main, parts, headers);
    let ends = divided.as_ref().ok().and_then(|runs| resolution_ends(main, parts, headers, runs));
    let mut ends = ends.unwrap_or_default().into_iter();
    for (part, header) in parts.iter_mut().zip(headers.iter()) {
        part.head = Some(header.head(ends.next().unwrap_or_default()));
    }
    divided
}

/// Whether headers that cannot be divided record lengths of packets that are wrong: there are some (PLT), and no marker makes
/// them worthless.
pub(super) fn are_wrong(main: &MainHeader, headers: &[TilePartHeader<'_>]) -> bool {
    let none = main.hindrance().is_none() && headers.iter().all(|header| header.hindrance().is_none());
    none && headers.iter().any(TilePartHeader::has_plt)
}

/// The packets of every tile-part by its header, which is read from the file, all side by side: requests for a file whose
/// tile-parts are known and their headers not. `parts` get their heads.
///
/// # Errors
/// [`Error::NoOverview`] where the headers do not record the packets; [`Error::Row`] where a tile-part is not where it
/// should be.
pub(crate) fn read_heads(
    source: &Arc<dyn Source>,
    main: &MainHeader,
    parts: &mut [TilePart],
    options: &Options,
) -> Result<Vec<PartPackets>> {
    let (bytes, mut headers) = read_headers(source, main, parts, options)?;
    let runs = set_heads(main, parts, &mut headers)?;
    let packets = headers.iter().zip(&bytes).zip(runs).map(|((header, bytes), runs)| PartPackets {
        segments: segments(bytes, header),
        packets: header.packets,
        runs,
    });
    Ok(packets.collect())
}

/// The lengths in bytes of all packets of every tile-part, read in the same way. `parts` get their heads.
///
/// # Errors
/// As [`read_heads`].
pub(crate) fn read_lengths(
    source: &Arc<dyn Source>,
    main: &MainHeader,
    parts: &mut [TilePart],
    options: &Options,
) -> Result<Vec<Vec<u32>>> {
    let (_, mut headers) = read_headers(source, main, parts, options)?;
    set_heads(main, parts, &mut headers)?;
    Ok(headers.into_iter().map(|header| header.lengths).collect())
}

/// The packets of `tiles` one by one, read in the same way from the headers of their tile-parts alone.
///
/// # Errors
/// As [`read_heads`]; that the lengths fit is for [`TilePackets::checked`] to find out.
pub(crate) fn read_tiles(
    source: &Arc<dyn Source>,
    main: &MainHeader,
    parts: &[TilePart],
    tiles: &[u16],
    options: &Options,
) -> Result<Vec<(u16, TilePackets)>> {
    let of_tiles = parts.iter().enumerate().filter(|(_, part)| tiles.contains(&part.tile));
    let (numbers, wanted): (Vec<usize>, Vec<TilePart>) = of_tiles.map(|(number, part)| (number, part.clone())).unzip();
    let (bytes, headers) = read_headers(source, main, &wanted, options)?;
    let mut found: Vec<(u16, TilePackets)> = Vec::new();
    for (((bytes, header), part), number) in bytes.iter().zip(headers).zip(&wanted).zip(numbers) {
        header.check_hindrance(part.tile)?;
        let (segments, packets) = (segments(bytes, &header), header.packets);
        let lengths = PartLengths { number, segments, packets, lengths: header.lengths };
        match found.iter_mut().find(|(tile, _)| *tile == part.tile) {
            Some((_, tile)) => tile.parts.push(lengths),
            None => found.push((part.tile, TilePackets { coding: header.coding?.into_owned(), parts: vec![lengths] })),
        }
    }
    Ok(found)
}

/// What stands behind the SOT marker segment and before SOD.
fn segments(bytes: &[u8], header: &TilePartHeader<'_>) -> Bytes {
    Bytes::copy_from_slice(bytes.get(12..header.packets.saturating_sub(2) as usize).unwrap_or_default())
}

/// The headers of all tile-parts: their bytes, perhaps with some that follow, and what they say.
fn read_headers<'m>(
    source: &Arc<dyn Source>,
    main: &'m MainHeader,
    parts: &[TilePart],
    options: &Options,
) -> Result<(Vec<Bytes>, Vec<TilePartHeader<'m>>)> {
    let bytes = fetch_headers(source, main, parts, options)?;
    let mut headers = Vec::with_capacity(parts.len());
    let mut lengths = 0;
    for (bytes, part) in bytes.iter().zip(parts.iter()) {
        let header = parse(bytes, main, part)?
            .map_err(|_| Error::NoOverview { what: format!("a tile-part header of more than {LONGEST} bytes") })?;
        lengths += header.lengths.len();
        if lengths > MOST_PACKETS {
            return Err(Error::NoOverview { what: format!("it has more than {MOST_PACKETS} packets") });
        }
        headers.push(header);
    }
    Ok((bytes, headers))
}

/// The lengths in bytes of all packets of every tile-part, found by reading the packets, where there is no PLT: a
/// packet's length stands nowhere but in its own header, in front of the next one's. `parts` get their heads.
///
/// # Errors
/// [`Error::NoOverview`] and [`Error::Malformed`] where the packets cannot be understood; whatever reading fails with.
pub(crate) fn parse_packets(source: &dyn Source, main: &MainHeader, parts: &mut [TilePart]) -> Result<Vec<Vec<u32>>> {
    main.check_hindrance()?;
    let mut headers: Vec<Option<TilePartHeader<'_>>> = vec![None; parts.len()];
    for (tile, numbers) in by_tile(parts) {
        let of_tile: Vec<&TilePart> = numbers.iter().filter_map(|number| parts.get(*number)).collect();
        let ranges: Vec<_> = of_tile.iter().map(|part| SourceOffset(part.offset)..SourceOffset(part.end())).collect();
        let bytes = source.read_ranges(&ranges)?;
        let mut found = Vec::with_capacity(numbers.len());
        for (bytes, part) in bytes.iter().zip(&of_tile) {
            let cut = || Error::NoOverview { what: format!("a header of tile {tile} that is cut") };
            found.push(parse(bytes, main, part)?.map_err(|_| cut())?);
        }
        let Some(coding) = found.first().map(|header| header.coding.clone()) else { continue };
        found.iter().try_for_each(|header| header.check_hindrance(tile))?;
        let packets: Vec<_> = found
            .iter()
            .zip(&bytes)
            .zip(&of_tile)
            .map(|((header, bytes), part)| {
                let body = bytes.get(header.packets as usize..).unwrap_or_default();
                (part.offset + u64::from(header.packets), body)
            })
            .collect();
        let lengths = packet_lengths(&main.siz, &*coding?, tile.into(), &packets)?;
        for ((number, header), lengths) in numbers.into_iter().zip(found).zip(lengths) {
            if let Some(place) = headers.get_mut(number) {
                *place = Some(TilePartHeader { lengths, ..header });
            }
        }
    }
    let mut headers: Vec<_> = headers.into_iter().flatten().collect();
    set_heads(main, parts, &mut headers)?;
    Ok(headers.into_iter().map(|header| header.lengths).collect())
}

/// A tile-part's header, or how many bytes of the tile-part are needed for it.
fn parse<'m>(bytes: &[u8], main: &'m MainHeader, part: &TilePart) -> Result<Result<TilePartHeader<'m>, u64>> {
    let sot = Sot::parse(bytes, part.offset).map_err(|error| Error::Row { what: error.to_string() })?;
    if !sot.is_of(part.tile, part.length) {
        let promised = Sot { tile: part.tile, length: part.length, part: sot.part, parts: sot.parts };
        return Err(Error::Row { what: format!("it promises {promised} at byte {}, the file has {sot}", part.offset) });
    }
    Ok(match parse_tile_part_header(bytes, part.offset, part.length, main)? {
        Progress::Done(header) => Ok(header),
        Progress::Need(end) => Err((end - part.offset).max(2 * bytes.len() as u64).min(part.length.into())),
    })
}

/// What is read first of a tile-part's header: as much as the row says that it has.
fn first_length(part: &TilePart) -> u64 {
    let known = part.head.as_ref().map_or(FIRST, |head| u64::from(head.packets).clamp(FIRST, LONGEST));
    known.min(part.length.into())
}

/// Where that lies in the file.
pub(crate) fn header_range(part: &TilePart) -> SourceRange {
    SourceOffset(part.offset)..SourceOffset(part.offset + first_length(part))
}

/// Every tile-part from its first byte to its SOD marker, and perhaps further.
fn fetch_headers(
    source: &Arc<dyn Source>,
    main: &MainHeader,
    parts: &[TilePart],
    options: &Options,
) -> Result<Vec<Bytes>> {
    let mut wanted: Vec<u64> = parts.iter().map(first_length).collect();
    let mut found = vec![Bytes::new(); parts.len()];
    loop {
        let missing: Vec<usize> = (0..parts.len()).filter(|n| found[*n].len() as u64 != wanted[*n]).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        if wanted.iter().sum::<u64>() > MOST {
            return Err(Error::NoOverview { what: format!("its tile-part headers have more than {MOST} bytes") });
        }
        let range = |number: &usize| -> SourceRange {
            let start = parts[*number].offset;
            SourceOffset(start)..SourceOffset(start + wanted[*number])
        };
        let ranges: Vec<SourceRange> = missing.iter().map(range).collect();
        for (number, bytes) in missing.into_iter().zip(fetch_units(source, &ranges, options)?) {
            if let Err(need) = parse(&bytes, main, &parts[number])? {
                wanted[number] = need.min(LONGEST);
            }
            found[number] = bytes;
        }
    }
}

#[cfg(test)]
#[path = "heads_tests.rs"]
mod tests;
