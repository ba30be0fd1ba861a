//! What several targets do with their input.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::checks;
use super::memory::Host;
use crate::file;
use crate::jp2::{Progress, parse_main_header};
use crate::path::{self, Form, View};
use crate::source::Caller;

/// GeoTIFFs of more bytes are not read.
const LARGEST_TIFF: u64 = 2 << 20;

/// Bytes that stand in a fuzz target's input before what it is about.
pub(super) fn split(data: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    data.split_at_checked(length)
}

/// A number that no other input has: what this process remembers of files must not go from one input to the next.
pub(super) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Opens and reads what `request` names, its views, and their list.
pub(super) fn drive(request: &path::Request, get: &(dyn Fn(&str) -> Option<String> + Sync), host: &Host) {
    let size = host.jp2.len() as u64;
    let get = |_: &str, name: &str| get(name);
    let caller = Caller::new(&get).with_files(host);
    let open = |view: View| file::open(&request.with(view), &caller);
    let whole = match open(View::Whole) {
        Ok(whole) => whole,
        Err(error) => return drop(error.chain()),
    };
    let bytes = checks::read(&whole, size);
    if let Some(bytes) = &bytes {
        // A file with a TLM of its own is passed on, its SOT marker segments written anew.
        let passed_on = matches!(parse_main_header(&host.jp2, size), Ok(Progress::Done(main)) if main.has_tlm());
        checks::table(bytes, bytes != &host.jp2 && !passed_on);
    }
    let may_have = whole.may_have_overviews();
    let mut listed = Vec::new();
    match open(View::Overviews) {
        Ok(list) => {
            assert!(may_have, "a list that GDAL is not told of");
            let text = String::from_utf8(checks::read(&list, size).expect("it is in memory")).expect("XML is text");
            roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            listed.extend(
                text.split("?overview=")
                    .skip(1)
                    .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()),
            );
            assert!(!listed.is_empty(), "{text}");
        }
        Err(error) => drop(error.chain()),
    }
    for factor in [0, 2, 3, 4, 8, 16] {
        match open(View::Reduced(factor)) {
            Ok(view) => {
                if let Some(bytes) = checks::read(&view, size) {
                    checks::table(&bytes, true);
                }
            }
            Err(error) => assert!(!listed.contains(&factor), "1/{factor} is listed: {}", error.chain()),
        }
    }
    let windows = [(0, 0, 1, 1), (3, 5, 20, 9), (30, 30, 40, 4), (0, 0, 64, 64)];
    for (window, factor) in windows.into_iter().flat_map(|window| [(window, 1), (window, 2)]) {
        let (x, y, width, height) = window;
        let window = path::Window { x, y, width, height };
        if let Ok(Some(packets)) = whole.packets_of(factor, &[window])
            && let Some(bytes) = checks::read(&packets, size)
        {
            checks::table(&bytes, true);
        }
        check_tiff(open(View::Window(factor, window)));
    }
    check_tiff(file::open(&request.in_form(Form::Tiff), &caller));
}

/// What a GeoTIFF reads as is the same in pieces.
fn check_tiff(view: Result<Arc<file::Lease>, crate::Error>) {
    match view {
        Ok(view) if view.size() <= LARGEST_TIFF => {
            assert!(view.is_tiff());
            drop(checks::read_all(&view));
        }
        Ok(_) => {}
        Err(error) => drop(error.chain()),
    }
}
