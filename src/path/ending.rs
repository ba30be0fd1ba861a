//! How names of files end.

/// Whether a path's name ends as those of JPEG 2000 files do, before any query string.
pub(crate) fn is_jp2_name(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).is_some_and(|(_, extension)| {
        ["jp2", "j2k", "j2c", "jpx"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}
