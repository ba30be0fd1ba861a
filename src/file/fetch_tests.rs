//! Fetching whole files and views: what comes is what reading them asks for.

use std::sync::{Arc, mpsc};

use super::tests::{Case, case_with, materialise, read};
use super::virtual_file::{Expected, Opened};
use super::*;
use crate::error::{Error, Result};
use crate::index::Record;
use crate::jp2::made;
use crate::path::{View, parse};
use crate::source::{Fetched, spawn};

fn fetch(file: VirtualFile) -> (Arc<VirtualFile>, Result<Fetched>) {
    let file = Arc::new(file);
    let (sender, outcome) = mpsc::channel();
    let fetched = file.clone();
    spawn(async move {
        let _ = sender.send(fetched.fetch_all().await);
    })
    .unwrap();
    (file, outcome.recv().unwrap())
}

fn case(name: &str, made: &made::File, options: &[(&str, &str)]) -> Case {
    case_with(name, made, options, |_| Ok(()), |_| ())
}

fn whole(file: &VirtualFile, length: usize) -> Vec<u8> {
    let mut ahead = Ahead::default();
    (0..length).step_by(1000).flat_map(|at| read(file, at as u64, 1000, &mut ahead)).collect()
}

#[test]
fn all_that_is_read_is_at_hand() {
    let large = made::File { packet: 3000, plt: true, parts: 2, ..made::File::default() };
    let small = made::File { plt: true, ..made::File::default() };
    for (name, made, options) in
        [("fetched", &large, &[][..]), ("fetched-small", &small, &[("VSITLM_MERGE_GAP", "1000000")])]
    {
        for factor in [1, 2] {
            let name = format!("{name}-{factor}");
            let Case { file, memory, .. } = case(&name, made, options);
            let request = parse("x.jp2").unwrap().with(View::Reduced(factor));
            let file = if factor == 1 { file } else { file.view(&request).unwrap() };
            let oracle = materialise(&file, &made.bytes());
            memory.reads.lock().unwrap().clear();
            let (file, fetched) = fetch(file);
            let cost = memory.cost();
            let Fetched { bytes, requests } = fetched.unwrap();
            assert!(requests > 0 && (requests, bytes) == (cost.0 as u64, cost.1), "{name}: {cost:?}");
            assert!(whole(&file, oracle.len()) == oracle, "{name}");
            assert_eq!(memory.cost(), cost, "{name}: reading it costs nothing more");
        }
    }
}

#[test]
fn a_file_of_unknown_structure_is_fetched_by_blocks_and_a_text_is_not() {
    let bytes = made::File { packet: 9000, ..made::File::default() }.bytes();
    let memory = Arc::new(crate::source::memory::Memory::new("mem://fetched-as-it-is", bytes.clone()));
    let opened = |layout| Opened {
        layout,
        expected: Expected { size: None, etag: None, last_modified: None },
        last_modified: None,
        known: None,
        tiff: None,
    };
    let file = |layout| VirtualFile::new("x".into(), memory.clone(), tests::access(&[]), opened(layout));
    let (passed, fetched) = fetch(file(crate::layout::pass(bytes.len() as u64)));
    assert_eq!(fetched.unwrap().bytes, bytes.len() as u64);
    let cost = memory.cost();
    assert!(whole(&passed, bytes.len()) == bytes);
    assert_eq!(fetch(file(crate::layout::text(b"<VRTDataset/>"))).1.unwrap(), Fetched::default());
    assert_eq!(memory.cost(), cost);
}

#[test]
fn a_file_that_is_not_what_its_row_says_is_an_error() {
    let made = made::File { packet: 3000, plt: true, ..made::File::default() };
    let row = |change: fn(&mut Record)| {
        let name = format!("fetched-wrong-{}", change as usize);
        case_with(&name, &made, &[], |_| Ok(()), change).file
    };
    let error = fetch(row(|record| record.etag = Some("\"other\"".into()))).1.unwrap_err();
    assert!(matches!(error.root(), Error::Changed { .. }), "{error:?}");
    let swap = |record: &mut Record| {
        record.parts[1].tile = 2;
        record.parts[2].tile = 1;
    };
    let error = fetch(row(swap)).1.unwrap_err();
    assert!(matches!(error.root(), Error::Row { .. }) && error.to_string().contains("fetched-wrong"), "{error:?}");
}
