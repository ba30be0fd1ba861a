//! The list of a file's overviews: a VRT, GDAL's way to make a dataset of others.

use std::fmt::Write;

use super::bands::{colours, data_type, palette};
use super::reduced::Level;
use super::window::tile_at;
use crate::jp2::Header;

/// The list of `levels`, the finest first, of the image of a file that begins with `header`; `path` gives the path of a
/// level's view. Empty where there are no levels.
///
/// GDAL takes a dataset called `X.jp2.ovr` as the overviews of `X.jp2`, in place of those it finds by itself: the bands of
/// the dataset are the first overview, their overviews the others (`GDALDefaultOverviews`).
pub(crate) fn build_overviews(levels: &[Level], header: &Header, path: &dyn Fn(&Level) -> String) -> String {
    let Some((first, coarser)) = levels.split_first() else { return String::new() };
    let ((width, height), tile) = (first.size, tile_at(&header.main, first.k));
    let source = escape(&path(first));
    let overviews: Vec<String> = coarser.iter().map(|level| escape(&path(level))).collect();
    let colours = colours(header);
    let kind = data_type(&header.main).gdal();
    let palette = palette(header);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">");
    for (index, component) in header.main.siz.components.iter().enumerate() {
        let band = index + 1;
        let _ = writeln!(out, "  <VRTRasterBand dataType=\"{kind}\" band=\"{band}\">");
        let bits = (component.depth & 0x7F) + 1;
        let is_alpha = colours.get(index).copied().flatten() == Some("Alpha");
        let is_usual = [8, 16, 32].contains(&bits) || (is_alpha && widens_alpha(header, index));
        if !is_usual {
            // As the JP2 driver tells it.
            let _ =
                writeln!(out, "    <Metadata domain=\"IMAGE_STRUCTURE\"><MDI key=\"NBITS\">{bits}</MDI></Metadata>");
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
        // With its properties here GDAL opens the source when it is first read, not with the VRT.
        let area = format!("xOff=\"0\" yOff=\"0\" xSize=\"{width}\" ySize=\"{height}\"");
        let _ = writeln!(
            out,
            "    <SimpleSource><SourceFilename relativeToVRT=\"0\">{source}</SourceFilename><SourceBand>{band}</SourceBand><SourceProperties RasterXSize=\"{width}\" RasterYSize=\"{height}\" DataType=\"{kind}\" BlockXSize=\"{}\" BlockYSize=\"{}\"/><SrcRect {area}/><DstRect {area}/></SimpleSource>",
            tile.0.min(width),
            tile.1.min(height),
        );
        out.push_str("  </VRTRasterBand>\n");
    }
    out.push_str("</VRTDataset>\n");
    out
}

/// Whether GDAL makes 255 of the ones of this opacity, of one bit beside samples of eight.
fn widens_alpha(header: &Header, index: usize) -> bool {
    let depth = |index: usize| header.main.siz.components.get(index).map(|component| component.depth);
    depth(index) == Some(0) && depth(usize::from(index == 0)) == Some(7)
}

/// Text as XML has it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::{Component, Progress, made, parse_main_header};

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
