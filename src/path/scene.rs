//! Products whose files are COGs under names of their own: those of Earth Search, and Landsat's.
//!
//! ```text
//! sentinel-s2-l2a-cogs/31/U/DQ/2024/6/S2A_31UDQ_20240601_0_L2A/B03.tif
//! sentinel-2-c1-l2a/31/U/DQ/2024/6/S2A_T31UDQ_20240601T105625_L2A/B03.tif
//! …/2024/199/026/LC09_L2SP_199026_20240601_20240602_02_T1/LC09_L2SP_199026_20240601_20240602_02_T1_SR_B4.TIF
//! ```
//!
//! - <https://registry.opendata.aws/sentinel-2-l2a-cogs/>
//! - <https://www.usgs.gov/landsat-missions/landsat-collection-2>: sensor and satellite, level, WRS path and row, the days
//!   of acquisition and of processing, collection, tier

use std::borrow::Cow;

use super::parts::{is_digits, is_sentinel_2, is_tile, is_time};

/// The levels of Sentinel-2 that Earth Search has.
const EARTH_SEARCH_LEVELS: [&str; 2] = ["L1C", "L2A"];

/// Landsat's levels: Level 1 by how it was georeferenced, Level 2 with surface temperature or without.
const LANDSAT_LEVELS: [&str; 5] = ["L1TP", "L1GT", "L1GS", "L2SP", "L2SR"];

/// What the name of such a product says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scene<'a> {
    EarthSearch {
        /// `31UDQ`, or `5VPG`: zones below ten have one digit or two.
        tile: &'a str,
        level: &'static str,
    },
    Landsat {
        /// `LC09`.
        satellite: &'a str,
        /// `199026`.
        path_and_row: &'a str,
        level: &'static str,
    },
}

impl<'a> Scene<'a> {
    /// By a product's name; `None` for any other name.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let parts: Vec<&str> = name.split('_').collect();
        match parts[..] {
            [unit, tile, day, sequence, level] if is_digits(day, 8) && is_sequence(sequence) => {
                earth_search(unit, tile, level)
            }
            [unit, tile, time, level] if is_time(time) => earth_search(unit, tile.strip_prefix('T')?, level),
            [satellite, level, path_and_row, acquired, processed, collection, tier] => {
                let is_landsat = is_landsat(satellite)
                    && is_digits(path_and_row, 6)
                    && is_digits(acquired, 8)
                    && is_digits(processed, 8)
                    && is_digits(collection, 2)
                    && ["T1", "T2", "RT"].contains(&tier);
                let level = LANDSAT_LEVELS.into_iter().find(|known| *known == level && is_landsat)?;
                Some(Self::Landsat { satellite, path_and_row, level })
            }
            _ => None,
        }
    }

    /// The name of the product, and the band, in the name of a Landsat file without its extension.
    pub(super) fn of_file(stem: &'a str) -> Option<(&'a str, &'a str)> {
        let (at, _) = stem.match_indices('_').nth(6)?;
        let (product, band) = (stem.get(..at)?, stem.get(at + 1..)?);
        let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let is_band = !band.is_empty() && band.bytes().all(is_plain);
        (is_band && matches!(Self::parse(product)?, Self::Landsat { .. })).then_some((product, band))
    }

    /// `L2A`, `L2SP`.
    pub(super) fn level(&self) -> &'static str {
        match self {
            Self::EarthSearch { level, .. } | Self::Landsat { level, .. } => level,
        }
    }

    /// The MGRS tile, `05VPG`, where it lies in one.
    pub(super) fn mgrs_tile(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::EarthSearch { tile, .. } if is_tile(tile) => Some(Cow::Borrowed(tile)),
            Self::EarthSearch { tile, .. } => Some(Cow::Owned(format!("0{tile}"))),
            Self::Landsat { .. } => None,
        }
    }

    /// By which its archive sorts: the MGRS tile, or WRS path and row.
    pub(super) fn tile(&self) -> Cow<'a, str> {
        match self {
            Self::Landsat { path_and_row, .. } => Cow::Borrowed(path_and_row),
            Self::EarthSearch { tile, .. } => self.mgrs_tile().unwrap_or(Cow::Borrowed(tile)),
        }
    }

    /// The resolution in metres of a band, where that follows from its name: `of_sentinel_2` is the best at which Sentinel-2
    /// has it.
    pub(super) fn resolution(&self, band: &str, of_sentinel_2: Option<u32>) -> Option<u32> {
        match self {
            // These are made of the copies at 60 m, or were so once.
            Self::EarthSearch { .. } if band == "B01" => Some(60),
            Self::EarthSearch { .. } if ["AOT", "WVP"].contains(&band) => None,
            Self::EarthSearch { .. } => of_sentinel_2,
            // Thermal bands and angles come on the grid of the others.
            Self::Landsat { satellite, .. } if satellite.starts_with("LM") => Some(60),
            Self::Landsat { .. } if band == "B8" => Some(15),
            Self::Landsat { .. } => Some(30),
        }
    }
}

fn earth_search<'a>(unit: &str, tile: &'a str, level: &str) -> Option<Scene<'a>> {
    // 5VPG, and nothing else that a zero makes a tile.
    let is_there = is_tile(tile) || (tile.len() == 4 && is_tile(&format!("0{tile}")));
    let level = EARTH_SEARCH_LEVELS.into_iter().find(|known| *known == level)?;
    (is_sentinel_2(unit) && is_there).then_some(Scene::EarthSearch { tile, level })
}

/// The number of a tile's product among those of a day.
fn is_sequence(text: &str) -> bool {
    is_digits(text, 1) || is_digits(text, 2)
}

/// `LC08`: OLI and TIRS (C), OLI (O), TIRS or TM (T), ETM+ (E), MSS (M), and the satellite's number.
fn is_landsat(text: &str) -> bool {
    let Some((sensor, number)) = text.split_at_checked(2) else { return false };
    ["LC", "LO", "LT", "LE", "LM"].contains(&sensor) && is_digits(number, 2) && ("01"..="09").contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_earth_search() {
        for (name, tile, level) in [
            ("S2A_31UDQ_20240601_0_L2A", "31UDQ", "L2A"),
            ("S2B_5VPG_20240601_12_L1C", "05VPG", "L1C"),
            ("S2C_05VPG_20250601_0_L2A", "05VPG", "L2A"),
            ("S2A_T31UDQ_20240601T105625_L2A", "31UDQ", "L2A"),
            ("S2A_T5VPG_20240601T105625_L2A", "05VPG", "L2A"),
        ] {
            let scene = Scene::parse(name).unwrap();
            assert_eq!((scene.level(), &*scene.tile()), (level, tile), "{name}");
            assert_eq!(scene.mgrs_tile().as_deref(), Some(tile), "{name}");
        }
        for name in [
            "S2A_31UDQ_20240601_0_L3A",
            "S2A_31UDQ_20240601_0",
            "S2A_31UDQ_2024061_0_L2A",
            "S2A_31UDQ_20240601_x_L2A",
            "S2A_31udq_20240601_0_L2A",
            "S2A_T31UDQ_20240601_0_L2A",
            "S3A_31UDQ_20240601_0_L2A",
            "S2A_UDQ_20240601_0_L2A",
            "S2A_31UDQ_20240601T105625_L2A",
            "S2A_T31UDQ_20240601_L2A",
            "S2A_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T185411",
            "",
        ] {
            assert_eq!(Scene::parse(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_landsat() {
        for (name, level, band) in [
            ("LC09_L2SP_199026_20240601_20240602_02_T1", "L2SP", "SR_B4"),
            ("LC08_L1TP_199026_20240601_20240602_02_RT", "L1TP", "QA_RADSAT"),
            ("LO08_L1GT_199026_20240601_20240602_02_T2", "L1GT", "B8"),
            ("LT04_L1GS_199026_19880601_20240602_02_T2", "L1GS", "B1"),
            ("LE07_L2SR_199026_20040601_20240602_02_T1", "L2SR", "SR_QA_AEROSOL"),
            ("LE07_L1TP_199026_20040601_20240602_02_T1", "L1TP", "B6_VCID_1"),
            ("LM01_L1GS_199026_19740601_20240602_02_T2", "L1GS", "B4"),
        ] {
            let scene = Scene::parse(name).unwrap();
            assert_eq!((scene.level(), &*scene.tile(), scene.mgrs_tile()), (level, "199026", None), "{name}");
            assert_eq!(Scene::of_file(&format!("{name}_{band}")), Some((name, band)));
        }
        for name in [
            "LC09_L2SP_199026_20240601_20240602_02_T3",
            "LC09_L2XX_199026_20240601_20240602_02_T1",
            "LC10_L2SP_199026_20240601_20240602_02_T1",
            "LC00_L2SP_199026_20240601_20240602_02_T1",
            "LX09_L2SP_199026_20240601_20240602_02_T1",
            "LC09_L2SP_19902_20240601_20240602_02_T1",
            "LC09_L2SP_199026_20240601_2024060_02_T1",
            "LC09_L2SP_199026_20240601_20240602_T1",
            "LC09_L2SP_199026_20240601_20240602_02_T1_SR",
            "é9_L2SP_199026_20240601_20240602_02_T1",
        ] {
            assert_eq!(Scene::parse(name), None, "{name}");
        }
        for stem in ["LC09_L2SP_199026_20240601_20240602_02_T1", "S2A_31UDQ_20240601_0_L2A_B03_10m_x"] {
            assert_eq!(Scene::of_file(stem), None, "{stem}");
        }
        assert_eq!(Scene::of_file("LC09_L2SP_199026_20240601_20240602_02_T1_thumb_small"), None);
        assert_eq!(Scene::of_file("LC09_L2SP_199026_20240601_20240602_02_T1_"), None);
    }

    #[test]
    fn bands_have_the_resolutions_of_their_archives() {
        let of = |name: &str, band: &str| Scene::parse(name).unwrap().resolution(band, Some(20));
        let cog = "S2A_31UDQ_20240601_0_L2A";
        assert_eq!((of(cog, "B01"), of(cog, "AOT"), of(cog, "SCL")), (Some(60), None, Some(20)));
        let landsat = "LC09_L2SP_199026_20240601_20240602_02_T1";
        assert_eq!((of(landsat, "B8"), of(landsat, "SR_B1"), of(landsat, "QA_PIXEL")), (Some(15), Some(30), Some(30)));
        assert_eq!(of("LM05_L1TP_199026_19880601_20240602_02_T1", "B4"), Some(60));
    }
}
