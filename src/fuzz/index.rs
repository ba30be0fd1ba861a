//! Index files and their rows.

use std::panic;
use std::sync::{Once, OnceLock};

use bytes::Bytes;

use super::drive::{drive, split, unique};
use super::memory::Host;
use crate::index::{PacketLengths, StoredRow};
use crate::jp2::{PartPackets, made};
use crate::layout;
use crate::path;

/// The product that the made index has.
const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";

/// The path of a file of that product, in a folder of its own.
pub(super) fn path_in(folder: &str) -> String {
    format!("/vsimem/{folder}/{PRODUCT}.SAFE/GRANULE/x/IMG_DATA/R10m/T31UDQ_20241016T105031_B03_10m.jp2")
}

/// The file that the made index has.
pub(super) fn made_file() -> &'static Bytes {
    static FILE: OnceLock<Bytes> = OnceLock::new();
    FILE.get_or_init(|| made::File { plt: true, ..made::File::default() }.bytes().into())
}

/// An index file. Where it has a row of the made file, the file is opened by it, and read.
pub fn index(data: &[u8]) {
    static EXPECTED: Once = Once::new();
    EXPECTED.call_once(expect_panics_of_parquet);
    let host = Host { jp2: made_file().clone(), index: Some(Bytes::copy_from_slice(data)), is_cheap: false };
    let folder = unique();
    let get = |name: &str| match name {
        "VSITLM_CACHE_DIR" => Some("NO".to_owned()),
        "VSITLM_INDEX" => Some(format!("/vsimem/{folder}.parquet")),
        "VSITLM_ON_MISS" => Some("fail".to_owned()),
        "VSITLM_CACHE_SIZE" => Some("1MB".to_owned()),
        _ => None,
    };
    drive(&path::parse(&path_in(&folder.to_string())).expect("a path"), &get, &host);
}

/// The fuzzer ends at every panic, also at one that is caught. Those of the parquet crate are, and become errors.
fn expect_panics_of_parquet() {
    let fatal = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("/parquet-")) {
            fatal(panic);
        }
    }));
}

/// A row of an index: the lengths of three columns in two bytes each, 8 bytes for the file's size, and the columns
/// `header`, `index` and `resolution_ends`; then, where more follows, 4 bytes for `packet_count` and the column `packets`.
pub fn row(data: &[u8]) {
    let Some((fixed, rest)) = split(data, 14) else { return };
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let size = number(&fixed[6..]);
    let mut columns = [None; 3];
    let mut at = rest;
    for (column, length) in columns.iter_mut().zip(fixed[..6].chunks(2)) {
        // A length of 65,535 is a column that is not there.
        let length = number(length) as usize;
        if length != 0xFFFF {
            let (value, after) = at.split_at(length.min(at.len()));
            (*column, at) = (Some(value), after);
        }
    }
    let [header, blob, ends] = columns;
    let packets =
        split(at, 4).map(|(count, value)| PacketLengths::of_bytes(number(count) as u32, Bytes::copy_from_slice(value)));
    let row = StoredRow {
        file_size: (size != u64::MAX).then_some(size),
        header: header.map(Bytes::copy_from_slice),
        index: blob.map(Bytes::copy_from_slice).unwrap_or_default(),
        resolution_ends: ends.map(Bytes::copy_from_slice),
        packets,
        ..StoredRow::default()
    };
    let Ok(record) = row.record() else { return };
    for (lengths, part) in
        record.packets.iter().flat_map(|packets| packets.lengths(&record.parts)).flatten().zip(&record.parts)
    {
        assert!(lengths.iter().map(|length| u64::from(*length)).sum::<u64>() <= u64::from(part.length));
    }
    let header = record.header.clone().unwrap_or_default();
    let Ok(structure) = record.structure(&header, size) else { return };
    if let Ok(layout) = layout::compose(&structure) {
        check(&layout, structure.file_size);
    }
    let main = structure.main();
    let levels = main.coding.default.levels;
    let told = |part: &crate::jp2::TilePart| PartPackets::by_resolution(part.head.as_ref()?, levels);
    let Some(parts) = structure.tile_parts.parts().iter().map(told).collect::<Option<Vec<_>>>() else { return };
    for level in layout::levels(&structure) {
        for peek in [false, true] {
            if let Ok(layout) = layout::reduce(&structure, &parts, level.k, peek, &[]) {
                check(&layout, structure.file_size);
            }
        }
    }
}

/// The segments follow each other, and what they take of the file lies in it.
fn check(layout: &layout::Layout, file_size: u64) {
    let mut at = 0;
    for (start, content) in layout.segments_from(layout::VirtualOffset(0)) {
        assert_eq!(start.0, at);
        at += match content {
            layout::Content::Inline(bytes) => bytes.len() as u64,
            layout::Content::Source(range) => {
                assert!(range.end.0 <= file_size, "{range:?} of {file_size} bytes");
                range.end.0 - range.start.0
            }
        };
    }
    assert_eq!(at, layout.size());
    let mut end = 0;
    for unit in layout.units() {
        assert!(end <= unit.range.start.0 && unit.range.start < unit.range.end, "{:?} after {end}", unit.range);
        end = unit.range.end.0;
    }
    assert!(end <= file_size, "units up to {end} of {file_size} bytes");
}
