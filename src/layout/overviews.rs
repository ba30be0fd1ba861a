//! The text of `X.jp2.ovr`: a VRT that lists the reduced views.
//!
//! GDAL takes a dataset of this name as the overviews of `X.jp2`, in place of those it finds by itself: the bands of the
//! dataset are the first overview, their overviews the others (`GDALDefaultOverviews`).

use std::fmt::Write;

use crate::jp2::{Component, MainHeader};

/// An overview: the image at 1/2^k.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// The number of times that the image is halved.
    pub(crate) k: u8,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
}

/// GDAL's name for the type of a component's samples, as its JP2OpenJPEG driver has it.
fn data_type(component: &Component) -> &'static str {
    let signed = component.depth & 0x80 != 0;
    match ((component.depth & 0x7F) + 1, signed) {
        (..=8, _) => "Byte",
        (..=16, true) => "Int16",
        (..=16, false) => "UInt16",
        (_, true) => "Int32",
        (_, false) => "UInt32",
    }
}

/// GDAL's names for what the bands of an image show, by its colour specification box (T.800 I.5.3.3), as far as it tells:
/// red, green and blue, or grey. `header` begins the file.
fn colours(header: &[u8], main: &MainHeader) -> &'static [&'static str] {
    let jp2h = main.boxes.iter().find(|(kind, ..)| kind == b"jp2h").and_then(|(_, offset, length)| {
        header.get(usize::try_from(*offset).ok()?..usize::try_from(offset.checked_add(*length)?).ok()?)
    });
    let jp2h = jp2h.unwrap_or_default();
    let after = |kind: &[u8; 4]| jp2h.windows(4).position(|window| window == kind).map(|at| at + 4);
    // METH = 1: an enumerated colour space follows two more bytes.
    let space = after(b"colr").and_then(|at| jp2h.get(at..at + 7)).filter(|colr| colr.first() == Some(&1));
    match space.and_then(|colr| colr.get(3..)) {
        _ if after(b"pclr").is_some() => &[],
        Some([0, 0, 0, 16]) if main.siz.components.len() >= 3 => &["Red", "Green", "Blue"],
        Some([0, 0, 0, 17]) => &["Gray"],
        _ => &[],
    }
}

/// The VRT of `levels`, the finest first, of the image of `main`, whose file begins with `header`; `path` gives the path of a
/// level's view. Empty where there are no levels.
pub(crate) fn build_overviews(
    levels: &[Level],
    header: &[u8],
    main: &MainHeader,
    path: &dyn Fn(&Level) -> String,
) -> String {
    let mut out = String::new();
    let Some((first, coarser)) = levels.split_first() else { return out };
    let paths: Vec<String> = levels.iter().map(|level| escape(&path(level))).collect();
    let (width, height) = first.size;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">");
    let colours = colours(header, main);
    for (index, component) in main.siz.components.iter().enumerate() {
        let (band, kind) = (index + 1, data_type(component));
        let _ = writeln!(out, "  <VRTRasterBand dataType=\"{kind}\" band=\"{band}\">");
        if let Some(colour) = colours.get(index) {
            let _ = writeln!(out, "    <ColorInterp>{colour}</ColorInterp>");
        }
        for (_, path) in coarser.iter().zip(paths.iter().skip(1)) {
            let _ = writeln!(
                out,
                "    <Overview><SourceFilename relativeToVRT=\"0\">{path}</SourceFilename><SourceBand>{band}</SourceBand></Overview>"
            );
        }
        let area = format!("xOff=\"0\" yOff=\"0\" xSize=\"{width}\" ySize=\"{height}\"");
        let path = paths.first().map_or("", String::as_str);
        let _ = writeln!(
            out,
            "    <SimpleSource><SourceFilename relativeToVRT=\"0\">{path}</SourceFilename><SourceBand>{band}</SourceBand><SrcRect {area}/><DstRect {area}/></SimpleSource>"
        );
        out.push_str("  </VRTRasterBand>\n");
    }
    out.push_str("</VRTDataset>\n");
    out
}

/// Text as XML has it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::{Progress, made, parse_main_header};

    #[test]
    fn colours_are_what_the_box_says() {
        let colr = |space: u8| [&[0, 0, 0, 15][..], b"colr", &[1, 0, 0, 0, 0, 0, space]].concat();
        let told = |contents: &[u8], components: usize| {
            let file = made::File::default().bytes();
            let Progress::Done(mut main) = parse_main_header(&file, file.len() as u64).unwrap() else {
                panic!("whole")
            };
            main.boxes = vec![(*b"jp2h", 0, 8 + contents.len() as u64)];
            main.siz.components = vec![Component { depth: 7, dx: 1, dy: 1 }; components];
            colours(&[&[0; 4][..], b"jp2h", contents].concat(), &main)
        };
        assert_eq!(told(&colr(16), 3), ["Red", "Green", "Blue"]);
        assert_eq!(told(&colr(17), 1), ["Gray"]);
        assert!(told(&colr(16), 2).is_empty() && told(&colr(18), 3).is_empty() && told(b"", 1).is_empty());
        assert!(told(&[&colr(17)[..], b"\0\0\0\x08pclr"].concat(), 1).is_empty(), "a palette");
    }

    #[test]
    fn every_level_is_listed_for_every_band() {
        let levels = [Level { k: 1, size: (50, 40) }, Level { k: 2, size: (25, 20) }, Level { k: 3, size: (13, 10) }];
        let file = made::File::default().bytes();
        let Progress::Done(mut main) = parse_main_header(&file, file.len() as u64).unwrap() else {
            panic!("all is there")
        };
        main.siz.components = vec![Component { depth: 14, dx: 1, dy: 1 }, Component { depth: 7, dx: 1, dy: 1 }];
        let path = |level: &Level| format!("?overview={}&url=x", 1 << level.k);
        let text = build_overviews(&levels, &file, &main, &path);
        let document = roxmltree::Document::parse(&text).unwrap();
        let bands: Vec<_> = document.descendants().filter(|node| node.has_tag_name("VRTRasterBand")).collect();
        assert_eq!(
            bands.iter().map(|band| band.attribute("dataType").unwrap()).collect::<Vec<_>>(),
            ["UInt16", "Byte"]
        );
        for band in bands {
            let paths: Vec<_> = band.descendants().filter(|node| node.has_tag_name("SourceFilename")).collect();
            let paths: Vec<_> = paths.iter().map(|node| node.text().unwrap()).collect();
            assert_eq!(paths, ["?overview=4&url=x", "?overview=8&url=x", "?overview=2&url=x"]);
        }
        assert_eq!(document.root_element().attribute("rasterXSize"), Some("50"));
        assert_eq!(build_overviews(&[], &file, &main, &path), "");
    }
}
