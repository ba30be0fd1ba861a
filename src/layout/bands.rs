//! What the bands of an image are, as GDAL has them: the type of their samples, their colours, their palette.

use crate::jp2::{Component, Header, MainHeader};

/// The type of an image's samples, as GDAL has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataType {
    Byte,
    UInt16,
    Int16,
    UInt32,
    Int32,
}

impl DataType {
    /// GDAL's name for it.
    pub(crate) fn gdal(self) -> &'static str {
        match self {
            Self::Byte => "Byte",
            Self::UInt16 => "UInt16",
            Self::Int16 => "Int16",
            Self::UInt32 => "UInt32",
            Self::Int32 => "Int32",
        }
    }

    /// numpy's name for it.
    pub(crate) fn numpy(self) -> &'static str {
        match self {
            Self::Byte => "uint8",
            Self::UInt16 => "uint16",
            Self::Int16 => "int16",
            Self::UInt32 => "uint32",
            Self::Int32 => "int32",
        }
    }

    /// The bits of a sample.
    pub(crate) fn bits(self) -> u16 {
        match self {
            Self::Byte => 8,
            Self::UInt16 | Self::Int16 => 16,
            Self::UInt32 | Self::Int32 => 32,
        }
    }

    /// Whether samples may be negative.
    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::Int16 | Self::Int32)
    }
}

/// The type of an image's samples: GDAL's JP2OpenJPEG driver gives all bands the type of the first component.
pub(crate) fn data_type(main: &MainHeader) -> DataType {
    main.siz.components.first().map_or(DataType::Byte, type_of)
}

fn type_of(component: &Component) -> DataType {
    let signed = component.depth & 0x80 != 0;
    match ((component.depth & 0x7F) + 1, signed) {
        (..=8, _) => DataType::Byte,
        (..=16, true) => DataType::Int16,
        (..=16, false) => DataType::UInt16,
        (_, true) => DataType::Int32,
        (_, false) => DataType::UInt32,
    }
}

/// GDAL's names for what the bands of an image show, as far as its boxes tell: the colour specification (T.800 I.5.3.3) of
/// red, green and blue, or of grey; and the channel definition (I.5.3.6).
pub(crate) fn colours(header: &Header) -> Vec<Option<&'static str>> {
    let count = header.main.siz.components.len();
    // METH = 1: an enumerated colour space follows two more bytes.
    let colours: &[&str] = match header.of_jp2h(*b"colr") {
        _ if header.has_palette() => &[],
        Some([1, _, _, 0, 0, 0, 16, ..]) if count >= 3 => &["Red", "Green", "Blue"],
        // GDAL has no grey among more than two bands.
        Some([1, _, _, 0, 0, 0, 17, ..]) if count <= 2 => &["Gray"],
        _ => &[],
    };
    let mut bands: Vec<Option<&str>> =
        colours.iter().copied().map(Some).chain(std::iter::repeat(None)).take(count).collect();
    // N definitions of Cn, Typ and Asoc: the channel, 0 for colour or 1 for opacity, and the colour's number from 1.
    if let Some([n0, n1, definitions @ ..]) = header.of_jp2h(*b"cdef") {
        for definition in definitions.chunks_exact(6).take(usize::from(u16::from_be_bytes([*n0, *n1]))) {
            let [c0, c1, 0, kind, _, colour] = definition else { continue };
            let Some(band) = bands.get_mut(usize::from(u16::from_be_bytes([*c0, *c1]))) else { continue };
            *band = match kind {
                0 => usize::from(*colour).checked_sub(1).and_then(|colour| colours.get(colour).copied()),
                1 => Some("Alpha"),
                _ => None,
            };
        }
    }
    bands
}

/// The colours of a palette (T.800 I.5.3.4), each with its opacity, where GDAL makes a colour table of them: of one band of
/// bytes, three or four columns of eight bits.
pub(crate) fn palette(header: &Header) -> Option<Vec<[u8; 4]>> {
    let [component] = header.main.siz.components.as_slice() else { return None };
    let [n0, n1, columns, depths @ ..] = header.of_jp2h(*b"pclr")? else { return None };
    let (count, columns) = (usize::from(u16::from_be_bytes([*n0, *n1])), usize::from(*columns));
    let (depths, values) = depths.split_at_checked(columns)?;
    let is_shown =
        type_of(component) == DataType::Byte && matches!(columns, 3 | 4) && depths.iter().all(|depth| *depth == 7);
    let colour = |entry: &[u8]| match *entry {
        [red, green, blue] => [red, green, blue, 255],
        [red, green, blue, alpha] => [red, green, blue, alpha],
        _ => [0; 4],
    };
    let is_whole = count <= 256 && values.len() >= count * columns;
    (is_shown && is_whole).then(|| values.chunks_exact(columns).take(count).map(colour).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::{LBox, Progress, build_box, made, parse_main_header};

    #[test]
    fn colours_are_what_the_box_says() {
        let a_box = |kind: &[u8; 4], contents: &[u8]| build_box(*kind, contents).unwrap();
        let colr = |space: u8| a_box(b"colr", &[1, 0, 0, 0, 0, 0, space]);
        let told = |contents: &[u8], components: usize| {
            let file = made::File::default().bytes();
            let Progress::Done(mut main) = parse_main_header(&file, file.len() as u64).unwrap() else {
                panic!("whole")
            };
            main.boxes = vec![(*b"jp2h", 0, 8 + contents.len() as u64)];
            main.jp2c = Some((0, LBox::ToEnd));
            main.siz.components = vec![Component { depth: 7, dx: 1, dy: 1 }; components];
            colours(&Header { bytes: a_box(b"jp2h", contents).into(), main })
        };
        let (red, green, blue, alpha) = (Some("Red"), Some("Green"), Some("Blue"), Some("Alpha"));
        assert_eq!(told(&colr(16), 3), [red, green, blue]);
        assert_eq!(told(&colr(17), 1), [Some("Gray")]);
        assert_eq!((told(&colr(16), 2), told(&colr(18), 3), told(b"", 1)), (vec![None; 2], vec![None; 3], vec![None]));
        assert_eq!(told(&[&colr(17)[..], b"\0\0\0\x08pclr"].concat(), 1), [None], "a palette");
        let cdef = a_box(b"cdef", &[0, 4, 0, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 2, 0, 2, 0, 0, 0, 1, 0, 3, 0, 1, 0, 0]);
        let profile = a_box(b"colr", b"\x02\0\0pclr\0\0\0\x0Fcolr\x01\0\0\0\0\0\x11cdef\0\x01\0\0\0\x01\0\0ihdr");
        assert_eq!(told(&profile, 1), [None], "words of an ICC profile");
        assert_eq!(told(&[a_box(b"abcd", b"pclrcdef\0\x01\0\0\0\x01\0\0"), colr(17)].concat(), 1), [Some("Gray")]);
        assert_eq!(told(&[colr(16), cdef].concat(), 4), [blue, green, red, alpha]);
    }
}
