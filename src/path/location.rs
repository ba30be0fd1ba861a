//! Where a file lies: URLs, objects of clouds, GDAL's own file systems.

use std::borrow::Cow;
use std::path::PathBuf;

use ::url::Url;
use percent_encoding::percent_decode_str;

use super::ending::{ends_as_jp2, ends_as_tiff, is_jp2_name, is_tiff_name};
use super::headers::join_headers;
use super::{curl, names};
use crate::error::{Error, Result};
use crate::secret::Secret;

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
    /// The same, by `/vsicurl?…`, which has options of its own.
    Curl {
        /// The URL.
        url: String,
        /// GDAL's options that hold for this file alone, by their names.
        settings: Vec<(&'static str, Secret)>,
        /// How GDAL has it.
        path: String,
    },
    /// An object of an S3 store; endpoint and credentials come from the options.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The object's key, not percent-encoded, without a leading slash.
        key: String,
    },
    /// An object of Google Cloud Storage, under the same rules.
    Gs {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// A blob of Azure, under the same rules; the account comes from the options.
    Azure {
        /// The container's name.
        container: String,
        /// The blob's name.
        key: String,
    },
    /// A file of a product, or its folder: the index and VSITLM_STORE tell where it lies.
    Product {
        /// The product's name without `.SAFE`.
        name: String,
        /// `B03`, `B03_20m`, `MSK_DETFOO_B02`; `None` for the folder.
        file: Option<String>,
    },
    /// Anything else, by its GDAL path: `/vsizip/…`, `/vsimem/…`, `/vsioss/…`.
    Host(String),
}

impl Location {
    /// How messages name it: without query string, user info or credentials.
    pub(crate) fn display(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Http { url } | Self::Curl { url, .. } => without_secrets(url),
            Self::S3 { bucket, key } => format!("s3://{bucket}/{key}"),
            Self::Gs { bucket, key } => format!("gs://{bucket}/{key}"),
            Self::Azure { container, key } => format!("az://{container}/{key}"),
            Self::Product { .. } => self.file_path().into_owned(),
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
    pub(crate) fn file_path(&self) -> Cow<'_, str> {
        match self {
            Self::Local(path) => path.to_string_lossy(),
            Self::Http { url } | Self::Curl { url, .. } => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                percent_decode_str(path).decode_utf8_lossy()
            }
            Self::S3 { key, .. } | Self::Gs { key, .. } | Self::Azure { key, .. } => Cow::Borrowed(key),
            Self::Product { name, file: None } => Cow::Borrowed(name),
            Self::Product { name, file: Some(file) } => Cow::Owned(format!("{name}/{file}.jp2")),
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
            Self::Gs { bucket, key } => format!("/vsigs/{bucket}/{key}"),
            Self::Azure { container, key } => format!("/vsiaz/{container}/{key}"),
            Self::Product { .. } => self.file_path().into_owned(),
            Self::Curl { path, .. } | Self::Host(path) => path.clone(),
        }
    }

    /// The value that GDAL's option `name` has for this file, where `get` asks for it otherwise. Headers come on top of
    /// those that hold for all files.
    pub(crate) fn option(&self, name: &str, get: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let Self::Curl { settings, .. } = self else { return get(name) };
        let own: Vec<_> =
            settings.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.expose()).collect();
        match (name, own.last()) {
            (_, None) => get(name),
            (curl::HEADERS, _) => {
                let shared = get(name).filter(|list| !list.is_empty());
                Some(join_headers(shared.as_deref(), &own))
            }
            (_, Some(value)) => Some((*value).to_owned()),
        }
    }

    /// The file's key in its archive, without scheme, host and bucket: from the product's folder on where the file lies
    /// on a disk in one, else its name.
    pub(crate) fn archive_path(&self) -> String {
        let path = self.file_path();
        match self {
            Self::S3 { key, .. } | Self::Gs { key, .. } | Self::Azure { key, .. } => key.clone(),
            Self::Http { .. } | Self::Curl { .. } => path.splitn(4, '/').nth(3).unwrap_or_default().to_owned(),
            Self::Local(_) | Self::Product { .. } | Self::Host(_) => {
                let mut start = path.rfind('/').map_or(0, |at| at + 1);
                let folders = path.split('/').scan(0, |at, part| {
                    let here = *at;
                    *at += part.len() + 1;
                    Some((here, part))
                });
                if let Some((at, _)) = folders.filter(|(_, part)| names::is_product_folder(part)).last() {
                    start = at.min(start);
                }
                path.get(start..).unwrap_or_default().to_owned()
            }
        }
    }

    /// The object `key` of the same bucket or container; any other location as it is.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        let key = key.to_owned();
        match self {
            Self::S3 { bucket, .. } => Self::S3 { bucket: bucket.clone(), key },
            Self::Gs { bucket, .. } => Self::Gs { bucket: bucket.clone(), key },
            Self::Azure { container, .. } => Self::Azure { container: container.clone(), key },
            other => other.clone(),
        }
    }

    /// What `reference` names in a document that lies here: a path or URL by itself, or relative to the document. A query
    /// string, which may be a signature, holds for what lies beside the document too.
    ///
    /// # Errors
    /// [`Error::Path`] for what names nothing, and for references out of a bucket.
    pub(crate) fn join(&self, reference: &str) -> Result<Self> {
        if split_scheme(reference).is_some() || vsi_path(reference).is_some_and(|vsi| vsi == reference) {
            return parse_location(reference);
        }
        match self {
            Self::Local(path) => {
                let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
                let folder = if is_folder { Some(path.as_path()) } else { path.parent() };
                let inside = reference.strip_prefix("./").unwrap_or(reference);
                Ok(Self::Local(folder.map_or_else(|| inside.into(), |folder| folder.join(inside))))
            }
            Self::Http { url } => {
                let base = Url::parse(url).map_err(|error| bad(url, &format!("the URL is not valid ({error})")))?;
                let mut joined =
                    base.join(reference).map_err(|error| bad(reference, &format!("it is no reference ({error})")))?;
                if joined.query().is_none() && joined.origin() == base.origin() {
                    joined.set_query(base.query());
                }
                parse_location(joined.as_str())
            }
            Self::S3 { key, .. } | Self::Gs { key, .. } | Self::Azure { key, .. } => {
                let mut parts: Vec<&str> = key.split('/').collect();
                parts.pop();
                // A slash at the end stays there: a folder.
                let (inside, end) = reference.strip_suffix('/').map_or((reference, None), |inside| (inside, Some("")));
                for part in inside.split('/') {
                    match part {
                        "." => {}
                        ".." if parts.pop().is_some() => {}
                        "" | ".." => return Err(bad(reference, "it leads out of the bucket: write a URL")),
                        name => parts.push(name),
                    }
                }
                parts.extend(end);
                Ok(self.with_key(&parts.join("/")))
            }
            Self::Curl { .. } | Self::Product { .. } | Self::Host(_) => {
                Err(bad(&self.display(), "what it names beside itself cannot be found: give it by a URL"))
            }
        }
    }

    /// Whether the name says that this is a JPEG 2000 file: anything else is passed to its source unchanged.
    pub(crate) fn is_jp2(&self) -> bool {
        match self {
            // A name of its own may have a '?' in it.
            Self::Local(path) => ends_as_jp2(&path.to_string_lossy()),
            _ => is_jp2_name(&self.file_path()),
        }
    }

    /// Whether the name says that this is a TIFF file.
    pub(crate) fn is_tiff(&self) -> bool {
        match self {
            Self::Local(path) => ends_as_tiff(&path.to_string_lossy()),
            _ => is_tiff_name(&self.file_path()),
        }
    }

    /// Whether the name says that this is an image of which an index can have a row: a JP2 or a TIFF.
    pub(crate) fn is_image(&self) -> bool {
        self.is_jp2() || self.is_tiff()
    }
}

pub(super) fn bad(path: &str, what: &str) -> Error {
    Error::Path { path: without_secrets(path), what: what.to_owned() }
}

/// Parses what names a file, without options of this file system.
pub(super) fn parse_location(path: &str) -> Result<Location> {
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
    if let Some((name, file)) = names::product_path(path) {
        return Ok(Location::Product { name: name.to_owned(), file: file.map(str::to_owned) });
    }
    let Some((scheme, rest)) = split_scheme(path) else {
        return Ok(Location::Local(PathBuf::from(path)));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => http(path, scheme, rest),
        "s3" => s3(path, rest),
        "gs" | "gcs" => gs(path, rest),
        "az" => azure(path, rest),
        "oss" => Ok(Location::Host(format!("/vsioss/{rest}"))),
        "file" => {
            let local = percent_decode_str(&format!("/{rest}")).decode_utf8_lossy().into_owned();
            match vsi_path(&local) {
                Some(_) => Err(bad(path, "file:// names a file of this machine, not one of GDAL's file systems")),
                None => Ok(Location::Local(PathBuf::from(local))),
            }
        }
        other => Err(bad(
            path,
            &format!(
                "{other}:// is not known: use http(s)://, s3://, gs://, az:// or a path of GDAL's such as /vsizip/"
            ),
        )),
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
        if let Some(settings) = curl::settings(options) {
            let url = url_option(options).unwrap_or_default();
            let Some((scheme @ ("http" | "https"), rest)) = split_scheme(&url) else {
                return Err(bad(path, "its url= is not a URL: write https://… percent-encoded"));
            };
            return match http(path, scheme, rest)? {
                Location::Http { url } if !settings.is_empty() => {
                    Ok(Location::Curl { url, settings, path: path.to_owned() })
                }
                plain => Ok(plain),
            };
        }
    } else if let Some(rest) = path.strip_prefix("/vsis3/") {
        return s3(path, rest);
    } else if let Some(rest) = path.strip_prefix("/vsigs/") {
        return gs(path, rest);
    } else if let Some(rest) = path.strip_prefix("/vsiaz/") {
        return azure(path, rest);
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
    if let Some(what) = ambiguous(rest) {
        return Err(bad(path, what));
    }
    Ok(Location::Http { url: format!("{}://{rest}", scheme.to_ascii_lowercase()) })
}

/// What of a URL the clients of this world read in different ways, so that it could name another file here than in
/// GDAL: the URL standard takes '\\' for '/', drops tabs and line ends and resolves `%2e%2e`, which curl does not.
fn ambiguous(rest: &str) -> Option<&'static str> {
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if rest.chars().any(|character| character.is_ascii_control()) {
        return Some("the URL has control characters: percent-encode them");
    }
    if path.contains('\\') {
        return Some("the URL has a '\\': write '/' or %5C");
    }
    let mut parts = path.split('/').map(|part| (part, part.to_ascii_lowercase().replace("%2e", ".")));
    parts
        .any(|(part, decoded)| part != decoded.as_str() && [".", ".."].contains(&decoded.as_str()))
        .then_some("the URL has a '.' or '..' that is percent-encoded: write the path without it")
}

fn s3(path: &str, rest: &str) -> Result<Location> {
    let (bucket, key) = object(path, rest, "s3://bucket/key")?;
    Ok(Location::S3 { bucket, key })
}

fn gs(path: &str, rest: &str) -> Result<Location> {
    let (bucket, key) = object(path, rest, "gs://bucket/key")?;
    Ok(Location::Gs { bucket, key })
}

fn azure(path: &str, rest: &str) -> Result<Location> {
    let (container, key) = object(path, rest, "az://container/blob")?;
    Ok(Location::Azure { container, key })
}

/// The bucket and the key that `rest` names.
fn object(path: &str, rest: &str, form: &str) -> Result<(String, String)> {
    match rest.trim_start_matches('/').split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.trim_start_matches('/').is_empty() => {
            Ok((bucket.to_owned(), key.trim_start_matches('/').to_owned()))
        }
        _ => Err(bad(path, &format!("it names no object: write {form}"))),
    }
}

/// The `url=` of /vsicurl?'s options, decoded.
fn url_option(options: &str) -> Option<String> {
    let value = options.split('&').find_map(|option| option.strip_prefix("url="))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// A path or URL, which may not even parse, as messages may show it: no query string, no fragment, no user info.
pub(crate) fn without_secrets(path: &str) -> String {
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
    // Joining paths may have taken one of two slashes away.
    let Some((scheme, rest)) = shown.split_once("://").or_else(|| shown.split_once(":/")) else {
        return shown.to_owned();
    };
    // A slash too many is taken for a slip, and what follows for the host.
    let rest = rest.trim_start_matches('/');
    let authority = rest.split('/').next().unwrap_or_default();
    // First the user info, which may have a '#' in it, then the fragment.
    let rest = authority.rsplit_once('@').map_or(rest, |(user, _)| &rest[user.len() + 1..]);
    format!("{scheme}://{}", rest.split('#').next().unwrap_or_default())
}
