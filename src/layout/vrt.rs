//! VRT texts, GDAL's way to make a dataset of others: the list of a file's overviews, a window.

use std::fmt::Write;

use super::reduced::Level;
use crate::geo::Georeference;
use crate::jp2::{Component, Header, MainHeader};
use crate::path::Window;

/// GDAL's name for the type of an image's samples: its JP2OpenJPEG driver gives all bands the type of the first component.
pub(crate) fn data_type(main: &MainHeader) -> &'static str {
    main.siz.components.first().map_or("Byte", type_of)
}

fn type_of(component: &Component) -> &'static str {
    let signed = component.depth & 0x80 != 0;
    match ((component.depth & 0x7F) + 1, signed) {
        (..=8, _) => "Byte",
        (..=16, true) => "Int16",
        (..=16, false) => "UInt16",
        (_, true) => "Int32",
        (_, false) => "UInt32",
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
    let is_shown = type_of(component) == "Byte" && matches!(columns, 3 | 4) && depths.iter().all(|depth| *depth == 7);
    let colour = |entry: &[u8]| match *entry {
        [red, green, blue] => [red, green, blue, 255],
        [red, green, blue, alpha] => [red, green, blue, alpha],
        _ => [0; 4],
    };
    let is_whole = count <= 256 && values.len() >= count * columns;
    (is_shown && is_whole).then(|| values.chunks_exact(columns).take(count).map(colour).collect())
}

/// The dataset that a VRT shows a part of.
pub(crate) struct Part {
    /// The dataset's path, or the text of a VRT.
    pub(crate) path: String,
    /// Its width and height, and those of its tiles, in pixels.
    pub(crate) size: (u32, u32),
    pub(crate) tile: (u32, u32),
    /// What of it is shown.
    pub(crate) from: Window,
}

/// A dataset that is made of another, which has the bands of one image.
pub(crate) struct Vrt<'a> {
    /// The header of the image's file.
    pub(crate) header: &'a Header,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// Where it lies on the ground, where that is said here.
    pub(crate) georeference: Option<Georeference>,
    /// What it is made of.
    pub(crate) part: Part,
    /// The paths of its overviews, the finest first.
    pub(crate) overviews: Vec<String>,
}

impl Vrt<'_> {
    /// The text of the VRT.
    pub(crate) fn build(&self) -> String {
        let (width, height) = self.size;
        let path = escape(&self.part.path);
        let overviews: Vec<String> = self.overviews.iter().map(|path| escape(path)).collect();
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">");
        if let Some(Georeference { epsg, transform }) = &self.georeference {
            let [a, b, c, d, e, f] = transform;
            // Without a mapping of axes GDAL has easting or longitude first, as it has for JP2s.
            let _ = writeln!(out, "  <SRS>EPSG:{epsg}</SRS>");
            let _ = writeln!(out, "  <GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>");
        }
        let colours = colours(self.header);
        let kind = data_type(&self.header.main);
        let palette = palette(self.header);
        for (index, component) in self.header.main.siz.components.iter().enumerate() {
            let band = index + 1;
            let _ = writeln!(out, "  <VRTRasterBand dataType=\"{kind}\" band=\"{band}\">");
            let bits = (component.depth & 0x7F) + 1;
            let is_alpha = colours.get(index).copied().flatten() == Some("Alpha");
            let is_widened = is_alpha && self.widens_alpha(index);
            if ![8, 16, 32].contains(&bits) && !is_widened {
                // As the JP2 driver tells it.
                let _ = writeln!(
                    out,
                    "    <Metadata domain=\"IMAGE_STRUCTURE\"><MDI key=\"NBITS\">{bits}</MDI></Metadata>"
                );
            }
            if let Some(colour) = colours.get(index).copied().flatten() {
                let _ = writeln!(out, "    <ColorInterp>{colour}</ColorInterp>");
            }
            if let Some(entries) = &palette {
                out.push_str("    <ColorInterp>Palette</ColorInterp>\n    <ColorTable>\n");
                for [c1, c2, c3, c4] in entries {
                    let _ = writeln!(out, "      <Entry c1=\"{c1}\" c2=\"{c2}\" c3=\"{c3}\" c4=\"{c4}\"/>");
                }
                out.push_str("    </ColorTable>\n");
            }
            for overview in &overviews {
                let _ = writeln!(
                    out,
                    "    <Overview><SourceFilename relativeToVRT=\"0\">{overview}</SourceFilename><SourceBand>{band}</SourceBand></Overview>"
                );
            }
            self.part.write(&mut out, &path, band, kind);
            out.push_str("  </VRTRasterBand>\n");
        }
        out.push_str("</VRTDataset>\n");
        out
    }
}

impl Vrt<'_> {
    /// Whether GDAL makes 255 of the ones of this opacity, of one bit beside samples of eight.
    fn widens_alpha(&self, index: usize) -> bool {
        let depth = |index: usize| self.header.main.siz.components.get(index).map(|component| component.depth);
        depth(index) == Some(0) && depth(usize::from(index == 0)) == Some(7)
    }
}

impl Part {
    /// The source of one band. With its properties here GDAL opens it when it is first read, not with the VRT.
    fn write(&self, out: &mut String, path: &str, band: usize, kind: &str) {
        let Self { size, tile, from, .. } = self;
        let area =
            |x: u32, y: u32| format!("xOff=\"{x}\" yOff=\"{y}\" xSize=\"{}\" ySize=\"{}\"", from.width, from.height);
        let _ = writeln!(
            out,
            "    <SimpleSource><SourceFilename relativeToVRT=\"0\">{path}</SourceFilename><SourceBand>{band}</SourceBand><SourceProperties RasterXSize=\"{}\" RasterYSize=\"{}\" DataType=\"{kind}\" BlockXSize=\"{}\" BlockYSize=\"{}\"/><SrcRect {}/><DstRect {}/></SimpleSource>",
            size.0,
            size.1,
            tile.0.min(size.0),
            tile.1.min(size.1),
            area(from.x, from.y),
            area(0, 0)
        );
    }
}

/// The list of `levels`, the finest first, of the image of a file that begins with `header`; `path` gives the path of a
/// level's view. Empty where there are no levels.
///
/// GDAL takes a dataset called `X.jp2.ovr` as the overviews of `X.jp2`, in place of those it finds by itself: the bands of
/// the dataset are the first overview, their overviews the others (`GDALDefaultOverviews`).
pub(crate) fn build_overviews(levels: &[Level], header: &Header, path: &dyn Fn(&Level) -> String) -> String {
    let Some((first, coarser)) = levels.split_first() else { return String::new() };
    let part = Part::whole(path(first), first.size, &header.main, first.k);
    let overviews = coarser.iter().map(path).collect();
    Vrt { header, size: first.size, georeference: None, part, overviews }.build()
}

impl Part {
    /// A dataset of `size` that is shown whole: the image of `main` at 1/2^k.
    pub(crate) fn whole(path: String, size: (u32, u32), main: &MainHeader, k: u8) -> Self {
        let tile = |size: u32| size.div_ceil(1 << k).max(1);
        let tile = (tile(main.siz.tile_width), tile(main.siz.tile_height));
        Self { path, size, tile, from: Window { x: 0, y: 0, width: size.0, height: size.1 } }
    }
}

/// Text as XML has it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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

    #[test]
    fn every_level_is_listed_for_every_band() {
        let levels = [
            Level { k: 1, size: (50, 40), is_whole: true },
            Level { k: 2, size: (25, 20), is_whole: true },
            Level { k: 3, size: (13, 10), is_whole: true },
        ];
        let file = made::File::default().bytes();
        let Progress::Done(mut main) = parse_main_header(&file, file.len() as u64).unwrap() else {
            panic!("all is there")
        };
        main.siz.components = vec![Component { depth: 14, dx: 1, dy: 1 }, Component { depth: 7, dx: 1, dy: 1 }];
        let path = |level: &Level| format!("?overview={}&url=x", 1 << level.k);
        let header = Header { bytes: file.into(), main };
        let text = build_overviews(&levels, &header, &path);
        let document = roxmltree::Document::parse(&text).unwrap();
        let bands: Vec<_> = document.descendants().filter(|node| node.has_tag_name("VRTRasterBand")).collect();
        assert_eq!(
            bands.iter().map(|band| band.attribute("dataType").unwrap()).collect::<Vec<_>>(),
            ["UInt16", "UInt16"],
            "of the first component"
        );
        for band in bands {
            let paths: Vec<_> = band.descendants().filter(|node| node.has_tag_name("SourceFilename")).collect();
            let paths: Vec<_> = paths.iter().map(|node| node.text().unwrap()).collect();
            assert_eq!(paths, ["?overview=4&url=x", "?overview=8&url=x", "?overview=2&url=x"]);
        }
        assert_eq!(document.root_element().attribute("rasterXSize"), Some("50"));
        assert_eq!(build_overviews(&[], &header, &path), "");
    }
}
