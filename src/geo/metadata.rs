//! What GDAL tells of a JP2 besides its pixels and where they lie: XML documents and the resolution, as the boxes of the
//! file have them (`GDALJP2AbstractDataset::LoadJP2Metadata`).

use roxmltree::{Document, Node};

use super::boxes::Boxes;
use super::gml;
use crate::jp2::{Header, box_of};

/// An item of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// GDAL's domain; that of `xml:…` has one document, which has no name. Empty for the usual one.
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Item {
    fn document(domain: &str, value: String) -> Self {
        Self { domain: format!("xml:{domain}"), name: "document".to_owned(), value }
    }
}

/// The metadata of a file that begins with `header`, and whose codestream `trailing` follows. `None` where it is more than
/// documents and items of text.
pub(crate) fn metadata(header: &Header, trailing: &[u8]) -> Option<Vec<Item>> {
    let boxes = Boxes::of(header, trailing);
    let mut items = Vec::new();
    items.extend(boxes.xmp.map(|xml| Some(Item::document("XMP", text(xml)?))));
    items.extend(gml::texts(&boxes.documents).map(|told| told.map(|(label, xml)| Item::document(label, xml))));
    let (own, others): (Vec<&[u8]>, Vec<&[u8]>) = boxes.xml.iter().partition(|xml| is_gdals(xml));
    items.extend((0..).zip(others).map(|(number, xml)| Some(Item::document(&format!("BOX_{number}"), text(xml)?))));
    let mut items = items.into_iter().collect::<Option<Vec<_>>>()?;
    if let Some(own) = own.first() {
        let own = items_of(&text(own)?)?;
        // They go before what other boxes say.
        items.retain(|item| own.iter().all(|other| other.domain != item.domain));
        items.extend(own);
    }
    items.extend(resolution(header));
    if let Some(rights) = boxes.rights {
        items.push(Item::document("IPR", text(rights)?));
    }
    Some(items)
}

/// Text as C has it: up to the first NUL.
fn text(xml: &[u8]) -> Option<String> {
    let end = xml.iter().position(|byte| *byte == 0).unwrap_or(xml.len());
    String::from_utf8(xml.get(..end)?.to_vec()).ok()
}

const ROOT: &[u8] = b"<GDALMultiDomainMetadata>";

/// Whether GDAL wrote the box to keep its own metadata.
fn is_gdals(xml: &[u8]) -> bool {
    xml.get(..ROOT.len()).is_some_and(|start| start.eq_ignore_ascii_case(ROOT))
}

/// GDAL's own metadata: `<Metadata domain="…"><MDI key="…">…</MDI></Metadata>`.
fn items_of(xml: &str) -> Option<Vec<Item>> {
    let document = Document::parse(xml).ok()?;
    let mut items = Vec::new();
    for group in document.root_element().children().filter(Node::is_element) {
        let domain = group.attribute("domain").unwrap_or_default();
        if domain == "IMAGE_STRUCTURE" {
            continue;
        }
        if !group.has_tag_name("Metadata") || group.attribute("format").is_some() {
            return None;
        }
        for item in group.children().filter(Node::is_element) {
            let name = item.attribute("key").filter(|_| item.has_tag_name("MDI"))?;
            let value = item.text().unwrap_or_default();
            items.push(Item { domain: domain.to_owned(), name: name.to_owned(), value: value.to_owned() });
        }
    }
    Some(items)
}

/// The resolution at which the image is to be displayed (T.800 I.5.3.7.2), in pixels per centimetre.
fn resolution(header: &Header) -> Vec<Item> {
    let display = header.of_jp2h(*b"res ").and_then(|res| box_of(res, *b"resd"));
    let Some([v1, v0, d1, d0, h1, h0, e1, e0, down, across]) = display.map(|found| found.contents) else {
        return Vec::new();
    };
    let per_centimetre = |numerator: [u8; 2], denominator: [u8; 2], exponent: u8| {
        let of = |bytes: [u8; 2]| f64::from(u16::from_be_bytes(bytes));
        of(numerator) / of(denominator) * 10f64.powi(i32::from(exponent.cast_signed())) / 100.0
    };
    let (down, across) =
        (per_centimetre([*v1, *v0], [*d1, *d0], *down), per_centimetre([*h1, *h0], [*e1, *e0], *across));
    if !down.is_finite() || !across.is_finite() {
        return Vec::new();
    }
    let item = |name: &str, value: String| Item { domain: String::new(), name: format!("TIFFTAG_{name}"), value };
    vec![
        item("XRESOLUTION", short(across)),
        item("YRESOLUTION", short(down)),
        item("RESOLUTIONUNIT", "3 (pixels/cm)".to_owned()),
    ]
}

/// A number in six digits, as C's `%g` writes it.
fn short(value: f64) -> String {
    let written = format!("{value:.5e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match exponent {
        -4..=5 => trim(&format!("{value:.*}", usize::try_from(5 - exponent).unwrap_or(0))),
        _ => format!("{}e{}{:02}", trim(digits), if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (value, written) in [
            (0.0, "0"),
            (1.0, "1"),
            (39.370_078_7, "39.3701"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_1, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (999_999.5, "1e+06"),
        ] {
            assert_eq!(short(value), written);
        }
    }

    #[test]
    fn gdals_own_metadata_is_items_of_text_or_is_not_carried_over() {
        let item = |domain: &str, name: &str, value: &str| Item {
            domain: domain.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let xml = "<GDALMultiDomainMetadata><Metadata><MDI key=\"a\">1 &lt; 2</MDI></Metadata>\
                   <Metadata domain=\"IMAGE_STRUCTURE\"><MDI key=\"NBITS\">9</MDI></Metadata>\
                   <Metadata domain=\"D\"><MDI key=\"b\"></MDI></Metadata></GDALMultiDomainMetadata>";
        assert!(is_gdals(xml.as_bytes()) && !is_gdals(b"<a/>"));
        assert_eq!(items_of(xml).unwrap(), [item("", "a", "1 < 2"), item("D", "b", "")]);
        for xml in ["<a", "<a><Metadata format=\"xml\"><b/></Metadata></a>", "<a><b/></a>"] {
            assert_eq!(items_of(xml), None);
        }
        assert_eq!(text(b"ab\0cd").unwrap(), "ab");
        assert_eq!(text(b"\xFF"), None);
    }
}
