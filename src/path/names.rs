//! The names of products and bands, as every archive writes them.
//!
//! ```text
//! S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206.SAFE/GRANULE/…/R10m/T31UDQ_20241016T105031_B03_10m.jp2
//! S2A_OPER_PRD_MSIL1C_PDMC_….SAFE/GRANULE/S2A_OPER_MSI_L1C_TL_…_T32TQM_N02.04/IMG_DATA/S2A_OPER_MSI_L1C_TL_…_T32TQM_B03.jp2
//! tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2 (AWS)           tiles/31/U/DQ/<product>.SAFE/… (Google)
//! ```
//!
//! COGs of Planetary Computer are called as the JP2s of such products, but for their ending; `scene` has the names of others.

use std::borrow::Cow;

use super::parts::{is_digits, is_sentinel_2, is_tile, is_time, tile_part};
use super::scene::Scene;

/// The name of one image of one product, as far as its path tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// What is known of the product.
    pub(crate) product: ProductName,
    /// `31UDQ`, from the file's or the folder's name.
    pub(crate) mgrs_tile: Option<String>,
    /// `B02`, `TCI`, `SCL`, `PVI`, `MSK_DETFOO_B02`, …, of Landsat `SR_B4`, `QA_PIXEL`, …: without a resolution. The file's
    /// name without its extension where it is neither's.
    pub(crate) band: String,
    /// The resolution in metres, where the path names one.
    pub(crate) resolution: Option<u32>,
}

/// How much of a product's name a path tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ProductName {
    /// The whole name, without `.SAFE`; of Earth Search's COGs and of Landsat that of their folder.
    Full(String),
    /// Only when it was sensed, `20241016T105031` (file names without their folder) or `20241016` (the layout of
    /// the AWS buckets): many products can match.
    Sensed {
        /// The beginning of the datatake's time.
        time: String,
        /// `L1C` or `L2A`, where the path tells it.
        level: Option<String>,
    },
    /// Nothing: an index row matches by its origin alone.
    Unknown,
}

impl Key {
    /// Any file of the product with this name.
    pub(crate) fn of_product(name: &str) -> Self {
        let mgrs_tile = name.split('_').find_map(tile_part).map(str::to_owned);
        let (product, band) = (ProductName::Full(name.to_owned()), String::new());
        Self { product, mgrs_tile, band, resolution: None }
    }

    /// `L1C` or `L2A`, of Landsat `L2SP`, …, where the path tells it.
    pub(crate) fn level(&self) -> Option<&str> {
        match &self.product {
            ProductName::Full(name) => level_of(name),
            ProductName::Sensed { level, .. } => level.as_deref(),
            ProductName::Unknown => None,
        }
    }

    /// By which indexes are sorted: the MGRS tile, or Landsat's WRS path and row.
    pub(crate) fn tile(&self) -> Option<Cow<'_, str>> {
        match (&self.mgrs_tile, &self.product) {
            (Some(tile), _) => Some(Cow::Borrowed(tile)),
            (None, ProductName::Full(name)) => tile_of(name),
            (None, _) => None,
        }
    }

    /// The best resolution in metres at which its product has the band, where names tell it.
    pub(crate) fn best_resolution(&self) -> Option<u32> {
        let of_sentinel_2 = best_resolution(&self.band, self.level());
        match &self.product {
            ProductName::Full(name) => match Scene::parse(name) {
                Some(scene) => scene.resolution(&self.band, of_sentinel_2),
                None => of_sentinel_2,
            },
            _ => of_sentinel_2,
        }
    }

    /// The year in which it was sensed (the datatake's, which every archive sorts by).
    pub(crate) fn year(&self) -> Option<&str> {
        match &self.product {
            ProductName::Full(name) => year_of(name),
            ProductName::Sensed { time, .. } => time.get(..4),
            ProductName::Unknown => None,
        }
    }
}

/// When a product was sensed, as its name or a granule's tells: `20241016T105031`. Names of before December 2016 have the
/// time of archiving before it.
pub(crate) fn sensing_time(name: &str) -> Option<&str> {
    let sensed = name.split('_').filter_map(|part| part.strip_prefix('V'));
    sensed.chain(name.split('_')).find(|part| is_time(part))
}

/// `L1C` or `L2A` of a product's name, or of what the index calls a file whose path tells no product; of Landsat `L2SP`, ….
pub(crate) fn level_of(product: &str) -> Option<&'static str> {
    if let Some(scene) = Scene::parse(product) {
        return Some(scene.level());
    }
    let starts = |level: &&str| product.strip_prefix(*level).is_some_and(|rest| rest.starts_with('_'));
    ["L1C", "L2A"].into_iter().find(|level| product.contains(&format!("MSI{level}")) || starts(level))
}

/// The day of sensing in such a name, which may tell no more: `20241016`. Landsat's names have that of processing behind it.
pub(crate) fn sensing_day(product: &str) -> Option<&str> {
    let day = |part: &&str| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_digit());
    sensing_time(product).or_else(|| product.split('_').find(day))?.get(..8)
}

/// The year of that day.
pub(crate) fn year_of(product: &str) -> Option<&str> {
    sensing_day(product)?.get(..4)
}

/// The tile in such a name, where there is one: `31UDQ`; of Landsat its WRS path and row, `199026`.
pub(crate) fn tile_of(product: &str) -> Option<Cow<'_, str>> {
    match Scene::parse(product) {
        Some(scene) => Some(scene.tile()),
        None => product.split('_').find_map(tile_part).map(Cow::Borrowed),
    }
}

/// The number of the satellite in the name of a product of Landsat's: `9`.
pub(crate) fn landsat_of(product: &str) -> Option<&str> {
    match Scene::parse(product)? {
        Scene::Landsat { satellite, .. } => satellite.get(3..),
        Scene::EarthSearch { .. } => None,
    }
}

/// The best resolution in metres at which a band is given, where it is one of Sentinel-2's. Rows of the published v1
/// indexes name their bands without a resolution, and mean this one.
pub(crate) fn best_resolution(band: &str, level: Option<&str>) -> Option<u32> {
    Some(match band {
        "B02" | "B03" | "B04" | "B08" | "TCI" | "AOT" | "WVP" => 10,
        "B05" | "B06" | "B07" | "B8A" | "B11" | "B12" | "SCL" | "MSK_CLDPRB" | "MSK_SNWPRB" => 20,
        "B01" if level == Some("L1C") => 60,
        "B01" => 20,
        "B09" | "B10" | "MSK_CLASSI" => 60,
        _ => return None,
    })
}

/// What the index calls the file at `path`, which is percent-decoded and has no query string.
pub(crate) fn key_of_names(path: &str) -> Option<Key> {
    let mut folders: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let name = folders.pop()?;
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    let product = folders.iter().rev().find_map(|folder| product_name(folder));
    if product.is_none()
        && let Some(key) = key_in_scene(&folders, stem)
    {
        return Some(key);
    }
    let aws = Aws::parse(&folders);
    let mask = match (&aws, folders.last()) {
        (Some(aws), Some(folder)) if product.is_none() => safe_name(stem, *folder == "qi", aws.in_product_folder),
        _ => None,
    };
    let file = FileName::parse(mask.as_deref().unwrap_or(stem));
    let folder_resolution = folders.last().and_then(|folder| resolution(folder.strip_prefix('R')?));
    let tile = |names: &[Option<&str>]| names.iter().flatten().next().map(|tile| (*tile).to_owned());
    if let Some(product) = product {
        let of_product = product.split('_').find_map(tile_part);
        let of_granule = folders.iter().rev().find_map(|folder| folder.split('_').find_map(tile_part));
        return Some(Key {
            mgrs_tile: tile(&[file.tile, of_product, of_granule]),
            resolution: file.resolution.or(folder_resolution),
            band: file.band.to_owned(),
            product: ProductName::Full(product.to_owned()),
        });
    }
    // A sensing time and a tile narrow an index down; less does not.
    if let (Some(tile), Some(time), true) = (file.tile, file.time, file.is_band) {
        let level = file.level.or(match (file.resolution, file.band) {
            (Some(_), _) => Some("L2A"),
            // L2A's bands tell their resolution; the preview has none in either.
            (None, "PVI") => None,
            (None, _) => Some("L1C"),
        });
        return Some(Key {
            product: ProductName::Sensed { time: time.to_owned(), level: level.map(str::to_owned) },
            mgrs_tile: Some(tile.to_owned()),
            band: file.band.to_owned(),
            resolution: file.resolution,
        });
    }
    if let (Some(aws), true) = (aws, file.is_band) {
        let resolution = file.resolution.or(folder_resolution);
        // R10m, R20m and R60m are L2A's folders; what lies right in the product's folder is L1C's.
        let level = match (folder_resolution, aws.in_product_folder) {
            (Some(_), _) => Some("L2A"),
            (None, true) if file.band.starts_with('B') || ["TCI", "PVI"].contains(&file.band) => Some("L1C"),
            _ => file.level,
        };
        return Some(Key {
            product: ProductName::Sensed { time: aws.date, level: level.map(str::to_owned) },
            mgrs_tile: Some(aws.tile),
            band: file.band.to_owned(),
            resolution,
        });
    }
    Some(Key { product: ProductName::Unknown, mgrs_tile: None, band: stem.to_owned(), resolution: None })
}

/// The same for a file of a product of Earth Search's or of Landsat's. Landsat's files have the product's name in their own.
fn key_in_scene(folders: &[&str], stem: &str) -> Option<Key> {
    if let Some((product, band)) = Scene::of_file(stem) {
        let product = ProductName::Full(product.to_owned());
        return Some(Key { product, mgrs_tile: None, band: band.to_owned(), resolution: None });
    }
    let (name, scene) = folders.iter().rev().find_map(|folder| scene_in(folder))?;
    let file = match scene {
        Scene::EarthSearch { .. } => FileName::parse(stem),
        Scene::Landsat { .. } => FileName { band: stem, ..FileName::default() },
    };
    Some(Key {
        product: ProductName::Full(name.to_owned()),
        mgrs_tile: scene.mgrs_tile().map(Cow::into_owned),
        band: file.band.to_owned(),
        resolution: file.resolution,
    })
}

/// The name of such a product in a folder's, and what it says.
fn scene_in(folder: &str) -> Option<(&str, Scene<'_>)> {
    let name = folder.split('.').next()?;
    Some((name, Scene::parse(name)?))
}

/// Whether a folder is called as that of a product.
pub(super) fn is_product_folder(folder: &str) -> bool {
    product_name(folder).is_some() || scene_in(folder).is_some()
}

/// The folder, with its slash, of the product that a file lies in, where `path` is of AWS's layout:
/// `…/tiles/31/U/DQ/2024/10/16/0/`.
pub(crate) fn aws_folder(path: &str) -> Option<&str> {
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    Aws::parse(&folders)?;
    let at = folders.iter().rposition(|folder| *folder == "tiles")?;
    let length = folders.iter().take(at + 8).map(|folder| folder.len() + 1).sum();
    path.get(..length)
}

/// The name of a product of the SAFE format in a folder's, without `.SAFE` or `.zip`.
pub(crate) fn product_name(folder: &str) -> Option<&str> {
    let name = folder.split('.').next()?;
    let mut parts = name.split('_');
    let mission = parts.next()?;
    let is_mission = mission.len() == 3 && mission.starts_with("S2");
    let compact = || {
        let kind = name.split('_').nth(1)?;
        (kind.starts_with("MSIL") && name.split('_').nth(2).is_some_and(is_time)).then_some(name)
    };
    // S2A_OPER_PRD_MSIL1C_PDMC_20160930T… and its user products S2A_USER_PRD_MSIL2A_…
    let long = || (name.split('_').nth(2)? == "PRD" && name.contains("_MSIL")).then_some(name);
    if is_mission { compact().or_else(long) } else { None }
}

/// What a product path names: a product, `S2A_MSIL2A_…_T31UDQ_…` with `.SAFE` or without, and a file of it, `B03`,
/// `B03_20m` or `MSK_DETFOO_B02` with `.jp2` or without, which is given without. Nothing but these exact shapes is one.
pub(super) fn product_path(path: &str) -> Option<(&str, Option<&str>)> {
    let (folder, file) = path.split_once('/').unwrap_or((path, ""));
    let product = folder.strip_suffix(".SAFE").unwrap_or(folder);
    let parts: Vec<&str> = product.split('_').collect();
    let [mission, kind, sensed, baseline, orbit, tile, made] = parts[..] else { return None };
    let is_number = |text: &str, letter: char, digits: usize| {
        text.strip_prefix(letter).is_some_and(|number| is_digits(number, digits))
    };
    let is_product = is_sentinel_2(mission)
        && ["MSIL1C", "MSIL2A"].contains(&kind)
        && is_time(sensed)
        && is_number(baseline, 'N', 4)
        && is_number(orbit, 'R', 3)
        && tile_part(tile).is_some()
        && is_time(made);
    if !is_product || file.is_empty() {
        return is_product.then_some((product, None));
    }
    let stem = file.strip_suffix(".jp2").unwrap_or(file);
    is_product_file(stem).then_some((product, Some(stem)))
}

/// Whether a file of a product may be called so: `B03`, `B03_20m`, `MSK_DETFOO_B02`.
pub(crate) fn is_product_file(stem: &str) -> bool {
    let name = FileName::parse(stem);
    let spelled = name.resolution.map_or_else(|| name.band.to_owned(), |metres| format!("{}_{metres}m", name.band));
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_m".contains(&byte));
    name.is_band && spelled == stem && is_plain
}

/// What a file's name tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct FileName<'a> {
    tile: Option<&'a str>,
    time: Option<&'a str>,
    level: Option<&'a str>,
    band: &'a str,
    resolution: Option<u32>,
    /// Whether the name ends in a band of Sentinel-2's.
    is_band: bool,
}

impl<'a> FileName<'a> {
    fn parse(stem: &'a str) -> Self {
        let mut name = Self { band: stem, ..Self::default() };
        let mut rest = stem;
        if let Some((before, after)) = stem.rsplit_once('_')
            && let Some(metres) = resolution(after)
        {
            (name.resolution, rest) = (Some(metres), before);
        }
        // Masks carry no tile or time: MSK_DETFOO_B02, MSK_CLDPRB_20m.
        if rest.starts_with("MSK_") {
            (name.band, name.is_band) = (rest, true);
            return name;
        }
        let band = rest.rsplit('_').next().unwrap_or_default();
        if !is_band(band) {
            return Self { band: stem, ..Self::default() };
        }
        (name.band, name.is_band) = (band, true);
        let parts = || rest.split('_');
        name.tile = parts().find_map(tile_part);
        name.level = parts().find(|part| ["L1C", "L2A"].contains(part));
        // Names of before December 2016 have the time of archiving instead, which no product's name begins with.
        let is_long = parts().any(|part| part == "OPER" || part == "USER");
        name.time = if is_long { None } else { parts().find(|part| is_time(part)) };
        name
    }
}

/// The layout of the AWS buckets: `tiles/31/U/DQ/2024/10/16/0`.
struct Aws {
    tile: String,
    date: String,
    in_product_folder: bool,
}

impl Aws {
    fn parse(folders: &[&str]) -> Option<Self> {
        let at = folders.iter().rposition(|folder| *folder == "tiles")?;
        let [zone, band, square, year, month, day, _sequence, below @ ..] = folders.get(at + 1..)? else { return None };
        let number = |text: &str, digits: std::ops::RangeInclusive<usize>| -> Option<u32> {
            (digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
        };
        let tile = format!("{:02}{band}{square}", number(zone, 1..=2)?);
        is_tile(&tile).then_some(())?;
        let date = format!("{}{:02}{:02}", number(year, 4..=4)?, number(month, 1..=2)?, number(day, 1..=2)?);
        Some(Self { tile, date, in_product_folder: below.is_empty() })
    }
}

/// Masks and previews, as products and as the AWS buckets spell them; the latter's resolutions are the same.
const AWS_MASKS: [(&str, &str); 2] = [("MSK_CLDPRB", "CLD"), ("MSK_SNWPRB", "SNW")];

/// Where a band lies in a tile's folder of the AWS buckets: `R10m/B03.jp2`, in L1C `B03.jp2`.
pub(super) fn aws_file(level: Option<&str>, band: &str, resolution: Option<u32>) -> String {
    let metres = resolution.or_else(|| best_resolution(band, level));
    let suffix = metres.map_or_else(String::new, |metres| format!("_{metres}m"));
    if let Some((_, mask)) = AWS_MASKS.iter().find(|(mask, short)| [mask, short].contains(&&band)) {
        return format!("qi/{mask}{suffix}.jp2");
    }
    if let Some(mask) = band.strip_prefix("MSK_") {
        return format!("qi/{mask}.jp2");
    }
    match (level, band, metres) {
        (Some("L1C"), "PVI", _) => "preview.jp2".to_owned(),
        (_, "PVI", _) => "qi/L2A_PVI.jp2".to_owned(),
        (Some("L2A"), _, Some(metres)) => format!("R{metres}m/{band}.jp2"),
        _ => format!("{band}.jp2"),
    }
}

/// The inverse: how products spell the masks and previews of the AWS buckets; `None` where it is the same.
fn safe_name(stem: &str, in_qi: bool, in_product_folder: bool) -> Option<String> {
    if stem == "preview" && in_product_folder {
        return Some("PVI".to_owned());
    }
    if !in_qi || stem.starts_with("MSK_") || stem.ends_with("PVI") {
        return None;
    }
    let (kind, rest) = stem.split_once('_')?;
    let kind = AWS_MASKS.iter().find(|(_, short)| *short == kind).map_or(kind, |(mask, _)| mask);
    Some(format!("MSK_{}_{rest}", kind.trim_start_matches("MSK_")))
}

/// `10m`, in metres.
fn resolution(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('m')?;
    ((1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn is_band(text: &str) -> bool {
    let numbered = text.len() == 3 && text.starts_with('B') && text.bytes().skip(1).take(1).all(|b| b.is_ascii_digit());
    numbered || ["TCI", "AOT", "WVP", "SCL", "PVI", "CLD", "SNW", "DDV"].contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const L2A: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
    const L1C: &str = "S2B_MSIL1C_20170105T105432_N0204_R051_T31UDQ_20170105T105428";
    const OLD: &str = "S2A_OPER_PRD_MSIL1C_PDMC_20160930T123456_R065_V20160929T101022_20160929T101643";

    fn full(product: &str, tile: Option<&str>, band: &str, resolution: Option<u32>) -> Key {
        let product = ProductName::Full(product.to_owned());
        Key { product, mgrs_tile: tile.map(str::to_owned), band: band.to_owned(), resolution }
    }

    fn sensed(time: &str, level: Option<&str>, tile: &str, band: &str, resolution: Option<u32>) -> Key {
        let product = ProductName::Sensed { time: time.to_owned(), level: level.map(str::to_owned) };
        Key { product, mgrs_tile: Some(tile.to_owned()), band: band.to_owned(), resolution }
    }

    #[test]
    fn every_archive_names_its_files() {
        let tile = Some("31UDQ");
        let granule = "GRANULE/L2A_T31UDQ_A048668_20241016T105303";
        let old_granule = "GRANULE/S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T32TQM_N02.04/IMG_DATA";
        let table = [
            (
                format!("{L2A}.SAFE/{granule}/IMG_DATA/R10m/T31UDQ_20241016T105031_B03_10m.jp2"),
                full(L2A, tile, "B03", Some(10)),
            ),
            (
                format!(
                    "https://h/L2/tiles/31/U/DQ/{L2A}.SAFE/{granule}/IMG_DATA/R20m/T31UDQ_20241016T105031_B03_20m.jp2"
                ),
                full(L2A, tile, "B03", Some(20)),
            ),
            (
                format!(
                    "tiles/31/U/DQ/{L1C}.SAFE/GRANULE/L1C_T31UDQ_A008000_20170105T105428/IMG_DATA/T31UDQ_20170105T105432_B8A.jp2"
                ),
                full(L1C, tile, "B8A", None),
            ),
            (
                format!(
                    "/vsizip/data/{L2A}.SAFE.zip/{L2A}.SAFE/{granule}/IMG_DATA/R10m/T31UDQ_20241016T105031_TCI_10m.jp2"
                ),
                full(L2A, tile, "TCI", Some(10)),
            ),
            (format!("/vsizip/data/{L2A}.zip/T31UDQ_20241016T105031_TCI_10m.jp2"), full(L2A, tile, "TCI", Some(10))),
            (
                format!("{L1C}.SAFE/GRANULE/x/IMG_DATA/R10m/L2A_T31UDQ_20170105T105432_B03_10m.jp2"),
                full(L1C, tile, "B03", Some(10)),
            ),
            (format!("{L2A}/{granule}/QI_DATA/MSK_DETFOO_B02.jp2"), full(L2A, tile, "MSK_DETFOO_B02", None)),
            (format!("{L2A}.SAFE/{granule}/QI_DATA/MSK_CLDPRB_20m.jp2"), full(L2A, tile, "MSK_CLDPRB", Some(20))),
            (format!("{L2A}.SAFE/{granule}/QI_DATA/T31UDQ_20241016T105031_PVI.jp2"), full(L2A, tile, "PVI", None)),
            (
                format!("{L2A}.SAFE/{granule}/IMG_DATA/R20m/T31UDQ_20241016T105031_SCL_20m.jp2"),
                full(L2A, tile, "SCL", Some(20)),
            ),
            (
                format!("{OLD}.SAFE/{old_granule}/S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T32TQM_B03.jp2"),
                full(OLD, Some("32TQM"), "B03", None),
            ),
            (
                format!(
                    "{OLD}.SAFE/GRANULE/S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T32TQM_N02.04/QI_DATA/MSK_X.jp2"
                ),
                full(OLD, Some("32TQM"), "MSK_X", None),
            ),
            (
                "T31UDQ_20241016T105031_B03_10m.jp2".into(),
                sensed("20241016T105031", Some("L2A"), "31UDQ", "B03", Some(10)),
            ),
            (
                "/data/T31UDQ_20241016T105031_B03.jp2".into(),
                sensed("20241016T105031", Some("L1C"), "31UDQ", "B03", None),
            ),
            (
                "L2A_T31UDQ_20170105T105432_AOT_20m.jp2".into(),
                sensed("20170105T105432", Some("L2A"), "31UDQ", "AOT", Some(20)),
            ),
            ("T31UDQ_20241016T105031_PVI.jp2".into(), sensed("20241016T105031", None, "31UDQ", "PVI", None)),
            (
                "tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2".into(),
                sensed("20241016", Some("L2A"), "31UDQ", "B03", Some(10)),
            ),
            ("s3/tiles/1/C/CV/2024/1/6/0/B03.jp2".into(), sensed("20240106", Some("L1C"), "01CCV", "B03", None)),
            ("tiles/31/U/DQ/2024/10/16/0/TCI.jp2".into(), sensed("20241016", Some("L1C"), "31UDQ", "TCI", None)),
            (
                "tiles/31/U/DQ/2024/10/16/0/qi/MSK_DETFOO_B02.jp2".into(),
                sensed("20241016", None, "31UDQ", "MSK_DETFOO_B02", None),
            ),
            (
                "tiles/31/U/DQ/2024/10/16/0/qi/DETFOO_B02.jp2".into(),
                sensed("20241016", None, "31UDQ", "MSK_DETFOO_B02", None),
            ),
            (
                "tiles/31/U/DQ/2024/10/16/0/qi/CLD_60m.jp2".into(),
                sensed("20241016", None, "31UDQ", "MSK_CLDPRB", Some(60)),
            ),
            ("tiles/31/U/DQ/2024/10/16/0/preview.jp2".into(), sensed("20241016", Some("L1C"), "31UDQ", "PVI", None)),
        ];
        for (path, expected) in table {
            assert_eq!(key_of_names(&path), Some(expected), "{path}");
        }
    }

    #[test]
    fn cogs_are_named_by_their_archives() {
        let (tile, pc) = (Some("31UDQ"), "S2A_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T185411");
        let old = "S2A_31UDQ_20240601_0_L2A";
        let cogs =
            format!("https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/31/U/DQ/2024/6/{old}");
        let new = "S2A_T31UDQ_20240601T105625_L2A";
        let landsat = "LC09_L2SP_199026_20240601_20240602_02_T1";
        let usgs = "collection02/level-2/standard/oli-tirs/2024/199/026";
        let table = [
            (format!("{cogs}/B03.tif"), full(old, tile, "B03", None)),
            (format!("{cogs}/B8A.tif"), full(old, tile, "B8A", None)),
            (format!("{cogs}/SCL.tif"), full(old, tile, "SCL", None)),
            (format!("{cogs}/L2A_PVI.tif"), full(old, tile, "PVI", None)),
            (format!("{cogs}/thumbnail.tif"), full(old, tile, "thumbnail", None)),
            ("5/V/PG/2024/6/S2A_5VPG_20240601_0_L1C/B10.TIF".into(), {
                full("S2A_5VPG_20240601_0_L1C", Some("05VPG"), "B10", None)
            }),
            (format!("sentinel-2-c1-l2a/31/U/DQ/2024/6/{new}/B03.tif"), full(new, tile, "B03", None)),
            (format!("sentinel-2-c1-l2a/31/U/DQ/2024/6/{new}/CLD_20m.tif"), full(new, tile, "CLD", Some(20))),
            (
                format!(
                    "sentinel2-l2/31/U/DQ/2024/06/01/{pc}.SAFE/GRANULE/L2A_T31UDQ_A046708_20240601T105625/IMG_DATA/R10m/\
                     T31UDQ_20240601T105031_B03_10m.tif"
                ),
                full(pc, tile, "B03", Some(10)),
            ),
            (format!("{usgs}/{landsat}/{landsat}_SR_B4.TIF"), full(landsat, None, "SR_B4", None)),
            (format!("/data/{landsat}_QA_PIXEL.TIF"), full(landsat, None, "QA_PIXEL", None)),
            (format!("{landsat}/ST_B10.tif"), full(landsat, None, "ST_B10", None)),
            (
                format!("{}/{landsat}_ST_QA.TIF", landsat.replace("199026", "199027")),
                full(landsat, None, "ST_QA", None),
            ),
            (
                "T31UDQ_20240601T105031_B03_10m.tif".into(),
                sensed("20240601T105031", Some("L2A"), "31UDQ", "B03", Some(10)),
            ),
        ];
        for (path, expected) in table {
            assert_eq!(key_of_names(&path), Some(expected), "{path}");
        }
    }

    #[test]
    fn names_of_cogs_tell_level_tile_and_day() {
        for (name, level, tile, day) in [
            ("S2A_31UDQ_20240601_0_L2A", "L2A", "31UDQ", "20240601"),
            ("S2A_5VPG_20240601_0_L1C", "L1C", "05VPG", "20240601"),
            ("S2A_T31UDQ_20240601T105625_L2A", "L2A", "31UDQ", "20240601"),
            ("LC09_L2SP_199026_20231231_20240101_02_T1", "L2SP", "199026", "20231231"),
        ] {
            assert_eq!((level_of(name), sensing_day(name)), (Some(level), Some(day)), "{name}");
            assert_eq!((tile_of(name).as_deref(), year_of(name)), (Some(tile), Some(&day[..4])), "{name}");
            let key = key_of_names(&format!("{name}/B1.tif")).unwrap();
            assert_eq!((key.level(), key.tile().as_deref(), key.year()), (Some(level), Some(tile), Some(&day[..4])));
        }
    }

    #[test]
    fn other_files_go_by_their_own_name() {
        for path in [
            "/data/scene.jp2",
            "/data/scene.tif",
            "scene.jp2",
            "tiles/31/U/DQ/scene.jp2",
            "tiles/99/U/DQ/2024/10/16/x/scene.jp2",
        ] {
            let key = key_of_names(path).unwrap();
            assert_eq!((key.product, key.band.as_str()), (ProductName::Unknown, "scene"), "{path}");
        }
        let long = key_of_names("S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T32TQM_B03.jp2").unwrap();
        assert_eq!(long.product, ProductName::Unknown, "the time in it is not the datatake's");
        assert_eq!(key_of_names(""), None);
        assert_eq!(key_of_names("//"), None);
    }

    #[test]
    fn the_folder_of_a_product_of_aws() {
        for (path, folder) in [
            ("s3/tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2", Some("s3/tiles/31/U/DQ/2024/10/16/0/")),
            ("/tiles/1/C/CV/2024/1/6/12/B03.jp2", Some("/tiles/1/C/CV/2024/1/6/12/")),
            ("tiles/31/U/DQ/2024/10/16/0", None),
            ("tiles/31/U/DQ/2024/10/x/0/B03.jp2", None),
            ("B03.jp2", None),
        ] {
            assert_eq!(aws_folder(path), folder, "{path}");
        }
    }

    #[test]
    fn a_key_tells_level_and_year() {
        let key = key_of_names(&format!("{L2A}.SAFE/x/T31UDQ_20241016T105031_B03_10m.jp2")).unwrap();
        assert_eq!((key.level(), key.year()), (Some("L2A"), Some("2024")));
        // The year of sensing, not of archiving.
        let key = key_of_names(&format!("{}.SAFE/x/y_B03.jp2", OLD.replace("V2016", "V2015"))).unwrap();
        assert_eq!((key.level(), key.year()), (Some("L1C"), Some("2015")));
        let key = key_of_names("tiles/31/U/DQ/2023/10/16/0/B03.jp2").unwrap();
        assert_eq!((key.level(), key.year()), (Some("L1C"), Some("2023")));
    }
}
