//! The boxes of a file that say where its image lies, and what else GDAL tells of it.

use super::{geojp2, gml};
use crate::jp2::{Header, WholeBox, walk_boxes};

/// The UUID of MSIG boxes, a world file in binary form.
pub(super) const MSIG: [u8; 16] =
    [0x96, 0xA9, 0xF1, 0xF1, 0xDC, 0x98, 0x40, 0x2D, 0xA7, 0xAE, 0xD6, 0x8E, 0x34, 0x45, 0x18, 0x09];

/// The UUID of a box of XMP.
const XMP: [u8; 16] = [0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8, 0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC];

/// What boxes tell of a file: those before its codestream, and of those that follow it.
pub(super) struct Boxes<'a> {
    /// The GeoTIFFs of GeoJP2 boxes.
    pub(super) geotiffs: Vec<&'a [u8]>,
    /// The documents of GMLJP2 boxes.
    pub(super) documents: Vec<gml::Labelled<'a>>,
    /// The contents of an MSIG box, its UUID left out.
    pub(super) msig: Option<&'a [u8]>,
    /// XMP, a box's XML, and what is said of rights (T.800 I.6, I.7.1).
    pub(super) xmp: Option<&'a [u8]>,
    pub(super) xml: Vec<&'a [u8]>,
    pub(super) rights: Option<&'a [u8]>,
}

impl<'a> Boxes<'a> {
    pub(super) fn of(header: &'a Header, trailing: &'a [u8]) -> Self {
        let mut found =
            Self { geotiffs: Vec::new(), documents: Vec::new(), msig: None, xmp: None, xml: Vec::new(), rights: None };
        for one in header.boxes().chain(walk_boxes(trailing)) {
            found.take(&one);
            if one.kind == *b"jumb" {
                walk_boxes(one.contents).for_each(|inner| found.take(&inner));
            }
        }
        found
    }

    fn take(&mut self, one: &WholeBox<'a>) {
        match &one.kind {
            b"uuid" => {
                if let Some(geotiff) = one.contents.strip_prefix(&geojp2::UUID) {
                    self.geotiffs.push(geotiff);
                } else if let Some(msig) = one.contents.strip_prefix(&MSIG)
                    && msig.starts_with(b"MSIG/")
                    && self.msig.is_none()
                {
                    self.msig = Some(msig);
                } else if let Some(xmp) = one.contents.strip_prefix(&XMP) {
                    self.xmp = self.xmp.or(Some(xmp));
                }
            }
            b"xml " => self.xml.push(one.contents),
            b"jp2i" => self.rights = self.rights.or(Some(one.contents)),
            b"asoc" => self.documents.extend(gml::documents(one.contents)),
            _ => {}
        }
    }
}
