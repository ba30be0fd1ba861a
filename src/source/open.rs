//! Opens locations: by the native transport where the options alone suffice for that, by GDAL otherwise.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::options::{Options, Transport};
use crate::path::{Location, without_secrets};
use crate::source::contract::{HostFiles, Source};
use crate::source::identity::Access;
use crate::source::local::Local;
use crate::source::range::SourceOffset;
use crate::source::remote::{self, Listed, Remote, Target, native, suffice};

/// Opens `location` for reading, as [`crate::source::Caller::open`] does.
pub(crate) fn open(location: &Location, access: &Access, host: Option<&dyn HostFiles>) -> Result<Arc<dyn Source>> {
    if reads_by_gdal(location, &access.options) {
        return through(host, &location.gdal_path(), access);
    }
    match location {
        Location::Local(path) => Ok(Arc::new(Local::open(path)?)),
        Location::Product { .. } => {
            Err(Error::Product { what: "only /vsitlm/ in GDAL does: write where it lies".into() })
        }
        _ => Ok(Arc::new(Remote::open(target(location, access)?))),
    }
}

/// Whether GDAL's own handlers read `location`: the native transport cannot, or must not (VSITLM_TRANSPORT).
pub(crate) fn reads_by_gdal(location: &Location, options: &Options) -> bool {
    match (location, options.transport) {
        (Location::Local(_) | Location::Product { .. }, _) => false,
        (Location::Host(_), _) | (_, Transport::Gdal) => true,
        (_, Transport::Native) => false,
        (_, Transport::Auto) => options.http.needs_gdal || !suffice(location, options),
    }
}

/// What the native transport asks for `location`.
fn target(location: &Location, access: &Access) -> Result<Target> {
    let is_url = matches!(location, Location::Http { .. } | Location::Curl { .. });
    if !is_url && !suffice(location, &access.options) {
        let what = format!("VSITLM_TRANSPORT=NATIVE needs {}", credentials(&location.gdal_path()));
        return Err(Error::Path { path: location.display(), what });
    }
    native(location, access).ok_or_else(Error::not_found)?
}

/// What the native transport needs for the object stores.
fn credentials(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("vsigs") => {
            "GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY, an Authorization in GDAL_HTTP_HEADERS, or GS_NO_SIGN_REQUEST=YES"
        }
        Some("vsiaz") => {
            "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ACCESS_TOKEN or AZURE_NO_SIGN_REQUEST=YES"
        }
        _ => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_NO_SIGN_REQUEST=YES",
    }
}

/// Opens `path` by GDAL.
fn through(host: Option<&dyn HostFiles>, path: &str, access: &Access) -> Result<Arc<dyn Source>> {
    let transport = access.options.transport;
    let refuse = |what: String| Err(Error::Path { path: without_secrets(path), what });
    match host {
        Some(_) if transport == Transport::Native => {
            refuse("only GDAL can read it: set VSITLM_TRANSPORT=AUTO".to_owned())
        }
        Some(host) => host.open(path, &access.identity),
        None if transport == Transport::Gdal => {
            refuse("there is no GDAL here to read it: unset VSITLM_TRANSPORT".to_owned())
        }
        None if path.starts_with("/vsicurl") => refuse(
            "an option is set that only GDAL's HTTP client has (GDAL_HTTP_AUTH, GDAL_HTTP_COOKIE, …): unset it; or the host is in ~/.netrc: set GDAL_HTTP_NETRC=NO".to_owned(),
        ),
        None if ["/vsis3/", "/vsigs/", "/vsiaz/"].iter().any(|prefix| path.starts_with(prefix)) => {
            refuse(format!("without GDAL, the store needs {}", credentials(path)))
        }
        None => refuse("only GDAL can read it: give a local path, an http(s) URL, s3://, gs:// or az://".to_owned()),
    }
}

/// Gives the objects below `prefix`, a location of an object store whose key ends in a slash, page by page. Markers of
/// folders are left out.
///
/// # Errors
/// As reading an object has them; what was given before stays good. [`Error::Path`] for what cannot be listed.
pub(crate) fn list(prefix: &Location, access: &Access, each: &mut dyn FnMut(Vec<Listed>)) -> Result<()> {
    let (place, key) = match prefix {
        Location::S3 { key, .. } | Location::Gs { key, .. } | Location::Azure { key, .. } => {
            (prefix.with_key(key.trim_end_matches('/')), key)
        }
        _ => return Err(refused(prefix, "only prefixes of s3://, gs:// and az:// can be listed: name its files")),
    };
    remote::list(object(&place, access)?, prefix, key, each)
}

/// The bytes of a file that has at most `most` of them, by one request.
///
/// # Errors
/// As reading it has them, and [`Error::Read`] for a larger file.
pub(crate) fn read_whole(source: &dyn Source, most: u64) -> Result<Bytes> {
    let bytes = source.read_up_to(SourceOffset(0), most + 1)?;
    if bytes.len() as u64 > most {
        return Err(Error::read(format!("it has more than the {most} bytes that are read of such a file")));
    }
    Ok(bytes)
}

/// Writes `bytes` as the object at `location`, in one request: readers see the former object or this one, never a part.
///
/// # Errors
/// As reading has them. [`Error::Path`] for what is not an object of a store: files of this machine are written by
/// [`crate::index::write_whole`].
pub(crate) fn put(location: &Location, bytes: Bytes, access: &Access) -> Result<()> {
    remote::put(object(location, access)?, bytes)
}

/// The object of a store at `location`, which is not read through GDAL.
fn object(location: &Location, access: &Access) -> Result<Target> {
    if !matches!(location, Location::S3 { .. } | Location::Gs { .. } | Location::Azure { .. }) {
        return Err(refused(location, "it is not an object of a store: use s3://, gs:// or az://"));
    }
    if reads_by_gdal(location, &access.options) {
        // GDAL's handlers are not asked for this: the error says what the native transport lacks.
        through(None, &location.gdal_path(), access)?;
    }
    target(location, access)
}

fn refused(location: &Location, what: &str) -> Error {
    Error::Path { path: location.display(), what: what.to_owned() }
}
