//! What holds of every virtual file, whatever it was made of.

use crate::file::{Ahead, VirtualFile};
use crate::jp2::{EOC, Progress, Sot, parse_main_header, parse_tlm_segments};
use crate::layout::LOOK;

/// The virtual file of bytes of a source of this size; see [`read_all`].
pub(super) fn read(file: &VirtualFile, source: u64) -> Option<Vec<u8>> {
    let size = file.size();
    // At most a comment for each tile-part, which has at least 14 bytes, and a text of a few lines for each level.
    assert!(size <= 128 * source + (64 << 10), "{size} bytes of a file of {source}");
    read_all(file)
}

/// The virtual file, read at once, and the same again in pieces by two handles. `None` where it cannot be read.
pub(super) fn read_all(file: &VirtualFile) -> Option<Vec<u8>> {
    let size = file.size();
    let mut whole = vec![0; size as usize + 7];
    let read = file.read_at(0, &mut whole, &mut Ahead::default()).ok()?;
    assert_eq!(read as u64, size, "a read that ends before the file");
    whole.truncate(read);
    let mut handles = [Ahead::default(), Ahead::default()];
    let mut noise = size ^ 0x2545_F491_4F6C_DD1D;
    for turn in 0..24 {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Where tile-parts begin now and then, as decoders do.
        let sot = (turn % 3 == 0).then(|| find_sot(&whole, (noise >> 40) as usize)).flatten();
        let offset = sot.unwrap_or((noise >> 33) as usize % (whole.len() + 3));
        let length = if sot.is_some() { LOOK as usize } else { (noise >> 20) as usize % 700 };
        let end = (offset + length).min(whole.len());
        let expected = whole.get(offset..end).unwrap_or_default();
        if let Some(answered) = file.probe(offset as u64, length as u64) {
            assert!(0 < answered && answered < length as u64, "{answered} of {length} bytes");
        }
        let mut piece = vec![0xEE; length];
        let read = file.read_at(offset as u64, &mut piece, &mut handles[turn % 2]).expect("what has been read");
        assert!(piece[..read] == *expected, "{length} bytes at {offset} of {size}");
    }
    Some(whole)
}

/// The first SOT marker at or behind `from`, going round.
fn find_sot(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from % bytes.len().max(1);
    let find = |start: usize| Some(start + bytes.get(start..)?.windows(4).position(|at| at == [0xFF, 0x90, 0, 10])?);
    find(from).or_else(|| find(0))
}

/// The TLM of a virtual file and its SOT marker segments tell the same, up to where the codestream ends. `is_made` where
/// it is more than the file as it is.
pub(super) fn table(bytes: &[u8], is_made: bool) {
    let size = bytes.len() as u64;
    let main = match parse_main_header(bytes, size) {
        Ok(Progress::Done(main)) => main,
        // Only a file that is passed on unread can be none.
        other => return assert!(!is_made, "{other:?}"),
    };
    if !main.has_tlm() {
        return assert!(!is_made, "a virtual file without a TLM");
    }
    let Ok(entries) = parse_tlm_segments(&main.tlm(bytes).concat()) else { return assert!(!is_made) };
    if !is_made {
        return;
    }
    let mut at = main.end;
    for (tile, length) in entries {
        let sot = Sot::parse(&bytes[at as usize..], at).expect("an SOT where the TLM has one");
        assert_eq!((sot.tile, sot.length), (tile, length), "at {at}");
        at += u64::from(length);
    }
    let end = at as usize;
    assert_eq!(bytes[end..end + 2], EOC, "the codestream ends with its tile-parts");
    let told = main.codestream_end.unwrap_or(size);
    assert!(told == at + 2, "its box ends at {told}, it at {}", at + 2);
}
