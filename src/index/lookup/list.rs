//! What the indexes have of a product: the folder that its name stands for.

use std::collections::BTreeSet;

use super::find::{ask, places};
use super::wanted::Wanted;
use crate::error::{Error, Result};
use crate::index::file::read::IndexFile;
use crate::index::format::columns::Column;
use crate::path::{Key, ProductName, is_product_file};
use crate::source::Caller;

const NAMES: [Column; 2] = [Column::ProductId, Column::BandId];
/// A product has some 40 files; what an index has beyond that is not a product's.
const MOST_BANDS: usize = 1000;

/// The bands of a product as the index spells them (`B03`, `B03_20m`), in order: those of the first of `indexes`
/// that has any. With them the indexes that could not be asked.
pub(crate) fn bands_of(indexes: &[String], product: &Key, caller: &Caller<'_>) -> (BTreeSet<String>, Vec<Error>) {
    let ProductName::Full(name) = &product.product else { return Default::default() };
    let wanted = Wanted::new(product, "");
    let (mut bands, mut warnings) = (BTreeSet::new(), Vec::new());
    for entry in indexes {
        for place in places(entry, product) {
            match ask(&place, caller, |file| bands_in(file, &wanted, name)) {
                Ok(found) => bands.extend(found.into_iter().flatten()),
                Err(warning) => warnings.push(warning),
            }
        }
        if !bands.is_empty() {
            break;
        }
    }
    (bands, warnings)
}

/// Those in one index. A band name that nobody could open is left out.
fn bands_in(file: &IndexFile, wanted: &Wanted, name: &str) -> Result<BTreeSet<String>> {
    let mut bands = BTreeSet::new();
    for group in 0..file.groups() {
        if file.products(group).is_some_and(|(min, max)| !wanted.may_hold(min, max)) {
            continue;
        }
        let chunks = file.fetch(&[group], &NAMES)?;
        let mut rows = Vec::new();
        chunks.each(group, Column::ProductId, |row, product| {
            if product == name.as_bytes() && rows.len() < MOST_BANDS {
                rows.push(row);
            }
        })?;
        let names = chunks.text(group, Column::BandId, &rows)?;
        bands.extend(names.into_iter().flatten().filter(|name| is_product_file(name)));
        if bands.len() >= MOST_BANDS {
            break;
        }
    }
    Ok(bands)
}
