//! How long a file's packets are, where scanning it has not found out.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::{Scanned, parse_packets, read_lengths};
use crate::jp2::TilePart;
use crate::options::Options;
use crate::source::Source;

/// Finds out how long packets are and where resolutions end, where the scan has not; `parse` says that a file without PLT
/// is read whole for it. Gives why they are not known, which is no failure of the file.
///
/// # Errors
/// Those of reading the file.
pub(super) fn find_ends(
    source: &Arc<dyn Source>,
    scanned: &mut Scanned,
    parse: bool,
    options: &Options,
) -> Result<Option<Error>> {
    let Scanned { main, parts, lengths, doubt, .. } = scanned;
    let mut found = doubt.take().map_or(Ok(()), Err);
    if parts.iter().any(|part| part.head.is_none()) {
        found = read_lengths(source, main, parts, options).map(|found| *lengths = found);
    }
    if parse && lengths.is_empty() {
        found = parse_packets(&**source, main, parts).map(|found| *lengths = found);
        let is_known = |part: &TilePart| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty());
        if found.is_ok() && !parts.iter().all(is_known) {
            let what = "its progression mixes resolutions, so overviews are not found: PLT in the file itself could";
            found = Err(Error::NoOverview { what: what.into() });
        }
    }
    let against = found.err();
    match against {
        None | Some(Error::NoOverview { .. } | Error::Malformed { .. }) => Ok(against),
        Some(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Effort, Strategy, scan_by};
    use crate::jp2::made;
    use crate::source::memory::Memory;

    #[test]
    fn why_there_are_no_overviews_is_reported_and_no_failure() {
        let options = Options::resolve(&|_| None).unwrap();
        let told = |name: &str, file: Vec<u8>, parse_packets: bool| {
            let source: Arc<dyn Source> = Arc::new(Memory::new(&format!("mem://ends-{name}"), file));
            let effort = Effort { strategy: Strategy::Auto, lanes: 1 };
            let mut scanned = scan_by(&*source, effort).unwrap();
            find_ends(&source, &mut scanned, parse_packets, &options).unwrap().map(|error| error.chain())
        };
        let base = made::File { plt: true, ..made::File::default() };
        let wrong = |mut file: Vec<u8>| {
            let plt = file.windows(2).position(|two| two == [0xFF, 0x58]).unwrap();
            file[plt + 5] ^= 1;
            file
        };
        assert_eq!(told("good", base.bytes(), false), None);
        assert_eq!(told("none", made::File::default().bytes(), false), None, "what nobody asked for");
        assert!(told("wrong", wrong(base.bytes()), false).unwrap().contains("by its PLT"));
        assert!(told("wrong-noise", wrong(base.bytes()), true).unwrap().contains("T.800"), "why parsing failed");
        // A remote file with its own TLM: the headers are read for it.
        let own = made::File { tlm: true, ..base };
        assert_eq!(told("own", own.bytes(), false), None);
        assert!(told("own-wrong", wrong(own.bytes()), false).unwrap().contains("by its PLT"));
        assert!(told("own-none", made::File { plt: false, ..own }.bytes(), false).unwrap().contains("no PLT"));
    }
}
