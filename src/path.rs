//! What a path after `/vsitlm/` names: the path grammar.
//!
//! | written after `/vsitlm/` | is |
//! |---|---|
//! | `/data/x.jp2`, `data/x.jp2`, `file:///data/x.jp2` | a local file |
//! | `https://host/x.jp2`, `/vsicurl/https://…`, `vsicurl?url=…` | a URL |
//! | `s3://bucket/key`, `/vsis3/bucket/key` | an object of an S3 store |
//! | `gs://…`, `az://…`, `/vsizip/…`, `/vsimem/…`, any other `/vsi…/` | what GDAL makes of it |
//! | `?url=<percent-encoded path>` | any of the above |
//! | `?overview=4&url=<percent-encoded path>` | the image at 1/4 |
//! | any of them + `.ovr` | the list of its overviews |
//!
//! The slash before `vsi…` may be missing, since the prefix ends in one. No string makes the parser panic.

mod names;

use std::borrow::Cow;
use std::path::PathBuf;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

pub(crate) use names::{Key, ProductName, best_resolution, key_of_names};

use crate::error::{Error, Result};

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

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file of this machine; relative paths stay relative to the working directory.
    Local(PathBuf),
    /// A file behind HTTP(S).
    Http {
        /// The URL as it is asked for, query string included.
        url: String,
    },
    /// An object of an S3 store; endpoint and credentials come from the options.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The object's key, not percent-encoded, without a leading slash.
        key: String,
    },
    /// Anything else, by its GDAL path: `/vsizip/…`, `/vsimem/…`, `/vsigs/…`.
    Host(String),
}

impl Location {
    /// How messages name it: without query string, user info or credentials.
    pub(crate) fn display(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Http { url } => without_secrets(url),
            Self::S3 { bucket, key } => format!("s3://{bucket}/{key}"),
            Self::Host(path) => match path.split_once('?') {
                // /vsicurl?header=…&url=…: the URL alone.
                Some((prefix, options)) if !prefix[1..].contains('/') => match url_option(options) {
                    Some(url) => format!("{prefix}/{}", without_secrets(&url)),
                    None => prefix.to_owned(),
                },
                _ => without_secrets(path),
            },
        }
    }

    /// The path part that names the file, percent-decoded where it is a URL's.
    fn file_path(&self) -> Cow<'_, str> {
        match self {
            Self::Local(path) => path.to_string_lossy(),
            Self::Http { url } => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                percent_decode_str(path).decode_utf8_lossy()
            }
            Self::S3 { key, .. } => Cow::Borrowed(key),
            Self::Host(path) => match path.split_once('?') {
                Some((_, options)) => match url_option(options) {
                    Some(url) => Cow::Owned(url.split(['?', '#']).next().unwrap_or_default().to_owned()),
                    None => Cow::Borrowed(path.split('?').next().unwrap_or_default()),
                },
                None => Cow::Borrowed(path),
            },
        }
    }

    /// The path by which GDAL's own file systems know it.
    pub(crate) fn gdal_path(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Http { url } => format!("/vsicurl/{url}"),
            Self::S3 { bucket, key } => format!("/vsis3/{bucket}/{key}"),
            Self::Host(path) => path.clone(),
        }
    }

    /// The file's key in its archive, without scheme, host and bucket: from the product's folder on where the file lies
    /// on a disk in one, else its name.
    pub(crate) fn archive_path(&self) -> String {
        let path = self.file_path();
        match self {
            Self::S3 { key, .. } => key.clone(),
            Self::Http { .. } => path.splitn(4, '/').nth(3).unwrap_or_default().to_owned(),
            Self::Local(_) | Self::Host(_) => {
                let mut start = path.rfind('/').map_or(0, |at| at + 1);
                let folders = path.split('/').scan(0, |at, part| {
                    let here = *at;
                    *at += part.len() + 1;
                    Some((here, part))
                });
                if let Some((at, _)) = folders.filter(|(_, part)| names::product_name(part).is_some()).last() {
                    start = at.min(start);
                }
                path.get(start..).unwrap_or_default().to_owned()
            }
        }
    }

    /// Whether the name says that this is a JPEG 2000 file: anything else is passed to its source unchanged.
    pub(crate) fn is_jp2(&self) -> bool {
        is_jp2_name(&self.file_path())
    }
}

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
/// [`Error::Path`] for what names no file, for `/vsitlm/` inside itself, and for options that are not known.
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

fn bad(path: &str, what: &str) -> Error {
    Error::Path { path: without_secrets(path), what: what.to_owned() }
}

fn parse_location(path: &str) -> Result<Location> {
    if path.is_empty() || path == "/" {
        return Err(bad(path, "it is empty: write /vsitlm/ and then a path or a URL"));
    }
    if path.contains('\0') {
        return Err(bad(path.split('\0').next().unwrap_or_default(), "it has a NUL character in it"));
    }
    if path.starts_with('?') {
        return Err(bad(path, "its url= names no file"));
    }
    if let Some(vsi) = vsi_path(path) {
        return parse_vsi(&vsi);
    }
    let Some((scheme, rest)) = split_scheme(path) else {
        return Ok(Location::Local(PathBuf::from(path)));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => http(path, scheme, rest),
        "s3" => s3(path, rest),
        "gs" | "gcs" => Ok(Location::Host(format!("/vsigs/{rest}"))),
        "az" => Ok(Location::Host(format!("/vsiaz/{rest}"))),
        "oss" => Ok(Location::Host(format!("/vsioss/{rest}"))),
        "file" => Ok(Location::Local(PathBuf::from(&*percent_decode_str(&format!("/{rest}")).decode_utf8_lossy()))),
        other => Err(bad(
            path,
            &format!(
                "{other}:// is not known: use http(s)://, s3://, gs://, az:// or a path of GDAL's such as /vsizip/"
            ),
        )),
    }
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

/// The path with its leading slash, where it is one of GDAL's virtual file systems.
fn vsi_path(path: &str) -> Option<String> {
    let bare = path.trim_start_matches('/');
    let rest = bare.strip_prefix("vsi")?;
    let name = rest.split(['/', '?']).next()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && name.len() < rest.len()).then(|| format!("/{bare}"))
}

/// `path` begins with `/vsi…/` or `/vsi…?`.
fn parse_vsi(path: &str) -> Result<Location> {
    if names_this_file_system(path) {
        return Err(bad(path, "/vsitlm/ cannot stand inside /vsitlm/: write it once"));
    }
    if let Some(inner) = path.strip_prefix("/vsicurl/") {
        if let Some((scheme @ ("http" | "https" | "HTTP" | "HTTPS"), rest)) = split_scheme(inner) {
            return http(path, scheme, rest);
        }
    } else if let Some(options) = path.strip_prefix("/vsicurl?") {
        let mut names = options.split('&').filter(|option| !option.is_empty()).map(|option| option.split('=').next());
        // Other options (header.<key>=, max_retry=, use_head=, pc_url_signing=, …) are GDAL's to honour.
        if names.all(|name| name == Some("url")) {
            let url = url_option(options).unwrap_or_default();
            return match split_scheme(&url) {
                Some((scheme @ ("http" | "https"), rest)) => http(path, scheme, rest),
                _ => Err(bad(path, "its url= is no URL: write https://… percent-encoded")),
            };
        }
    } else if let Some(rest) = path.strip_prefix("/vsis3/") {
        return s3(path, rest);
    }
    Ok(Location::Host(path.to_owned()))
}

/// Whether a GDAL path leads back here: `/vsitlm/` where a file system can begin, not in the middle of a name.
fn names_this_file_system(path: &str) -> bool {
    path.match_indices("/vsitlm").any(|(at, found)| {
        let before = path[..at].chars().next_back();
        let after = path[at + found.len()..].chars().next();
        matches!(before, None | Some('/' | ',' | '{' | '=')) && matches!(after, Some('/' | '?'))
    })
}

/// `scheme://rest`, or `scheme:/rest` for the schemes of URLs (joining paths takes one of two slashes away).
fn split_scheme(path: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = path.split_once(":/")?;
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'-');
    let known = ["http", "https", "s3", "gs", "gcs", "az", "file", "oss"];
    let double = rest.starts_with('/');
    let named = known.iter().any(|name| name.eq_ignore_ascii_case(scheme));
    (is_scheme && scheme.len() > 1 && (double || named)).then(|| (scheme, rest.trim_start_matches('/')))
}

fn http(path: &str, scheme: &str, rest: &str) -> Result<Location> {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err(bad(path, "the URL names no host"));
    }
    Ok(Location::Http { url: format!("{}://{rest}", scheme.to_ascii_lowercase()) })
}

fn s3(path: &str, rest: &str) -> Result<Location> {
    match rest.trim_start_matches('/').split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.trim_start_matches('/').is_empty() => {
            Ok(Location::S3 { bucket: bucket.to_owned(), key: key.trim_start_matches('/').to_owned() })
        }
        _ => Err(bad(path, "it names no object: write s3://bucket/key")),
    }
}

/// The `url=` of /vsicurl?'s options, decoded.
fn url_option(options: &str) -> Option<String> {
    let value = options.split('&').find_map(|option| option.strip_prefix("url="))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// A path or URL as messages may show it: no query string, no fragment, no user info.
fn without_secrets(path: &str) -> String {
    let shown = path.split('\0').next().unwrap_or_default();
    // "?…&url=…" itself is a query string: only what it names is shown.
    let shown = match shown.split_once('?') {
        Some((prefix, options)) if prefix.len() <= "/vsicurl".len() => match url_option(options) {
            Some(url) => return format!("{prefix}{}", without_secrets(url.split('?').next().unwrap_or_default())),
            None => prefix,
        },
        Some((prefix, _)) => prefix,
        None => shown,
    };
    let Some((scheme, rest)) = shown.split_once("://") else { return shown.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{}", &rest[user.len() + 1..]),
        None => shown.split('#').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(path: &str) -> Location {
        parse(path).unwrap().location
    }

    fn local(path: &str) -> Location {
        Location::Local(path.into())
    }

    fn url(url: &str) -> Location {
        Location::Http { url: url.to_owned() }
    }

    fn object(bucket: &str, key: &str) -> Location {
        Location::S3 { bucket: bucket.to_owned(), key: key.to_owned() }
    }

    fn host(path: &str) -> Location {
        Location::Host(path.to_owned())
    }

    #[test]
    fn every_way_of_writing_a_path_is_understood() {
        let table = [
            ("/data/x.jp2", local("/data/x.jp2")),
            ("relative/x.jp2", local("relative/x.jp2")),
            ("x.jp2", local("x.jp2")),
            ("vsi.jp2", local("vsi.jp2")),
            ("vsixyz.jp2", local("vsixyz.jp2")),
            ("C:/x.jp2", local("C:/x.jp2")),
            ("/home/me/vsitlm/x.jp2", local("/home/me/vsitlm/x.jp2")),
            ("file:///data/a%20b.jp2", local("/data/a b.jp2")),
            ("https://host/a.jp2?sig=a/b", url("https://host/a.jp2?sig=a/b")),
            ("HTTPS://host/a.jp2", url("https://host/a.jp2")),
            ("https:/host/a.jp2", url("https://host/a.jp2")),
            ("vsicurl/https://host/a.jp2", url("https://host/a.jp2")),
            ("/vsicurl/http://host:8080/a.jp2", url("http://host:8080/a.jp2")),
            ("vsicurl/https:/host/a.jp2", url("https://host/a.jp2")),
            ("vsicurl?url=https%3A%2F%2Fhost%2Fa.jp2%3Fs%3D1", url("https://host/a.jp2?s=1")),
            (
                "/vsicurl?max_retry=2&url=https%3A%2F%2Fh%2Fa.jp2",
                host("/vsicurl?max_retry=2&url=https%3A%2F%2Fh%2Fa.jp2"),
            ),
            ("vsicurl/ftp://host/a.jp2", host("/vsicurl/ftp://host/a.jp2")),
            ("s3://eodata/Sentinel-2/x.jp2", object("eodata", "Sentinel-2/x.jp2")),
            ("s3:/eodata/x.jp2", object("eodata", "x.jp2")),
            ("vsis3/eodata/x.jp2", object("eodata", "x.jp2")),
            ("/vsis3/eodata//x.jp2", object("eodata", "x.jp2")),
            ("gs://b/x.jp2", host("/vsigs/b/x.jp2")),
            ("az://c/x.jp2", host("/vsiaz/c/x.jp2")),
            ("vsizip/data/x.SAFE.zip/y.jp2", host("/vsizip/data/x.SAFE.zip/y.jp2")),
            ("//vsizip//vsicurl/https://h/x.zip/y.jp2", host("/vsizip//vsicurl/https://h/x.zip/y.jp2")),
            ("/vsizip/home/me/vsitlm/x.zip/y.jp2", host("/vsizip/home/me/vsitlm/x.zip/y.jp2")),
            ("vsimem/x.jp2", host("/vsimem/x.jp2")),
            ("?url=%2Fdata%2Fx.jp2", local("/data/x.jp2")),
            ("?url=%2Fvsis3%2Fb%2Fx.jp2", object("b", "x.jp2")),
        ];
        for (path, expected) in table {
            assert_eq!(location(path), expected, "{path}");
        }
    }

    #[test]
    fn views_are_told_from_files() {
        let table = [
            ("/data/x.jp2", View::Whole, "/data/x.jp2"),
            ("/data/x.jp2.ovr", View::Overviews, "/data/x.jp2"),
            ("?url=%2Fdata%2Fx.jp2.ovr", View::Overviews, "/data/x.jp2"),
            ("https://h/x.jp2?sig=a%2Fb.ovr", View::Overviews, "https://h/x.jp2?sig=a%2Fb"),
            ("?overview=8&url=%2Fdata%2Fx.jp2", View::Reduced(8), "/data/x.jp2"),
            // Side-cars of side-cars and of views are plain names.
            ("/data/x.jp2.ovr.ovr", View::Whole, "/data/x.jp2.ovr.ovr"),
            ("?overview=8&url=%2Fdata%2Fx.jp2.ovr", View::Reduced(8), "/data/x.jp2.ovr"),
            ("/data/x.tif.ovr", View::Whole, "/data/x.tif.ovr"),
            (".ovr", View::Whole, ".ovr"),
        ];
        for (path, view, file) in table {
            let request = parse(path).unwrap();
            assert_eq!((request.view, request.file.as_str()), (view, file), "{path}");
            assert_eq!(parse(&request.name()).unwrap(), request, "{path}");
        }
        assert_eq!(parse_file("x.jp2.ovr").unwrap().view, View::Whole);
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for (path, why) in [
            ("", "empty"),
            ("/", "empty"),
            ("x\0.jp2", "NUL"),
            ("/vsitlm/x.jp2", "inside"),
            ("vsitlm/x.jp2", "inside"),
            ("vsitlm?url=x", "inside"),
            ("vsizip//vsitlm/x.zip", "inside"),
            ("vsisubfile/0_10,/vsitlm/x.jp2", "inside"),
            ("?url=%2Fvsitlm%2Fx.jp2", "inside"),
            ("?overview=half&url=x.jp2", "factor"),
            ("?overview=-2&url=x.jp2", "factor"),
            ("?colour=2&url=x.jp2", "colour"),
            ("?url=%3Furl%3Dx", "url="),
            ("?", "no url="),
            ("https://", "no host"),
            ("https:///x.jp2", "x"),
            ("http://user@/x.jp2", "no host"),
            ("s3://bucket", "no object"),
            ("s3://bucket/", "no object"),
            ("vsis3/", "no object"),
            ("gopher://host/x.jp2", "gopher"),
            ("vsicurl?url=x.jp2", "no URL"),
        ] {
            match parse(path) {
                Err(error) => assert!(error.to_string().contains(why), "{path}: {error}"),
                // A third slash is one too many, and taken for a slip.
                Ok(request) => assert_eq!(request.location, url("https://x.jp2"), "{path}"),
            }
        }
    }

    #[test]
    fn a_path_in_an_archive_has_no_scheme_and_no_bucket() {
        let product = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206.SAFE";
        for (path, expected) in [
            ("s3://eodata/Sentinel-2/x.jp2", "Sentinel-2/x.jp2".to_owned()),
            ("https://h:80/a/b%20c.jp2?sig=1", "a/b c.jp2".to_owned()),
            ("/data/x.jp2", "x.jp2".to_owned()),
            ("x.jp2", "x.jp2".to_owned()),
            (&format!("/data/{product}/GRANULE/x.jp2"), format!("{product}/GRANULE/x.jp2")),
        ] {
            assert_eq!(location(path).archive_path(), expected, "{path}");
        }
    }

    #[test]
    fn messages_hold_no_secrets() {
        for path in [
            "https://user:secret@host/a.jp2?sig=secret",
            "vsicurl?url=https%3A%2F%2Fuser:secret%40host%2Fa.jp2%3Fsig%3Dsecret",
            "vsicurl?header.x=secret&url=https%3A%2F%2Fhost%2Fa.jp2%3Fsig%3Dsecret",
            "vsicurl_streaming/https://host/a.jp2?sig=secret/secret",
        ] {
            let shown = location(path).display();
            assert!(!shown.contains("secret") && shown.contains("host/a.jp2"), "{path}: {shown}");
        }
        for path in [
            "?x=1&url=https%3A%2F%2Fu:secret%40h%2Fx%3Fsecret",
            "gopher://u:secret@h/x?secret",
            "https://u:secret@/?secret",
        ] {
            let shown = parse(path).unwrap_err().to_string();
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert_eq!(location("vsis3/b/k.jp2").display(), "s3://b/k.jp2");
    }

    #[test]
    fn jpeg_2000_files_are_known_by_their_names() {
        for path in
            ["x.jp2", "X.JP2", "https://h/x.j2k?sig=/y.tif", "vsicurl?max_retry=1&url=https%3A%2F%2Fh%2Fx.jp2%3Fa"]
        {
            assert!(location(path).is_jp2(), "{path}");
        }
        for path in ["x.tif", "jp2", "x.jp2/y", "x.jp2.ovr.ovr", "https://h/x.xml?name=x.jp2", "vsimem/.d/jp2"] {
            assert!(!location(path).is_jp2(), "{path}");
        }
        assert!(is_jp2_name("a/b.jpx?x") && !is_jp2_name("a.jp2/b"));
    }

    proptest::proptest! {
        #[test]
        fn no_string_makes_the_parser_panic(path in "\\PC{0,80}", tail in "[/?&=:.vsitlmcur3%@,{}\\x00a-c0-9T_é-]{0,60}") {
            for path in [path.clone(), tail.clone(), format!("/vsi{tail}"), format!("vsicurl?{tail}"), format!("?url={tail}"), format!("https://{tail}"), format!("tiles/31/U/DQ/{tail}")] {
                match parse(&path) {
                    Ok(request) => { let _ = (request.location.display(), request.location.is_jp2()); }
                    Err(error) => { let _ = error.to_string(); }
                }
                let _ = is_jp2_name(&path);
            }
        }
    }
}
