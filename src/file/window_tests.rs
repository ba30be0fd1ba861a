//! Windows: their bytes against the same window read from memory, and what they cost.

use super::tests::{Case, case_with, materialise, read};
use super::view_tests::{case, reads};
use super::*;
use crate::error::Error;
use crate::index::{Record, scan};
use crate::jp2::made;
use crate::path::Window;
use crate::source::memory::Memory;

/// The packets of a window.
fn packets(case: &Case, factor: u32, window: Window) -> VirtualFile {
    let packets = case.file.packets_of(factor, &[window]).unwrap_or_else(|error| panic!("{}", error.chain()));
    packets.expect("it is known which these are")
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
fn a_row_that_promises_lengths_that_the_headers_lack_leaves_whole_tile_parts() {
    let unknown = made::File { plt: false, ..fine() };
    let change = |record: &mut Record| {
        for part in &mut record.parts {
            let head = part.head.as_mut().unwrap();
            head.resolution_ends = vec![head.packets, head.packets, part.length];
        }
    };
    let case = case_with("window-promised", &unknown, &[], |_| Ok(()), change);
    assert!(case.file.packets_of(1, &[Window { x: 1, y: 2, width: 3, height: 4 }]).unwrap().is_none());
    assert_eq!(case.memory.rounds(), 0, "that there is no PLT is known");
}

#[test]
fn packets_whose_lengths_no_header_has_are_not_known() {
    let case = case("window-untold", &made::File { plt: false, ..fine() }, &[]);
    for factor in [1, 2] {
        assert!(case.file.packets_of(factor, &[Window { x: 1, y: 2, width: 3, height: 4 }]).unwrap().is_none());
    }
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
    let error = case.file.packets_of(1, &[Window { x: 0, y: 0, width: 9, height: 9 }]).err().unwrap();
    assert!(matches!(error.root(), Error::Row { .. }), "{error}");
}
