//! How the archives of Sentinel-2 lay out their files, both ways: which archive a place is, and where a file whose path
//! in one archive is known lies in another.
//!
//! | archive | a file of L2A |
//! |---|---|
//! | CDSE | `Sentinel-2/MSI/L2A/2024/10/16/<product>.SAFE/GRANULE/…/R10m/T31UDQ_20241016T105031_B03_10m.jp2` |
//! | Google | `L2/tiles/31/U/DQ/<product>.SAFE/GRANULE/…/R10m/T31UDQ_20241016T105031_B03_10m.jp2`; L1C without `L2/` |
//! | AWS | `tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2`, a bucket each for L1C and L2A |
//!
//! CDSE and Google keep the product's folder, so what stands below it is the same there. AWS renames it all: its paths
//! are told by product, tile, band and resolution, but for a sequence number (0, mostly) of the tile's products of a day.
//!
//! What an index row says of a path is not trusted: it can name a file below the user's own base, and nothing else.

use super::names::{Key, ProductName, aws_file, key_of_names, level_of, product_name, sensing_time};
use super::{is_image_name, parse_file, without_secrets};
use crate::error::{Error, Result};

/// An archive whose layout is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Archive {
    /// The Copernicus Data Space Ecosystem, bucket `eodata`.
    Cdse,
    /// Google's `gcp-public-data-sentinel-2`.
    Gcs,
    /// `sentinel-s2-l1c` and `sentinel-s2-l2a` at AWS, requester pays.
    Aws,
}

/// The buckets of AWS, by level.
const AWS_BUCKETS: [(&str, &str); 2] = [("L1C", "sentinel-s2-l1c"), ("L2A", "sentinel-s2-l2a")];

impl Archive {
    /// The archive that goes by this bucket's name, which a mirror's folder may have as well.
    pub(crate) fn of_bucket(bucket: &str) -> Option<Self> {
        match bucket {
            "eodata" | "EODATA" | "DIAS" => Some(Self::Cdse),
            "gcp-public-data-sentinel-2" => Some(Self::Gcs),
            _ => AWS_BUCKETS.iter().any(|(_, name)| *name == bucket).then_some(Self::Aws),
        }
    }

    /// The folders in which the files of a product can lie, as keys in the archive without a slash at the end, the
    /// likeliest first. `key` needs no band.
    ///
    /// # Errors
    /// [`Error::Product`] where `key` does not tell what the archive sorts by.
    pub(crate) fn product_folders(self, key: &Key) -> Result<Vec<String>> {
        let ProductName::Full(product) = &key.product else {
            return Err(missing("the product's name"));
        };
        let level = level_of(product).ok_or_else(|| missing("whether it is L1C or L2A"))?;
        match self {
            Self::Cdse => {
                let (year, month, day) = date(product)?;
                let in_collection =
                    |collection: &str| format!("Sentinel-2/MSI/{collection}/{year}/{month}/{day}/{product}.SAFE");
                let reprocessed = format!("{level}_N0500");
                // Collection-1 has the baselines 05.00 and 05.10, the latter of which everyday products of 2024 have, too.
                let collections = match product.split('_').nth(3) {
                    Some("N0500") => vec![&reprocessed, level],
                    Some("N0510") if year < "2024" => vec![&reprocessed, level],
                    _ => vec![level],
                };
                Ok(collections.into_iter().map(in_collection).collect())
            }
            Self::Gcs => {
                let (zone, band, square) = tile(key)?;
                let top = if level == "L2A" { "L2/tiles" } else { "tiles" };
                Ok(vec![format!("{top}/{zone}/{band}/{square}/{product}.SAFE")])
            }
            Self::Aws => aws_folders(key, date(product)?),
        }
    }
}

/// Where files lie: the option `VSITLM_STORE`, or `--store`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    archive: Option<Archive>,
    /// In the grammar of what follows `/vsitlm/`, without a slash at its end.
    base: String,
}

/// The sequence numbers that are tried at AWS where the row was not made there.
const SEQUENCES: std::ops::Range<u32> = 0..3;
/// Longer keys than this no object store has, in bytes.
const MOST_PATH: usize = 1024;

impl Store {
    /// What stands in messages about values that are none.
    pub(crate) const EXPECTED: &'static str =
        "cdse, gcs, aws, or a base such as /vsis3/eodata, https://host/bucket or /data/s2, without '?' and '#'";

    /// The store of this name: `cdse`, `gcs`, `aws`, or a base in the grammar of what follows `/vsitlm/`. A base is an
    /// archive by the name of its bucket or last folder; any other is a folder in which keys lie as rows have them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let known = |archive, base: &str| Some(Self { archive: Some(archive), base: base.to_owned() });
        match text.to_ascii_lowercase().as_str() {
            "cdse" => return known(Archive::Cdse, "s3://eodata"),
            "gcs" => return known(Archive::Gcs, "https://storage.googleapis.com/gcp-public-data-sentinel-2"),
            "aws" => return known(Archive::Aws, "s3://sentinel-s2-l2a"),
            _ => {}
        }
        let base = text.trim_end_matches('/');
        let last = base.rsplit('/').next().unwrap_or_default();
        let is_none =
            last.is_empty() || last.ends_with(':') || base.contains(['?', '#']) || product_name(last).is_some();
        if is_none || parse_file(&format!("{base}/x.jp2")).is_err() {
            return None;
        }
        // https://sentinel-s2-l1c.s3.amazonaws.com
        let is_host = base.rsplit('/').nth(1) == Some("") && base.contains("://");
        let bucket = if is_host { last.split('.').next().unwrap_or_default() } else { last };
        Some(Self { archive: Archive::of_bucket(bucket), base: base.to_owned() })
    }

    /// Which archive it is, where it has the layout of one.
    pub(crate) fn archive(&self) -> Option<Archive> {
        self.archive
    }

    /// The path of an object with this key, in the grammar of what follows `/vsitlm/`. AWS has a bucket for each level.
    pub(crate) fn join(&self, key: &str, level: Option<&str>) -> String {
        let (folder, last) = self.base.split_at(self.base.rfind('/').map_or(0, |at| at + 1));
        let host = AWS_BUCKETS.iter().find_map(|(_, bucket)| last.strip_prefix(bucket));
        let wanted = AWS_BUCKETS.iter().find(|(known, _)| Some(*known) == level);
        match (wanted, host) {
            (Some((_, bucket)), Some(host)) if self.archive == Some(Archive::Aws) => {
                format!("{folder}{bucket}{host}/{key}")
            }
            _ => format!("{}/{key}", self.base),
        }
    }

    /// Where a file lies that an index row calls `key` and whose `path` there is `row_path`: as many places as are
    /// possible, the likeliest first, in the grammar of what follows `/vsitlm/`.
    ///
    /// # Errors
    /// [`Error::Row`] for a path that could lead out of the base or to another file than `key`; [`Error::Product`] where
    /// the row does not tell what this archive's paths are made of.
    pub(crate) fn locate(&self, key: &Key, row_path: &str) -> Result<Vec<String>> {
        check(key, row_path)?;
        let join = |path: &String| self.join(path, key.level());
        let Some(archive) = self.archive else { return Ok(vec![join(&row_path.to_owned())]) };
        let paths = match archive {
            Archive::Aws => at_aws(key, row_path)?,
            Archive::Cdse | Archive::Gcs => {
                let Some((before, below)) = split_at_product(row_path) else {
                    return Err(missing("the granule's folder, which rows made at AWS and of single files lack"));
                };
                let folders = archive.product_folders(key)?;
                let mut paths: Vec<String> = folders.iter().map(|folder| format!("{folder}/{below}")).collect();
                // A row made at CDSE tells the collection.
                if let (Archive::Cdse, Some(at)) = (archive, before.find("Sentinel-2/")) {
                    let own = row_path[at..].to_owned();
                    paths.retain(|path| *path != own);
                    paths.insert(0, own);
                }
                paths
            }
        };
        Ok(paths.iter().map(join).collect())
    }
}

/// The error for a place that cannot be told.
fn missing(what: &str) -> Error {
    Error::Product { what: format!("where it lies cannot be told without {what}") }
}

/// A row's path is below whatever it is joined to, and names a JP2 or a TIFF with the band of `key`.
fn check(key: &Key, path: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=~@".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_plain);
    let row = |what: String| Err(Error::Row { what });
    if path.len() > MOST_PATH || !path.split('/').all(is_part) {
        return row("its path is none that an archive has".to_owned());
    }
    let Some(named) = key_of_names(path).filter(|_| is_image_name(path)) else {
        return row(format!("its path '{path}' names no JP2 or TIFF"));
    };
    let is_same = match (&named.product, &key.product) {
        (ProductName::Full(named), ProductName::Full(wanted)) => named == wanted,
        _ => true,
    };
    if !is_same || named.band != key.band {
        return row(format!("its path '{}' is that of another file", without_secrets(path)));
    }
    Ok(())
}

/// What stands before the product's folder, and what below.
fn split_at_product(path: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    for part in path.split('/') {
        let below = at + part.len() + 1;
        if product_name(part).is_some() && below < path.len() {
            return Some((&path[..at], &path[below..]));
        }
        at = below;
    }
    None
}

/// `2024`, `10`, `16`: the day of a product, by which CDSE sorts.
fn date(product: &str) -> Result<(&str, &str, &str)> {
    let time = sensing_time(product).ok_or_else(|| missing("the time in the product's name"))?;
    Ok((&time[..4], &time[4..6], &time[6..8]))
}

/// `31`, `U`, `DQ`.
fn tile(key: &Key) -> Result<(&str, &str, &str)> {
    let tile = key.mgrs_tile.as_deref().filter(|tile| tile.len() == 5 && tile.is_ascii());
    let tile = tile.ok_or_else(|| missing("its tile"))?;
    Ok((&tile[..2], &tile[2..3], &tile[3..]))
}

/// A tile's folders of one day.
fn aws_folders(key: &Key, (year, month, day): (&str, &str, &str)) -> Result<Vec<String>> {
    let (zone, band, square) = tile(key)?;
    let [zone, month, day] = [zone, month, day].map(|number| number.trim_start_matches('0'));
    let folder = |sequence| format!("tiles/{zone}/{band}/{square}/{year}/{month}/{day}/{sequence}");
    Ok(SEQUENCES.map(folder).collect())
}

/// The keys at AWS.
fn at_aws(key: &Key, row_path: &str) -> Result<Vec<String>> {
    let Some(named) = key_of_names(row_path) else { return Err(missing("the file's name")) };
    if let (None, Some(at)) = (split_at_product(row_path), row_path.rfind("tiles/")) {
        return Ok(vec![row_path[at..].to_owned()]); // made there
    }
    let ProductName::Full(product) = &key.product else { return Err(missing("the product's name")) };
    let file = aws_file(level_of(product), &named.band, named.resolution.or(key.resolution));
    let day = date(product)?;
    // L2A_T31UDQ_A048668_20241016T105303: a tile may be sensed on the day after its datatake began.
    let granule = row_path.split('/').skip_while(|part| *part != "GRANULE").nth(1).filter(|name| name.starts_with('L'));
    let granule = granule.and_then(sensing_time);
    let later = granule.map(|time| (&time[..4], &time[4..6], &time[6..8])).filter(|later| *later != day);
    let mut paths = Vec::new();
    for day in later.into_iter().chain([day]) {
        paths.extend(aws_folders(key, day)?.iter().map(|folder| format!("{folder}/{file}")));
    }
    Ok(paths)
}

#[cfg(test)]
#[path = "archives_tests.rs"]
mod tests;
