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
    fn the_codestream_box_keeps_its_form() {
        assert_eq!(build_jp2c_header(LBox::ToEnd, 0x109, true).unwrap(), b"\0\0\0\0jp2c");
        assert_eq!(build_jp2c_header(LBox::Short(9), 0x109, false).unwrap(), b"\0\0\x01\x09jp2c");
        let extended = build_jp2c_header(LBox::Extended(9), 0x109, false).unwrap();
        assert_eq!(extended, b"\0\0\0\x01jp2c\0\0\0\0\0\0\x01\x09");
        assert_eq!(build_jp2c_header(LBox::Short(9), 1 << 32, true).unwrap(), b"\0\0\0\0jp2c");
        assert_eq!(build_jp2c_header(LBox::Short(9), 1 << 32, false), None);
    }
}
