//! The rows that an index has of a file, for people.

use crate::collect::IndexRow;

/// A line for each row that an index has of a file.
pub(super) fn rows(rows: Option<&[IndexRow]>) -> Vec<String> {
    match rows {
        None => vec!["none asked: set VSITLM_INDEX".to_owned()],
        Some([]) => vec!["no row".to_owned()],
        Some(rows) => rows
            .iter()
            .map(|row| {
                let fits = if row.fits_size { "" } else { ", but of another size" };
                let origin = row.origin.as_ref().map_or(String::new(), |origin| format!(", made from {origin}"));
                format!("{} {}{origin}{fits}", row.product_id, row.band_id)
            })
            .collect(),
    }
}
