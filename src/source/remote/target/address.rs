//! Addresses of files, and what is checked before anything is sent.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use object_store::path::Path;
use url::Url;

use crate::error::{Error, Result};
use crate::path::without_secrets;
use crate::source::remote::call::Hints;

/// Where a file lies, and who is asked for it.
pub(super) struct Address {
    /// See [`crate::source::contract::Source::origin`].
    pub(super) origin: String,
    /// Scheme, host and port.
    pub(super) authority: String,
}

/// The error where requests cannot be made.
pub(super) fn cannot_ask(hints: Hints) -> Error {
    Error::read(format!("cannot prepare requests from the options: check {}", hints.credentials))
}

/// Sets a header, unless `value` is one that cannot be sent.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Refuses keys that would become other ones on their way. `shown` is how messages name the object.
pub(super) fn check_key(key: &str, shown: &str) -> Result<()> {
    let fits = !key.is_empty() && Path::parse(key).is_ok_and(|path| path.as_ref() == key);
    fits.then_some(()).ok_or_else(|| Error::Path {
        path: shown.to_owned(),
        what: "a key with empty, '.' or '..' parts, control characters or an outer '/' cannot be asked for; set VSITLM_TRANSPORT=GDAL".to_owned(),
    })
}

/// An endpoint that an option names: a URL of a host, perhaps with a port and a path.
pub(super) fn endpoint(name: &'static str, value: &str) -> Result<Url> {
    let url = Url::parse(value).ok().filter(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.query().is_none()
    });
    url.ok_or_else(|| Error::Option {
        name,
        value: without_secrets(value),
        expected: "a host with an optional port, or a URL of one",
    })
}

/// The longest URL that will be sent can be one: each byte of the key can take three.
pub(super) fn fits(base: &str, key: &str, shown: &str, option: &str) -> Result<()> {
    Uri::try_from(format!("{base}/{}", "%20".repeat(key.len()))).map(|_| ()).map_err(|_| Error::Path {
        path: shown.to_owned(),
        what: format!("{option} and the bucket do not make a URL, or the key is too long"),
    })
}
