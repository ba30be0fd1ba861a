//! Reading the directory of a small TIFF 6.0 in memory, the one of a GeoJP2 box.

/// TIFF's type numbers.
const SHORT: u64 = 3;
const DOUBLE: u64 = 12;

/// An entry of the directory.
struct Entry {
    tag: u64,
    kind: u64,
    /// How many values there are.
    count: usize,
    /// Where the values stand.
    at: usize,
}

/// A TIFF and its first directory.
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
    entries: Vec<Entry>,
}

impl<'a> Tiff<'a> {
    /// `None` where it is not a TIFF, is a BigTIFF, or its directory is cut or not in order (TIFF 6.0, section 2: ascending, so
    /// that each tag stands once).
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let is_big_endian = match bytes.get(..4)? {
            b"II\x2A\0" => false,
            b"MM\0\x2A" => true,
            _ => return None,
        };
        let mut tiff = Self { bytes, is_big_endian, entries: Vec::new() };
        let directory = usize::try_from(tiff.number(4, 4)?).ok()?;
        for index in 0..usize::try_from(tiff.number(directory, 2)?).ok()? {
            let at = directory.checked_add(2 + 12 * index)?;
            let (tag, kind) = (tiff.number(at, 2)?, tiff.number(at + 2, 2)?);
            let count = usize::try_from(tiff.number(at + 4, 4)?).ok()?;
            if tiff.entries.last().is_some_and(|last| last.tag >= tag) {
                return None;
            }
            // Values of four bytes and fewer stand in the entry.
            let is_here = kind == SHORT && count <= 2;
            let at = if is_here { at + 8 } else { usize::try_from(tiff.number(at + 8, 4)?).ok()? };
            tiff.entries.push(Entry { tag, kind, count, at });
        }
        Some(tiff)
    }

    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        let digit = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.is_big_endian { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) })
    }

    /// Whether there is such a tag.
    pub(super) fn has(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.tag == u64::from(tag))
    }

    /// Where the values of a tag stand and how many there are; the outer `None` where they are not of this type or cut.
    fn values(&self, tag: u16, kind: u64, length: usize) -> Option<Option<(usize, usize)>> {
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == u64::from(tag)) else { return Some(None) };
        let end = entry.at.checked_add(entry.count.checked_mul(length)?)?;
        (entry.kind == kind && end <= self.bytes.len()).then_some(Some((entry.at, entry.count)))
    }

    /// The doubles of a tag, none where it is absent; `None` where it holds something else.
    pub(super) fn doubles(&self, tag: u16) -> Option<Vec<f64>> {
        let Some((at, count)) = self.values(tag, DOUBLE, 8)? else { return Some(Vec::new()) };
        (0..count).map(|index| self.number(at + 8 * index, 8).map(f64::from_bits)).collect()
    }

    /// The shorts of a tag, likewise.
    pub(super) fn shorts(&self, tag: u16) -> Option<Vec<u16>> {
        let Some((at, count)) = self.values(tag, SHORT, 2)? else { return Some(Vec::new()) };
        (0..count).map(|index| self.number(at + 2 * index, 2)?.try_into().ok()).collect()
    }

    /// Writes the doubles of a tag over those that `out`, a copy of the TIFF, has.
    pub(super) fn put_doubles(&self, out: &mut [u8], tag: u16, values: &[f64]) -> Option<()> {
        let Some((at, _)) = self.values(tag, DOUBLE, 8)? else { return Some(()) };
        for (index, value) in values.iter().enumerate() {
            let bytes = if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
            let at = at.checked_add(8 * index)?;
            out.get_mut(at..at + 8)?.copy_from_slice(&bytes);
        }
        Some(())
    }
}
