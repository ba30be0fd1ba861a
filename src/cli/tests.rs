//! The command line on files made here.

use std::path::Path;

use super::*;
use crate::index::scan;
use crate::jp2::made;
use crate::path::parse;
use crate::source::Caller;
use crate::source::memory::Memory;

const PRODUCT: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";

/// Whether the command said that all went well; it writes to the test's own output.
fn succeeds(arguments: &[&str]) -> bool {
    let arguments = std::iter::once("vsitlm").chain(arguments.iter().copied()).map(OsString::from);
    exit_code(arguments) == 0
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_product_is_indexed_and_its_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join(format!("{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R10m"));
    std::fs::create_dir_all(&images).unwrap();
    let file = made::File { plt: true, ..made::File::default() }.bytes();
    for band in ["B02", "B03"] {
        std::fs::write(images.join(format!("T31UDQ_20241016T105031_{band}_10m.jp2")), &file).unwrap();
    }
    std::fs::write(folder.path().join(format!("{PRODUCT}.SAFE/preview.jp2")), b"not below GRANULE").unwrap();
    let index = folder.path().join("index.parquet");
    let safe = folder.path().join(format!("{PRODUCT}.SAFE"));
    assert!(succeeds(&["index", text(&safe), "-o", text(&index), "--json"]));

    let band = parse(text(&images.join("T31UDQ_20241016T105031_B03_10m.jp2"))).unwrap();
    let found = crate::index::find(&[text(&index).to_owned()], &band.key.unwrap(), "", &Caller::of_environment());
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let [record] = &found.records[..] else { panic!("{:?}", found.records) };
    assert_eq!((record.key.product_id.as_str(), record.key.band_id.as_str()), (PRODUCT, "B03"));
    assert!(record.path.starts_with(PRODUCT) && record.path.ends_with("_B03_10m.jp2"), "{}", record.path);
    assert_eq!(record.parts.len(), 6);
    assert_eq!(record.parts[0].head.as_ref().unwrap().resolution_ends.len(), 3);
    assert!(record.structure(record.header.as_ref().unwrap(), 0).is_ok());
}

#[test]
fn some_commands_are_of_the_python_package_alone() {
    for arguments in [&["cube", "--help"][..], &["search", "i"], &["load", "index.parquet", "-o", "out", "--area", "a"]]
    {
        assert_eq!(exit_code(std::iter::once("vsitlm").chain(arguments.iter().copied()).map(OsString::from)), 2);
    }
}

#[test]
fn what_fails_is_reported_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = made::File::default().bytes();
    std::fs::write(path("good.jp2"), &file).unwrap();
    std::fs::write(path("cut.jp2"), &file[..file.len() / 2]).unwrap();
    std::fs::write(path("none.jp2"), b"<html>").unwrap();
    let index = path("index.parquet");
    assert!(!succeeds(&["index", text(folder.path()), text(&path("absent.jp2")), "-o", text(&index)]));
    assert!(index.exists(), "the good one is in it");
    std::fs::remove_file(&index).unwrap();
    assert!(!succeeds(&["index", text(&path("none.jp2")), "-o", text(&index)]));
    assert!(!index.exists());
    assert!(!succeeds(&["index", text(&path("good.jp2")), "-o", text(&path("no/such/folder.parquet"))]));
}

#[test]
fn overviews_are_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let (index, safe) = (folder.path().join("index.parquet"), folder.path().join(format!("{PRODUCT}.SAFE")));
    let images = safe.join("GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R10m");
    std::fs::create_dir_all(&images).unwrap();
    let path = |band: &str| images.join(format!("T31UDQ_20241016T105031_{band}_10m.jp2"));
    // One that is read whole, one that is not, one without PLT, one with fewer levels.
    let small = made::File { plt: true, levels: 3, ..made::File::default() };
    let large = made::File { packet: 40_000, ..small.clone() };
    std::fs::write(path("B02"), small.bytes()).unwrap();
    std::fs::write(path("B03"), large.bytes()).unwrap();
    std::fs::write(path("B04"), made::File { plt: false, ..small.clone() }.bytes()).unwrap();
    std::fs::write(path("B08"), made::File { levels: 1, ..small.clone() }.bytes()).unwrap();
    let arguments = |factor| ["index", text(&safe), "-o", text(&index), "--embed-overviews", factor];
    assert!(!succeeds(&arguments("12")) && !index.exists());
    assert!(succeeds(&arguments("4")));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "what was kept meanwhile is gone");

    let embedded = |band: &str| {
        let key = parse(text(&path(band))).unwrap().key.unwrap();
        let mut found = crate::index::find(&[text(&index).to_owned()], &key, "", &Caller::of_environment());
        assert!(found.warnings.is_empty() && found.records.len() == 1, "{band}: {:?}", found.warnings);
        found.records.remove(0)
    };
    for band in ["B02", "B03"] {
        let (row, file) = (embedded(band), std::fs::read(path(band)).unwrap());
        let (k, packets) = row.overviews.unwrap().fetch().unwrap();
        let expected = row.parts.iter().flat_map(|part| {
            let head = part.head.as_ref().unwrap();
            let (start, end) = (head.packets, head.resolution_ends[1]);
            file[part.offset as usize..][start as usize..end as usize].to_vec()
        });
        assert!(k == 2 && packets.iter().copied().eq(expected), "{band}");
    }
    assert!(embedded("B04").overviews.is_none() && embedded("B08").overviews.is_none());
}

/// The row that `vsitlm index` with these options writes for a file alone; `None` where the command fails.
fn indexed(file: &[u8], options: &[&str]) -> Option<crate::index::Record> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("T31UDQ_20241016T105031_B03_10m.jp2");
    let index = folder.path().join("index.parquet");
    std::fs::write(&path, file).unwrap();
    if !succeeds(&[&["index", text(&path), "-o", text(&index)], options].concat()) {
        return None;
    }
    let caller = Caller::of_environment();
    let origin = caller.source(&parse(text(&path)).unwrap().location).unwrap().origin().to_owned();
    let mut found =
        crate::index::find(&[text(&index).to_owned()], &parse(text(&path)).unwrap().key.unwrap(), &origin, &caller);
    assert!(found.warnings.is_empty() && found.records.len() == 1, "{:?}", found.warnings);
    Some(found.records.remove(0))
}

fn ends(record: &crate::index::Record) -> usize {
    let known = |part: &&crate::jp2::TilePart| part.head.as_ref().is_some_and(|head| !head.resolution_ends.is_empty());
    record.parts.iter().filter(known).count()
}

#[test]
fn packets_are_parsed_where_the_file_has_no_lengths() {
    let encoded = include_bytes!("../../tests/data/packets/rlcp_styles.j2k");
    let told = indexed(encoded, &[]).unwrap();
    assert!(ends(&told) > 0 && ends(&told) == told.parts.len());
    // The PLT marker made a comment: as many bytes that tell nothing.
    let mut file = encoded.to_vec();
    for part in &told.parts {
        let at = part.offset as usize + 12;
        assert_eq!(file[at..at + 2], [0xFF, 0x58]);
        file[at + 1] = 0x64;
    }
    assert_eq!(ends(&indexed(&file, &[]).unwrap()), 0);
    assert_eq!(indexed(&file, &["--parse-packets"]).unwrap().parts, told.parts);
    // What cannot be parsed is a row all the same.
    let noise = indexed(&made::File::default().bytes(), &["--parse-packets"]).unwrap();
    assert_eq!((noise.parts.len(), ends(&noise)), (6, 0));
    // PLT that tells is taken at its word: these packets are noise.
    let plt = indexed(&made::File { plt: true, ..made::File::default() }.bytes(), &["--parse-packets"]).unwrap();
    assert_eq!(ends(&plt), 6);
}

#[test]
fn packets_are_carried_where_they_are_asked_for() {
    let made = made::File { plt: true, levels: 3, ..made::File::default() };
    let told = scan(&Memory::new("https://h/x.jp2", made.bytes())).unwrap().lengths;
    let carried = |file: &[u8], options: &[&str]| indexed(file, options).unwrap().packets;
    assert_eq!(carried(&made.bytes(), &[]), None);
    assert_eq!(carried(&made::File { plt: false, ..made.clone() }.bytes(), &["--packets"]), None);
    for options in [&["--packets"][..], &["--packets", "--embed-overviews", "4"]] {
        let row = indexed(&made.bytes(), options).unwrap();
        let packets = row.packets.unwrap();
        assert_eq!(packets.count() as usize, told.iter().map(Vec::len).sum::<usize>());
        assert_eq!(row.overviews.is_some(), options.len() > 1);
    }
    // What reading the packets finds; a row can tell it whatever the progression.
    for encoded in [
        &include_bytes!("../../tests/data/packets/rlcp_styles.j2k")[..],
        include_bytes!("../../tests/data/packets/lrcp_layers.j2k"),
    ] {
        let told = scan(&Memory::new("https://h/x.j2k", encoded.to_vec())).unwrap();
        let mut file = encoded.to_vec();
        for part in &told.parts {
            file[part.offset as usize + 13] = 0x64;
        }
        assert_eq!(carried(&file, &["--packets"]), None);
        let count = carried(&file, &["--packets", "--parse-packets"]).unwrap().count();
        assert_eq!(count as usize, told.lengths.iter().map(Vec::len).sum::<usize>());
    }
}

#[test]
fn packets_are_added_to_rows_merged_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let files = ["T31UDQ_20241016T105031_B03_10m.jp2", "T31UDQ_20241016T105031_B04_10m.jp2"].map(path);
    for file in &files {
        std::fs::write(file, made::File { plt: true, ..made::File::default() }.bytes()).unwrap();
    }
    let (index, merged) = (path("index.parquet"), path("merged.parquet"));
    let with_packets = |index: &std::path::Path| {
        let file = crate::index::IndexFile::from_bytes("i", std::fs::read(index).unwrap().into()).unwrap();
        let rows = crate::index::read_group(&file.into(), 0, &mut Vec::new()).unwrap();
        let read = |row: crate::index::StoredRow| {
            let row = row.record().unwrap();
            row.packets.map(|packets| packets.lengths(&row.parts).unwrap())
        };
        rows.into_iter().map(read).collect::<Vec<_>>()
    };
    let add = |file: &std::path::Path, options: &[&str]| {
        assert!(succeeds(&[&["index", text(file), "-o", text(&index)], options].concat()));
        with_packets(&index)
    };
    assert_eq!(add(&files[0], &[]), [None]);
    assert!(matches!(&add(&files[0], &["--packets"])[..], [Some(_)]), "a row without is made anew");
    let both = add(&files[1], &[]);
    assert!(matches!(&both[..], [Some(lengths), None] if lengths.len() == 6), "{both:?}");
    assert_eq!(add(&files[0], &[]), both, "what a row has it keeps");
    assert!(succeeds(&["merge", text(&index), "-o", text(&merged)]));
    assert_eq!(with_packets(&merged), both);
    assert!(succeeds(&["validate", text(&merged)]) && succeeds(&["info", text(&merged)]));
    // Another count of packets in the value: the first plane's usual value.
    let mut bytes = std::fs::read(&merged).unwrap();
    let file = crate::index::IndexFile::from_bytes("i", bytes.clone().into()).unwrap();
    let row = crate::index::read_group(&file.into(), 0, &mut Vec::new()).unwrap().remove(0);
    let value = row.packets.unwrap().value().unwrap();
    let at = bytes.windows(value.len()).position(|window| window == value).unwrap();
    bytes[at + 1] ^= 1 << 1;
    std::fs::write(&merged, bytes).unwrap();
    assert!(!succeeds(&["validate", text(&merged)]));
}

#[test]
fn the_cloud_cover_of_stac_items_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let files = ["T31UDQ_20241016T105031_B03_10m.jp2", "T31UDQ_20241016T105031_B04_10m.jp2"].map(path);
    for file in &files {
        std::fs::write(file, made::File { plt: true, ..made::File::default() }.bytes()).unwrap();
    }
    let item = serde_json::json!({"id": PRODUCT, "properties": {"eo:cloud_cover": 12.25}, "assets": {
        "B04": {"href": text(&files[1]), "type": "image/jp2"},
    }});
    std::fs::write(path("item.json"), item.to_string()).unwrap();
    let (index, merged) = (path("index.parquet"), path("merged.parquet"));
    let clouds = |index: &std::path::Path| {
        let file = crate::index::IndexFile::from_bytes("i", std::fs::read(index).unwrap().into()).unwrap();
        let rows = crate::index::read_group(&file.into(), 0, &mut Vec::new()).unwrap();
        rows.into_iter().map(|row| (row.key.band_id, row.cloud_cover)).collect::<Vec<_>>()
    };
    let add = |input: &std::path::Path| {
        assert!(succeeds(&["index", text(input), "-o", text(&index)]));
        clouds(&index)
    };
    let row = |band: &str, cover| (band.to_owned(), cover);
    assert_eq!(add(&files[0]), [row("B03", None)]);
    let both = [row("B04", Some(12.25)), row("B03", None)];
    assert_eq!(add(&path("item.json")).iter().filter(|found| both.contains(found)).count(), 2);
    assert_eq!(add(&files[0]).len(), 2, "what a row has it keeps");
    assert!(succeeds(&["merge", text(&index), "-o", text(&merged)]));
    assert_eq!(clouds(&merged), clouds(&index));
    assert!(succeeds(&["validate", text(&merged)]));
}

#[test]
fn lengths_of_packets_that_are_wrong_cost_the_overviews_alone() {
    let mut file = made::File { plt: true, ..made::File::default() }.bytes();
    let plt = file.windows(2).position(|two| two == [0xFF, 0x58]).unwrap();
    file[plt + 5] ^= 1;
    let row = indexed(&file, &[]).unwrap();
    assert_eq!((row.parts.len(), ends(&row)), (6, 0));
    assert!(row.structure(row.header.as_ref().unwrap(), 0).is_ok());
}

#[test]
fn a_tlm_is_injected() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = made::File { jp2c: Some(crate::jp2::LBox::Short(0)), ..made::File::default() }.bytes();
    std::fs::write(path("in.jp2"), &file).unwrap();
    assert!(succeeds(&["inject", text(&path("in.jp2")), text(&path("out.jp2"))]));
    let out = std::fs::read(path("out.jp2")).unwrap();
    assert!(out.len() > file.len());
    let scanned = crate::index::scan(&crate::source::memory::Memory::new("out", out.clone())).unwrap();
    assert!(scanned.has_tlm);
    // What has a TLM is copied as it is.
    assert!(succeeds(&["inject", text(&path("out.jp2")), text(&path("again.jp2"))]));
    assert_eq!(std::fs::read(path("again.jp2")).unwrap(), out);
    assert!(succeeds(&["inject", "--tlm", text(&path("in.jp2")), text(&path("in.tlm"))]));
    let blob = std::fs::read(path("in.tlm")).unwrap();
    assert_eq!(blob[..8], (file.len() as u64).to_be_bytes());
    assert_eq!(blob[20..22], [0xFF, 0x55]);
    assert!(succeeds(&["inject", "--tlm", text(&path("out.jp2")), text(&path("out.tlm"))]));
    assert!(std::fs::read(path("out.tlm")).unwrap().is_empty());
    // Never over the file itself.
    assert!(!succeeds(&["inject", text(&path("in.jp2")), text(&path("in.jp2"))]));
    assert_eq!(std::fs::read(path("in.jp2")).unwrap(), file);
    assert!(!succeeds(&["inject", text(&path("in.jp2")), text(&path("no/out.jp2"))]));
}

#[test]
fn a_file_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jp2");
    std::fs::write(&path, made::File { plt: true, ..made::File::default() }.bytes()).unwrap();
    assert!(succeeds(&["info", text(&path)]));
    assert!(succeeds(&["info", &format!("/vsitlm/{}", text(&path)), "--json"]));
    assert!(!succeeds(&["info", text(&folder.path().join("absent.jp2"))]));
    assert!(!succeeds(&["info", text(folder.path())]));
}

#[test]
fn arguments_that_make_no_sense_are_exit_code_2() {
    let code = |arguments: &[&str]| {
        let arguments = std::iter::once("vsitlm").chain(arguments.iter().copied()).map(OsString::from);
        format!("{:?}", run(arguments))
    };
    assert_eq!(code(&["index"]), format!("{:?}", ExitCode::from(2)));
    assert_eq!(code(&["nonsense"]), format!("{:?}", ExitCode::from(2)));
    assert_eq!(code(&["--version"]), format!("{:?}", ExitCode::SUCCESS));
}
