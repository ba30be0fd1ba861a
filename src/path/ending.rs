//! How names of files end.

/// The endings of JPEG 2000 files: those of codestreams without boxes by which GDAL's driver knows them, and those of files
/// with boxes.
const EXTENSIONS: [&str; 8] = ["jp2", "j2k", "j2c", "jpx", "jpc", "jpf", "jhc", "jph"];

/// Whether a path's name ends as those of JPEG 2000 files do, before any query string.
pub(crate) fn is_jp2_name(path: &str) -> bool {
    ends_as_jp2(path.split('?').next().unwrap_or_default())
}

/// Whether a path's name ends as those of TIFFs do, before any query string.
pub(crate) fn is_tiff_name(path: &str) -> bool {
    let name = path.split('?').next().unwrap_or_default().to_ascii_lowercase();
    name.ends_with(".tif") || name.ends_with(".tiff")
}

/// The same for a name that may have a '?' of its own.
pub(super) fn ends_as_jp2(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, extension)| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
