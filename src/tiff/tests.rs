use proptest::prelude::*;

use super::*;
use crate::geo::Georeference;

fn image(levels: Vec<(u32, u32)>, bands: usize) -> Image {
    Image {
        levels,
        sample: SampleType { bits: 16, signed: false },
        colours: vec![Some("Gray"); bands],
        palette: None,
        georeference: Some(Georeference { epsg: 32_631, transform: [10.0, 0.0, 399_960.0, 0.0, -10.0, 5_400_000.0] }),
        metadata: Vec::new(),
        tile: 64,
    }
}

/// All that stands before the tiles.
fn header(tiff: &Tiff) -> Vec<u8> {
    let mut bytes = vec![0xEE; tiff.data() as usize];
    assert_eq!(tiff.read(0, &mut bytes), bytes.len());
    bytes
}

/// A reader of directories, of both forms.
struct Reader<'a> {
    bytes: &'a [u8],
    is_big: bool,
}

impl Reader<'_> {
    fn number(&self, at: usize, length: usize) -> u64 {
        self.bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The directories: of each tag its type, and its values as numbers of that type's size.
    fn directories(&self) -> Vec<Vec<(u16, u16, Vec<u64>)>> {
        let (word, counted, entry, first) = if self.is_big { (8, 8, 20, 8) } else { (4, 2, 12, 4) };
        let mut found = Vec::new();
        let mut at = self.number(first, word) as usize;
        while at != 0 {
            let count = self.number(at, counted) as usize;
            let tags = (0..count).map(|index| {
                let at = at + counted + index * entry;
                let (tag, kind) = (self.number(at, 2) as u16, self.number(at + 2, 2) as u16);
                let width = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8][usize::from(kind)];
                let values = self.number(at + 4, word) as usize;
                let inline = at + 4 + word;
                let from = if values * width <= word { inline } else { self.number(inline, word) as usize };
                (tag, kind, (0..values).map(|value| self.number(from + value * width, width)).collect())
            });
            found.push(tags.collect::<Vec<_>>());
            at = self.number(at + counted + count * entry, word) as usize;
        }
        found
    }
}

fn values(directory: &[(u16, u16, Vec<u64>)], wanted: u16) -> &[u64] {
    &directory.iter().find(|(tag, ..)| *tag == wanted).unwrap().2
}

#[test]
fn every_level_is_a_directory_whose_arrays_say_where_its_tiles_lie() {
    for (levels, bands, is_big) in [
        (vec![(10_980, 10_980), (5490, 5490), (2745, 2745)], 1, false),
        (vec![(64, 64)], 1, false),
        (vec![(65, 1), (33, 1)], 4, false),
        (vec![(40_000, 40_000), (20_000, 20_000)], 2, true),
    ] {
        let tiff = Tiff::new(&image(levels.clone(), bands)).unwrap();
        let bytes = header(&tiff);
        assert!(bytes.starts_with(if is_big { b"II\x2B\0" } else { b"II\x2A\0" }));
        let directories = Reader { bytes: &bytes, is_big }.directories();
        assert_eq!(directories.len(), levels.len());
        let mut start = tiff.data();
        assert!(start.is_multiple_of(ALIGNMENT));
        for (number, (directory, size)) in directories.iter().zip(&levels).enumerate() {
            assert!(directory.windows(2).all(|pair| pair[0].0 < pair[1].0), "tags in ascending order");
            assert_eq!(values(directory, 254), [u64::from(number > 0)]);
            assert_eq!((values(directory, 256)[0], values(directory, 257)[0]), (size.0.into(), size.1.into()));
            assert_eq!(values(directory, 258), vec![16; bands]);
            let count = u64::from(size.0.div_ceil(64)) * u64::from(size.1.div_ceil(64));
            let offsets: Vec<u64> = (0..count).map(|tile| start + tile * tiff.tile_bytes()).collect();
            assert_eq!(values(directory, 324), offsets);
            assert_eq!(tiff.tile_start(number, count - 1), *offsets.last().unwrap());
            assert_eq!(values(directory, 325), vec![tiff.tile_bytes(); count as usize]);
            start += count * tiff.tile_bytes();
        }
        assert_eq!(tiff.size(), start);
    }
}

#[test]
fn bands_are_what_their_colours_say() {
    let told = |colours: &[Option<&'static str>]| {
        let image = Image { colours: colours.to_vec(), ..image(vec![(10, 10)], 0) };
        let bytes = header(&Tiff::new(&image).unwrap());
        let directory = Reader { bytes: &bytes, is_big: false }.directories().remove(0);
        let extra = directory.iter().find(|(tag, ..)| *tag == 338).map_or(Vec::new(), |(_, _, values)| values.clone());
        let metadata = directory.iter().find(|(tag, ..)| *tag == 42_112);
        let text = metadata.map_or(Vec::new(), |(.., values)| values.iter().map(|value| *value as u8).collect());
        (values(&directory, 262)[0], extra, String::from_utf8(text).unwrap().matches("COLORINTERP").count())
    };
    let (red, green, blue, alpha) = (Some("Red"), Some("Green"), Some("Blue"), Some("Alpha"));
    assert_eq!(told(&[Some("Gray")]), (1, vec![], 0));
    assert_eq!(told(&[None]), (1, vec![], 1), "GDAL takes the only band for grey");
    assert_eq!(told(&[red, green, blue]), (2, vec![], 0));
    assert_eq!(told(&[red, green, blue, alpha]), (2, vec![2], 0));
    assert_eq!(told(&[blue, green, red]), (1, vec![0, 0], 3));
    assert_eq!(told(&[None, None, alpha]), (1, vec![0, 2], 1));
}

#[test]
fn an_image_that_cannot_be_is_none() {
    assert!(Tiff::new(&image(vec![], 1)).is_none());
    assert!(Tiff::new(&image(vec![(0, 10)], 1)).is_none());
    assert!(Tiff::new(&image(vec![(10, 10)], 0)).is_none());
    assert!(Tiff::new(&image(vec![(10, 10)], 16_384)).is_none(), "a tile of 134 MB");
    assert!(Tiff::new(&image(vec![(u32::MAX, u32::MAX)], 512)).is_none(), "its size has no number");
}

proptest! {
    /// Any piece of the header is that piece of it, and any range touches the tiles that lie in it.
    #[test]
    fn pieces_are_parts_of_the_whole(
        width in 1u32..2000, height in 1u32..2000, bands in 1usize..5, from in 0f64..1.0, length in 0usize..3000,
    ) {
        let tiff = Tiff::new(&image(vec![(width, height), (width.div_ceil(2), height.div_ceil(2))], bands)).unwrap();
        let whole = header(&tiff);
        let offset = (from * whole.len() as f64) as u64;
        let mut piece = vec![0xEE; length];
        let read = tiff.read(offset, &mut piece);
        prop_assert_eq!(read, length.min(whole.len() - offset as usize));
        prop_assert_eq!(&piece[..read], &whole[offset as usize..][..read]);
        prop_assert!(piece[read..].iter().all(|byte| *byte == 0xEE));
        let start = (from * tiff.size() as f64) as u64;
        let range = start..(start + length as u64 * 7).min(tiff.size());
        let mut touched = Vec::new();
        for (level, of) in tiff.levels().iter().enumerate() {
            for number in 0..u64::from(of.across) * u64::from(of.down) {
                let tile = tiff.tile_start(level, number);
                if tile < range.end && range.start < tile + tiff.tile_bytes() && !range.is_empty() {
                    touched.push((level, number));
                }
            }
        }
        let told: Vec<_> = tiff.tiles(&range).into_iter()
            .flat_map(|tiles| tiles.numbers.map(move |number| (tiles.level, number))).collect();
        prop_assert_eq!(told, touched);
    }
}
