//! What is told of a file alike, whatever it is.

use serde::Serialize;

use crate::cli::print::{complain, print, print_pretty_json};
use crate::collect::IndexRow;
use crate::error::Error;

/// Prints what a file is made of, and complains of what an index could not answer.
pub(super) fn print_anatomy<A: Serialize>(anatomy: &A, warnings: &[Error], json: bool, text: impl Fn(&A) -> String) {
    warnings.iter().for_each(|warning| complain(&warning.chain()));
    match json {
        true => print_pretty_json(anatomy),
        false => print(&text(anatomy)),
    }
}

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
