//! What is done when the process ends: the statistics go where VSITLM_STATS says. GDAL may be gone by then.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::host::Host;
use crate::process::{PerProcess, lock};
use crate::source;

/// Where the statistics are wanted. GDAL may be gone at the end, so it is asked when a file is opened.
static WANTED: PerProcess<Mutex<Option<String>>> = PerProcess::new();

/// The process that has loaded the plugin; another one is a fork of it.
static FIRST: OnceLock<u32> = OnceLock::new();

/// Takes note of the process that loads the plugin.
pub(super) fn begin() {
    let _ = FIRST.set(std::process::id());
}

/// Takes note of where the statistics are wanted.
pub(super) fn note(host: &dyn Host) {
    if let Some(path) = host.option("", "VSITLM_STATS").filter(|path| !path.is_empty()) {
        *lock(WANTED.get()) = Some(path);
    }
}

/// The process ends.
pub(super) fn end() {
    let Some(wanted) = lock(WANTED.get()).take() else { return };
    let json = source::statistics_json();
    let written = match wanted.as_str() {
        "-" => writeln!(std::io::stderr(), "{json}"),
        path => write(&own_path(Path::new(path), FIRST.get().copied()), &json),
    };
    if let Err(error) = written {
        // Not by eprintln!, which panics where standard error is closed.
        let _ = writeln!(std::io::stderr(), "vsitlm: cannot write the statistics (VSITLM_STATS): {error}");
    }
}

/// A fork of the process `first` writes to a name of its own: `stats.json` becomes `stats.1234.json`.
fn own_path(path: &Path, first: Option<u32>) -> PathBuf {
    let process = std::process::id();
    if first.is_none_or(|first| first == process) {
        return path.to_owned();
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.with_extension(extension.map_or_else(|| process.to_string(), |extension| format!("{process}.{extension}")))
}

/// Whole or not at all: somebody may be reading it.
fn write(path: &Path, json: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(draft, "{json}")?;
    draft.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_has_a_file_of_its_own() {
        let process = std::process::id();
        assert_eq!(own_path(Path::new("a/stats.json"), Some(process)), Path::new("a/stats.json"));
        let forked = own_path(Path::new("a/stats.json"), Some(process + 1));
        assert_eq!(forked, PathBuf::from(format!("a/stats.{process}.json")));
        assert_eq!(own_path(Path::new("stats"), Some(process + 1)), PathBuf::from(format!("stats.{process}")));
    }

    #[test]
    fn replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stats.json");
        for json in ["{}", "[]"] {
            write(&path, json).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{json}\n"));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("none/stats.json"), "{}").is_err());
    }
}
