//! A look at Thrift's compact protocol before the parquet crate decodes it.
//!
//! The crate allocates what page headers and dictionaries claim to hold, and reads a schema by recursion: an allocation that
//! fails and a stack that overflows end the process. An index is untrusted, so footers and page headers are looked at here
//! first, with nothing allocated: a schema must not have too many nodes, a page must not grow beyond [`MOST_PAGE`], a
//! dictionary must have the bytes of its entries, and only encodings whose decoders allocate by what is there are let
//! through. The crate takes known fields to be of the type that they should be, whatever is said: so they must be, here.

use super::bytes::{take, unzigzag, varint};

/// The most bytes a page may have when decompressed.
const MOST_PAGE: i64 = 128 << 20;
/// Deeper nesting than any structure of parquet's has.
const MOST_DEPTH: u8 = 24;

/// Types of fields and elements.
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Walks compact Thrift: these bytes are left.
struct Walker<'a>(&'a [u8]);

impl Walker<'_> {
    fn byte(&mut self) -> Option<u8> {
        take(&mut self.0, 1)?.first().copied()
    }

    /// The number of a field that should have one.
    fn integer(&mut self, kind: u8) -> Option<i64> {
        let number = || varint(&mut self.0).map(unzigzag);
        (4..=6).contains(&kind).then(number)?
    }

    /// Passes over a boolean, whose value is its type.
    fn boolean(&mut self, kind: u8) -> Option<()> {
        matches!(kind, 1 | 2).then_some(())
    }

    /// How many elements a list has, and of which type; not more than there are bytes.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { varint(&mut self.0)? } else { u64::from(head >> 4) };
        (count <= self.0.len() as u64).then_some((count, head & 15))
    }

    /// Calls `field` with the id and the type of each field of a struct, whose value is then passed over.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => varint(&mut self.0).map(unzigzag)?,
                delta => id + i64::from(delta),
            };
            // The crate cuts others off to 16 bits.
            field(self, i64::from(i16::try_from(id).ok()?), head & 15)?;
        }
    }

    /// The same for a field that should be a struct.
    fn inside(&mut self, kind: u8, field: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        if kind == STRUCT { self.fields(field) } else { None }
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_add(1).filter(|depth| *depth <= MOST_DEPTH)?;
        match kind {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => varint(&mut self.0).map(drop),
            7 => take(&mut self.0, 8).map(drop),
            BINARY => {
                let length = varint(&mut self.0)?;
                take(&mut self.0, usize::try_from(length).ok()?).map(drop)
            }
            LIST | 10 => match self.list()? {
                // Whether these have bytes the crate sees otherwise; parquet has none.
                (1.., 1 | 2) => None,
                (count, kind) => (0..count).try_for_each(|_| self.skip(kind, depth)),
            },
            STRUCT => self.fields(|walker, _, kind| walker.skip(kind, depth)),
            _ => None, // maps, of which parquet has none
        }
    }
}

/// How many nodes the schema of a footer has, by its first two fields, version and schema; `None` where it does not begin
/// with these.
pub(crate) fn schema_nodes(footer: &[u8]) -> Option<u64> {
    let mut walker = Walker(footer);
    let mut nodes = None;
    let _ = walker.fields(|walker, id, kind| match (id, kind) {
        (1, _) => walker.integer(kind).map(drop),
        (2, LIST) => {
            nodes = walker.list().map(|(count, _)| count);
            None
        }
        _ => None,
    });
    nodes
}

/// What the header of a page says. What it does not say is -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageHeader {
    /// PageType.
    pub(crate) kind: i64,
    /// The page's bytes without the header, decompressed.
    pub(crate) whole: i64,
    /// Its bytes without the header, as they lie in the file.
    pub(crate) stored: i64,
    /// Of a data page of version 1: the number of values, nulls included.
    pub(crate) values: i64,
    /// Likewise: encoding of the values.
    pub(crate) encoding: i64,
    /// Likewise: encoding of the definition levels.
    pub(crate) levels: i64,
    /// Of a dictionary: how many entries it has.
    entries: i64,
    /// An encoding, of whatever page, that is not let through.
    strange: Option<i64>,
}

impl PageHeader {
    /// The header that `bytes` begin with, and how many bytes follow it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut walker = Walker(bytes);
        let [kind, whole, stored, values, encoding, levels, entries] = [-1; 7];
        let mut header = Self { kind, whole, stored, values, encoding, levels, entries, strange: None };
        walker.fields(|walker, id, kind| {
            match id {
                1 => header.kind = walker.integer(kind)?,
                2 => header.whole = walker.integer(kind)?,
                3 => header.stored = walker.integer(kind)?,
                4 => drop(walker.integer(kind)?),
                5 => walker.inside(kind, |walker, id, kind| header.data(walker, id, kind))?,
                6 => walker.inside(kind, |walker, _, kind| walker.skip(kind, 0))?,
                7 => walker.inside(kind, |walker, id, kind| header.dictionary(walker, id, kind))?,
                8 => walker.inside(kind, |walker, id, kind| header.data_2(walker, id, kind))?,
                _ => walker.skip(kind, 0)?,
            }
            Some(())
        })?;
        Some((header, walker.0.len()))
    }

    /// A field of DataPageHeader.
    fn data(&mut self, walker: &mut Walker<'_>, id: i64, kind: u8) -> Option<()> {
        match id {
            1 => self.values = walker.integer(kind)?,
            2 => self.encoding = self.let_through(walker.integer(kind)?),
            3 => self.levels = walker.integer(kind)?,
            4 => drop(walker.integer(kind)?),
            5 => walker.inside(kind, statistics)?,
            _ => walker.skip(kind, 0)?,
        }
        Some(())
    }

    /// A field of DictionaryPageHeader.
    fn dictionary(&mut self, walker: &mut Walker<'_>, id: i64, kind: u8) -> Option<()> {
        match id {
            1 => self.entries = walker.integer(kind)?,
            2 => drop(self.let_through(walker.integer(kind)?)),
            3 => walker.boolean(kind)?,
            _ => walker.skip(kind, 0)?,
        }
        Some(())
    }

    /// A field of DataPageHeaderV2.
    fn data_2(&mut self, walker: &mut Walker<'_>, id: i64, kind: u8) -> Option<()> {
        match id {
            1 | 2 | 3 | 5 | 6 => drop(walker.integer(kind)?),
            4 => drop(self.let_through(walker.integer(kind)?)),
            7 => walker.boolean(kind)?,
            8 => walker.inside(kind, statistics)?,
            _ => walker.skip(kind, 0)?,
        }
        Some(())
    }

    fn let_through(&mut self, encoding: i64) -> i64 {
        // PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY
        if ![0, 2, 3, 8].contains(&encoding) {
            self.strange = Some(encoding);
        }
        encoding
    }
}

/// A field of Statistics.
fn statistics(walker: &mut Walker<'_>, id: i64, kind: u8) -> Option<()> {
    match id {
        1 | 2 | 5 | 6 if kind == BINARY => walker.skip(kind, 0),
        1 | 2 | 5 | 6 => None,
        3 | 4 => walker.integer(kind).map(drop),
        7 | 8 => walker.boolean(kind),
        _ => walker.skip(kind, 0),
    }
}

/// Checks the pages of a column chunk one after the other.
pub(crate) fn check_pages(chunk: &[u8]) -> Result<(), String> {
    let mut rest = chunk;
    while !rest.is_empty() {
        let (header, after) = PageHeader::parse(rest).ok_or("a page header that cannot be read")?;
        let PageHeader { whole, stored, entries, strange, .. } = header;
        if !(0..=MOST_PAGE).contains(&whole) {
            return Err(format!("a page of {whole} bytes"));
        }
        // An entry of a dictionary has four bytes at least: a length, or the number itself.
        if entries < -1 || entries.saturating_mul(4) > whole {
            return Err(format!("a dictionary page of {whole} bytes that claims {entries} entries"));
        }
        if let Some(encoding) = strange {
            return Err(format!("encoding {encoding}: write it with plain or dictionary encoding"));
        }
        let body = rest.len() - after;
        rest = usize::try_from(stored)
            .ok()
            .and_then(|length| rest.get(body..)?.get(length..))
            .ok_or_else(|| format!("a page of {stored} bytes where {after} are left"))?;
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
    let mut found = None;
    Walker(index).fields(|walker, id, kind| {
        if (id, kind) != (1, LIST) {
            return walker.skip(kind, 0);
        }
        let (count, kind) = walker.list()?;
        for _ in 0..count {
            let (mut page, mut first_row) = (PageLocation { offset: -1, length: -1 }, -1);
            walker.inside(kind, |walker, id, kind| {
                match id {
                    1 => page.offset = walker.integer(kind)?,
                    2 => page.length = walker.integer(kind)?,
                    3 => first_row = walker.integer(kind)?,
                    _ => walker.skip(kind, 0)?,
                }
                Some(())
            })?;
            if first_row == wanted {
                found.get_or_insert(page);
            }
        }
        Some(())
    })?;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_counted_where_it_comes_first() {
        // Field 1, an i32; field 2, a list of structs: three, or 2^31 by the long form.
        let nodes = |list: &[u8]| schema_nodes(&[&[0x15, 4, 0x19], list].concat());
        assert_eq!(nodes(&[0x3C, 0, 0, 0, 0]), Some(3));
        assert_eq!(nodes(&[0xFC, 0x80, 0x80, 0x80, 0x80, 0x08, 0, 0, 0]), None, "more than there are bytes");
        assert_eq!(schema_nodes(&[0x19, 0x1C, 0]), None, "that is field 1");
        assert_eq!(schema_nodes(&[0x35, 4, 0x09, 4, 0x1C, 0]), None, "after field 3");
        assert_eq!(schema_nodes(&[0x15, 4, 0x15, 2, 0]), None, "a number");
        assert_eq!(schema_nodes(&[]), None);
    }

    #[test]
    fn a_field_of_another_type_than_it_should_have_is_refused() {
        // type, uncompressed, compressed, each a number; then the second again, as bytes that the crate takes for one.
        let sizes = [0x15, 0, 0x15, 8, 0x15, 8];
        assert!(PageHeader::parse(&[&sizes[..], &[0]].concat()).is_some());
        assert!(PageHeader::parse(&[&sizes[..], &[0x08, 4, 1, 0, 0]].concat()).is_none());
        assert!(PageHeader::parse(&[&sizes[..], &[0x25, 2, 0]].concat()).is_none(), "a header that is a number");
        // An id that has the second one's last 16 bits.
        assert!(PageHeader::parse(&[&sizes[..], &[0x05, 0x84, 0x80, 0x08, 8, 0]].concat()).is_none());
        // A bad encoding is not hidden by a good one of another header.
        let headers = [&sizes[..], &[0x2C, 0x25, 12, 0, 0x2C, 0x25, 0, 0, 0, 1, 2, 3, 4]].concat();
        assert!(check_pages(&headers).unwrap_err().contains("encoding 6"));
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
            let _ = (schema_nodes(&bytes), page_of_row(&bytes, 3));
            let _ = check_pages(&bytes);
        }
    }
}
