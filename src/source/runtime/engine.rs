//! What a process shares: the runtime, the HTTP clients, the limits of each host, the cache, the counters.
//!
//! Invariants:
//! - Nothing starts at load. The engine is made at its first use, its runtime at the first remote request.
//! - After fork() the child has an engine of its own ([`PerProcess`]). Whatever outlives a fork (an open source) asks for
//!   the engine anew at every request, and keeps no lock of its own.
//! - Callers block on a std channel, never inside the runtime, so that they may be on a thread of any other runtime.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Error, Result};
use crate::options::{HttpOptions, Proxies, Secret};
use crate::process::{PerProcess, lock};
use crate::source::Meta;
use crate::source::cache::units::Cache;
use crate::source::host::known::Host;
use crate::source::host::statistics::{self, Statistics};
use crate::source::runtime::blocking::Blocking;

/// Threads of the runtime. They only move bytes: decoding is the callers' work.
const WORKERS: usize = 2;

/// Threads that read at the same time, where a source has no way of reading without one.
const READERS: usize = 4;

/// Threads that look up the names of hosts at the same time.
const RESOLVERS: usize = 4;

/// Hosts that are told apart. A server that redirects to ever new names must not fill the memory.
const MAX_HOSTS: usize = 4096;

/// Files whose size and ETag are remembered. Past that all are forgotten, which costs a cache miss each.
const MAX_KNOWN: usize = 65_536;

static ENGINE: PerProcess<Engine> = PerProcess::new();

/// This process's engine.
pub(crate) fn current() -> &'static Engine {
    ENGINE.get()
}

/// The state that one process shares.
#[derive(Default)]
pub(crate) struct Engine {
    runtime: OnceLock<Result<Runtime>>,
    clients: Mutex<HashMap<ClientKey, reqwest::Client>>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    known: Mutex<HashMap<String, Meta>>,
    regions: Mutex<HashMap<String, String>>,
    /// The units that were fetched, and those under way.
    pub(crate) cache: Cache,
    /// What reads for tasks, where a source has no other way.
    pub(crate) readers: Blocking<READERS>,
}

/// The options that make one HTTP client differ from another. Connections are shared by all that agree on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey {
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
    pub(crate) fn new(options: &HttpOptions) -> Self {
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
    pub(crate) fn http2(&self) -> bool {
        self.http2
    }

    /// The same with or without TLS: a client for http:// loads no certificates, which takes a while. A proxy may
    /// itself be reached by https.
    pub(crate) fn for_scheme(&self, secure: bool) -> Self {
        let encrypts = |proxy: &Secret| proxy.expose().starts_with("https:");
        Self {
            tls: secure || self.proxies.http.as_ref().is_some_and(encrypts),
            http2: self.http2 && secure,
            ..self.clone()
        }
    }

    /// The same for sending `bytes` bytes, before which no answer can come: at 1 MiB/s, rounded up so that few clients
    /// differ in this.
    pub(crate) fn for_upload(self, bytes: u64) -> Self {
        let seconds = (bytes >> 20).min(1 << 20).next_power_of_two();
        Self { stall_timeout: self.stall_timeout + Duration::from_secs(seconds), ..self }
    }

    /// The same, which speaks HTTP/1.1 alone.
    pub(crate) fn without_http2(self) -> Self {
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

impl Engine {
    fn runtime(&self) -> Result<&Runtime> {
        self.runtime
            .get_or_init(|| {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(WORKERS)
                    .max_blocking_threads(RESOLVERS)
                    .thread_name("vsitlm")
                    .enable_all()
                    .build()
                    .map_err(|error| cannot_start("the threads for network requests", &error))
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Runs `future` on the runtime and waits for what it gives. A panic in it is an error here.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            // Nobody waits any more only when the caller is gone with its thread.
            let _ = sender.send(future.await);
        });
        receiver.recv().map_err(|_| panicked())
    }

    /// Runs `futures` side by side and gives each outcome with its number as soon as it is there. The first failure ends
    /// the others.
    pub(crate) fn run_each<T: Send + 'static>(
        &self,
        futures: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
        each: &mut dyn FnMut(usize, T),
    ) -> Result<()> {
        let runtime = self.runtime()?;
        let (sender, receiver) = mpsc::channel();
        let mut tasks = JoinSet::new();
        for (number, future) in futures.enumerate() {
            let sender = sender.clone();
            tasks.spawn_on(
                async move {
                    // Nobody waits any more only after a failure.
                    let _ = sender.send((number, future.await));
                },
                runtime.handle(),
            );
        }
        drop(sender);
        for _ in 0..tasks.len() {
            let (number, outcome) = receiver.recv().map_err(|_| panicked())?;
            each(number, outcome?); // an error drops the tasks, which aborts them
        }
        Ok(())
    }

    /// Runs `future` on the runtime, without waiting.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle> {
        Ok(self.runtime()?.spawn(future).abort_handle())
    }

    /// The client for `key`, made when it is first asked for.
    pub(crate) fn client(&self, key: &ClientKey) -> Result<reqwest::Client> {
        if let Some(client) = lock(&self.clients).get(key) {
            return Ok(client.clone());
        }
        // Outside the lock: reading certificates takes tens of milliseconds. Who comes second uses the first's.
        let built = key.build()?;
        Ok(lock(&self.clients).entry(key.clone()).or_insert(built).clone())
    }

    /// What is known of the host `authority`: scheme, name and port.
    pub(crate) fn host(&self, authority: &str) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(authority) {
            return host.clone();
        }
        let name = if hosts.len() < MAX_HOSTS { authority } else { "others" };
        hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(Host::new(name))).clone()
    }

    fn by_host(&self) -> BTreeMap<String, Statistics> {
        lock(&self.hosts).iter().map(|(name, host)| (name.clone(), host.counters.now())).collect()
    }

    /// Size and ETag of the file `identity`, as an earlier source has seen them.
    pub(crate) fn known(&self, identity: &str) -> Option<Meta> {
        lock(&self.known).get(identity).cloned()
    }

    /// Remembers what a response told about the file `identity`.
    pub(crate) fn learn(&self, identity: &str, meta: &Meta) {
        let mut known = lock(&self.known);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(identity.to_owned(), meta.clone());
    }

    /// The region that AWS has said `bucket` lies in.
    pub(crate) fn region(&self, bucket: &str) -> Option<String> {
        lock(&self.regions).get(bucket).cloned()
    }

    /// Remembers what AWS has said.
    pub(crate) fn learn_region(&self, bucket: &str, region: &str) {
        lock(&self.regions).insert(bucket.to_owned(), region.to_owned());
    }
}

/// The same as [`Engine::run_each`] for a task of the runtime. A failure, one of `each` too, ends the others, as does
/// dropping the future.
pub(crate) async fn join_each<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
    each: &mut (dyn FnMut(usize, T) -> Result<()> + Send),
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for (number, future) in futures.enumerate() {
        tasks.spawn(async move { future.await.map(|outcome| (number, outcome)) });
    }
    while let Some(joined) = tasks.join_next().await {
        let (number, outcome) = joined.map_err(|_| panicked())??;
        each(number, outcome)?;
    }
    Ok(())
}

/// Runs `future` on the runtime of this process, without waiting for it.
///
/// # Errors
/// [`Error::Read`] where the system gives no threads.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle> {
    current().spawn(future)
}

/// What who waits is told where the work has gone.
pub(crate) fn panicked() -> Error {
    Error::read("a request ended by a panic, which is an error of this program: report it")
}

fn cannot_start(what: &str, cause: &dyn std::error::Error) -> Error {
    Error::read(format!("cannot start {what}: {}", crate::source::remote::http::root_cause(cause)))
}

/// What this process knows of a host.
pub(crate) fn host(name: &str) -> Arc<Host> {
    current().host(name)
}

/// What the sources of this process have done so far.
pub(crate) fn statistics() -> Statistics {
    statistics::total(&current().by_host())
}

/// The same by host, as JSON: see `vsitlm_statistics()` in include/vsitlm.h.
pub(crate) fn statistics_json() -> String {
    statistics::json(&current().by_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_request_is_an_error() {
        let outcome: Result<()> = current().run(async { panic!("on purpose") });
        let error: Error = outcome.unwrap_err();
        assert!(error.to_string().contains("panic"), "{error}");
    }

    #[test]
    fn blocks_on_a_thread_of_another_runtime() {
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let answer = other.block_on(async { current().run(async { 7 }) });
        assert_eq!(answer.unwrap(), 7);
    }
}
