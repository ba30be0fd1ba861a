//! Values of options, as GDAL reads them, and as this program's own are read.

use crate::error::{Error, Result};

/// What gives the value of an option.
pub(super) type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of the option `name`, unless that is empty.
pub(super) fn text(get: Get, name: &str) -> Option<String> {
    get(name).filter(|value| !value.is_empty())
}

/// Whether the option `name` is set to yes.
pub(super) fn flag(get: Get, name: &str, default: bool) -> bool {
    text(get, name).map_or(default, |value| is_yes(&value))
}

/// GDAL's CPLTestBool: everything is yes but NO, FALSE, OFF and 0.
fn is_yes(value: &str) -> bool {
    !["NO", "FALSE", "OFF", "0"].contains(&value.to_ascii_uppercase().as_str())
}

/// The option `name`, one of the words of `values`; the first of them where it is not set.
pub(super) fn choice<T: Copy>(get: Get, name: &'static str, expected: &'static str, values: &[(&str, T)]) -> Result<T> {
    let Some(value) = text(get, name) else {
        return values.first().map(|(_, first)| *first).ok_or(Error::Option { name, value: String::new(), expected });
    };
    values
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value.trim()))
        .map(|(_, chosen)| *chosen)
        .ok_or(Error::Option { name, value, expected })
}

/// The option `name`, a number from 1 to `most`, where it is set.
pub(super) fn number(get: Get, name: &'static str, most: usize, expected: &'static str) -> Result<Option<usize>> {
    let Some(value) = text(get, name) else { return Ok(None) };
    match value.trim().parse().ok().filter(|number| (1..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::Option { name, value, expected }),
    }
}

/// The option `name`, where it is set: a number of bytes, plain, or with the suffix KB, MB or GB (powers of 1024, as GDAL's
/// GDAL_CACHEMAX has them).
pub(super) fn bytes(get: Get, name: &'static str) -> Result<Option<u64>> {
    let Some(value) = text(get, name) else { return Ok(None) };
    let upper = value.trim().to_ascii_uppercase();
    let (digits, shift) = [("KB", 10), ("MB", 20), ("GB", 30)]
        .iter()
        .find_map(|(suffix, shift)| upper.strip_suffix(suffix).map(|digits| (digits.trim(), *shift)))
        .unwrap_or((upper.as_str(), 0));
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match number.filter(|number| *number <= 1 << 40) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::Option { name, value, expected: "a number of bytes, such as 1048576, 64MB or 1GB" }),
    }
}
