//! What an index holds: rows, products, dates, bytes.

use serde_json::{Value, json};

use crate::cli::progress::Progress;
use crate::cli::shards::{open_index, shards};
use crate::cli::{complain, print, size};
use crate::error::Result;
use crate::index::{Described, describe_index};
use crate::source::Caller;

/// Whether all of the index at `path` could be read.
pub(super) fn run(path: &str, json: bool, caller: &Caller<'_>) -> Result<bool> {
    let files = shards(path, caller)?;
    let progress = Progress::new(files.len());
    let (mut described, mut bytes, mut failed) = (Described::default(), 0, 0);
    for location in &files {
        let told = open_index(location, caller).and_then(|file| {
            bytes += file.size();
            describe_index(&file, &mut described)
        });
        progress.step(told.as_ref().err());
        failed += usize::from(told.is_err());
    }
    progress.finish();
    let told = describe(path, files.len(), bytes, &described);
    if json {
        print(&serde_json::to_string_pretty(&told).unwrap_or_default());
    } else {
        print(&text(&told));
    }
    if failed > 0 {
        complain(&format!("{failed} of {} files could not be read", files.len()));
    }
    Ok(failed == 0)
}

fn describe(path: &str, files: usize, bytes: u64, described: &Described) -> Value {
    let Described { rows, row_groups, levels, bands, products, tiles, days, file_bytes, with_packets } = described;
    let day = |day: &str| format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..8]);
    json!({
        "index": path, "files": files, "bytes": bytes, "rows": rows, "row_groups": row_groups,
        "bytes_a_row": bytes as f64 / (*rows).max(1) as f64, "products": products.len(), "tiles": tiles.len(),
        "first_day": days.as_ref().map(|(first, _)| day(first)), "last_day": days.as_ref().map(|(_, last)| day(last)),
        "levels": levels, "bands": bands, "bytes_of_jp2": file_bytes,
        "rows_with_packets": with_packets,
    })
}

fn text(told: &Value) -> String {
    let number = |name: &str| told[name].as_u64().unwrap_or(0);
    let counts = |name: &str| {
        let entries = told[name].as_object().into_iter().flatten();
        entries.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let day = |name: &str| told[name].as_str().unwrap_or("?").to_owned();
    let lines = [
        format!(
            "{}: an index of {} files, {}",
            told["index"].as_str().unwrap_or(""),
            number("files"),
            size(number("bytes"))
        ),
        format!(
            "  rows        {} in {} row groups, {:.0} bytes a row, {} with packets",
            number("rows"),
            number("row_groups"),
            told["bytes_a_row"].as_f64().unwrap_or(0.0),
            number("rows_with_packets")
        ),
        format!(
            "  products    {} of {} tiles, sensed from {} to {}",
            number("products"),
            number("tiles"),
            day("first_day"),
            day("last_day")
        ),
        format!("  levels      {}", counts("levels")),
        format!("  bands       {}", counts("bands")),
        format!("  JP2 files   {}", size(number("bytes_of_jp2"))),
    ];
    lines.join("\n")
}
