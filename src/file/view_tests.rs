//! Reduced views: their bytes against the same view read from memory, and what they cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::tests::{Case, access, caller, case_with, materialise, read};
use super::*;
use crate::error::{Error, Result};
use crate::index::{EmbeddedOverviews, Record, RecordKey, build_overviews, learned_put, scan};
use crate::jp2::made;
use crate::layout::{Content, VirtualOffset};
use crate::path::{Request, View};
use crate::source::memory::Memory;
use crate::source::{OpenBy, Source, SourceOffset};

/// Large views, of which tiles are fetched one by one.
const LARGE: [(&str, &str); 1] = [("VSITLM_OVERVIEW_PREFETCH", "0")];

pub(super) fn request(view: View) -> Request {
    crate::path::parse("x.jp2").unwrap().with(view)
}

pub(super) fn case(name: &str, made: &made::File, options: &[(&str, &str)]) -> Case {
    case_with(name, made, options, |_| Ok(()), |_| ())
}

fn view(case: &Case, factor: u32) -> VirtualFile {
    case.file.view(&request(View::Reduced(factor))).unwrap_or_else(|error| panic!("{}", error.chain()))
}

/// Where the packets of each tile of a view lie: offset and length in the view.
fn bodies(view: &VirtualFile) -> Vec<(u64, usize)> {
    let segments = view.layout.segments_from(VirtualOffset(0));
    let source = |(start, content): (VirtualOffset, &Content)| match content {
        Content::Source(range) => Some((start.0, (range.end.0 - range.start.0) as usize)),
        Content::Inline(_) => None,
    };
    segments.filter_map(source).collect()
}

/// What has been asked of the file, sorted.
pub(super) fn reads(case: &Case) -> Vec<(u64, u64)> {
    let mut reads = case.memory.reads.lock().unwrap().clone();
    reads.sort_unstable();
    reads
}

fn units(view: &VirtualFile) -> Vec<(u64, u64)> {
    view.layout.units().iter().map(|unit| (unit.range.start.0, unit.range.end.0 - unit.range.start.0)).collect()
}

#[test]
fn every_view_of_every_file_is_the_oracles() {
    for (number, made) in made::File::many().iter().enumerate() {
        for (large, options) in [&[][..], &LARGE].into_iter().enumerate() {
            let case = case(&format!("views-{number}-{large}"), made, options);
            let file = made.bytes();
            for k in (1..=made.levels).filter(|k| made.coc.iter().all(|(_, levels)| k <= levels)) {
                let view = view(&case, 1 << k);
                let oracle = materialise(&view, &file);
                let (mut copy, mut ahead) = (Vec::new(), Ahead::default());
                while copy.len() < oracle.len() {
                    copy.extend(read(&view, copy.len() as u64, 997, &mut ahead));
                }
                assert!(copy == oracle, "1/2^{k} of {made:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_reads_are_the_oracles(
        seed: u32,
        large: bool,
        (progression, layers, parts, packet) in (0u8..5, 1u16..3, 1u8..3, 1u32..2000),
        k in 1u8..3,
        reads in prop::collection::vec((0usize..30_000, 0usize..5_000, any::<bool>(), 0usize..2), 1..60),
    ) {
        let components = vec![1; 1 + usize::from(parts)];
        let made = made::File { plt: true, progression, layers, parts, packet, components, ..made::File::default() };
        let options: &[(&str, &str)] = if large { &LARGE } else { &[] };
        let case = case(&format!("random-view-{seed}-{k}-{made:?}"), &made, options);
        let view = view(&case, 1 << k);
        let oracle = materialise(&view, &made.bytes());
        let mut handles = [(Ahead::default(), 0usize), (Ahead::default(), 0usize)];
        for (offset, length, on, handle) in reads {
            let (ahead, position) = &mut handles[handle];
            let offset = if on { *position } else { offset };
            let bytes = read(&view, offset as u64, length, ahead);
            let end = (offset + length).min(oracle.len());
            prop_assert_eq!(&bytes[..], oracle.get(offset..end).unwrap_or_default());
            *position = offset + bytes.len();
        }
    }
}

#[test]
fn a_small_view_is_fetched_whole_in_one_round() {
    for (name, parts) in [("small-view", 1), ("small-view-parts", 2)] {
        let made = made::File { packet: 3000, plt: true, parts, ..made::File::default() };
        let case = case(name, &made, &[]);
        let view = view(&case, 2);
        assert_eq!(case.memory.rounds(), 0, "opening it needs the row alone");
        let first = bodies(&view)[0].0;
        assert_eq!(view.probe(0, 1024), None, "the header is longer than what a decoder looks at");
        read(&view, 0, first as usize, &mut Ahead::default());
        assert_eq!(case.memory.rounds(), 0, "the header is inline");
        for (start, length) in bodies(&view).into_iter().rev() {
            read(&view, start, length, &mut Ahead::default());
        }
        assert_eq!(case.memory.rounds(), 1);
        let bytes = units(&view).iter().map(|(_, length)| length).sum();
        assert_eq!(case.memory.cost(), (6, bytes), "each byte once, neighbours together");
    }
}

#[test]
fn a_tile_of_a_large_view_is_one_request() {
    let made = made::File { packet: 3000, plt: true, ..made::File::default() };
    let case = case("large-view", &made, &LARGE);
    let view = view(&case, 2);
    let (start, length) = bodies(&view)[4];
    read(&view, start, 100, &mut Ahead::default());
    read(&view, start + 100, length - 100, &mut Ahead::default());
    assert_eq!(reads(&case), [units(&view)[4]]);
    // A decoder that looks at the next tile-part stays in what is inline.
    let next = start + length as u64;
    assert_eq!(read(&view, next, 1024, &mut Ahead::default()).len(), 1024);
    assert_eq!(case.memory.cost().0, 1);
}

#[test]
fn a_tile_of_several_tile_parts_is_one_round() {
    let made = made::File { packet: 3000, plt: true, parts: 2, components: vec![1, 1], ..made::File::default() };
    let case = case("large-view-parts", &made, &LARGE);
    let view = view(&case, 2);
    let of_tile: Vec<_> =
        view.layout.units().iter().filter(|unit| unit.tile == 4).map(|unit| unit.range.clone()).collect();
    assert_eq!(of_tile.len(), 2);
    let file = made.bytes();
    let oracle = materialise(&view, &file);
    let from = bodies(&view)[8].0 as usize;
    let length = of_tile.iter().map(|range| (range.end.0 - range.start.0) as usize).sum::<usize>() - 2 * 12;
    let bytes = read(&view, from as u64, length, &mut Ahead::default());
    assert!(bytes == oracle[from..from + length]);
    assert_eq!(case.memory.rounds(), 1);
}

#[test]
fn tiles_in_row_order_are_fetched_once_each_and_ahead() {
    const ACROSS: usize = 20;
    let made = made::File { width: 640, height: 640, packet: 3000, plt: true, ..made::File::default() };
    let case = case("rows-of-view", &made, &LARGE);
    let view = view(&case, 2);
    let (bodies, units) = (bodies(&view), units(&view));
    assert_eq!((bodies.len(), units.len()), (ACROSS * ACROSS, ACROSS * ACROSS));
    let tile = |number: usize| {
        let (start, length) = bodies[number];
        read(&view, start, length, &mut Ahead::default());
    };
    (0..ACROSS).for_each(tile);
    assert_eq!(reads(&case), units[..ACROSS], "nothing below the first row");
    // The first tile of the second row sends for as many rows as are read ahead. Reading the last of them waits for all.
    tile(ACROSS);
    tile(5 * ACROSS - 1);
    assert_eq!(reads(&case), units[..5 * ACROSS]);
    (ACROSS + 1..ACROSS * ACROSS).for_each(tile);
    assert_eq!(reads(&case), units, "each once");
    let rounds = case.memory.rounds();
    assert!(rounds < 60, "{rounds} rounds of requests for 400 tiles");
}

#[test]
fn a_window_is_not_read_beyond_its_columns() {
    const ACROSS: usize = 20;
    let made = made::File { width: 640, height: 640, packet: 3000, plt: true, ..made::File::default() };
    let case = case("window-of-view", &made, &LARGE);
    let view = view(&case, 2);
    let (bodies, units) = (bodies(&view), units(&view));
    let tile = |row: usize, column: usize| {
        let (start, length) = bodies[row * ACROSS + column];
        read(&view, start, length, &mut Ahead::default());
    };
    for (row, column) in (5..8).flat_map(|row| (5..8).map(move |column| (row, column))) {
        tile(row, column);
    }
    let sent_for =
        (5..=11).map(|column| (5, column)).chain((6..=8).flat_map(|row| (5..8).map(move |column| (row, column))));
    let sent_for: Vec<usize> = sent_for.map(|(row, column)| row * ACROSS + column).collect();
    for number in &sent_for {
        // What is on its way is waited for.
        let unit = view.layout.units()[*number].range.clone();
        crate::source::fetch_units(&view.source, &[unit], &view.access.options).unwrap();
    }
    let expected: Vec<_> = sent_for.iter().map(|number| units[*number]).collect();
    assert_eq!(reads(&case), expected, "four tiles to the right, one row below");
}

#[test]
fn a_read_by_columns_is_followed() {
    const ACROSS: usize = 20;
    let made = made::File { width: 640, height: 640, packet: 3000, plt: true, ..made::File::default() };
    let case = case("columns-of-view", &made, &LARGE);
    let view = view(&case, 2);
    let (bodies, units) = (bodies(&view), units(&view));
    let tile = |row: usize, column: usize| {
        let (start, length) = bodies[row * ACROSS + column];
        read(&view, start, length, &mut Ahead::default());
    };
    (0..ACROSS).for_each(|row| tile(row, 0));
    tile(0, 1);
    tile(ACROSS - 1, 4);
    let columns: Vec<_> = (0..ACROSS).flat_map(|row| (0..5).map(move |column| row * ACROSS + column)).collect();
    let expected: Vec<_> = columns.iter().map(|number| units[*number]).collect();
    assert_eq!(reads(&case), expected, "the first tile of the second column sends for three more");
}

#[test]
fn heads_that_a_row_lacks_are_fetched_once() {
    let v1 = |record: &mut Record| record.parts.iter_mut().for_each(|part| part.head = None);
    let made = made::File { packet: 3000, plt: true, ..made::File::default() };
    let case = case_with("v1", &made, &[], |_| Ok(()), v1);
    assert!(case.file.may_have_overviews(), "nobody has looked yet");
    let reduced = view(&case, 2);
    assert_eq!((case.memory.rounds(), case.memory.cost().0), (1, 6), "a look at each tile-part, all at once");
    assert_eq!(reduced.layout, view(&case, 2).layout);
    case.file.view(&request(View::Overviews)).unwrap();
    assert_eq!(case.memory.rounds(), 1);
    assert_eq!(reduced.layout, view(&self::case("v1-with", &made, &[]), 2).layout, "as if the row had them");
    // The next one to open the file knows them, although the row is what it was.
    let next = case_with("v1", &made, &[], |_| Ok(()), v1);
    assert_eq!((view(&next, 4).size(), next.memory.rounds()), (view(&case, 4).size(), 0));
}

#[test]
fn that_there_are_no_views_is_found_out_once() {
    let v1 = |record: &mut Record| record.parts.iter_mut().for_each(|part| part.head = None);
    let refused = |case: &Case| match case.file.view(&request(View::Reduced(2))) {
        Err(Error::NoOverview { what }) => what,
        Err(other) => panic!("{}", other.chain()),
        Ok(_) => panic!("a view"),
    };
    let without = made::File { packet: 3000, ..made::File::default() };
    // Known in the end by the heads that were learned, and where those cannot tell, by this file alone.
    for (name, layers, next_rounds) in [("v1-without", 1, 0), ("v1-layers", 2, 1)] {
        let made = made::File { layers, ..without.clone() };
        let case = case_with(name, &made, &[], |_| Ok(()), v1);
        assert!(refused(&case).contains("no PLT"));
        assert!(!case.file.may_have_overviews());
        assert!(refused(&case).contains("PLT"));
        assert!(matches!(case.file.view(&request(View::Overviews)), Err(Error::NotFound { .. })));
        assert_eq!(case.memory.rounds(), 1);
        let next = case_with(name, &made, &[], |_| Ok(()), v1);
        assert!(refused(&next).contains("PLT"));
        assert_eq!(next.memory.rounds(), next_rounds);
    }
    // A row with heads tells by itself.
    let scanned = case("scanned-without", &without, &[]);
    assert!(!scanned.file.may_have_overviews());
    assert!(refused(&scanned).contains("no PLT"));
    assert_eq!(scanned.memory.rounds(), 0);
}

#[test]
fn a_failed_look_is_not_remembered() {
    static FAILS: AtomicBool = AtomicBool::new(true);
    let before = |_: &Memory| match FAILS.load(Ordering::Relaxed) {
        true => Err(Error::read("by design")),
        false => Ok(()),
    };
    let v1 = |record: &mut Record| record.parts.iter_mut().for_each(|part| part.head = None);
    let made = made::File { packet: 3000, plt: true, ..made::File::default() };
    let case = case_with("v1-fails", &made, &[], before, v1);
    let error = case.file.view(&request(View::Reduced(2))).err().unwrap();
    assert!(error.chain().contains("by design"), "{}", error.chain());
    assert!(case.file.may_have_overviews());
    FAILS.store(false, Ordering::Relaxed);
    view(&case, 2);
}

#[test]
fn what_may_have_overviews_is_told_without_a_request() {
    let base = made::File { plt: true, ..made::File::default() };
    let may = |name: &str, made: made::File, options: &[(&str, &str)]| {
        let case = case(&format!("may-{name}"), &made, options);
        let may = case.file.may_have_overviews();
        assert_eq!(case.memory.rounds(), 0);
        // What is promised is there, and nothing else.
        assert_eq!(case.file.view(&request(View::Overviews)).is_ok(), may, "{name}");
        may
    };
    assert!(may("plt", base.clone(), &[]));
    assert!(may("mixed", made::File { layers: 2, ..base.clone() }, &[]));
    let coc = made::File { levels: 4, progression: 1, components: vec![1, 1], coc: vec![(1, 2)], ..base.clone() };
    assert!(may("coc", coc, &[]));
    assert!(!may("no", base.clone(), &[("VSITLM_OVERVIEWS", "NO")]));
    assert!(!may("no-plt", made::File { plt: false, ..base.clone() }, &[]));
    assert!(!may("no-levels", made::File { levels: 0, ..base.clone() }, &[]));
    assert!(!may("poc", made::File { main_segments: vec![0xFF, 0x5F, 0, 3, 0], ..base }, &[]));
}

#[test]
fn the_list_has_no_view_that_a_tile_part_forbids() {
    let base = made::File { plt: true, levels: 3, ..made::File::default() };
    let list = |name: &str, made: &made::File| {
        let case = case(name, made, &[]);
        let list = case.file.view(&request(View::Overviews)).ok()?;
        let text = String::from_utf8(materialise(&list, &[])).unwrap();
        assert!(text.contains("/vsitlm?overview=2&amp;url=x.jp2"), "{text}");
        Some([2, 4, 8].map(|factor| text.contains(&format!("overview={factor}&amp;"))))
    };
    assert_eq!(list("list-plain", &base), Some([true, true, true]));
    // Each tile is coded with two levels by its own COD and QCD, and has the packets for it.
    let cod = [0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 2, 4, 4, 0, 1];
    let own = [&cod[..], &[0xFF, 0x5C, 0, 10, 0x40], &[0x80; 7]].concat();
    assert_eq!(list("list-two", &made::File { tile_segments: own, ..base.clone() }), Some([true, true, false]));
    let rgn = vec![0xFF, 0x5E, 0, 5, 0, 0, 1];
    assert_eq!(list("list-none", &made::File { tile_segments: rgn, ..base }), None);
}

#[test]
fn embedded_overviews_cost_the_archive_nothing() {
    let made = made::File { packet: 3000, plt: true, levels: 3, ..made::File::default() };
    let embed = |change: fn(&mut Vec<u8>)| {
        let file = made.bytes();
        move |record: &mut Record| {
            let source: Arc<dyn Source> = Arc::new(Memory::new("mem://value", Vec::new()));
            let whole = bytes::Bytes::from(file.clone());
            let value = build_overviews(&record.parts, 2, &source, Some(&whole), &access(&[]).options).unwrap();
            let mut value = value.unwrap();
            change(&mut value);
            let range = SourceOffset(0)..SourceOffset(value.len() as u64);
            let source = Arc::new(Memory::new("mem://value", value));
            record.overviews = Some(EmbeddedOverviews::of_value(2, source, range));
        }
    };
    let check = |name: &str, change: fn(&mut Vec<u8>), factor: u32| {
        let case = case_with(name, &made, &[], |_| Ok(()), embed(change));
        let view = view(&case, factor);
        let oracle = materialise(&view, &made.bytes());
        let first = bodies(&view)[0].0;
        let bytes = read(&view, first, oracle.len(), &mut Ahead::default());
        assert!(bytes == oracle[first as usize..], "{name}");
        (case.memory.rounds(), case.memory.cost().0)
    };
    assert_eq!(check("embedded", |_| (), 4), (0, 0));
    assert_eq!(check("embedded-coarser", |_| (), 8), (0, 0));
    assert_eq!(check("embedded-finer", |_| (), 2), (1, 6), "what the row lacks comes from the archive");
    assert_eq!(check("embedded-version", |value| value[0] = 9, 4), (1, 6));
    assert_eq!(check("embedded-factor", |value| value[1] = 1, 4), (1, 6));
    assert_eq!(check("embedded-cut", |value| value.truncate(100), 4), (1, 6));
    assert_eq!(check("embedded-long", |value| value.push(0), 4), (1, 6));
}

/// A file, and the learned row of another one of the same size: its first two tile-parts are of each other's tiles.
fn with_wrong_row(name: &str, change: impl FnOnce(&mut Record)) -> (Arc<Memory>, Vec<u8>) {
    let bytes = made::File { packet: 3000, plt: true, ..made::File::default() }.bytes();
    let memory = Arc::new(Memory::new(&format!("mem://{name}"), bytes.clone()));
    let mut record = Record::from_scan(RecordKey::default(), name, memory.origin(), scan(&*memory).unwrap());
    (record.parts[0].tile, record.parts[1].tile) = (record.parts[1].tile, record.parts[0].tile);
    change(&mut record);
    learned_put(&access(&[]), &record);
    memory.reads.lock().unwrap().clear();
    (memory, bytes)
}

/// A view of the file that `memory` is.
fn opened(name: &str, memory: &Arc<Memory>, view: View) -> Result<Arc<Lease>> {
    let request = crate::path::parse(&format!("/vsimem/{name}.jp2")).unwrap().with(view);
    let files = OpenBy(|_: &str| Ok(memory.clone() as Arc<dyn Source>));
    open(&request, &caller(&[]).with_files(&files))
}

#[test]
fn a_row_of_another_file_is_found_by_a_view() {
    let (memory, file) = with_wrong_row("wrong-view", |_| ());
    let reduced = opened("wrong-view", &memory, View::Reduced(2)).unwrap();
    let mut buffer = vec![0; reduced.size() as usize];
    let from = bodies(&reduced)[0].0;
    let error = reduced.read_at(from, &mut buffer, &mut Ahead::default()).unwrap_err();
    assert!(matches!(error.root(), Error::Row { .. }), "{}", error.chain());
    // The next open scans anew: the file that the view was made of is not taken from the registry.
    let again = opened("wrong-view", &memory, View::Reduced(2)).unwrap();
    let oracle = materialise(&again, &file);
    assert!(read(&again, from, oracle.len(), &mut Ahead::default()) == oracle[from as usize..]);
    assert!(oracle != materialise(&reduced, &file));
}

#[test]
fn a_row_that_is_found_wrong_while_a_view_is_made_is_set_aside() {
    let (memory, file) = with_wrong_row("wrong-v1", |record| record.parts.iter_mut().for_each(|part| part.head = None));
    let reduced = opened("wrong-v1", &memory, View::Reduced(2)).unwrap();
    let oracle = materialise(&reduced, &file);
    let from = bodies(&reduced)[0].0;
    assert!(read(&reduced, from, oracle.len(), &mut Ahead::default()) == oracle[from as usize..]);
    assert!(registry::get().is_set_aside(&access(&[]).identity, "mem://wrong-v1"));
}
