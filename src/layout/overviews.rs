//! The text of `X.jp2.ovr`: a VRT that lists the reduced views.
//!
//! GDAL takes a dataset of this name as the overviews of `X.jp2`, in place of those it finds by itself: the bands of the
//! dataset are the first overview, their overviews the others (`GDALDefaultOverviews`).

use std::fmt::Write;

use crate::jp2::Component;

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

/// The VRT of `levels`, the finest first, of an image with these components; `path` gives the path of a level's view.
/// Empty where there are no levels.
pub(crate) fn build_overviews(levels: &[Level], components: &[Component], path: &dyn Fn(&Level) -> String) -> String {
    let mut out = String::new();
    let Some((first, coarser)) = levels.split_first() else { return out };
    let paths: Vec<String> = levels.iter().map(|level| escape(&path(level))).collect();
    let (width, height) = first.size;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">");
    for (index, component) in components.iter().enumerate() {
        let (band, kind) = (index + 1, data_type(component));
        let _ = writeln!(out, "  <VRTRasterBand dataType=\"{kind}\" band=\"{band}\">");
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

    #[test]
    fn every_level_is_listed_for_every_band() {
        let levels = [Level { k: 1, size: (50, 40) }, Level { k: 2, size: (25, 20) }, Level { k: 3, size: (13, 10) }];
        let components = [Component { depth: 14, dx: 1, dy: 1 }, Component { depth: 7, dx: 1, dy: 1 }];
        let text = build_overviews(&levels, &components, &|level| format!("?overview={}&url=x", 1 << level.k));
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
        assert_eq!(build_overviews(&[], &components, &|_| String::new()), "");
    }
}
