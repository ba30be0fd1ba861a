//! How names of files end.

/// The endings of JPEG 2000 files: those of codestreams without boxes by which GDAL's driver knows them, and those of files
/// with boxes.
const JP2: [&str; 8] = ["jp2", "j2k", "j2c", "jpx", "jpc", "jpf", "jhc", "jph"];

/// The endings of TIFF files, COGs among them.
const TIFF: [&str; 2] = ["tif", "tiff"];

/// Whether a path's name ends as those of JPEG 2000 files do, before any query string.
pub(crate) fn is_jp2_name(path: &str) -> bool {
    ends_as_jp2(without_query(path))
}

/// Whether a path's name ends as those of TIFF files do, before any query string.
pub(super) fn is_tiff_name(path: &str) -> bool {
    ends_as_tiff(without_query(path))
}

/// Whether a path's name is that of an image of which an index can have a row: a JP2 or a TIFF.
pub(crate) fn is_image_name(path: &str) -> bool {
    is_jp2_name(path) || is_tiff_name(path)
}

/// As [`is_jp2_name`] for a name that may have a '?' of its own.
pub(super) fn ends_as_jp2(path: &str) -> bool {
    ends_in(path, &JP2)
}

/// As [`is_tiff_name`] for a name that may have a '?' of its own.
pub(super) fn ends_as_tiff(path: &str) -> bool {
    ends_in(path, &TIFF)
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn ends_in(path: &str, extensions: &[&str]) -> bool {
    path.rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, extension)| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
