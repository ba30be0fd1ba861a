//! Files behind HTTP(S): the URL as it is, with basic authentication, a token, or headers of the user's.

use ::http::Uri;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Service, Target};
use crate::error::{Error, Result};
use crate::options::{HttpOptions, Options, Secret};
use crate::path::without_secrets;
use crate::source::remote::shown::display;

/// See [`Target::advice`].
pub(super) const ADVICE: &str = "GDAL_HTTP_USERPWD, GDAL_HTTP_BEARER, GDAL_HTTP_HEADERS, or the signature in the URL";

/// Credentials that are not part of a signature.
#[derive(Clone, Hash)]
pub(crate) enum Auth {
    /// User and password.
    Basic(String, Option<String>),
    /// A token.
    Bearer(Secret),
}

impl Target {
    /// The file at `url`.
    pub(super) fn http(url: &str, options: &Options) -> Result<Self> {
        let invalid = |what: &str| Error::Path { path: without_secrets(url), what: what.to_owned() };
        let mut parsed = Url::parse(url).map_err(|error| invalid(&format!("the URL is not valid ({error})")))?;
        if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
            return Err(invalid("only URLs that begin with http:// or https:// and a host can be read"));
        }
        let auth = url_auth(&parsed).or_else(|| option_auth(&options.http));
        parsed.set_fragment(None);
        // Neither fails for a URL that has a host.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        if Uri::try_from(parsed.as_str()).is_err() {
            return Err(invalid("the URL is too long, or has characters that must be percent-encoded"));
        }
        let origin = display(&parsed);
        // Signatures differ from one signed URL of a file to the next; who has one may read what another has fetched.
        let named = identifying_query(&parsed).map_or_else(|| origin.clone(), |query| format!("{origin}?{query}"));
        let authority = parsed.origin().ascii_serialization();
        let credentials = auth.clone();
        let target = Self::new(named, authority, "", Service::Http { url: parsed, auth }, credentials, options)?;
        Ok(Self { origin, ..target })
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

/// The part of a query string that tells one file from another: all of it but signatures, which differ from one
/// signed URL of a file to the next.
fn identifying_query(url: &Url) -> Option<String> {
    /// Azure's shared access signatures.
    const SAS: [&str; 13] = ["sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sig", "skoid", "sktid", "skt", "ske"];
    let query = url.query()?;
    let is_sas = query.split('&').any(|pair| pair.starts_with("sig="));
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let lower = name.to_ascii_lowercase();
            let signature = lower.starts_with("x-amz-") || lower.starts_with("x-goog-");
            !(signature || is_sas && (SAS.contains(&name) || ["sks", "skv"].contains(&name)))
        })
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;

    #[test]
    fn callers_with_other_credentials_are_told_apart() {
        let identity = |url: &str, set: &[(&str, &str)]| Target::http(url, &options(set)).unwrap().identity;
        let callers = [
            identity("https://h/a", &[]),
            identity("https://u:p@h/a", &[]),
            identity("https://u:q@h/a", &[]),
            identity("https://h/a", &[("GDAL_HTTP_USERPWD", "u:r")]),
            identity("https://h/a", &[("GDAL_HTTP_BEARER", "t")]),
            identity("https://h/a", &[("GDAL_HTTP_HEADERS", "X-Key: 1")]),
            identity("https://h/a", &[("GDAL_HTTP_HEADERS", "X-Key: 2")]),
        ];
        let apart: std::collections::HashSet<_> = callers.iter().collect();
        assert_eq!(apart.len(), callers.len());
        assert_eq!(callers[0], identity("https://h/a?X-Amz-Signature=1", &[("GDAL_HTTP_MAX_RETRY", "9")]));
        assert!(callers.iter().all(|name| name.starts_with("https://h/a#") && !name.contains(":p")));
    }

    #[test]
    fn origins_and_identities() {
        for (url, origin, query) in [
            ("HTTPS://u:p@Host:443/A%20b?q#f", "https://host/A%20b", "?q"),
            ("http://h:8080/a?X-Amz-Date=1&versionId=2&X-Amz-Signature=3", "http://h:8080/a", "?versionId=2"),
            ("http://h/a?sv=1&snapshot=2&sig=3", "http://h/a", "?snapshot=2"),
            ("http://h/a?sv=1", "http://h/a", "?sv=1"),
            ("http://h/a?x-goog-signature=1", "http://h/a", ""),
        ] {
            let target = Target::http(url, &options(&[])).unwrap();
            let (named, _) = target.identity.rsplit_once('#').unwrap();
            assert_eq!((target.origin.as_str(), named), (origin, format!("{origin}{query}").as_str()));
        }
        for wrong in ["ftp://h/a", "http:///", "no url", "http://u:sesame@h:99999/?sesame"] {
            let error = Target::http(wrong, &options(&[])).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("cannot read the path") && !error.contains("sesame"), "{error}");
        }
    }
}
