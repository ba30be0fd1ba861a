//! A look at Thrift's compact protocol before the parquet crate decodes it.
//!
//! The crate allocates what lists, page headers and dictionaries claim to hold, and an allocation that fails ends the
//! process. An index is untrusted, so footers and page headers are walked here first, with nothing allocated: a list
//! must have a byte of input for every element, a page must not grow beyond [`MOST_PAGE`], a dictionary must have the
//! bytes of its entries, and only encodings whose decoders allocate by what is there are let through.

use super::bytes::{take, unzigzag, varint};

/// The most bytes a page may have when decompressed.
const MOST_PAGE: i64 = 128 << 20;
/// Deeper nesting than any structure of parquet's has.
const MOST_DEPTH: u8 = 24;

/// Walks compact Thrift.
struct Walker<'a, F> {
    rest: &'a [u8],
    /// Gets the field id of the enclosing struct (0 in the outermost), the field's id, and the value of each integer.
    each: F,
}

impl<F: FnMut(i64, i64, i64)> Walker<'_, F> {
    fn byte(&mut self) -> Option<u8> {
        take(&mut self.rest, 1)?.first().copied()
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        take(&mut self.rest, usize::try_from(length).ok()?).map(drop)
    }

    fn integer(&mut self) -> Option<i64> {
        varint(&mut self.rest).map(unzigzag)
    }

    fn structure(&mut self, parent: i64, depth: u8) -> Option<()> {
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.integer()?,
                delta => id.checked_add(i64::from(delta))?,
            };
            // Booleans are their own type in a field.
            if !matches!(head & 15, 1 | 2) {
                self.value(head & 15, parent, id, depth)?;
            }
        }
    }

    fn value(&mut self, kind: u8, parent: i64, id: i64, depth: u8) -> Option<()> {
        let depth = depth.checked_add(1).filter(|depth| *depth <= MOST_DEPTH)?;
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let value = self.integer()?;
                (self.each)(parent, id, value);
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = varint(&mut self.rest)?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { varint(&mut self.rest)? } else { u64::from(head >> 4) };
                if count > self.rest.len() as u64 {
                    return None;
                }
                (0..count).try_for_each(|_| self.value(head & 15, id, 0, depth))
            }
            12 => self.structure(id, depth),
            _ => None, // maps, of which parquet has none
        }
    }
}

/// Whether a footer is one whole struct whose lists hold what they claim.
pub(crate) fn footer_is_sound(footer: &[u8]) -> bool {
    let mut walker = Walker { rest: footer, each: |_, _, _| () };
    walker.structure(0, 0).is_some()
}

/// Checks the pages of a column chunk one after the other.
pub(crate) fn check_pages(chunk: &[u8]) -> Result<(), String> {
    let mut rest = chunk;
    while !rest.is_empty() {
        let (mut whole, mut stored, mut values, mut encoding) = (-1, -1, 0, 0);
        let mut walker = Walker {
            rest,
            each: |parent, id, value| match (parent, id) {
                (0, 2) => whole = value,
                (0, 3) => stored = value,
                // DataPageHeader 5, DictionaryPageHeader 7, DataPageHeaderV2 8
                (7, 1) => values = value,
                (5, 2) | (7, 2) | (8, 4) => encoding = value,
                _ => {}
            },
        };
        walker.structure(0, 0).ok_or("a page header that cannot be read")?;
        rest = walker.rest;
        if !(0..=MOST_PAGE).contains(&whole) {
            return Err(format!("a page of {whole} bytes"));
        }
        // An entry of a dictionary has four bytes at least: a length, or the number itself.
        if values < 0 || values.saturating_mul(4) > whole {
            return Err(format!("a dictionary page of {whole} bytes that claims {values} entries"));
        }
        // PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY
        if ![0, 2, 3, 8].contains(&encoding) {
            return Err(format!("encoding {encoding}: write it with plain or dictionary encoding"));
        }
        rest = usize::try_from(stored)
            .ok()
            .and_then(|length| rest.get(length..))
            .ok_or_else(|| format!("a page of {stored} bytes where {} are left", rest.len()))?;
    }
    Ok(())
}

/// What an offset index says of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageLocation {
    /// Where its header begins, in bytes from the start of the file.
    pub(crate) offset: i64,
    /// Its bytes, header included.
    pub(crate) length: i64,
}

/// The page that begins with a row of the row group, by the offset index of a column chunk.
pub(crate) fn page_of_row(index: &[u8], row: usize) -> Option<PageLocation> {
    let wanted = i64::try_from(row).ok()?;
    let (mut found, mut page) = (None, PageLocation { offset: -1, length: -1 });
    // PageLocation: offset 1, compressed_page_size 2, first_row_index 3, the last of its fields.
    let each = |parent, id, value| match (parent, id) {
        (0, 1) => page.offset = value,
        (0, 2) => page.length = value,
        (0, 3) => {
            if value == wanted {
                found.get_or_insert(page);
            }
            page = PageLocation { offset: -1, length: -1 };
        }
        _ => {}
    };
    Walker { rest: index, each }.structure(0, 0)?;
    found
}

/// What the header of a data page says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DataPageHeader {
    /// PageType.
    pub(crate) kind: i64,
    /// Its bytes without the header, decompressed.
    pub(crate) whole: i64,
    /// Its bytes without the header, as they lie in the file.
    pub(crate) stored: i64,
    /// The number of values, nulls included.
    pub(crate) values: i64,
    /// Encoding of the values.
    pub(crate) encoding: i64,
    /// Encoding of the definition levels.
    pub(crate) levels: i64,
}

/// The header of a data page, and how many bytes follow it.
pub(crate) fn data_page(page: &[u8]) -> Option<(DataPageHeader, usize)> {
    let mut header = DataPageHeader { kind: -1, ..DataPageHeader::default() };
    let each = |parent, id, value| match (parent, id) {
        (0, 1) => header.kind = value,
        (0, 2) => header.whole = value,
        (0, 3) => header.stored = value,
        (5, 1) => header.values = value,
        (5, 2) => header.encoding = value,
        (5, 3) => header.levels = value,
        _ => {}
    };
    let mut walker = Walker { rest: page, each };
    walker.structure(0, 0)?;
    let rest = walker.rest.len();
    Some((header, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_claims_more_than_there_is_is_refused() {
        // Field 1, list of i32, three elements; then one whose long form claims 2^31.
        assert!(footer_is_sound(&[0x19, 0x35, 2, 4, 6, 0]));
        assert!(!footer_is_sound(&[0x19, 0xF5, 0x80, 0x80, 0x80, 0x80, 0x08, 2, 4, 6, 0]));
        assert!(!footer_is_sound(&[0x19, 0x35, 2, 4]));
        assert!(!footer_is_sound(&[]));
        assert!(!footer_is_sound(&[0x1C; 100]), "nested without end");
    }

    #[test]
    fn pages_that_claim_too_much_are_refused() {
        // type, uncompressed, compressed, then a dictionary page header with its entries and encoding
        let page = |whole: &[u8], entries: u8, encoding: u8| {
            [&[0x15, 4, 0x15], whole, &[0x15, 8, 0x4C, 0x15, entries, 0x15, encoding, 0, 0, 1, 2, 3, 4]].concat()
        };
        check_pages(&page(&[8], 2, 0)).unwrap();
        assert!(check_pages(&page(&[8], 4, 0)).unwrap_err().contains("claims 2 entries"));
        assert!(check_pages(&page(&[8], 2, 12)).unwrap_err().contains("encoding 6"));
        assert!(check_pages(&page(&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F], 2, 0)).unwrap_err().contains("2147483647"));
        assert!(check_pages(&page(&[8], 2, 0)[..14]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_walker_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = footer_is_sound(&bytes);
            let _ = check_pages(&bytes);
        }
    }
}
