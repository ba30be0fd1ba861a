//! TIFFs made for tests.

/// A TIFF of some directories, of both forms and byte orders, whose directories begin at `at`.
pub(crate) struct Made {
    pub(crate) is_big_endian: bool,
    pub(crate) is_big: bool,
    pub(crate) at: usize,
    pub(crate) size: usize,
}

impl Made {
    fn put(&self, value: u64, length: usize, out: &mut Vec<u8>) {
        match self.is_big_endian {
            true => out.extend_from_slice(&value.to_be_bytes()[8 - length..]),
            false => out.extend_from_slice(&value.to_le_bytes()[..length]),
        }
    }

    /// Directories of width and height, a text and as many offsets as there are tiles.
    pub(crate) fn bytes(&self, images: &[(u64, u64, usize)]) -> Vec<u8> {
        let word = if self.is_big { 8 } else { 4 };
        let mut out = match (self.is_big_endian, self.is_big) {
            (false, false) => b"II\x2A\0".to_vec(),
            (true, false) => b"MM\0\x2A".to_vec(),
            (false, true) => b"II\x2B\0\x08\0\0\0".to_vec(),
            (true, true) => b"MM\0\x2B\0\x08\0\0".to_vec(),
        };
        self.put(self.at as u64, word, &mut out);
        out.resize(self.at, 0xEE);
        for (number, (width, height, tiles)) in images.iter().enumerate() {
            let (counted, entry) = if self.is_big { (8, 20) } else { (2, 12) };
            let end = out.len() + counted + 4 * entry + word;
            let text = b"a text that stands elsewhere\0";
            let arrays = end + text.len();
            self.put(4, counted, &mut out);
            for (tag, kind, count, value) in [
                (256, 3, 1, *width),
                (257, 4, 1, *height),
                (270, 2, text.len() as u64, end as u64),
                (324, 4, *tiles as u64, arrays as u64),
            ] {
                self.put(tag, 2, &mut out);
                self.put(kind, 2, &mut out);
                self.put(count, word, &mut out);
                let length = if kind == 3 {
                    2
                } else if tag == 257 {
                    4
                } else {
                    word
                };
                let from = out.len();
                self.put(value, length, &mut out);
                out.resize(from + word, 0);
            }
            let next = arrays + 4 * tiles;
            self.put(if number + 1 < images.len() { next as u64 } else { 0 }, word, &mut out);
            out.extend_from_slice(text);
            (0..*tiles).for_each(|tile| self.put(1_000_000 + tile as u64, 4, &mut out));
        }
        assert!(out.len() <= self.size);
        out.resize(self.size, 0xDD);
        out
    }
}
