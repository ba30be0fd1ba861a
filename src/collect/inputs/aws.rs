//! AWS's layout, `tiles/31/U/DQ/2024/10/16/0/R10m/B03.jp2`, whose paths do not name the product: `productInfo.json` beside
//! the bands has its `name`, `tileInfo.json` its `productName` (<https://roda.sentinel-hub.com/sentinel-s2-l2a/readme.html>).
//!
//! Each folder is asked for once. Where it has neither, its files are called what their paths say.

use std::collections::{BTreeMap, BTreeSet};

use super::document::read;
use super::input::{Expanded, Input, names};
use crate::collect::parallel::side_by_side;
use crate::error::{Error, Result};
use crate::path::{Key, Location, ProductName, aws_folder, product_name};
use crate::source::Caller;

/// Bytes of one of the two files.
const MOST_INFO: u64 = 4 << 20;

/// The files that may have a product's name, and under which key.
const NAMING_FILES: [(&str, &str); 2] = [("productInfo.json", "name"), ("tileInfo.json", "productName")];

/// Gives the files that lie in AWS's layout the names of their products. Of a folder that cannot be asked nothing is left
/// but a failure: its files would get other names than the next time.
pub(super) fn name_products(found: &mut Expanded, caller: &Caller<'_>) {
    let mut folders: BTreeMap<String, (Location, Vec<usize>)> = BTreeMap::new();
    for (number, input) in found.inputs.iter().enumerate() {
        if let Some(folder) = folder(input) {
            folders.entry(folder.display()).or_insert_with(|| (folder, Vec::new())).1.push(number);
        }
    }
    let folders: Vec<_> = folders.into_iter().collect();
    let products = side_by_side(&folders, |(_, (folder, _))| product_of(folder, caller));
    let mut left_out = BTreeSet::new();
    for ((name, (_, numbers)), product) in folders.into_iter().zip(products) {
        match product {
            Ok(None) => {}
            Ok(Some(product)) => {
                // What does not fit one file of the folder is the name of none.
                let mut files = numbers.iter().filter_map(|number| found.inputs.get(*number));
                if files.all(|input| fits(&product, input)) {
                    for number in numbers {
                        if let Some(input) = found.inputs.get_mut(number) {
                            *input = input.clone().of_product(&product);
                        }
                    }
                }
            }
            Err(error) => {
                found.fail(name, error);
                left_out.extend(numbers);
            }
        }
    }
    let mut number = 0..;
    found.inputs.retain(|_| number.next().is_none_or(|number| !left_out.contains(&number)));
}

/// The folder, with its slash, of the product that a file lies in, where its path names the product by that alone.
fn folder(input: &Input) -> Option<Location> {
    let Some(Key { product: ProductName::Sensed { .. }, .. }) = input.key else { return None };
    let path = names(&input.location);
    let folder = aws_folder(&path)?;
    if let Location::Local(_) = input.location {
        return Some(Location::Local(folder.into()));
    }
    // Up from R10m/B03.jp2, not up from B03.jp2.
    let up = "../".repeat(path.strip_prefix(folder)?.matches('/').count());
    input.location.join(&format!("./{up}")).ok()
}

/// The name of the product that lies in a folder, by the files that may have it.
///
/// # Errors
/// Those of reading; a file that is not there is no error.
pub(super) fn product_of(folder: &Location, caller: &Caller<'_>) -> Result<Option<String>> {
    for (file, field) in NAMING_FILES {
        match read(&folder.join(file)?, MOST_INFO, caller) {
            Ok(bytes) => {
                if let Some(name) = name_in(&bytes, field) {
                    return Ok(Some(name));
                }
            }
            // AWS denies what is not there to a caller who may not list the bucket.
            Err(error) if matches!(error.root(), Error::NotFound { .. } | Error::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn name_in(bytes: &[u8], field: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    document.get(field)?.as_str().and_then(product_name).map(str::to_owned)
}

/// Whether a product can be that of the file: names in compact form have the tile, all have the level.
fn fits(name: &str, input: &Input) -> bool {
    let Some(here) = &input.key else { return false };
    let there = Key::of_product(name);
    let agree = |one: Option<&str>, other: Option<&str>| one.is_none() || other.is_none() || one == other;
    agree(here.mgrs_tile.as_deref(), there.mgrs_tile.as_deref()) && agree(here.level(), there.level())
}
