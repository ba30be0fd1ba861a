//! Files behind HTTP(S): the URL as it is, with basic authentication, a token, or headers of the user's.

use ::http::Uri;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Error, Result};
use crate::options::HttpOptions;
use crate::path::without_secrets;
use crate::secret::Secret;
use crate::source::remote::call::Hints;
use crate::source::remote::target::address::Address;

pub(super) const HINTS: Hints = Hints {
    credentials: "GDAL_HTTP_USERPWD, GDAL_HTTP_BEARER, GDAL_HTTP_HEADERS, or the signature in the URL",
    place: "the URL",
};

/// Credentials that are not part of a signature.
#[derive(Clone)]
pub(crate) enum Auth {
    /// User and password.
    Basic(String, Option<String>),
    /// A token.
    Bearer(Secret),
}

/// A URL, without user info, and how it is asked for.
pub(super) struct Resource {
    pub(super) url: Url,
    pub(super) auth: Option<Auth>,
}

impl Resource {
    pub(super) fn locate(url: &str, options: &HttpOptions) -> Result<(Address, Self)> {
        let invalid = |what: &str| Error::Path { path: without_secrets(url), what: what.to_owned() };
        let mut parsed = Url::parse(url).map_err(|error| invalid(&format!("the URL is not valid ({error})")))?;
        if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
            return Err(invalid("only URLs that begin with http:// or https:// and a host can be read"));
        }
        let auth = url_auth(&parsed).or_else(|| option_auth(options));
        parsed.set_fragment(None);
        // Neither fails for a URL that has a host.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        if Uri::try_from(parsed.as_str()).is_err() {
            return Err(invalid("the URL is too long, or has characters that must be percent-encoded"));
        }
        let address =
            Address { origin: without_secrets(parsed.as_str()), authority: parsed.origin().ascii_serialization() };
        Ok((address, Self { url: parsed, auth }))
    }
}

fn url_auth(url: &Url) -> Option<Auth> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (!url.username().is_empty()).then(|| Auth::Basic(decoded(url.username()), url.password().map(decoded)))
}

fn option_auth(http: &HttpOptions) -> Option<Auth> {
    if http.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        return None;
    }
    let basic = http.userpwd.as_ref().map(|both| match both.expose().split_once(':') {
        Some((user, password)) => Auth::Basic(user.to_owned(), Some(password.to_owned())),
        None => Auth::Basic(both.expose().to_owned(), None),
    });
    http.bearer.clone().map(Auth::Bearer).or(basic)
}
