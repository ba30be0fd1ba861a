//! How the packets of a tile are coded: the COD and COC marker segments (T.800 A.6.1, A.6.2) of the main header, and
//! those of a tile's first tile-part that override them.
//!
//! Invariants of what is parsed here: at most 32 levels, `levels + 1` precinct sizes, none of exponent 0 but for the
//! coarsest resolution, code-blocks of at most 4,096 samples, a progression of Table A.16, at least one layer.

use std::collections::BTreeMap;

use super::codes::{COC, COD, PROGRESSIONS};
use super::cursor::{Cursor, Short};
use crate::error::{Error, Result};

/// Selective arithmetic coding bypass (Table A.19).
pub(crate) const BYPASS: u8 = 0x01;
/// Termination on each coding pass (Table A.19).
pub(super) const TERMINATE_ALL: u8 = 0x04;
/// All styles of Table A.19; the bits above them are of later parts (T.814: high-throughput code-blocks).
pub(crate) const KNOWN_STYLES: u8 = 0x3F;

/// How one component of a tile is coded (SPcod of Table A.15, SPcoc of Table A.23).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentCoding {
    /// NL: the number of decomposition levels, at most 32.
    pub(crate) levels: u8,
    /// xcb and ycb: the code-block's width and height as powers of two, 2 to 10 each, at most 12 together.
    pub(crate) code_block: (u8, u8),
    /// The code-block style, bits of Table A.19.
    pub(crate) style: u8,
    /// Whether the wavelet is the reversible 5/3.
    pub(crate) reversible: bool,
    /// PPx and PPy of each resolution, the coarsest first; always `levels + 1` of them.
    pub(crate) precincts: Vec<(u8, u8)>,
}

impl ComponentCoding {
    /// Parses SPcod or SPcoc; `listed` tells that precinct sizes are given. The outer result tells that bytes are
    /// missing, the inner one what is wrong with them.
    fn parse(cursor: &mut Cursor<'_>, listed: bool) -> Result<Result<Self, String>, Short> {
        let [levels, width, height, style, wavelet] =
            [cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?];
        if levels > 32 {
            return Ok(Err(format!("{levels} decomposition levels, more than the 32 of Table A.15")));
        }
        if width > 8 || height > 8 || width + height > 8 {
            return Ok(Err(format!(
                "code-blocks of 2^{} by 2^{} samples, more than Table A.18 allows",
                u16::from(width) + 2,
                u16::from(height) + 2
            )));
        }
        if wavelet > 1 {
            return Ok(Err(format!("a wavelet transformation {wavelet}, which Table A.20 does not have")));
        }
        let mut precincts = Vec::with_capacity(usize::from(levels) + 1);
        for resolution in 0..=levels {
            // Without a list every precinct is 2^15 wide and high (Table A.21).
            let packed = if listed { cursor.u8()? } else { 0xFF };
            let (ppx, ppy) = (packed & 15, packed >> 4);
            if resolution > 0 && (ppx == 0 || ppy == 0) {
                return Ok(Err(format!(
                    "a precinct exponent of 0 at resolution {resolution}; Table A.21 has it at resolution 0 only"
                )));
            }
            precincts.push((ppx, ppy));
        }
        Ok(Ok(Self { levels, code_block: (width + 2, height + 2), style, reversible: wavelet == 1, precincts }))
    }
}

/// How a tile is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TileCoding {
    /// The progression order, a number of Table A.16.
    pub(crate) progression: u8,
    /// The number of layers, at least 1.
    pub(crate) layers: u16,
    /// Whether components are transformed together.
    pub(crate) multiple_component_transform: bool,
    /// Whether SOP marker segments may stand before packets (A.8.1).
    pub(crate) sop: bool,
    /// Whether an EPH marker stands after each packet header (A.8.2).
    pub(crate) eph: bool,
    /// How components are coded that no COC names.
    pub(crate) default: ComponentCoding,
    /// How the others are, by their index.
    pub(crate) exceptions: BTreeMap<u16, ComponentCoding>,
}

impl TileCoding {
    /// How the component of this index is coded.
    pub(crate) fn component(&self, index: u16) -> &ComponentCoding {
        self.exceptions.get(&index).unwrap_or(&self.default)
    }

    /// Whether all packets that 1/2^k needs stand before those that only finer images need: one layer makes LRCP what RLCP
    /// is (B.12.1). Where components differ in their levels, a resolution is of another factor in each.
    pub(crate) fn is_by_resolution(&self) -> bool {
        matches!((self.progression, self.layers), (0, 1) | (1 | 2, _))
            && self.exceptions.values().all(|coding| coding.levels == self.default.levels)
    }

    fn parse(body: &[u8], offset: u64) -> Result<Self> {
        let bad = |what: String| Error::malformed(offset, "A.6.1", what);
        let mut cursor = Cursor::new(body, offset);
        let fields = (|| {
            let [style, progression] = [cursor.u8()?, cursor.u8()?];
            let layers = cursor.u16()?;
            let transform = cursor.u8()?;
            Ok((style, progression, layers, transform, ComponentCoding::parse(&mut cursor, style & 1 != 0)?))
        })();
        let (style, progression, layers, transform, default) =
            fields.map_err(|_: Short| bad(format!("a COD marker segment of {} bytes is too short", body.len())))?;
        if usize::from(progression) >= PROGRESSIONS.len() || layers == 0 {
            return Err(bad(format!("progression {progression} and {layers} layers")));
        }
        Ok(Self {
            progression,
            layers,
            multiple_component_transform: transform == 1,
            sop: style & 2 != 0,
            eph: style & 4 != 0,
            default: default.map_err(bad)?,
            exceptions: BTreeMap::new(),
        })
    }
}

/// The COD and COC marker segments of one header, collected in whatever order they stand.
#[derive(Debug, Clone, Default)]
pub(super) struct CodingSegments {
    cod: Option<TileCoding>,
    coc: BTreeMap<u16, ComponentCoding>,
}

impl CodingSegments {
    /// Takes in a marker segment's parameters; those of other markers than COD and COC are left alone. `offset` is the
    /// marker's place in the file, `components` is Csiz.
    pub(super) fn take(&mut self, code: u16, body: &[u8], offset: u64, components: usize) -> Result<()> {
        match code {
            COD => self.cod = Some(TileCoding::parse(body, offset)?),
            COC => {
                let bad = |what: String| Error::malformed(offset, "A.6.2", what);
                let mut cursor = Cursor::new(body, offset);
                let fields = (|| {
                    // Ccoc has one byte where Csiz < 257, else two.
                    let index = if components < 257 { cursor.u8()?.into() } else { cursor.u16()? };
                    let listed = cursor.u8()? & 1 != 0;
                    Ok((index, ComponentCoding::parse(&mut cursor, listed)?))
                })();
                let (index, coding) = fields
                    .map_err(|_: Short| bad(format!("a COC marker segment of {} bytes is too short", body.len())))?;
                if usize::from(index) >= components {
                    return Err(bad(format!("a COC marker segment of component {index}, the image has {components}")));
                }
                self.coc.insert(index, coding.map_err(bad)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether there was neither COD nor COC.
    pub(super) fn is_empty(&self) -> bool {
        self.cod.is_none() && self.coc.is_empty()
    }

    /// The main header's coding; `None` without a COD.
    pub(super) fn into_main(self) -> Option<TileCoding> {
        self.cod.map(|cod| TileCoding { exceptions: self.coc, ..cod })
    }

    /// A tile's coding where the main header's is `main`. The tile's COC comes before the tile's COD, that before the
    /// main header's COC, and that before the main header's COD (A.6.1).
    pub(super) fn into_tile(self, main: &TileCoding) -> TileCoding {
        let mut coding = self.cod.unwrap_or_else(|| main.clone());
        coding.exceptions.extend(self.coc);
        coding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAIN_COD: [u8; 10] = [0, 2, 0, 3, 1, 5, 4, 4, 0, 1];
    const MAIN_COC: [u8; 7] = [1, 0, 4, 3, 3, 4, 0];
    const TILE_COD: [u8; 13] = [7, 4, 0, 1, 0, 2, 2, 1, 1, 0, 0x70, 0x77, 0x88];
    const TILE_COC: [u8; 7] = [2, 0, 3, 4, 4, 0, 1];

    fn segments(bodies: &[(u16, &[u8])]) -> CodingSegments {
        let mut segments = CodingSegments::default();
        for (code, body) in bodies {
            segments.take(*code, body, 0, 3).unwrap();
        }
        segments
    }

    #[test]
    fn a_main_header_codes_what_its_cod_and_coc_say() {
        // The order of the two does not count.
        let coding = segments(&[(COC, &MAIN_COC), (COD, &MAIN_COD)]).into_main().unwrap();
        assert_eq!(coding, segments(&[(COD, &MAIN_COD), (COC, &MAIN_COC)]).into_main().unwrap());
        assert_eq!((coding.progression, coding.layers, coding.sop, coding.eph), (2, 3, false, false));
        assert!(coding.multiple_component_transform && coding.component(0).reversible);
        let levels: Vec<u8> = (0..3).map(|index| coding.component(index).levels).collect();
        assert_eq!(levels, [5, 4, 5]);
        assert_eq!(coding.component(0).precincts, [(15, 15); 6]);
        assert_eq!((coding.component(1).code_block, coding.component(1).style), ((5, 5), TERMINATE_ALL));
        assert!(!coding.component(1).reversible);
        assert!(segments(&[(COC, &MAIN_COC)]).into_main().is_none());
    }

    #[test]
    fn a_tile_overrides_in_the_order_of_the_standard() {
        let main = segments(&[(COD, &MAIN_COD), (COC, &MAIN_COC)]).into_main().unwrap();
        let levels = |bodies: &[(u16, &[u8])]| {
            let coding = segments(bodies).into_tile(&main);
            [0, 1, 2].map(|index| coding.component(index).levels)
        };
        assert_eq!(levels(&[]), [5, 4, 5]);
        assert_eq!(levels(&[(COC, &TILE_COC)]), [5, 4, 3]);
        // The tile's COD comes before the main header's COC.
        assert_eq!(levels(&[(COD, &TILE_COD)]), [2, 2, 2]);
        assert_eq!(levels(&[(COC, &TILE_COC), (COD, &TILE_COD)]), [2, 2, 3]);
        let coding = segments(&[(COD, &TILE_COD)]).into_tile(&main);
        assert!(coding.sop && coding.eph && coding.progression == 4 && coding.layers == 1);
        assert_eq!(coding.component(0).precincts, [(0, 7), (7, 7), (8, 8)]);
        assert_eq!(coding.component(0).code_block, (4, 3));
    }

    #[test]
    fn packets_are_in_the_order_of_resolutions_where_nothing_mixes_them() {
        let coding = |cod: &[u8]| segments(&[(COD, cod)]).into_main().unwrap();
        for (progression, layers, by_resolution) in
            [(0, 1, true), (0, 2, false), (1, 2, true), (2, 2, true), (3, 1, false), (4, 1, false)]
        {
            let coding = coding(&[0, progression, 0, layers, 0, 5, 4, 4, 0, 1]);
            assert_eq!(coding.is_by_resolution(), by_resolution, "{progression} {layers}");
            let levels = |levels: u8| TileCoding {
                exceptions: BTreeMap::from([(1, ComponentCoding { levels, ..coding.default.clone() })]),
                ..coding.clone()
            };
            assert_eq!(levels(5).is_by_resolution(), by_resolution, "{progression} {layers}");
            assert!(!levels(4).is_by_resolution(), "{progression} {layers}");
        }
    }

    #[test]
    fn a_component_index_has_two_bytes_from_257_components_on() {
        let mut narrow = CodingSegments::default();
        narrow.take(COD, &MAIN_COD, 0, 256).unwrap();
        narrow.take(COC, &[255, 0, 4, 3, 3, 4, 0], 0, 256).unwrap();
        assert_eq!(narrow.into_main().unwrap().component(255).levels, 4);
        let mut segments = CodingSegments::default();
        segments.take(COD, &MAIN_COD, 0, 257).unwrap();
        segments.take(COC, &[1, 0, 0, 4, 3, 3, 4, 0], 0, 257).unwrap();
        assert_eq!(segments.into_main().unwrap().component(256).levels, 4);
    }

    #[test]
    fn what_the_tables_do_not_have_is_refused() {
        let refused = |code: u16, body: &[u8], words: &str| {
            let error = CodingSegments::default().take(code, body, 77, 3).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("at byte 77 (T.800 A.6."), "{error}");
        };
        refused(COD, &[0, 5, 0, 1, 0, 5, 4, 4, 0, 1], "progression 5");
        refused(COD, &[0, 0, 0, 0, 0, 5, 4, 4, 0, 1], "0 layers");
        refused(COD, &[0, 0, 0, 1, 0, 33, 4, 4, 0, 1], "33 decomposition levels");
        refused(COD, &[0, 0, 0, 1, 0, 5, 5, 4, 0, 1], "2^7 by 2^6");
        refused(COD, &[0, 0, 0, 1, 0, 5, 255, 255, 0, 1], "Table A.18");
        refused(COD, &[0, 0, 0, 1, 0, 5, 4, 4, 0, 2], "transformation 2");
        refused(COD, &[1, 0, 0, 1, 0, 1, 4, 4, 0, 1, 0x00, 0x80], "exponent of 0 at resolution 1");
        refused(COD, &[1, 0, 0, 1, 0, 1, 4, 4, 0, 1, 0x88], "too short");
        refused(COC, &[3, 0, 5, 4, 4, 0, 1], "of component 3");
        refused(COC, &[0, 0, 5, 4, 4, 0], "too short");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(body in prop::collection::vec(any::<u8>(), 0..50), components in 1usize..600) {
            for code in [COD, COC] {
                let mut segments = CodingSegments::default();
                if segments.take(code, &body, 0, components).is_ok() {
                    let main = TileCoding::parse(&MAIN_COD, 0).unwrap();
                    let coding = segments.into_tile(&main);
                    for coded in coding.exceptions.values().chain([&coding.default]) {
                        prop_assert_eq!(coded.precincts.len(), usize::from(coded.levels) + 1);
                    }
                }
            }
        }
    }
}
