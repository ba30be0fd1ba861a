//! The HTTP clients of a process. A client has the connections; one is shared by all who agree on its options.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::options::{HttpOptions, Proxies};
use crate::process::PerProcess;
use crate::secret::Secret;
use crate::source::remote::call::root_cause;
use crate::source::remote::remembered::Remembered;

/// Clients that are kept, each with its certificates and open connections. A program with more proxies or time limits than
/// that makes connections anew.
type Clients = Remembered<ClientKey, reqwest::Client, 64>;

static CLIENTS: PerProcess<Clients> = PerProcess::new();

/// The client for `key`, made when it is first asked for.
///
/// # Errors
/// [`Error::Option`] and [`Error::Read`] where the options or the system do not make one.
pub(super) fn client(key: &ClientKey) -> Result<reqwest::Client> {
    CLIENTS.get().client(key)
}

impl Clients {
    fn client(&self, key: &ClientKey) -> Result<reqwest::Client> {
        if let Some(client) = self.get(key) {
            return Ok(client);
        }
        // Without a lock: reading certificates takes tens of milliseconds. The second of two that are made at once is not kept.
        let built = key.build()?;
        Ok(self.get(key).unwrap_or_else(|| {
            self.put(key.clone(), built.clone(), 1);
            built
        }))
    }
}

/// The options that make one HTTP client differ from another. Connections are shared by all that agree on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    user_agent: String,
    timeout: Option<Duration>,
    stall_timeout: Duration,
    connect_timeout: Duration,
    proxies: Proxies,
    unsafe_ssl: bool,
    ca_bundle: Option<String>,
    tls: bool,
    http2: bool,
}

impl ClientKey {
    /// The key for `options`.
    pub(super) fn new(options: &HttpOptions) -> Self {
        Self {
            user_agent: options
                .user_agent
                .clone()
                .unwrap_or_else(|| concat!("vsitlm/", env!("CARGO_PKG_VERSION")).to_owned()),
            timeout: options.timeout,
            stall_timeout: options.stall_timeout,
            connect_timeout: options.connect_timeout,
            proxies: options.proxies.clone(),
            unsafe_ssl: options.unsafe_ssl,
            ca_bundle: options.ca_bundle.clone(),
            tls: true,
            http2: options.http2,
        }
    }

    /// Whether HTTP/2 may be spoken to a server that does.
    pub(super) fn http2(&self) -> bool {
        self.http2
    }

    /// The same with or without TLS: a client for http:// loads no certificates, which takes a while. A proxy may
    /// itself be reached by https.
    pub(super) fn for_scheme(&self, secure: bool) -> Self {
        let encrypts = |proxy: &Secret| proxy.expose().starts_with("https:");
        Self {
            tls: secure || self.proxies.http.as_ref().is_some_and(encrypts),
            http2: self.http2 && secure,
            ..self.clone()
        }
    }

    /// The same for sending `bytes` bytes, before which no answer can come: at 1 MiB/s, rounded up so that few clients
    /// differ in this.
    pub(super) fn for_upload(self, bytes: u64) -> Self {
        let seconds = (bytes >> 20).min(1 << 20).next_power_of_two();
        Self { stall_timeout: self.stall_timeout + Duration::from_secs(seconds), ..self }
    }

    /// The same, which speaks HTTP/1.1 alone.
    pub(super) fn without_http2(self) -> Self {
        Self { http2: false, ..self }
    }

    fn build(&self) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .read_timeout(self.stall_timeout)
            .connect_timeout(self.connect_timeout)
            // Redirects are followed in `http`, which knows which headers are credentials.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if !self.http2 {
            builder = builder.http1_only();
        }
        let invalid = |_| Error::Option {
            name: "GDAL_HTTP_PROXY",
            value: "(not shown)".to_owned(),
            expected: "host:port, or a URL",
        };
        // As in curl, no_proxy holds for proxies that options name too.
        if let Some(proxy) = &self.proxies.http {
            let proxy = reqwest::Proxy::http(proxy.expose()).map_err(invalid)?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()));
        }
        if let Some(proxy) = &self.proxies.https {
            let proxy = reqwest::Proxy::https(proxy.expose()).map_err(invalid)?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()));
        }
        let bundle = self.certificates()?;
        if !self.tls {
            return builder
                .tls_certs_only([])
                .build()
                .map_err(|error| cannot_start("an HTTP client", &error.without_url()));
        }
        // A bundle alone suffices where the system has no certificates.
        builder.tls_certs_merge(bundle).danger_accept_invalid_certs(self.unsafe_ssl).build().map_err(|error| {
            cannot_start("TLS (where the system has no certificates, set CURL_CA_BUNDLE)", &error.without_url())
        })
    }

    fn certificates(&self) -> Result<Vec<reqwest::Certificate>> {
        let Some(path) = self.ca_bundle.as_ref().filter(|_| self.tls) else {
            return Ok(Vec::new());
        };
        std::fs::read(path)
            .ok()
            .and_then(|pem| reqwest::Certificate::from_pem_bundle(&pem).ok())
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| Error::Option {
                name: "CURL_CA_BUNDLE",
                value: path.clone(),
                expected: "the name of a readable file of certificates in PEM form",
            })
    }
}

fn cannot_start(what: &str, cause: &dyn std::error::Error) -> Error {
    Error::read(format!("cannot start {what}: {}", root_cause(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_used_stay() {
        let clients = Clients::default();
        let key = |agent: usize| {
            let get = |name: &str| (name == "GDAL_HTTP_USERAGENT").then(|| agent.to_string());
            ClientKey::new(&crate::options::Options::resolve(&get).unwrap().http).for_scheme(false)
        };
        for agent in 0..80 {
            clients.client(&key(agent)).unwrap();
            clients.client(&key(0)).unwrap();
        }
        assert_eq!((0..80).filter(|agent| clients.get(&key(*agent)).is_some()).count(), 64);
        assert!(clients.get(&key(0)).is_some() && clients.get(&key(1)).is_none());
    }
}
