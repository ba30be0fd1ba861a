use proptest::prelude::*;

use super::super::read::{Head, Parsed, Pieces, parse};
use super::super::stored::StoredImage;
use super::*;

/// A TIFF of one image, uncompressed unless its tiles are given: its tags may be changed, and its tiles be left out.
#[derive(Clone)]
struct Made {
    is_big_endian: bool,
    size: (u32, u32),
    bands: u16,
    /// Bytes of a sample, and SampleFormat.
    sample: (u16, u16),
    tile: (u32, u32),
    is_tiled: bool,
    is_planar: bool,
    /// Numbers of those that the file has no bytes for.
    missing: Vec<usize>,
    nodata: Option<&'static str>,
    /// Tags in place of, or besides, its own.
    tags: Vec<(u16, u64)>,
}

/// The lowest bytes of the sample of a band, column and row.
fn sample(band: u16, column: u32, row: u32) -> u64 {
    (u64::from(band) * 1_000_003 + u64::from(row) * 7919 + u64::from(column) * 31).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Made {
    fn put(&self, value: u64, length: usize, out: &mut Vec<u8>) {
        match self.is_big_endian {
            true => out.extend_from_slice(&value.to_be_bytes()[8 - length..]),
            false => out.extend_from_slice(&value.to_le_bytes()[..length]),
        }
    }

    /// The bytes of all tiles, plane by plane, those beyond the image filled with 0xAB.
    fn tiles(&self) -> Vec<Vec<u8>> {
        let planes: Vec<Vec<u16>> = if self.is_planar {
            (0..self.bands).map(|band| vec![band]).collect()
        } else {
            vec![(0..self.bands).collect()]
        };
        let mut tiles = Vec::new();
        for plane in planes {
            for y in (0..self.size.1).step_by(self.tile.1 as usize) {
                for x in (0..self.size.0).step_by(self.tile.0 as usize) {
                    let rows = if self.is_tiled { self.tile.1 } else { self.tile.1.min(self.size.1 - y) };
                    let mut tile = Vec::new();
                    for (row, column) in (y..y + rows).flat_map(|row| (x..x + self.tile.0).map(move |x| (row, x))) {
                        for band in &plane {
                            let is_inside = column < self.size.0 && row < self.size.1;
                            let value =
                                if is_inside { sample(*band, column, row) } else { u64::from_be_bytes([0xAB; 8]) };
                            self.put(value, self.sample.0.into(), &mut tile);
                        }
                    }
                    tiles.push(tile);
                }
            }
        }
        tiles
    }

    fn file(&self) -> Bytes {
        let mut out = if self.is_big_endian { b"MM\0\x2A".to_vec() } else { b"II\x2A\0".to_vec() };
        let tiles = self.tiles();
        let (mut places, mut data) = (Vec::new(), Vec::new());
        for (number, tile) in tiles.iter().enumerate() {
            if self.missing.contains(&number) {
                places.push((0, 0));
            } else {
                places.push((8 + data.len() as u64, tile.len() as u64));
                data.extend_from_slice(tile);
            }
        }
        self.put(8 + data.len() as u64, 4, &mut out);
        out.extend_from_slice(&data);
        let (side, arrays) = if self.is_tiled { ((322, 323), (324, 325)) } else { ((0, 278), (273, 279)) };
        let mut tags: BTreeMap<u16, (u16, Vec<u64>)> = BTreeMap::from([
            (256, (4, vec![self.size.0.into()])),
            (257, (4, vec![self.size.1.into()])),
            (258, (3, vec![u64::from(self.sample.0) * 8; self.bands.into()])),
            (259, (3, vec![1])),
            (262, (3, vec![1])),
            (277, (3, vec![self.bands.into()])),
            (284, (3, vec![1 + u64::from(self.is_planar)])),
            (339, (3, vec![self.sample.1.into(); self.bands.into()])),
            (side.0, (4, vec![self.tile.0.into()])),
            (side.1, (4, vec![self.tile.1.into()])),
            (arrays.0, (4, places.iter().map(|place| place.0).collect())),
            (arrays.1, (4, places.iter().map(|place| place.1).collect())),
        ]);
        tags.remove(&0);
        tags.extend(self.tags.iter().map(|(tag, value)| (*tag, (4, vec![*value]))));
        if let Some(text) = self.nodata {
            tags.insert(42_113, (2, text.bytes().chain([0]).map(u64::from).collect()));
        }
        self.put(tags.len() as u64, 2, &mut out);
        let (mut behind, mut values) = (out.len() + 12 * tags.len() + 4, Vec::new());
        for (tag, (kind, of_tag)) in tags {
            let width = [1, 2, 4][usize::from(kind) - 2];
            let mut bytes = Vec::new();
            of_tag.iter().for_each(|value| self.put(*value, width, &mut bytes));
            self.put(tag.into(), 2, &mut out);
            self.put(kind.into(), 2, &mut out);
            self.put(of_tag.len() as u64, 4, &mut out);
            if bytes.len() <= 4 {
                bytes.resize(4, 0);
                out.extend_from_slice(&bytes);
            } else {
                self.put(behind as u64, 4, &mut out);
                behind += bytes.len();
                values.extend_from_slice(&bytes);
            }
        }
        self.put(0, 4, &mut out);
        out.extend_from_slice(&values);
        out.into()
    }
}

const PLAIN: Made = Made {
    is_big_endian: false,
    size: (70, 45),
    bands: 3,
    sample: (2, 1),
    tile: (32, 16),
    is_tiled: true,
    is_planar: false,
    missing: Vec::new(),
    nodata: None,
    tags: Vec::new(),
};

fn image(file: &Bytes) -> Result<StoredImage> {
    let mut pieces = Pieces::new(file.len() as u64);
    pieces.add(0, file.clone());
    match parse(&pieces)? {
        Parsed::Done(head) => StoredImage::of(&head, file.len() as u64),
        Parsed::Needs(range) => panic!("{range:?} is there"),
    }
}

fn decoded(file: &Bytes, window: &Area, bands: Option<&[u16]>) -> Result<Samples> {
    let image = image(file)?;
    let level = &image.levels[0];
    let slice = |range: Range<u64>| file.slice(range.start as usize..range.end as usize);
    let fetched: Vec<Bytes> = level.plan(window, bands)?.into_iter().map(slice).collect();
    level.decode(window, bands, &fetched, 2)
}

/// Samples as numbers of their bits.
fn bits(pixels: &Samples) -> Vec<u64> {
    match &pixels.values {
        Values::U8(values) => values.iter().map(|value| u64::from(*value)).collect(),
        Values::I8(values) => values.iter().map(|value| u64::from(*value as u8)).collect(),
        Values::U16(values) => values.iter().map(|value| u64::from(*value)).collect(),
        Values::I16(values) => values.iter().map(|value| u64::from(*value as u16)).collect(),
        Values::U32(values) => values.iter().map(|value| u64::from(*value)).collect(),
        Values::I32(values) => values.iter().map(|value| u64::from(*value as u32)).collect(),
        Values::U64(values) => values.clone(),
        Values::I64(values) => values.iter().map(|value| *value as u64).collect(),
        Values::F32(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
        Values::F64(values) => values.iter().map(|value| value.to_bits()).collect(),
    }
}

/// What a window of a made TIFF has.
fn expected(made: &Made, window: &Area, bands: &[u16]) -> Vec<u64> {
    let mask = u64::MAX >> (64 - 8 * made.sample.0);
    let rows = bands.iter().flat_map(|band| window.1.clone().map(move |row| (*band, row)));
    rows.flat_map(|(band, row)| window.0.clone().map(move |column| sample(band - 1, column, row) & mask)).collect()
}

#[test]
fn every_way_to_store_samples_gives_the_same() {
    let types = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (4, 3), (8, 1), (8, 2), (8, 3)];
    for (number, sample) in types.into_iter().enumerate() {
        for ways in 0..8 {
            let (is_big_endian, is_tiled, is_planar) = (ways & 1 != 0, ways & 2 != 0, ways & 4 != 0);
            let tile = if is_tiled { (32, 16) } else { (70, 11) };
            let made = Made { is_big_endian, is_tiled, is_planar, tile, sample, ..PLAIN };
            let file = made.file();
            for (window, bands) in [
                ((0..70, 0..45), None),
                ((31..33, 15..17), Some(&[3, 1][..])),
                ((69..70, 44..45), Some(&[2, 2])),
                ((5..5, 3..9), None),
            ] {
                let pixels = decoded(&file, &window, bands).unwrap();
                let bands = bands.unwrap_or(&[1, 2, 3]);
                assert_eq!(pixels.shape, [bands.len(), window.1.len(), window.0.len()]);
                assert_eq!(bits(&pixels), expected(&made, &window, bands), "{sample:?} {ways} {window:?}");
                let kind = [
                    matches!(pixels.values, Values::U8(_)),
                    matches!(pixels.values, Values::I8(_)),
                    matches!(pixels.values, Values::U16(_)),
                    matches!(pixels.values, Values::I16(_)),
                    matches!(pixels.values, Values::U32(_)),
                    matches!(pixels.values, Values::I32(_)),
                    matches!(pixels.values, Values::F32(_)),
                    matches!(pixels.values, Values::U64(_)),
                    matches!(pixels.values, Values::I64(_)),
                    matches!(pixels.values, Values::F64(_)),
                ];
                assert_eq!(kind.iter().position(|is| *is), Some(number));
            }
        }
    }
}

#[test]
fn a_window_takes_the_tiles_that_it_touches() {
    let file = PLAIN.file();
    let level = image(&file).unwrap().levels.remove(0);
    let tile = 32 * 16 * 3 * 2;
    let from = |number: u64| 8 + number * tile..8 + (number + 1) * tile;
    assert_eq!(level.plan(&(0..1, 0..1), None).unwrap(), [from(0)]);
    assert_eq!(level.plan(&(31..33, 15..17), Some(&[2])).unwrap(), [from(0), from(1), from(3), from(4)]);
    assert_eq!(level.plan(&(3..3, 0..1), None).unwrap(), []);
    let planar = Made { is_planar: true, ..PLAIN }.file();
    let level = image(&planar).unwrap().levels.remove(0);
    let tile = tile / 3;
    let from = |number: u64| 8 + number * tile..8 + (number + 1) * tile;
    // Each band has 3 x 3 tiles, and is fetched once.
    assert_eq!(level.plan(&(0..1, 0..1), Some(&[3, 1, 3])).unwrap(), [from(0), from(18)]);
    assert_eq!(level.plan(&(0..71, 0..1), None).unwrap_err().kind(), "Window");
    assert_eq!(level.plan(&(0..1, 0..1), Some(&[4])).unwrap_err().kind(), "Band");
    assert_eq!(level.plan(&(0..1, 0..1), Some(&[0])).unwrap_err().kind(), "Band");
    assert_eq!(level.decode(&(0..1, 0..1), None, &[], 1).unwrap_err().kind(), "Read");
}

#[test]
fn tiles_that_are_not_there_are_nodata() {
    let filled = |sample: (u16, u16), nodata: Option<&'static str>| {
        let made = Made { sample, nodata, missing: vec![0], ..PLAIN };
        let pixels = decoded(&made.file(), &(30..33, 0..1), Some(&[1]))?;
        let all = bits(&pixels);
        assert_eq!(all[2], expected(&made, &(32..33, 0..1), &[1])[0]);
        assert_eq!(all[0], all[1]);
        Ok::<u64, Error>(all[0])
    };
    assert_eq!(filled((1, 1), None).unwrap(), 0);
    assert_eq!(filled((1, 1), Some("255")).unwrap(), 255);
    assert_eq!(filled((2, 2), Some("-9999.0")).unwrap(), u64::from(-9999i16 as u16));
    assert_eq!(filled((4, 3), Some("nan")).unwrap(), u64::from(f32::NAN.to_bits()));
    assert_eq!(filled((8, 3), Some("-1.5e3")).unwrap(), (-1500f64).to_bits());
    assert_eq!(filled((8, 1), Some("18446744073709551615")).unwrap(), u64::MAX);
    // What GDAL would have to round, to clamp or to guess.
    for (sample, text) in
        [((1, 1), "256"), ((1, 1), "0.5"), ((1, 1), "nan"), ((8, 2), "1e3"), ((4, 3), "-nan"), ((4, 3), "1e300")]
    {
        assert_eq!(filled(sample, Some(text)).unwrap_err().kind(), "Undecoded", "{text}");
    }
}

#[test]
fn what_gdal_is_to_be_asked_for_is_refused_by_name() {
    for (tag, value, what) in [
        (258, 12, "samples of 12 bits"),
        (339, 6, "sample format 6"),
        (259, 7, "JPEG"),
        (262, 6, "photometric interpretation 6"),
        (262, 5, "photometric interpretation 5"),
        (266, 2, "lowest bits"),
        (322, 1 << 30, "tiles of 1073741824 x 16"),
    ] {
        let made = Made { size: (32, 16), tags: vec![(tag, value)], ..PLAIN };
        let error = image(&made.file()).unwrap_err();
        assert_eq!(error.kind(), "Undecoded", "{tag} {value}: {error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let predicted = |compression, predictor| {
        image(&Made { tags: vec![(259, compression), (317, predictor)], ..PLAIN }.file()).map(|_| ())
    };
    assert!(predicted(8, 2).is_ok());
    assert!(predicted(1, 9).is_ok(), "it means nothing without compression");
    assert_eq!(predicted(8, 3).unwrap_err().kind(), "Undecoded", "of whole numbers");
}

#[test]
fn directories_that_contradict_themselves_are_malformed() {
    for (tag, value) in
        [(256, 0), (257, 4000), (277, 0), (284, 3), (322, 0), (323, 5), (324, 8), (325, 8), (277, 70_000)]
    {
        let error = image(&Made { tags: vec![(tag, value)], ..PLAIN }.file()).unwrap_err();
        assert_eq!(error.kind(), "Malformed", "{tag} {value}: {error}");
    }
    let strips = Made { is_tiled: false, tile: (70, 11), ..PLAIN };
    assert!(image(&strips.file()).is_ok());
    assert_eq!(image(&Made { tags: vec![(278, 0)], ..strips }.file()).unwrap_err().kind(), "Malformed");
    // One tile, at a place or of a length that cannot be.
    let tile = Made { size: (32, 16), ..PLAIN };
    assert!(decoded(&tile.file(), &(0..1, 0..1), None).is_ok());
    for (tag, value) in [(324, 0), (324, 5000), (325, 0), (325, 3071), (325, u64::from(u32::MAX))] {
        let error =
            decoded(&Made { tags: vec![(tag, value)], ..tile.clone() }.file(), &(0..1, 0..1), None).unwrap_err();
        assert_eq!(error.kind(), "Malformed", "{tag} {value}: {error}");
    }
    // Bytes that are no deflate stream.
    let error = decoded(&Made { tags: vec![(259, 8)], ..tile }.file(), &(0..1, 0..1), None).unwrap_err();
    assert_eq!(error.kind(), "Malformed", "{error}");
}

#[test]
fn predictors_are_undone_across_the_whole_tile() {
    // Rows of differences, of two bands; packed as literals that LZW, deflate and zstd all would give back.
    let rows: Vec<u8> = (0..16 * 16 * 2).map(|place| if place % 32 < 2 { 5 } else { 1 }).collect();
    let packed = zstd::bulk::compress(&rows, 1).unwrap();
    let made =
        Made { size: (9, 9), bands: 2, sample: (1, 1), tile: (16, 16), tags: vec![(259, 50_000), (317, 2)], ..PLAIN };
    let level = image(&made.file()).unwrap().levels.remove(0);
    let array = level.array(packed.into(), 16).unwrap();
    let TypedArray::UInt8(values) = array else { panic!("of bytes") };
    for (place, value) in values.iter().enumerate() {
        assert_eq!(usize::from(*value), 5 + place % 32 / 2);
    }
}

/// Directories one after the other, each of which is a whole image of its own.
fn chained(files: &[Bytes]) -> Head {
    let of = |file: &Bytes| {
        let mut pieces = Pieces::new(file.len() as u64);
        pieces.add(0, file.clone());
        match parse(&pieces).unwrap() {
            Parsed::Done(head) => head,
            Parsed::Needs(range) => panic!("{range:?} is there"),
        }
    };
    let mut head = of(&files[0]);
    head.directories = files.iter().flat_map(|file| of(file).directories).collect();
    head
}

#[test]
fn overviews_and_masks_are_told_apart() {
    let of = |size, kind| Made { size, tags: vec![(254, kind)], ..PLAIN }.file();
    let mask = Made { size: (70, 45), bands: 1, tags: vec![(254, 4), (258, 1)], ..PLAIN }.file();
    let head = chained(&[of((70, 45), 0), mask, of((35, 23), 1), of((35, 23), 5), of((99, 99), 0), of((18, 12), 1)]);
    let image = StoredImage::of(&head, 1 << 20).unwrap();
    let sizes: Vec<_> = image.levels.iter().map(|level| level.size).collect();
    assert_eq!(sizes, [(70, 45), (35, 23), (18, 12)]);
    assert_eq!(image.masks, [(70, 45), (35, 23)]);
    let unlike = Made { sample: (1, 1), tags: vec![(254, 1)], ..PLAIN }.file();
    let error = StoredImage::of(&chained(&[of((70, 45), 0), unlike]), 1 << 20).unwrap_err();
    assert_eq!(error.kind(), "Undecoded");
    // The first one is the image, whatever it says.
    assert_eq!(StoredImage::of(&chained(&[of((70, 45), 1)]), 1 << 20).unwrap().levels.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes are changed, there are samples of the window, or an error.
    #[test]
    fn no_change_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let mut file = Made { size: (40, 20), tags: vec![(259, 8), (317, 2)], ..PLAIN }.file().to_vec();
        let directory = u32::from_le_bytes([file[4], file[5], file[6], file[7]]) as usize;
        for (at, byte) in changes {
            let length = file.len() - directory;
            file[directory + at.index(length)] = byte;
        }
        if let Ok(pixels) = decoded(&file.into(), &(0..20, 0..10), Some(&[1])) {
            prop_assert_eq!(pixels.shape, [1, 10, 20]);
        }
    }
}
