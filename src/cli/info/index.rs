//! What an index holds: rows, products, dates, bytes.

use std::collections::BTreeMap;

use crate::cli::print::{complain, print, print_pretty_json, size};
use crate::cli::progress::Progress;
use crate::collect::{IndexContents, contents};
use crate::error::Result;
use crate::source::Caller;

/// Whether all of the index at `path` could be read.
pub(super) fn run(path: &str, json: bool, caller: &Caller<'_>) -> Result<bool> {
    let (contents, failed) = contents(path, caller, &Progress::default())?;
    match json {
        true => print_pretty_json(&contents),
        false => print(&text(&contents)),
    }
    if failed > 0 {
        complain(&format!("{failed} of {} files could not be read", contents.files));
    }
    Ok(failed == 0)
}

fn text(contents: &IndexContents) -> String {
    let counts = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let day = |day: &Option<String>| day.clone().unwrap_or_else(|| "?".to_owned());
    let lines = [
        format!("{}: an index of {} files, {}", contents.index, contents.files, size(contents.bytes)),
        format!(
            "  rows        {} in {} row groups, {:.0} bytes a row, {} with packets",
            contents.rows, contents.row_groups, contents.bytes_a_row, contents.rows_with_packets
        ),
        format!(
            "  products    {} of {} tiles, sensed from {} to {}",
            contents.products,
            contents.tiles,
            day(&contents.first_day),
            day(&contents.last_day)
        ),
        format!("  levels      {}", counts(&contents.levels)),
        format!("  bands       {}", counts(&contents.bands)),
        format!("  JP2 files   {}", size(contents.bytes_of_jp2)),
    ];
    lines.join("\n")
}
