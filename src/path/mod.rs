//! What a path after `/vsitlm/` names: the path grammar.
//!
//! | written after `/vsitlm/` | is |
//! |---|---|
//! | `/data/x.jp2`, `data/x.jp2`, `file:///data/x.jp2` | a local file |
//! | `https://host/x.jp2`, `/vsicurl/https://…`, `vsicurl?url=…` | a URL |
//! | `vsicurl?max_retry=9&url=…` | a URL, and options for it alone (`curl`) |
//! | `s3://bucket/key`, `/vsis3/bucket/key` | an object of an S3 store |
//! | `gs://bucket/key`, `gcs://…`, `/vsigs/bucket/key` | an object of Google Cloud Storage |
//! | `az://container/blob`, `/vsiaz/container/blob` | a blob of Azure |
//! | `/vsizip/…`, `/vsimem/…`, any other `/vsi…/` | what GDAL makes of it |
//! | `?url=<percent-encoded path>` | any of the above |
//! | `?overview=4&url=<percent-encoded path>` | the image at 1/4 |
//! | any of them + `.ovr` | the list of its overviews |
//!
//! The slash before `vsi…` may be missing, since the prefix ends in one. No string makes the parser panic.

mod archives;
mod curl;
mod location;
mod names;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

pub(crate) use archives::{Archive, Store};
pub(crate) use location::{Location, without_secrets};
pub(crate) use names::{Key, ProductName, best_resolution, key_of_names, level_of, sensing_day, tile_of, year_of};

use crate::error::Result;
use location::{bad, parse_location};

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Where the file lies.
    pub(crate) location: Location,
    /// What of it is asked for.
    pub(crate) view: View,
    /// How the file itself is written, without the options of this file system and without `.ovr`.
    pub(crate) file: String,
    /// What the index calls it; `None` where the path has no file name.
    pub(crate) key: Option<Key>,
}

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// The file.
    Whole,
    /// The image at 1/factor.
    Reduced(u32),
    /// The list of its overviews, which GDAL looks for beside it under the name of the file and `.ovr`.
    Overviews,
}

impl Request {
    /// The same file in another view.
    pub(crate) fn with(&self, view: View) -> Self {
        Self { view, ..self.clone() }
    }

    /// One name for all ways of writing the same.
    pub(crate) fn name(&self) -> String {
        match self.view {
            View::Whole => self.file.clone(),
            View::Overviews => format!("{}{OVERVIEWS}", self.file),
            View::Reduced(factor) => {
                let url = percent_encode(self.file.as_bytes(), NON_ALPHANUMERIC);
                format!("?overview={factor}&url={url}")
            }
        }
    }
}

/// What GDAL puts behind a file's name to look for overviews.
const OVERVIEWS: &str = ".ovr";

/// Whether a path's name ends as those of JPEG 2000 files do, before any query string.
pub(crate) fn is_jp2_name(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).is_some_and(|(_, extension)| {
        ["jp2", "j2k", "j2c", "jpx"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// What the index calls the file at `location`.
pub(crate) fn key_of(location: &Location) -> Option<Key> {
    key_of_names(&location.file_path())
}

/// Parses what follows `/vsitlm/`.
///
/// # Errors
/// [`crate::error::Error::Path`] for what names no file, for `/vsitlm/` inside itself, and for options that are not known.
pub(crate) fn parse(path: &str) -> Result<Request> {
    if let Some(file) = path.strip_suffix(OVERVIEWS)
        && let Ok(request) = parse_file(file)
        && request.view == View::Whole
        && request.location.is_jp2()
    {
        return Ok(request.with(View::Overviews));
    }
    parse_file(path)
}

/// The same for a name that means what it says: `x.jp2.ovr` is a file like any other.
pub(crate) fn parse_file(path: &str) -> Result<Request> {
    let (file, view) = match path.strip_prefix('?') {
        Some(options) => parse_options(path, options)?,
        None => (path.to_owned(), View::Whole),
    };
    let location = parse_location(&file)?;
    let key = key_of(&location);
    Ok(Request { location, view, file, key })
}

/// `?overview=2&url=…`: options of this file system, as /vsicurl? has them. Gives the path of the file, and the view.
fn parse_options(path: &str, options: &str) -> Result<(String, View)> {
    let (mut url, mut view) = (None, View::Whole);
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "url" => url = Some(percent_decode_str(value).decode_utf8_lossy().into_owned()),
            "overview" => match value.parse() {
                Ok(factor) => view = View::Reduced(factor),
                Err(_) => return Err(bad(path, "overview= takes a factor: 2, 4, 8, …")),
            },
            other => {
                let what =
                    format!("the option '{other}' is not known: use overview=<factor>, url=<percent-encoded path>");
                return Err(bad(path, &what));
            }
        }
    }
    match url {
        Some(url) => Ok((url, view)),
        None => Err(bad(path, "it has options but no url=<percent-encoded path>")),
    }
}

#[cfg(test)]
mod tests;
