//! What a row says of its image besides where its bytes lie, so that other tools filter an index by place and time: names
//! and values as STAC has them, the footprint as GeoParquet 1.1 has it.
//!
//! All of it follows from the product's name and the file's header, so it is made when a row is written, and kept nowhere
//! else. Where the name tells no time of sensing, the row's own stays, which an item of STAC told.

use std::collections::HashMap;

use chrono::NaiveDateTime;

use super::stored::StoredRow;
use crate::geo::{Footprint, Georeference, footprint, grid_of};
use crate::jp2::{Header, Progress, parse_main_header};
use crate::path::landsat_of;

/// The columns, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stac {
    /// When it was sensed (the datatake's start, as the product's name has it), in microseconds since 1970-01-01 UTC.
    pub(super) datetime: Option<i64>,
    /// `sentinel-2a`, `landsat-9`.
    pub(super) platform: Option<String>,
    /// `05.11`.
    pub(super) processing_baseline: Option<String>,
    /// 1 to 143.
    pub(super) relative_orbit: Option<i32>,
    /// The EPSG code of the image's coordinate reference system.
    pub(super) epsg: Option<i32>,
    /// Rows and columns of pixels.
    pub(crate) shape: Option<[i32; 2]>,
    /// From pixels to coordinates, as `proj:transform` has it: a, b, c, d, e, f.
    pub(super) transform: Option<[f64; 6]>,
    /// The image's outline.
    pub(super) footprint: Option<Footprint>,
}

/// Makes the columns. Images of a tile share their outline, so those made last are remembered.
#[derive(Default)]
pub(super) struct Describer(HashMap<[u64; 9], Option<Footprint>>);

/// Outlines remembered: more than a tile has at all its resolutions.
const REMEMBERED: usize = 64;

impl Describer {
    /// What is known of the image of a row.
    pub(super) fn describe(&mut self, row: &StoredRow) -> Stac {
        let of_name = of_name(&row.key.product_id);
        let mut stac = Stac { datetime: of_name.datetime.or(row.datetime), ..of_name };
        let Some((size, georeference)) = image_of(row) else { return stac };
        stac.shape = i32::try_from(size.1).ok().zip(i32::try_from(size.0).ok()).map(|(rows, columns)| [rows, columns]);
        if let Some(Georeference { epsg, transform }) = georeference {
            stac.epsg = Some(epsg.into());
            stac.transform = Some(transform);
            stac.footprint = self.footprint(epsg, &transform, size);
        }
        stac
    }

    fn footprint(&mut self, epsg: u16, transform: &[f64; 6], size: (u32, u32)) -> Option<Footprint> {
        let [a, b, c, d, e, f] = transform.map(f64::to_bits);
        let place = [epsg.into(), a, b, c, d, e, f, size.0.into(), size.1.into()];
        if self.0.len() > REMEMBERED {
            self.0.clear();
        }
        self.0.entry(place).or_insert_with(|| footprint(epsg, transform, size)).clone()
    }
}

/// Columns and rows of a row's image, and where it lies.
fn image_of(row: &StoredRow) -> Option<((u32, u32), Option<Georeference>)> {
    if row.is_of_tiff() {
        let (_, head) = row.clone().record().and_then(|record| record.tiff()).ok()?;
        return Some((head.shape()?, head.georeference()));
    }
    let bytes = row.header.as_ref()?;
    let Ok(Progress::Done(main)) = parse_main_header(bytes, bytes.len() as u64) else { return None };
    let header = Header { bytes: bytes.clone(), main };
    let georeference = grid_of(&header).map(|grid| Georeference { epsg: grid.epsg, transform: grid.transform() });
    Some((header.main.siz.size(), georeference))
}

/// What a product's name says: `S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206`, the long names of before
/// December 2016, and the names of rows whose path names no product, `L2A_T31UDQ_20241016T105031`; the names of Earth Search
/// and of Landsat, most of which tell the day alone.
fn of_name(product: &str) -> Stac {
    let parts = || product.split('_');
    let time = parts().find_map(|part| {
        let time = part.strip_prefix('V').unwrap_or(part);
        // The long names have the time of their making first, and mark that of sensing with a V.
        let is_sensing = part.starts_with('V') || !product.contains("_PRD_");
        NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S").ok().filter(|_| is_sensing && time.len() == 15)
    });
    let digits = |prefix: char, count: usize| {
        parts().find_map(|part| {
            let rest = part.strip_prefix(prefix)?;
            (rest.len() == count && rest.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
        })
    };
    let mission = parts().next().unwrap_or_default();
    let platform = match mission.strip_prefix("S2").filter(|unit| unit.len() == 1) {
        Some(unit) => Some(format!("sentinel-2{}", unit.to_ascii_lowercase())),
        None => landsat_of(product).map(|number| format!("landsat-{number}")),
    };
    Stac {
        datetime: time.map(|time| time.and_utc().timestamp_micros()),
        platform,
        processing_baseline: digits('N', 4).map(|digits| format!("{}.{}", &digits[..2], &digits[2..])),
        relative_orbit: digits('R', 3).and_then(|digits| digits.parse().ok()),
        ..Stac::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_of_the_product() {
        let stac = of_name("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206");
        assert_eq!(stac.datetime, Some(1_729_075_831_000_000));
        assert_eq!(stac.platform.as_deref(), Some("sentinel-2a"));
        assert_eq!(stac.processing_baseline.as_deref(), Some("05.11"));
        assert_eq!(stac.relative_orbit, Some(51));
        let old = of_name("S2A_OPER_PRD_MSIL1C_PDMC_20160930T123456_R065_V20160929T101022_20160929T101643");
        assert_eq!((old.datetime, old.relative_orbit), (Some(1_475_143_822_000_000), Some(65)));
        assert_eq!(old.processing_baseline, None);
        let bare = of_name("L2A_T31UDQ_20241016T105031");
        assert_eq!((bare.datetime, bare.platform), (Some(1_729_075_831_000_000), None));
        assert_eq!(of_name("L1C_T31UDQ_20241016"), Stac::default(), "a day is no time");
        assert_eq!(of_name(""), Stac::default());
        let cog = of_name("S2B_T31UDQ_20241016T105031_L2A");
        assert_eq!((cog.datetime, cog.platform.as_deref()), (Some(1_729_075_831_000_000), Some("sentinel-2b")));
        for (name, platform) in [
            ("S2A_31UDQ_20240601_0_L2A", "sentinel-2a"),
            ("LC09_L2SP_199026_20240601_20240602_02_T1", "landsat-9"),
            ("LE07_L1TP_199026_20040601_20240602_02_RT", "landsat-7"),
        ] {
            assert_eq!(of_name(name), Stac { platform: Some(platform.to_owned()), ..Stac::default() }, "{name}");
        }
        assert_eq!(of_name("LC09_L2SP_199026"), Stac::default(), "no name of a product");
    }
}
