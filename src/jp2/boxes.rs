//! Boxes of the JP2 file format (T.800 Annex I).

use super::cursor::{Cursor, Short};
use crate::error::{Error, Result};

/// The JPEG 2000 signature box, whole (I.5.1).
pub(super) const SIGNATURE: [u8; 12] = [0, 0, 0, 12, b'j', b'P', b' ', b' ', 0x0D, 0x0A, 0x87, 0x0A];

/// How a box writes its length (I.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LBox {
    /// LBox = 0: to the end of the file. ESA writes the jp2c box so.
    ToEnd,
    /// LBox: the length of the box in bytes, header included.
    Short(u32),
    /// LBox = 1: XLBox has the length.
    Extended(u64),
}

/// The header of one box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoxHeader {
    /// TBox.
    pub(super) kind: [u8; 4],
    /// Where the box begins, in bytes from the start of the file.
    pub(super) offset: u64,
    /// Where its contents begin.
    pub(super) contents: u64,
    /// Its length as it is written.
    pub(super) length: LBox,
}

impl BoxHeader {
    /// Where the box ends, exclusive; `None` for a box that runs to the end of the file.
    pub(super) fn end(&self) -> Result<Option<u64>> {
        let length = match self.length {
            LBox::ToEnd => return Ok(None),
            LBox::Short(length) => u64::from(length),
            LBox::Extended(length) => length,
        };
        match self.offset.checked_add(length) {
            Some(end) if end >= self.contents => Ok(Some(end)),
            _ => Err(Error::malformed(
                self.offset,
                "I.4",
                format!("a box of {length} bytes, shorter than its own header"),
            )),
        }
    }
}

/// Parses the box header at the cursor, which is left at the box's contents.
pub(super) fn parse_box_header(cursor: &mut Cursor<'_>) -> Result<BoxHeader, Short> {
    let offset = cursor.offset();
    let lbox = cursor.u32()?;
    let kind = cursor.take(4)?;
    let length = match lbox {
        0 => LBox::ToEnd,
        1 => LBox::Extended(cursor.u64()?),
        length => LBox::Short(length),
    };
    Ok(BoxHeader { kind: kind.try_into().unwrap_or_default(), offset, contents: cursor.offset(), length })
}

/// A box whose bytes are at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WholeBox<'a> {
    /// TBox.
    pub(crate) kind: [u8; 4],
    /// Where it begins in the bytes that were walked.
    pub(crate) offset: usize,
    /// The box, its header included.
    pub(crate) bytes: &'a [u8],
    /// What stands behind its header. Those of a superbox are boxes (I.4).
    pub(crate) contents: &'a [u8],
}

impl WholeBox<'_> {
    /// Where its contents begin in the bytes that were walked.
    pub(crate) fn contents_offset(&self) -> usize {
        self.offset + (self.bytes.len() - self.contents.len())
    }
}

/// The boxes that follow one another in `bytes`, which begin with one: those of a file or of a superbox's contents. They
/// end before the first one that the bytes do not hold whole.
pub(crate) fn walk_boxes(bytes: &[u8]) -> impl Iterator<Item = WholeBox<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let found = whole_box_at(bytes, at)?;
        // A box has a header: this moves on.
        at += found.bytes.len();
        Some(found)
    })
}

/// The first of `bytes`' boxes of this kind.
pub(crate) fn box_of(bytes: &[u8], kind: [u8; 4]) -> Option<WholeBox<'_>> {
    walk_boxes(bytes).find(|found| found.kind == kind)
}

fn whole_box_at(bytes: &[u8], offset: usize) -> Option<WholeBox<'_>> {
    let rest = bytes.get(offset..)?;
    let mut cursor = Cursor::new(rest, 0);
    let header = parse_box_header(&mut cursor).ok()?;
    let end = match header.end().ok()? {
        Some(end) => usize::try_from(end).ok()?,
        None => rest.len(),
    };
    let contents = usize::try_from(header.contents).ok()?;
    Some(WholeBox { kind: header.kind, offset, bytes: rest.get(..end)?, contents: rest.get(contents..end)? })
}

/// A box of these contents, its length in LBox; `None` where LBox cannot hold it.
pub(crate) fn build_box(kind: [u8; 4], contents: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(contents.len().checked_add(8)?).ok()?;
    Some([&length.to_be_bytes()[..], &kind, contents].concat())
}

/// The header of a jp2c box of `length` bytes, header included, written as `form` is: as many bytes as before.
///
/// `last` tells that nothing follows the box: then a length that LBox cannot hold becomes 0, "to the end of the file".
/// `None` where it cannot be written in the same number of bytes.
pub(crate) fn build_jp2c_header(form: LBox, length: u64, last: bool) -> Option<Vec<u8>> {
    let (lbox, xlbox) = match form {
        LBox::ToEnd => (0, None),
        LBox::Extended(_) => (1, Some(length)),
        LBox::Short(_) => match u32::try_from(length) {
            Ok(length) => (length, None),
            Err(_) if last => (0, None),
            Err(_) => return None,
        },
    };
    let mut bytes = Vec::with_capacity(16);
    bytes.extend_from_slice(&u32::to_be_bytes(lbox));
    bytes.extend_from_slice(b"jp2c");
    if let Some(xlbox) = xlbox {
        bytes.extend_from_slice(&xlbox.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_in_each_of_its_forms() {
        let mut short = Cursor::new(b"\0\0\0\x14ftypjp2 ", 100);
        let header = parse_box_header(&mut short).unwrap();
        assert_eq!((header.kind, header.offset, header.contents), (*b"ftyp", 100, 108));
        assert_eq!(header.end().unwrap(), Some(120));
        let mut extended = Cursor::new(b"\0\0\0\x01asoc\0\0\0\0\0\0\x08\xED", 0);
        let header = parse_box_header(&mut extended).unwrap();
        assert_eq!((header.contents, header.end().unwrap()), (16, Some(2285)));
        let mut open = Cursor::new(b"\0\0\0\0jp2c", 0);
        assert_eq!(parse_box_header(&mut open).unwrap().end().unwrap(), None);
    }

    #[test]
    fn a_box_shorter_than_its_header_is_refused() {
        for length in 2u8..8 {
            let bytes = [0, 0, 0, length, b'x', b'm', b'l', b' '];
            let header = parse_box_header(&mut Cursor::new(&bytes, 7)).unwrap();
            assert!(matches!(header.end(), Err(Error::Malformed { offset: 7, .. })), "LBox = {length}");
        }
        let far = BoxHeader { kind: *b"xml ", offset: 9, contents: 25, length: LBox::Extended(u64::MAX) };
        assert!(far.end().is_err());
    }

    #[test]
    fn boxes_are_walked_in_each_of_their_forms() {
        let extended = b"\0\0\0\x01asoc\0\0\0\0\0\0\0\x13abc";
        let bytes = [&b"\0\0\0\x0Clbl four"[..], extended, b"\0\0\0\0xml <a/>"].concat();
        let found: Vec<_> =
            walk_boxes(&bytes).map(|it| (it.kind, it.offset, it.contents_offset(), it.contents)).collect();
        let expected: [([u8; 4], usize, usize, &[u8]); 3] =
            [(*b"lbl ", 0, 8, b"four"), (*b"asoc", 12, 28, b"abc"), (*b"xml ", 31, 39, b"<a/>")];
        assert_eq!(found, expected);
        assert_eq!(box_of(&bytes, *b"asoc").unwrap().bytes, extended);
        assert_eq!(walk_boxes(&bytes[..20]).count(), 1, "the second is cut");
        assert_eq!(walk_boxes(b"\0\0\0\x07lbl ").count(), 0, "shorter than its header");
        assert_eq!(build_box(*b"lbl ", b"four").unwrap(), bytes[..12]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_walk_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80), length in 0u8..40) {
            let walked = |bytes: &[u8]| walk_boxes(bytes).map(|it| it.bytes.len()).sum::<usize>();
            assert!(walked(&bytes) <= bytes.len());
            bytes.splice(0..0, [0, 0, 0, length]);
            assert!(walked(&bytes) <= bytes.len());
        }
    }

    #[test]
    fn the_codestream_box_keeps_its_form() {
        assert_eq!(build_jp2c_header(LBox::ToEnd, 0x109, true).unwrap(), b"\0\0\0\0jp2c");
        assert_eq!(build_jp2c_header(LBox::Short(9), 0x109, false).unwrap(), b"\0\0\x01\x09jp2c");
        let extended = build_jp2c_header(LBox::Extended(9), 0x109, false).unwrap();
        assert_eq!(extended, b"\0\0\0\x01jp2c\0\0\0\0\0\0\x01\x09");
        assert_eq!(build_jp2c_header(LBox::Short(9), 1 << 32, true).unwrap(), b"\0\0\0\0jp2c");
        assert_eq!(build_jp2c_header(LBox::Short(9), 1 << 32, false), None);
    }
}
