//! AWS's layout, `tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2`, whose paths do not tell the product: `productInfo.json` beside
//! the bands has its `name`, `tileInfo.json` its `productName` (<https://roda.sentinel-hub.com/sentinel-s2-l2a/readme.html>).
//!
//! Each folder is asked for once. Where it has neither, its files are called what their paths tell.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Input, names, read, side_by_side};
use crate::error::Error;
use crate::options::Options;
use crate::path::{Key, Location, ProductName, aws_folder, key_of_names, product_name};

/// Bytes of one of the two files.
const MOST_INFO: u64 = 4 << 20;

/// The files that may tell a product's name, and under which key.
const TELLERS: [(&str, &str); 2] = [("productInfo.json", "name"), ("tileInfo.json", "productName")];

/// Gives the files that lie in AWS's layout the names of their products. Of a folder that cannot be asked nothing is left
/// but a failure: its files would get other names than the next time.
pub(super) fn name_products(found: &mut Found, options: &Options) {
    let mut folders: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, input) in found.inputs.iter().enumerate() {
        if let Some(teller) = tellers(input).first() {
            folders.entry(teller.0.display()).or_default().push(number);
        }
    }
    let asked: Vec<&Vec<usize>> = folders.values().collect();
    let told = side_by_side(&asked, |numbers| {
        let first = numbers.first().and_then(|number| found.inputs.get(*number));
        first.map_or(Ok(None), |input| product(input, options))
    });
    let mut left_out = BTreeSet::new();
    for (numbers, told) in folders.into_values().zip(told) {
        match told {
            Ok(None) => {}
            Ok(Some(product)) => {
                for number in numbers {
                    if let Some(input) = found.inputs.get_mut(number) {
                        *input = input.clone().of_product(&product);
                    }
                }
            }
            Err((name, error)) => {
                found.fail(name, error);
                left_out.extend(numbers);
            }
        }
    }
    let mut number = 0..;
    found.inputs.retain(|_| number.next().is_none_or(|number| !left_out.contains(&number)));
}

/// Where the name of the product may be told, and under which key, for a file whose path does not tell it.
fn tellers(input: &Input) -> Vec<(Location, &'static str)> {
    let Some(Key { product: ProductName::Sensed { .. }, .. }) = input.key else { return Vec::new() };
    let path = names(&input.location);
    let Some(below) = aws_folder(&path).and_then(|folder| path.strip_prefix(folder)) else { return Vec::new() };
    let place = match &input.location {
        Location::Local(_) => Location::Local(path.clone().into()),
        elsewhere => elsewhere.clone(),
    };
    // Up from R10m/B03.jp2, not up from B03.jp2.
    let up = "../".repeat(below.matches('/').count());
    let beside = TELLERS.iter().map(|(file, field)| Some((place.join(&format!("{up}{file}")).ok()?, *field)));
    beside.collect::<Option<_>>().unwrap_or_default()
}

/// The name of the product that a file lies in.
fn product(input: &Input, options: &Options) -> Result<Option<String>, (String, Error)> {
    for (location, field) in tellers(input) {
        let name = match read(&location, MOST_INFO, options) {
            Ok(bytes) => name_in(&bytes, field),
            // Who may not list a bucket of AWS's is denied what is not there.
            Err(error) if matches!(error.root(), Error::NotFound { .. } | Error::Denied { .. }) => None,
            Err(error) => return Err((location.display(), error)),
        };
        if let Some(name) = name.filter(|name| fits(name, input)) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn name_in(bytes: &[u8], field: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    document.get(field)?.as_str().and_then(product_name).map(str::to_owned)
}

/// Whether a product can be that of the file: names in compact form tell the tile, all tell the level.
fn fits(name: &str, input: &Input) -> bool {
    let Some((here, there)) = input.key.as_ref().zip(key_of_names(&format!("{name}.SAFE/B02.jp2"))) else {
        return false;
    };
    let agree = |one: Option<&str>, other: Option<&str>| one.is_none() || other.is_none() || one == other;
    agree(here.mgrs_tile.as_deref(), there.mgrs_tile.as_deref()) && agree(here.level(), there.level())
}
