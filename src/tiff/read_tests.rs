use proptest::prelude::*;

use super::*;

/// A TIFF of some directories, of both forms and byte orders, whose directories begin at `at`.
struct Made {
    is_big_endian: bool,
    is_big: bool,
    at: usize,
    size: usize,
}

impl Made {
    fn put(&self, value: u64, length: usize, out: &mut Vec<u8>) {
        match self.is_big_endian {
            true => out.extend_from_slice(&value.to_be_bytes()[8 - length..]),
            false => out.extend_from_slice(&value.to_le_bytes()[..length]),
        }
    }

    /// Directories of width and height, a text and as many offsets as there are tiles.
    fn bytes(&self, images: &[(u64, u64, usize)]) -> Vec<u8> {
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

/// Parses a file by asking for what is missing, and gives how often that was.
fn parsed(file: &[u8]) -> Result<(Head, usize)> {
    let mut pieces = Pieces::new(file.len() as u64);
    for asked in 0..2000 {
        match parse(&pieces)? {
            Parsed::Done(head) => return Ok((head, asked)),
            Parsed::Needs(range) => {
                let bytes = Bytes::copy_from_slice(&file[range.start as usize..range.end as usize]);
                assert!(pieces.get(&range).is_none(), "{range:?} is known");
                pieces.add(range.start, bytes);
            }
        }
    }
    panic!("it never ends")
}

#[test]
fn directories_are_found_wherever_they_stand() {
    let images = [(10_980, 10_980, 500), (5490, 5490, 120), (1, 1, 3)];
    for (is_big_endian, is_big, at) in [
        (false, false, 8),
        (true, false, 8),
        (false, true, 16),
        (true, true, 16),
        (false, false, 50_001),
        (true, true, 90_000),
    ] {
        let made = Made { is_big_endian, is_big, at, size: 100_000 };
        let file = made.bytes(&images);
        let (head, asked) = parsed(&file).unwrap();
        assert!(asked <= 3 * (1 + 2 * images.len()), "{asked}");
        assert_eq!(head.directories.len(), 3);
        for (directory, (width, height, tiles)) in head.directories.iter().zip(images) {
            assert_eq!(directory[&256], Value::Numbers(vec![width]));
            assert_eq!(directory[&257], Value::Numbers(vec![height]));
            assert_eq!(directory[&270], Value::Text("a text that stands elsewhere".into()));
            let offsets: Vec<u64> = (0..tiles as u64).map(|tile| 1_000_000 + tile).collect();
            assert_eq!(directory[&324], Value::Numbers(offsets));
        }
        assert!(head.ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", head.ranges);
        assert!(head.ranges.iter().all(|range| range.start.is_multiple_of(PAGE)));
        let kept: u64 = head.ranges.iter().map(|range| range.end - range.start).sum();
        assert!(kept < 20_000, "{kept}");
        // All at once.
        let mut whole = Pieces::new(file.len() as u64);
        whole.add(0, file.into());
        let Parsed::Done(again) = parse(&whole).unwrap() else { panic!("all is there") };
        assert_eq!(again, head);
    }
}

#[test]
fn what_lies_is_refused() {
    let made = Made { is_big_endian: false, is_big: false, at: 8, size: 6000 };
    let good = made.bytes(&[(10, 10, 4), (5, 5, 3)]);
    parsed(&good).unwrap();
    let refused = |file: &[u8], what: &str| {
        let error = parsed(file).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    refused(b"", "neither");
    refused(b"II", "neither");
    refused(&with(0, b"PK"), "neither");
    refused(&with(4, &[0; 4]), "no directory");
    refused(&with(4, &[0xFF; 4]), "the file has 6000");
    refused(&with(8, &[0, 0]), "0 entries");
    refused(&with(8, &[0xFF; 2]), "65535 entries");
    // The next directory is the first one again.
    refused(&with(58, &8u32.to_le_bytes()), "circle");
    // A billion tiles.
    refused(&with(10 + 36 + 4, &1_000_000_000u32.to_le_bytes()), "4000000000 bytes");
    // Cut anywhere before its last array ends.
    let end = good.iter().rposition(|byte| *byte != 0xDD).unwrap() + 1;
    for length in 0..good.len() {
        assert_eq!(parsed(&good[..length]).is_ok(), length >= end, "{length} of {end}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0usize..4, at in 0u8..200) {
        let start = [&b"II\x2A\0"[..], b"MM\0\x2A", b"II\x2B\0\x08\0\0\0", b"MM\0\x2B\0\x08\0\0"][kind];
        let offset = if kind % 2 == 0 { u32::from(at).to_le_bytes() } else { u32::from(at).to_be_bytes() };
        let _ = parsed(&[start, &offset, &bytes].concat());
    }
}
