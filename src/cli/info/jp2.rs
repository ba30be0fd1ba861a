//! What a JP2 is made of, and what reading it costs.

use serde_json::{Value, json};

use crate::cli::{complain, print, size};
use crate::error::{Error, Result, ResultExt};
use crate::index::{FoundRows, PacketLengths, Record, Scanned, find, scan};
use crate::jp2::{LBox, PROGRESSIONS, TilePart};
use crate::path::{Key, Location, key_of};
use crate::source::{self, Caller, Source};

/// Describes the JP2 at `location`.
pub(super) fn run(location: &Location, json: bool, caller: &Caller<'_>) -> Result<bool> {
    let source = caller.source(location)?;
    let (told, warnings) = scan_jp2(location, &*source, caller)?;
    for warning in warnings {
        complain(&warning.chain());
    }
    if json {
        print(&serde_json::to_string_pretty(&told).unwrap_or_default());
    } else {
        print(&text(&told));
    }
    Ok(true)
}

/// Scans the JP2 at `location`, which `source` reads, and tells everything, as JSON; with it what an index of the options,
/// opened by `open`, could not answer.
///
/// # Errors
/// As [`scan`].
pub(crate) fn scan_jp2(location: &Location, source: &dyn Source, caller: &Caller<'_>) -> Result<(Value, Vec<Error>)> {
    let name = location.display();
    let scanned = scan(source).in_file(&name)?;
    let options = caller.access(location).in_file(&name)?.options;
    let gap = source::merge_gap(source, &options);
    // The names of the folders that a local file lies in tell the product.
    let whole = match location {
        Location::Local(path) => Location::Local(path.canonicalize().unwrap_or_else(|_| path.clone())),
        other => other.clone(),
    };
    let key = key_of(&whole);
    let found = match &key {
        Some(key) if !options.index.is_empty() => Some(find(&options.index, key, source.origin(), caller)),
        _ => None,
    };
    let told = describe(&name, &scanned, key.as_ref(), found.as_ref(), gap);
    Ok((told, found.map_or_else(Vec::new, |found| found.warnings)))
}

/// Everything, as JSON.
fn describe(name: &str, scanned: &Scanned, key: Option<&Key>, found: Option<&FoundRows>, gap: u64) -> Value {
    let Scanned { meta, main, parts, .. } = scanned;
    let (siz, coding) = (&main.siz, &main.coding);
    let component = &coding.default;
    let mut boxes: Vec<Value> = main
        .boxes
        .iter()
        .map(|(kind, offset, length)| json!({"kind": text_of(kind), "offset": offset, "bytes": length}))
        .collect();
    if let Some((offset, length)) = main.jp2c {
        let form = match length {
            LBox::ToEnd => "LBox = 0, to the end of the file",
            LBox::Short(_) => "LBox",
            LBox::Extended(_) => "XLBox",
        };
        let end = main.codestream_end.unwrap_or(meta.size);
        boxes.push(json!({"kind": "jp2c", "offset": offset, "bytes": end.saturating_sub(offset), "length": form}));
    }
    let lengths: Vec<u64> = parts.iter().map(|part| u64::from(part.length)).collect();
    let total: u64 = lengths.iter().sum();
    let plt =
        parts.iter().filter(|part| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty())).count();
    let (width, height) = siz.size();
    let row = |record: &Record| {
        json!({
            "product_id": record.key.product_id, "band_id": record.key.band_id, "resolution": record.key.resolution,
            "origin": record.origin, "file_size": record.file_size, "has_header": record.header.is_some(),
            "packet_count": record.packets.as_ref().map(PacketLengths::count),
            "fits_size": record.file_size.is_none_or(|size| size == meta.size),
        })
    };
    json!({
        "file": name,
        "bytes": meta.size,
        "etag": meta.etag,
        "key": key.map(|key| format!("{key:?}")),
        "boxes": boxes,
        "image": {
            "width": width, "height": height, "offset": [siz.x0, siz.y0],
            "components": siz.components.iter().map(|c| json!({"bits": (c.depth & 0x7F) + 1, "signed": c.depth & 0x80 != 0, "dx": c.dx, "dy": c.dy})).collect::<Vec<_>>(),
        },
        "tiles": {
            "width": siz.tile_width, "height": siz.tile_height, "across": siz.tiles_across(), "down": siz.tiles_down(),
            "count": siz.tiles(),
        },
        "coding": {
            "progression": PROGRESSIONS.get(usize::from(coding.progression)), "layers": coding.layers, "levels": component.levels,
            "code_block": [1u32 << component.code_block.0, 1u32 << component.code_block.1], "wavelet": if component.reversible { "5/3" } else { "9/7" },
            "component_transform": coding.multiple_component_transform,
            "sop": coding.sop, "eph": coding.eph,
            "precincts": component.precincts.iter().map(|(x, y)| json!([1u32 << x, 1u32 << y])).collect::<Vec<_>>(),
        },
        "tile_parts": {
            "count": parts.len(), "least": lengths.iter().min(), "mean": total / (lengths.len() as u64).max(1),
            "greatest": lengths.iter().max(), "first_sot": main.end,
        },
        "tlm": main.has_tlm(),
        "tlm_fits": scanned.has_tlm,
        "tile_parts_with_resolutions": plt,
        "index": found.map(|found| found.records.iter().map(row).collect::<Vec<_>>()),
        "overviews": overviews(parts, component.levels, siz.size(), meta.size, gap),
    })
}

fn text_of(kind: &[u8; 4]) -> String {
    kind.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' }).collect()
}

/// What an overview of each factor needs: its packets, which are the first of every tile-part. `gap` is what two ranges
/// may be apart and still be one request. Empty where it is not known where the resolutions end.
fn overviews(parts: &[TilePart], levels: u8, image: (u32, u32), file_size: u64, gap: u64) -> Vec<Value> {
    let mut out = Vec::new();
    for reduce in 1..=u32::from(levels) {
        let (mut bytes, mut requests, mut fetched) = (0u64, 0u64, 0u64);
        let mut last: Option<u64> = None;
        for part in parts {
            let ends = part.head.as_ref().map(|head| (head, usize::from(levels) - reduce as usize));
            let Some((head, end)) = ends.and_then(|(head, at)| Some((head, head.resolution_ends.get(at)?))) else {
                return Vec::new();
            };
            let (start, end) = (part.offset + u64::from(head.packets), part.offset + u64::from(*end));
            if start >= end {
                continue;
            }
            bytes += end - start;
            match last {
                Some(before) if start <= before.saturating_add(gap) => fetched += end - before,
                _ => {
                    requests += 1;
                    fetched += end - start;
                }
            }
            last = Some(end);
        }
        let factor = 1u64 << reduce;
        let at = |edge: u32| u64::from(edge).div_ceil(factor);
        out.push(json!({
            "factor": factor, "width": at(image.0), "height": at(image.1), "bytes": bytes, "requests": requests,
            "bytes_with_gaps": fetched, "share": bytes as f64 / file_size.max(1) as f64,
        }));
    }
    out
}

/// The same for people.
fn text(told: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut out = vec![format!("{}: {}", told["file"].as_str().unwrap_or(""), size(number(&told["bytes"])))];
    let mut line = |name: &str, text: String| out.push(format!("  {name:<12}{text}"));
    let boxes = told["boxes"].as_array().into_iter().flatten();
    let boxes: Vec<_> = boxes
        .map(|b| match b["length"].as_str() {
            Some(form) => format!("{} at {} ({form})", b["kind"].as_str().unwrap_or("").trim(), b["offset"]),
            None => format!("{} {}", b["kind"].as_str().unwrap_or("").trim(), size(number(&b["bytes"]))),
        })
        .collect();
    line("boxes", boxes.join(", "));
    let (image, tiles, coding, parts) = (&told["image"], &told["tiles"], &told["coding"], &told["tile_parts"]);
    let components = image["components"].as_array().map_or(0, Vec::len);
    let bits = &image["components"][0]["bits"];
    line("image", format!("{} × {}, {components} component(s) of {bits} bits", image["width"], image["height"]));
    line("tiles", format!("{} × {} of {} × {}", tiles["across"], tiles["down"], tiles["width"], tiles["height"]));
    let precincts: Vec<_> = coding["precincts"].as_array().into_iter().flatten().map(|p| p[0].to_string()).collect();
    line(
        "coding",
        format!(
            "{}, {} layer(s), {} levels, {}, code-blocks {} × {}, precincts {}",
            coding["progression"].as_str().unwrap_or("?"),
            coding["layers"],
            coding["levels"],
            coding["wavelet"].as_str().unwrap_or("?"),
            coding["code_block"][0],
            coding["code_block"][1],
            precincts.join(" ")
        ),
    );
    line(
        "tile-parts",
        format!(
            "{}, the first at {}, {} to {}, {} on average",
            parts["count"],
            parts["first_sot"],
            size(number(&parts["least"])),
            size(number(&parts["greatest"])),
            size(number(&parts["mean"]))
        ),
    );
    line(
        "TLM",
        match (told["tlm"].as_bool(), told["tlm_fits"].as_bool()) {
            (Some(true), Some(true)) => "yes: served as it is".into(),
            (Some(true), _) => "yes, but it does not fit the file".into(),
            _ => "no: /vsitlm/ gives it one".into(),
        },
    );
    let (known, all) = (number(&told["tile_parts_with_resolutions"]), number(&parts["count"]));
    line(
        "PLT",
        match known {
            _ if told["tlm_fits"].as_bool() == Some(true) => "not looked at".into(),
            0 => "no, or none that tells where the resolutions end".into(),
            known if known == all => "yes".into(),
            known => format!("in {known} of {all} tile-parts"),
        },
    );
    match told["index"].as_array() {
        None => line("index", "none asked: set VSITLM_INDEX".into()),
        Some(rows) if rows.is_empty() => line("index", "no row".into()),
        Some(rows) => {
            for row in rows {
                let fits = if row["fits_size"].as_bool() == Some(true) { "" } else { ", but of another size" };
                let origin = row["origin"].as_str().map_or(String::new(), |origin| format!(", made from {origin}"));
                let (product, band) = (row["product_id"].as_str().unwrap_or(""), row["band_id"].as_str().unwrap_or(""));
                line("index", format!("{product} {band}{origin}{fits}"));
            }
        }
    }
    for overview in told["overviews"].as_array().into_iter().flatten() {
        line(
            &format!("1/{}", overview["factor"]),
            format!(
                "{} × {}: {} ({:.2} %) in {} request(s), {} with the gaps between",
                overview["width"],
                overview["height"],
                size(number(&overview["bytes"])),
                overview["share"].as_f64().unwrap_or(0.0) * 100.0,
                overview["requests"],
                size(number(&overview["bytes_with_gaps"]))
            ),
        );
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jp2::{TilePartHead, made};
    use crate::source::memory::Memory;

    #[test]
    fn overviews_of_files_with_several_tile_parts_are_described() {
        for parts in [1, 3] {
            let made = made::File { plt: true, parts, progression: 1, components: vec![1, 1], ..made::File::default() };
            let file = made.bytes();
            let scanned = scan(&Memory::new("file:///x.jp2", file.clone())).unwrap();
            let told = describe("x.jp2", &scanned, None, None, 0);
            assert_eq!(told["tile_parts"]["count"].as_u64(), Some(6 * u64::from(parts)));
            for (index, k) in [(0, 1), (1, 2)] {
                let bytes: usize = made.needed(k).iter().map(|(_, range)| range.len()).sum();
                let overview = &told["overviews"][index];
                assert_eq!(overview["bytes"].as_u64(), Some(bytes as u64), "1/{} of {parts} tile-parts", 1 << k);
            }
            let text = text(&told);
            assert!(text.contains("PLT         yes") && text.contains("1/4         20 × 15: "), "{text}");
        }
        // Resolutions that are mixed have no prefix to tell of.
        let mixed = made::File { plt: true, layers: 2, ..made::File::default() }.bytes();
        let scanned = scan(&Memory::new("file:///x.jp2", mixed)).unwrap();
        let told = describe("x.jp2", &scanned, None, None, 0);
        assert_eq!(told["overviews"], json!([]));
        assert!(text(&told).contains("no, or none that tells where the resolutions end"));
    }

    #[test]
    fn an_overview_is_the_first_packets_of_every_tile_part() {
        let part = |tile: u16| TilePart {
            tile,
            offset: 1000 + 100 * u64::from(tile),
            length: 100,
            head: Some(TilePartHead { kept: 12, packets: 20, droppable: true, resolution_ends: vec![30, 50, 100] }),
        };
        let parts = [part(0), part(1), part(2)];
        let told = overviews(&parts, 2, (101, 50), 300, 50);
        let facts: Vec<_> = told
            .iter()
            .map(|o| (o["factor"].as_u64(), o["bytes"].as_u64(), o["requests"].as_u64(), o["width"].as_u64()))
            .collect();
        assert_eq!(facts, [(Some(2), Some(90), Some(3), Some(51)), (Some(4), Some(30), Some(3), Some(26))]);
        let merged = overviews(&parts, 2, (101, 50), 300, 70);
        assert_eq!((merged[0]["requests"].as_u64(), merged[0]["bytes_with_gaps"].as_u64()), (Some(1), Some(230)));
        let mut unknown = parts.to_vec();
        unknown[1].head = None;
        assert!(overviews(&unknown, 2, (101, 50), 300, 70).is_empty());
    }
}
