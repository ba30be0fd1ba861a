//! Which rows a path can mean.

use crate::index::row::record::Record;
use crate::path::{Key, ProductName, best_resolution, product_name, sensing_time};

/// What is looked for.
pub(super) struct Wanted<'a> {
    key: &'a Key,
    origin: &'a str,
    /// Product ids, or what they begin with.
    products: Vec<Product>,
}

/// A product id, or the beginning of some.
enum Product {
    Exact(String),
    Prefix(String),
    /// Names of before December 2016 begin with when they were archived, and have the day of sensing further on.
    Long {
        prefix: String,
        sensed: String,
    },
}

impl Product {
    fn text(&self) -> &[u8] {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Long { prefix: text, .. } => text.as_bytes(),
        }
    }

    fn is(&self, product: &[u8]) -> bool {
        match self {
            Self::Exact(text) => product == text.as_bytes(),
            Self::Prefix(text) => product.starts_with(text.as_bytes()),
            Self::Long { prefix, sensed } => {
                product.starts_with(prefix.as_bytes())
                    && product.windows(sensed.len()).any(|part| part == sensed.as_bytes())
            }
        }
    }

    /// Whether a sorted run from `min` to `max` can hold such a product. `max` may be cut short and rounded up.
    fn may_be_in(&self, min: &[u8], max: &[u8]) -> bool {
        let text = self.text();
        let min = match self {
            Self::Exact(_) => min,
            Self::Prefix(_) | Self::Long { .. } => min.get(..text.len()).unwrap_or(min),
        };
        min <= text && text <= max
    }
}

/// What the index calls the product of files whose path does not name it: with the time of sensing, and as AWS has it,
/// with the day alone.
fn nameless(level: Option<&str>, tile: &str, time: &str) -> [String; 2] {
    let level = level.map_or_else(String::new, |level| format!("{level}_"));
    let day = time.get(..8).unwrap_or(time);
    [format!("{level}T{tile}_{time}"), format!("{level}T{tile}_{day}")]
}

impl<'a> Wanted<'a> {
    /// The rows of a file called `key` that lies at `origin`.
    pub(crate) fn new(key: &'a Key, origin: &'a str) -> Self {
        let tile = key.mgrs_tile.as_deref().unwrap_or("");
        let mut products = Vec::new();
        match &key.product {
            ProductName::Full(name) => {
                products.push(Product::Exact(name.clone()));
                // Rows of the same file indexed outside its product's folder. COGs under names of their own do not tell the
                // time of the datatake, or have the product's name in the file's.
                if product_name(name).is_some()
                    && let Some(time) = sensing_time(name)
                {
                    for level in [key.level(), None] {
                        products.extend(nameless(level, tile, time).map(Product::Exact));
                    }
                }
            }
            ProductName::Sensed { time, level } => {
                let levels = level.as_deref().map_or_else(|| vec!["L1C", "L2A"], |level| vec![level]);
                for level in levels {
                    for unit in ["A", "B", "C", "D"] {
                        products.push(Product::Prefix(format!("S2{unit}_MSI{level}_{time}")));
                    }
                    let (prefix, sensed) = (format!("S2A_OPER_PRD_MSI{level}_"), format!("_V{time}"));
                    products.push(Product::Long { prefix, sensed });
                    let [with_time, with_day] = nameless(Some(level), tile, time);
                    products.extend([Product::Prefix(with_time), Product::Exact(with_day)]);
                }
                let [with_time, with_day] = nameless(None, tile, time);
                products.extend([Product::Prefix(with_time), Product::Exact(with_day)]);
            }
            ProductName::Unknown => products.push(Product::Exact(String::new())),
        }
        Self { key, origin, products }
    }

    /// Whether the whole name of the product is known.
    fn is_exact(&self) -> bool {
        matches!(self.key.product, ProductName::Full(_))
    }

    /// Whether no other row can be meant as well as one of these.
    pub(super) fn is_answered_by(&self, records: &[Record]) -> bool {
        let ProductName::Full(name) = &self.key.product else { return false };
        records.iter().any(|record| record.key.product_id == *name)
    }

    /// Whether nothing but the origin distinguishes a row from others.
    pub(super) fn by_origin(&self) -> bool {
        self.key.product == ProductName::Unknown
    }

    /// Whether a row group with product ids from `min` to `max` can hold a row.
    pub(super) fn may_hold(&self, min: &[u8], max: &[u8]) -> bool {
        self.products.iter().any(|product| product.may_be_in(min, max))
    }

    /// Whether a product id is one of those looked for: its name may have another tile.
    pub(crate) fn product(&self, product: &[u8]) -> bool {
        let tile = || product.split(|byte| *byte == b'_').find_map(|part| part.strip_prefix(b"T").filter(is_tile));
        let elsewhere =
            || self.key.mgrs_tile.as_deref().zip(tile()).is_some_and(|(own, named)| own.as_bytes() != named);
        self.products.iter().any(|wanted| wanted.is(product)) && !elsewhere()
    }

    /// Whether a row with such a product id is meant.
    pub(crate) fn row(
        &self,
        product: &str,
        band_id: &str,
        mgrs_tile: Option<&str>,
        resolution: Option<u32>,
        origin: Option<&str>,
    ) -> bool {
        if self.by_origin() {
            return band_id == self.key.band && origin == Some(self.origin);
        }
        self.tile(product, mgrs_tile) && self.band(product, band_id, resolution)
    }

    fn tile(&self, product: &str, mgrs_tile: Option<&str>) -> bool {
        let Some(wanted) = self.key.mgrs_tile.as_deref() else { return true };
        match mgrs_tile.filter(|tile| !tile.is_empty()) {
            Some(tile) => tile == wanted,
            // v1: by the product's name, unless it is one of many tiles.
            None => {
                self.is_exact()
                    || product.split('_').any(|part| part.strip_prefix('T').is_some_and(|tile| tile == wanted))
            }
        }
    }

    fn band(&self, product: &str, band_id: &str, resolution: Option<u32>) -> bool {
        let (band, spelled) = match band_id.rsplit_once('_').map(|(band, tail)| (band, metres(tail))) {
            Some((band, Some(metres))) => (band, Some(metres)),
            _ => (band_id, None),
        };
        if band != self.key.band {
            return false;
        }
        let best = match self.key.level() {
            None if product.contains("L1C") => best_resolution(band, Some("L1C")),
            _ => self.key.best_resolution(),
        };
        let row = spelled.or(resolution.filter(|metres| *metres > 0)).or(best);
        let wanted = self.key.resolution.or(best);
        // B01 was given at 60 m only in L2A products before baseline 04.00, and v1 rows do not say.
        let old_b01 = band == "B01" && spelled.is_none() && resolution.is_none();
        row == wanted || row.is_none() || wanted.is_none() || old_b01
    }

    /// The likeliest first: rows made from this very location, then rows with a header.
    pub(crate) fn sort(&self, records: &mut [Record]) {
        records.sort_by_key(|record| (record.origin.as_deref() != Some(self.origin), record.header.is_none()));
    }
}

/// Whether it can be the name of a tile: `31UDQ`.
fn is_tile(name: &&[u8]) -> bool {
    matches!(name, [a, b, rest @ ..] if a.is_ascii_digit() && b.is_ascii_digit()
        && rest.len() == 3 && rest.iter().all(u8::is_ascii_uppercase))
}

/// `20m`.
fn metres(text: &str) -> Option<u32> {
    text.strip_suffix('m')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::key_of_names;

    const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";

    fn key(path: &str) -> Key {
        key_of_names(path).unwrap()
    }

    #[test]
    fn statistics_rule_row_groups_out() {
        let full = key(&format!("{PRODUCT}.SAFE/T31UDQ_20241016T105031_B03_10m.jp2"));
        let wanted = Wanted::new(&full, "");
        assert!(wanted.may_hold(b"S2A", b"S2B"));
        assert!(wanted.may_hold(PRODUCT.as_bytes(), PRODUCT.as_bytes()));
        assert!(!wanted.may_hold(b"S2B", b"S2C"));
        assert!(!wanted.may_hold(b"S2A_MSIL1C", b"S2A_MSIL1D"));
        let sensed = key("tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2");
        let wanted = Wanted::new(&sensed, "");
        assert!(wanted.may_hold(PRODUCT.as_bytes(), PRODUCT.as_bytes()), "inside the prefix's range");
        assert!(wanted.may_hold(b"S2C_MSIL2A_2024", b"S2C_MSIL2A_2025"));
        assert!(!wanted.may_hold(b"S2C_MSIL1C_2024", b"S2C_MSIL1C_2025"));
        assert!(!wanted.may_hold(b"S2A_MSIL2A_20241017", b"S2A_MSIL2A_20241018"));
    }

    #[test]
    fn a_band_means_its_resolution() {
        let of = |file: &str| key(&format!("{PRODUCT}.SAFE/T31UDQ_20241016T105031_{file}.jp2"));
        let is = |file: &str, band_id: &str, resolution| {
            Wanted::new(&of(file), "").row(PRODUCT, band_id, None, resolution, None)
        };
        assert!(is("B03_10m", "B03", None) && is("B03_10m", "B03", Some(10)) && is("B03_10m", "B03_10m", None));
        assert!(!is("B03_20m", "B03", None) && !is("B03_20m", "B03", Some(10)));
        assert!(is("B03_20m", "B03_20m", None) && is("B03_20m", "B03_20m", Some(20)));
        assert!(!is("B03_10m", "B03_20m", Some(20)) && !is("B03_10m", "B02", None));
        assert!(is("B01_60m", "B01", None) && !is("B01_60m", "B01", Some(20)) && is("B01_60m", "B01_60m", Some(60)));
        assert!(is("PVI", "PVI", Some(0)) && is("PVI", "PVI", None));
    }

    #[test]
    fn a_tile_is_told_by_its_column_or_the_products_name() {
        let sensed = key("tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2");
        let wanted = Wanted::new(&sensed, "");
        assert!(wanted.row(PRODUCT, "B03", None, None, None));
        assert!(wanted.row(PRODUCT, "B03", Some("31UDQ"), None, None));
        assert!(!wanted.row(PRODUCT, "B03", Some("31UDP"), None, None));
        assert!(!wanted.row(&PRODUCT.replace("31UDQ", "31UDP"), "B03", None, None, None));
    }

    #[test]
    fn cogs_mean_rows_of_their_product_alone() {
        let landsat = "LC09_L1TP_199026_20240601_20240602_02_T1";
        let table = [
            ("S2A_31UDQ_20240601_0_L2A", "S2A_31UDQ_20240601_0_L2A/B01.tif", "B01", 60),
            ("S2A_T31UDQ_20240601T105031_L2A", "S2A_T31UDQ_20240601T105031_L2A/B03.tif", "B03", 10),
            (landsat, "LC09_L1TP_199026_20240601_20240602_02_T1_B10.TIF", "B10", 30),
        ];
        for (product, path, band, metres) in table {
            let key = key(path);
            let wanted = Wanted::new(&key, "");
            assert!(wanted.product(product.as_bytes()) && wanted.may_hold(product.as_bytes(), product.as_bytes()));
            let tile = key.mgrs_tile.as_deref();
            assert!(wanted.row(product, band, tile, Some(metres), None), "{path}");
            assert!(
                !wanted.row(product, band, tile, Some(metres + 1), None)
                    && !wanted.row(product, "B2", tile, None, None)
            );
            // A file of the product's JP2s, and what AWS calls it by the day.
            for other in ["L2A_T31UDQ_20240601T105031", "L2A_T31UDQ_20240601", "T31UDQ_20240601", PRODUCT, ""] {
                assert!(!wanted.product(other.as_bytes()), "{path} {other}");
            }
        }
    }

    #[test]
    fn an_unknown_file_is_its_origins_alone() {
        let unknown = key("/data/scene.jp2");
        let wanted = Wanted::new(&unknown, "file:///data/scene.jp2");
        assert!(wanted.product(b"") && !wanted.product(b"S2A"));
        assert!(wanted.row("", "scene", None, None, Some("file:///data/scene.jp2")));
        assert!(!wanted.row("", "scene", None, None, Some("file:///other/scene.jp2")));
        assert!(!wanted.row("", "scene", None, None, None));
    }
}
