//! GDAL's options for proxies.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::options::value::{Get, text};
use crate::secret::Secret;

/// Characters that end the user info of a URL, or its parts.
const USER_INFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b':')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']');

/// The proxies of http:// and of https:// URLs, with their user and password: as URLs. Where one is `None`, the
/// environment decides (http_proxy, https_proxy, all_proxy), and no_proxy names hosts that are reached without any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Proxies {
    /// Of http:// URLs.
    pub(crate) http: Option<Secret>,
    /// Of https:// URLs.
    pub(crate) https: Option<Secret>,
}

impl Proxies {
    /// GDAL_HTTP_PROXY, for https:// URLs GDAL_HTTPS_PROXY first, and GDAL_HTTP_PROXYUSERPWD, a user and a password
    /// with a ':' between them.
    pub(super) fn resolve(get: Get) -> Self {
        let userpwd = text(get, "GDAL_HTTP_PROXYUSERPWD");
        let with_user = |proxy: String| {
            let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", &proxy));
            Secret::new(match &userpwd {
                Some(both) => {
                    let (user, password) = both.split_once(':').unwrap_or((both, ""));
                    let [user, password] = [user, password].map(|part| utf8_percent_encode(part, USER_INFO));
                    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                    format!("{scheme}://{user}:{password}@{host}")
                }
                None => format!("{scheme}://{rest}"),
            })
        };
        let http = text(get, "GDAL_HTTP_PROXY").map(with_user);
        let https = text(get, "GDAL_HTTPS_PROXY").map(with_user).or_else(|| http.clone());
        Self { http, https }
    }

    /// Whether one of them speaks another protocol than HTTP (socks5://).
    pub(super) fn needs_gdal(&self) -> bool {
        let known = |proxy: &Secret| ["http://", "https://"].iter().any(|scheme| proxy.expose().starts_with(scheme));
        !self.http.iter().chain(&self.https).all(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        for (set, http, https) in [
            (vec![], "", ""),
            (vec![("GDAL_HTTP_PROXY", "h:1")], "http://h:1", "http://h:1"),
            (vec![("GDAL_HTTP_PROXY", "h:1"), ("GDAL_HTTPS_PROXY", "https://s:2")], "http://h:1", "https://s:2"),
            (vec![("GDAL_HTTPS_PROXY", "s:2")], "", "http://s:2"),
            (
                vec![("GDAL_HTTP_PROXY", "http://old@h:1"), ("GDAL_HTTP_PROXYUSERPWD", "me:a/b@c:d")],
                "http://me:a%2Fb%40c%3Ad@h:1",
                "http://me:a%2Fb%40c%3Ad@h:1",
            ),
            (vec![("GDAL_HTTP_PROXY", "http://me:p@h:1")], "http://me:p@h:1", "http://me:p@h:1"),
        ] {
            let get = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let proxies = Proxies::resolve(&get);
            let shown = |proxy: &Option<Secret>| proxy.as_ref().map_or(String::new(), |url| url.expose().to_owned());
            assert_eq!((shown(&proxies.http), shown(&proxies.https)), (http.to_owned(), https.to_owned()));
            assert!(!proxies.needs_gdal());
        }
        let socks = |name: &str| (name == "GDAL_HTTP_PROXY").then(|| "socks5://h".to_owned());
        assert!(Proxies::resolve(&socks).needs_gdal());
    }
}
