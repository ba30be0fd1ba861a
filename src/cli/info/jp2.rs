//! What a JP2 is made of, and what reading it costs.

use super::alike::{print_anatomy, rows};
use crate::cli::print::size;
use crate::collect::{Anatomy, scan_jp2};
use crate::error::Result;
use crate::path::Location;
use crate::source::{Caller, Source};

/// Describes the JP2 at `location`.
pub(super) fn run(location: &Location, source: &dyn Source, json: bool, caller: &Caller<'_>) -> Result<bool> {
    let (anatomy, warnings) = scan_jp2(location, source, caller)?;
    print_anatomy(&anatomy, &warnings, json, text);
    Ok(true)
}

/// The same for people.
fn text(anatomy: &Anatomy) -> String {
    let mut lines = vec![format!("{}: {}", anatomy.file, size(anatomy.bytes))];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<12}{text}"));
    let boxes: Vec<_> = anatomy
        .boxes
        .iter()
        .map(|it| match it.length {
            Some(form) => format!("{} at {} ({form})", it.kind.trim(), it.offset),
            None => format!("{} {}", it.kind.trim(), size(it.bytes)),
        })
        .collect();
    line("boxes", boxes.join(", "));
    let (image, tiles) = (&anatomy.image, &anatomy.tiles);
    let bits = image.components.first().map_or(0, |component| component.bits);
    let components = image.components.len();
    line("image", format!("{} × {}, {components} component(s) of {bits} bits", image.width, image.height));
    line("tiles", format!("{} × {} of {} × {}", tiles.across, tiles.down, tiles.width, tiles.height));
    line("coding", coding(anatomy));
    line(
        "decoder",
        anatomy.left_out.as_ref().map_or("vsitlm's".into(), |what| format!("GDAL's: vsitlm leaves out {what}")),
    );
    line("tile-parts", tile_parts(anatomy));
    line("TLM", tlm(anatomy).to_owned());
    line("PLT", plt(anatomy));
    rows(anatomy.index.as_deref()).into_iter().for_each(|text| line("index", text));
    for overview in &anatomy.overviews {
        line(
            &format!("1/{}", overview.factor),
            format!(
                "{} × {}: {} ({:.2} %) in {} request(s), {} with the gaps between",
                overview.width,
                overview.height,
                size(overview.bytes),
                overview.share * 100.0,
                overview.requests,
                size(overview.bytes_with_gaps)
            ),
        );
    }
    lines.join("\n")
}

fn coding(anatomy: &Anatomy) -> String {
    let coding = &anatomy.coding;
    let precincts: Vec<_> = coding.precincts.iter().map(|[width, _]| width.to_string()).collect();
    format!(
        "{}, {} layer(s), {} levels, {}, code-blocks {} × {}, precincts {}",
        coding.progression.unwrap_or("?"),
        coding.layers,
        coding.levels,
        coding.wavelet,
        coding.code_block[0],
        coding.code_block[1],
        precincts.join(" ")
    )
}

fn tile_parts(anatomy: &Anatomy) -> String {
    let parts = &anatomy.tile_parts;
    format!(
        "{}, the first at {}, {} to {}, {} on average",
        parts.count,
        parts.first_sot,
        size(parts.least.unwrap_or(0)),
        size(parts.greatest.unwrap_or(0)),
        size(parts.mean)
    )
}

fn tlm(anatomy: &Anatomy) -> &'static str {
    match (anatomy.tlm, anatomy.tlm_fits) {
        (true, true) => "yes: served as it is",
        (true, false) => "yes, but it does not fit the file",
        _ => "no: /vsitlm/ gives it one",
    }
}

fn plt(anatomy: &Anatomy) -> String {
    let all = anatomy.tile_parts.count;
    match anatomy.tile_parts_with_resolutions {
        _ if anatomy.tlm_fits => "not looked at".to_owned(),
        0 => "no, or none that says where the resolutions end".to_owned(),
        known if known == all => "yes".to_owned(),
        known => format!("in {known} of {all} tile-parts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::anatomy;
    use crate::jp2::made;

    #[test]
    fn a_file_is_described_for_people() {
        let shown = text(&anatomy(&made::File { plt: true, ..made::File::default() }));
        assert!(shown.contains("PLT         yes") && shown.contains("1/4         20 × 15: "), "{shown}");
        let mixed = text(&anatomy(&made::File { plt: true, layers: 2, ..made::File::default() }));
        assert!(mixed.contains("no, or none that says where the resolutions end"), "{mixed}");
    }
}
