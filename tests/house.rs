//! The house's rules that the compiler does not know: which room may import which, that no files import each other in a
//! circle, and where unsafe code stands.
//!
//! A file imports from another where it names something that is defined there: by `use`, or by a path in its code
//! (`crate::a::b`, `super::b`, `child::b`). What a `mod.rs` passes on counts as an import from the file that defines it.
//! So a `mod.rs` that declares and passes on imports nothing from its children by that; one that uses them in its own
//! code does, and a child that names something defined in `mod.rs` imports from it. What is compiled for tests alone is
//! free: items under `#[cfg(test)]`, files called `tests.rs` or `…_tests.rs`, and folders called `testing`.

#[path = "house/imports.rs"]
mod imports;
#[path = "house/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imports::House;
use source::tokens;

/// The rooms, and which each may import: only rooms that stand before it.
const ROOMS: [(&str, &[&str]); 22] = [
    ("error", &[]),
    ("secret", &[]),
    ("process", &[]),
    ("trace", &["process"]),
    ("lru", &[]),
    ("path", &["error", "secret"]),
    ("options", &["error", "path", "secret"]),
    ("jp2", &["error"]),
    ("decode", &["error", "jp2", "process"]),
    ("source", &["error", "lru", "options", "path", "process", "secret", "trace"]),
    ("geo", &["error", "jp2"]),
    ("layout", &["error", "geo", "jp2", "path", "source"]),
    ("tiff", &["decode", "error", "geo", "jp2"]),
    ("index", &["error", "geo", "jp2", "lru", "options", "path", "process", "secret", "source", "tiff", "trace"]),
    (
        "file",
        &[
            "decode", "error", "geo", "index", "jp2", "layout", "lru", "options", "path", "process", "secret",
            "source", "tiff", "trace",
        ],
    ),
    (
        "collect",
        &["error", "file", "geo", "index", "jp2", "layout", "options", "path", "process", "source", "tiff", "trace"],
    ),
    ("ask", &["collect", "decode", "error", "file", "geo", "index", "options", "path", "process", "source", "trace"]),
    ("cli", &["collect", "error", "file", "index", "layout", "options", "path", "process", "source", "tiff", "trace"]),
    (
        "fuzz",
        &[
            "collect", "decode", "error", "file", "geo", "index", "jp2", "layout", "options", "path", "process",
            "source", "tiff",
        ],
    ),
    ("vsi", &["ask", "cli", "decode", "error", "file", "options", "path", "process", "secret", "source", "trace"]),
    ("lib", &["error"]),
    ("main", &["cli"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All files below `src`: their names there, and their text.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    assert!(paths.len() > 20, "the house has rooms");
    paths.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn house() -> House {
    House::new(files())
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn imports_go_down_only() {
    for (at, (room, below)) in ROOMS.iter().enumerate() {
        for other in *below {
            assert!(
                ROOMS[..at].iter().any(|(name, _)| name == other),
                "{room} may import {other}, which is not below it"
            );
        }
    }
    let mut wrong = Vec::new();
    for (file, other) in house().imports() {
        let (_, allowed) = ROOMS
            .iter()
            .find(|(name, _)| *name == room(file))
            .unwrap_or_else(|| panic!("{file}: the room {} is not in the table", room(file)));
        if room(file) != room(other) && !allowed.contains(&room(other)) {
            wrong.push(format!("{file} imports {other}"));
        }
    }
    assert!(wrong.is_empty(), "these imports go up, or to a room that is none of theirs:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_or_folders_import_each_other_in_a_circle() {
    let house = house();
    let circles: BTreeSet<(&str, &str)> = house.circles().union(&house.circles_of_parts()).copied().collect();
    let circles: Vec<String> = circles.iter().map(|(file, other)| format!("{file} imports {other}")).collect();
    assert!(circles.is_empty(), "these imports make circles:\n{}", circles.join("\n"));
}

#[test]
fn the_guide_to_the_house_names_every_room() {
    let text = include_str!("../src/lib.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | ")?.split(" | ").next());
    let cells = rows.flat_map(|cell| cell.split(", ")).filter_map(|name| name.strip_prefix('`')?.strip_suffix('`'));
    let named: BTreeSet<&str> = cells.collect();
    let there: BTreeSet<&str> =
        ROOMS.iter().map(|(room, _)| *room).filter(|room| !["lib", "main"].contains(room)).collect();
    let built: Vec<(String, String)> = files();
    let built: BTreeSet<&str> = built.iter().map(|(name, _)| room(name)).collect();
    let stands = |room: &&&str| built.contains(**room);
    assert_eq!(
        named.iter().filter(|room| !there.contains(**room)).count(),
        0,
        "{named:?} has rooms that are not there"
    );
    let missing: Vec<_> = there.iter().filter(stands).filter(|room| !named.contains(**room)).collect();
    assert!(missing.is_empty(), "src/lib.rs does not name {missing:?}");
}

#[test]
fn unsafe_code_stands_at_the_boundary_alone() {
    for (name, text) in files() {
        let uses = tokens(&text).iter().any(|token| token == "unsafe");
        assert!(!uses || name.starts_with("vsi/ffi") || name == "decode/simd.rs", "{name} has unsafe code");
    }
}

#[test]
fn releases_are_stripped_and_unwind() {
    let manifest = include_str!("../Cargo.toml");
    let release = manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
    let settings: Vec<&str> = release.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(settings.contains(&"strip = \"symbols\""), "{release}");
    // The guard around GDAL's callbacks turns panics into errors, which "abort" would not let it.
    assert!(!manifest.lines().any(|line| line.starts_with("panic")), "a profile says what panics do");
}
