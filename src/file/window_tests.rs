//! Windows: their bytes against the same window read from memory, and what they cost.

use std::sync::Arc;

use super::tests::{Case, case_with, materialise, read};
use super::view_tests::{case, reads, request};
use super::*;
use crate::error::Error;
use crate::index::{Record, scan};
use crate::jp2::made;
use crate::path::{View, Window};
use crate::source::memory::Memory;
use crate::source::{OpenBy, Source};

/// The packets of a window, which the VRT of the window names.
fn packets(case: &Case, factor: u32, window: Window) -> VirtualFile {
    case.file.view(&request(View::Packets(factor, window))).unwrap_or_else(|error| panic!("{}", error.chain()))
}

/// A file whose packets are lost in its tile-parts: 16 precincts in each of the finest resolution.
fn fine() -> made::File {
    made::File {
        plt: true,
        tile: 64,
        width: 160,
        height: 130,
        levels: 2,
        precincts: 4,
        packet: 3000,
        ..made::File::default()
    }
}

#[test]
fn every_window_is_the_oracles_and_fetches_what_it_needs_once() {
    let made = fine();
    let bytes = made.bytes();
    for (number, window) in [(0, 0, 1, 1), (60, 60, 8, 8), (0, 0, 160, 130), (70, 10, 20, 30)].into_iter().enumerate() {
        let (x, y, width, height) = window;
        for factor in [1, 2] {
            let window = Window {
                x: x / factor,
                y: y / factor,
                width: width / factor.min(width),
                height: height / factor.min(height),
            };
            let case = case(&format!("window-{number}-{factor}"), &made, &[]);
            let view = packets(&case, factor, window);
            let heads = reads(&case).len();
            let oracle = materialise(&view, &bytes);
            let (mut copy, mut ahead) = (Vec::new(), Ahead::default());
            while copy.len() < oracle.len() {
                copy.extend(read(&view, copy.len() as u64, 997, &mut ahead));
            }
            assert!(copy == oracle, "{window} at 1/{factor}");
            // Nothing between the units is fetched, whatever a gap is worth elsewhere.
            let asked: u64 = case.memory.reads.lock().unwrap().iter().skip(heads).map(|(_, length)| length).sum();
            assert_eq!(asked, view.layout.unit_bytes(), "{window} at 1/{factor}");
        }
    }
}

#[test]
fn windows_of_one_tile_read_its_header_once() {
    let case = case("window-heads", &fine(), &[]);
    for x in [0, 10, 20] {
        packets(&case, 1, Window { x, y: 0, width: 5, height: 5 });
    }
    assert_eq!(case.memory.reads.lock().unwrap().len(), 1);
    packets(&case, 1, Window { x: 0, y: 0, width: 160, height: 130 });
    assert_eq!(case.memory.reads.lock().unwrap().len(), 9, "those of the other eight tiles");
}

#[test]
fn a_window_knows_its_packets_when_it_is_opened() {
    let case = case("window-text", &fine(), &[]);
    let window = Window { x: 1, y: 2, width: 3, height: 4 };
    let text = case.file.view(&request(View::Window(1, window))).unwrap();
    assert!(read(&text, 0, 20, &mut Ahead::default()).starts_with(b"<VRTDataset"));
    assert_eq!(case.memory.rounds(), 1, "the header of its tile");
    let kept = text.packets.unwrap();
    assert_eq!(kept.layout, packets(&case, 1, window).layout);
    assert_eq!(case.memory.rounds(), 1);
}

#[test]
fn what_a_window_shows_is_opened_without_a_request_as_long_as_the_window_is_known() {
    let memory = Arc::new(Memory::new("mem://window-kept", fine().bytes()));
    let files = OpenBy(|_: &str| Ok(memory.clone() as Arc<dyn Source>));
    let caller = |options| super::tests::caller(options).with_files(Box::leak(Box::new(files)));
    let (one, other) = (caller(&[]), super::tests::caller(&[("VSITLM_CACHE_SIZE", "1MB")]));
    let window = Window { x: 1, y: 2, width: 3, height: 4 };
    let whole = crate::path::parse("/vsimem/kept.jp2").unwrap();
    drop(open(&whole.with(View::Window(1, window)), &one).unwrap());
    let rounds = memory.rounds();
    // Another thread's options, and no way to the file.
    let packets = open(&whole.with(View::Packets(1, window)), &other).unwrap();
    assert!(packets.size() > 0);
    assert_eq!(memory.rounds(), rounds);
}

#[test]
fn a_row_that_promises_lengths_that_the_headers_lack_leaves_a_part_of_the_whole() {
    let unknown = made::File { plt: false, ..fine() };
    let change = |record: &mut Record| {
        for part in &mut record.parts {
            let head = part.head.as_mut().unwrap();
            head.resolution_ends = vec![head.packets, head.packets, part.length];
        }
    };
    let case = case_with("window-promised", &unknown, &[], |_| Ok(()), change);
    let view = case.file.view(&request(View::Window(1, Window { x: 1, y: 2, width: 3, height: 4 }))).unwrap();
    assert!(view.packets.is_none());
    let text = String::from_utf8(read(&view, 0, 100_000, &mut Ahead::default())).unwrap();
    assert!(text.contains("/vsitlm/x.jp2&lt;/SourceFilename"), "{text}");
    assert_eq!(case.memory.rounds(), 0, "that there is no PLT is known");
}

#[test]
fn a_window_whose_header_does_not_tell_is_a_part_of_the_whole() {
    let case = case("window-untold", &made::File { plt: false, ..fine() }, &[]);
    let text = |view: View| {
        let file = case.file.view(&request(view)).unwrap();
        String::from_utf8(read(&file, 0, 100_000, &mut Ahead::default())).unwrap()
    };
    let window = Window { x: 1, y: 2, width: 3, height: 4 };
    assert!(text(View::Window(1, window)).contains("/vsitlm/x.jp2&lt;/SourceFilename"));
    // What the dataset would show cannot be opened, which GDAL hides.
    assert!(matches!(case.file.view(&request(View::Window(2, window))), Err(Error::NoOverview { .. })));
    assert!(matches!(case.file.view(&request(View::Packets(1, window))), Err(Error::NoOverview { .. })));
}

#[test]
fn a_row_that_is_not_the_files_is_found_by_a_windows_header() {
    let other = made::File { reversed: true, ..fine() };
    let case = case_with(
        "window-wrong",
        &fine(),
        &[],
        |_| Ok(()),
        |record| {
            let memory = Memory::new("mem://window-other", other.bytes());
            record.parts = scan(&memory).unwrap().parts;
        },
    );
    let error = case.file.view(&request(View::Packets(1, Window { x: 0, y: 0, width: 9, height: 9 }))).err().unwrap();
    assert!(matches!(error, Error::Row { .. }), "{error}");
}
