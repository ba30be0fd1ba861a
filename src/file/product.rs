//! Files by the names of their products: `S2A_MSIL2A_…_T31UDQ_…/B03`. The index says what the file is and what it is
//! called where its row was made; VSITLM_STORE says where the files lie, and nothing but the user does.

use super::VirtualFile;
use super::at_place::{Rows, open_at, warn_all};
use crate::error::{Error, Result, ResultExt};
use crate::index::{self, FoundRows, Record};
use crate::layout;
use crate::options::Options;
use crate::path::{Archive, Key, ProductName, Request, View, parse_file};
use crate::source::Caller;

/// More places than these are not asked, whatever the rows say: a path of AWS has six.
const MOST_PLACES: usize = 8;

/// The files of the product that `request` names, in order: `B02.jp2`, `B03_20m.jp2`, ….
///
/// # Errors
/// [`Error::Product`] where no index has any.
pub(crate) fn bands(request: &Request, caller: &Caller<'_>) -> Result<Vec<String>> {
    let shown = request.location.display();
    let options = caller.access(&request.location).in_file(&shown)?.options;
    let key = request.key.as_ref().ok_or_else(Error::not_found)?;
    let names = names(key, &options, caller).in_file(&shown)?;
    Ok(names.into_iter().map(|name| name + ".jp2").collect())
}

/// The rows of a product's file, which is a JP2. Those that name the day or the time alone may be another product's.
pub(super) fn of_product(key: &Key, options: &Options, caller: &Caller<'_>) -> FoundRows {
    let mut found = index::find(&options.index, key, "", caller);
    let is_of_it = |record: &Record| key.product == ProductName::Full(record.key.product_id.clone());
    found.records.retain(|record| is_of_it(record) && !record.is_of_tiff());
    found
}

/// What the index calls the files of a product.
fn names(key: &Key, options: &Options, caller: &Caller<'_>) -> Result<Vec<String>> {
    if options.index.is_empty() {
        return missing("set VSITLM_INDEX to an index that has it".into());
    }
    let (names, warnings) = index::bands_of(&options.index, key, caller);
    warn_all(caller, &warnings);
    match names.is_empty() {
        true => {
            missing("no index of VSITLM_INDEX has a row that names this product: add it with 'vsitlm index'".into())
        }
        false => Ok(names.into_iter().collect()),
    }
}

fn missing<T>(what: String) -> Result<T> {
    Err(Error::Product { what })
}

/// The rows of the product's file that is called `key`.
fn rows(key: &Key, options: &Options, caller: &Caller<'_>) -> Result<Vec<Record>> {
    let found = of_product(key, options, caller);
    warn_all(caller, &found.warnings);
    if found.records.is_empty() {
        let names = names(key, options, caller)?;
        return missing(format!("VSITLM_INDEX has no row of it, but of {}", names.join(", ")));
    }
    Ok(found.records)
}

/// The size in bytes of the product's file that `request` names and when it was last modified, in seconds since 1970, as
/// the index has it: the archive is not asked. `None` where the row does not tell.
///
/// # Errors
/// [`Error::Product`] where no index has it.
pub(crate) fn size(request: &Request, caller: &Caller<'_>) -> Result<Option<(u64, Option<i64>)>> {
    let options = caller.access(&request.location)?.options;
    let key = request.key.as_ref().ok_or_else(Error::not_found)?;
    let size = |record: &Record| {
        let structure = record.structure(record.header.as_ref()?, record.file_size?).ok()?;
        Some((layout::compose(&structure).ok()?.size(), record.last_modified))
    };
    Ok(rows(key, &options, caller)?.iter().find_map(size))
}

/// Opens the file of a product that `request` names, where it lies by the first row and the first place that fit.
pub(super) fn open(request: &Request, options: &Options, caller: &Caller<'_>) -> Result<VirtualFile> {
    let key = request.key.as_ref().ok_or_else(Error::not_found)?;
    if !request.location.is_jp2() {
        let names = names(key, options, caller)?;
        return missing(format!("it is a folder: open one of {}", names.join(", ")));
    }
    let records = rows(key, options, caller)?;
    let Some(store) = &options.store else {
        return missing(
            "set VSITLM_STORE to where the products lie: cdse, gcs, aws, or a base such as /data/s2".into(),
        );
    };
    // AWS's paths do not tell the product, so that one can be another's.
    let is_sure = store.archive() != Some(Archive::Aws);
    let mut places: Vec<String> = Vec::new();
    let mut failed = None;
    for record in &records {
        match store.locate(key, &record.path) {
            Ok(some) => places.extend(some.into_iter().filter(|place| !places.contains(place)).collect::<Vec<_>>()),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    places.truncate(MOST_PLACES);
    for place in &places {
        let there = parse_file(place)?;
        let rows = Rows { records: &records, is_one_of_many: places.len() > 1, is_sure };
        let there = Request { key: Some(key.clone()), view: View::Whole, ..there };
        let access = caller.access(&there.location)?;
        match open_at(&there, access, caller, Some(rows)) {
            Ok(file) => return Ok(VirtualFile { place: Some(there.location), ..file }),
            // Object stores deny what is not there to those who may not list.
            Err(error) => match error.root() {
                Error::NotFound { .. } | Error::Row { .. } | Error::Denied { .. } => {
                    let error = Err::<(), _>(error).in_file(&there.location.display());
                    failed = failed.or(error.err());
                }
                _ => return Err(error).in_file(&there.location.display()),
            },
        }
    }
    Err(failed.unwrap_or_else(Error::not_found))
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
