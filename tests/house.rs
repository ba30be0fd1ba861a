//! The house's rules that the compiler does not know: which room may import which, and where unsafe code stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors, the lowest first. A room imports from lower floors only; rooms of one floor do not know each other, but
/// for those of the lowest, which are the house's common ground.
const FLOORS: [&[&str]; 9] = [
    &["error", "lru", "options", "path", "process", "secret", "trace"],
    &["jp2", "source"],
    &["geo"],
    &["layout", "index"],
    &["file"],
    &["cli", "fuzz"],
    &["ask"],
    &["vsi"],
    &["lib", "main"],
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

fn each(mut check: impl FnMut(&str, &str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the house has rooms");
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let room = name.split('/').next().unwrap().trim_end_matches(".rs");
        check(name, room, &std::fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn imports_go_down_only() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect();
    each(|name, room, text| {
        let here = *floor.get(room).unwrap_or_else(|| panic!("{name}: the room {room} stands on no floor"));
        for (number, line) in text.lines().enumerate() {
            // Test modules may borrow what they test with.
            if line.trim() == "#[cfg(test)]" || name.contains("tests") {
                break;
            }
            if line.trim_start().starts_with("//") {
                continue;
            }
            for import in line.split("crate::").skip(1) {
                let other = import.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                let Some(&there) = floor.get(other) else { continue };
                let allowed = there < here || other == room || (here == 0 && there == 0);
                assert!(allowed, "{name}:{}: {room} must not import {other}", number + 1);
            }
        }
    });
}

#[test]
fn unsafe_code_stands_at_the_boundary_alone() {
    each(|name, _, text| {
        let uses = text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe("]
                .iter()
                .any(|word| line.contains(word))
        });
        assert!(!uses || name.starts_with("vsi/ffi"), "{name} has unsafe code");
    });
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
