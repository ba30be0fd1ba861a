//! A scripted server that speaks HTTP/2 over TLS, for tests: one file, and faults that are used up one a request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A key that guards nothing, and a certificate of it for 127.0.0.1 that nobody has signed.
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/localhost.pem");

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Http2Fault {
    /// The stream is refused: the request was not looked at.
    Refused,
    /// The stream is reset in place of a response.
    Reset,
    /// The stream is reset in the middle of the body.
    Cut,
    /// The connection takes no further streams; this one is answered.
    GoAway,
    /// The connection ends with an error, and all its streams with it.
    Abrupt,
}

#[derive(Default)]
struct Http2Script {
    faults: VecDeque<Http2Fault>,
    connections: usize,
    protocols: Vec<String>,
    requests: usize,
    open: usize,
    most_open: usize,
}

struct Http2Served {
    file: Bytes,
    streams: u32,
    script: Mutex<Http2Script>,
}

pub(super) struct Http2Mock {
    address: SocketAddr,
    served: Arc<Http2Served>,
    /// Ends with the mock.
    _runtime: Runtime,
}

impl Http2Mock {
    /// A server that takes `streams` streams of a connection at the same time.
    pub(super) fn new(file: Vec<u8>, streams: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
                PrivateKeyDer::from_pem_slice(CERTIFICATE).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Http2Served { file: file.into(), streams, script: Mutex::default() });
        let for_server = served.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(for_server.clone(), acceptor.clone(), stream));
            }
        });
        Self { address, served, _runtime: runtime }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}/a.jp2", self.address)
    }

    pub(super) fn fault(&self, faults: impl IntoIterator<Item = Http2Fault>) {
        self.served.script.lock().unwrap().faults.extend(faults);
    }

    /// Connections so far, those included that have not agreed on a protocol.
    pub(super) fn connections(&self) -> usize {
        self.served.script.lock().unwrap().connections
    }

    /// The protocol that each connection has agreed on.
    pub(super) fn protocols(&self) -> Vec<String> {
        self.served.script.lock().unwrap().protocols.clone()
    }

    /// Requests so far.
    pub(super) fn count(&self) -> usize {
        self.served.script.lock().unwrap().requests
    }

    /// The most requests that were there at the same time.
    pub(super) fn most_together(&self) -> usize {
        self.served.script.lock().unwrap().most_open
    }
}

/// Serves one connection. One that has agreed on HTTP/1.1 is noted, and closed.
async fn connection(served: Arc<Http2Served>, acceptor: TlsAcceptor, stream: TcpStream) -> Option<()> {
    served.script.lock().unwrap().connections += 1;
    let stream = acceptor.accept(stream).await.ok()?;
    let protocol = String::from_utf8_lossy(stream.get_ref().1.alpn_protocol().unwrap_or_default()).into_owned();
    let speaks_http2 = protocol == "h2";
    served.script.lock().unwrap().protocols.push(protocol);
    if !speaks_http2 {
        return None;
    }
    let mut connection =
        Builder::new().max_concurrent_streams(served.streams).handshake::<_, Bytes>(stream).await.ok()?;
    while let Some(Ok((request, respond))) = connection.accept().await {
        let fault = {
            let mut script = served.script.lock().unwrap();
            script.requests += 1;
            script.open += 1;
            script.most_open = script.most_open.max(script.open);
            script.faults.pop_front()
        };
        match fault {
            Some(Http2Fault::GoAway) => connection.graceful_shutdown(),
            Some(Http2Fault::Abrupt) => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
            _ => {}
        }
        let served = served.clone();
        tokio::spawn(async move {
            // Time for others to come.
            tokio::time::sleep(Duration::from_millis(5)).await;
            served.script.lock().unwrap().open -= 1;
            answer(&served, &request, respond, fault)
        });
    }
    Some(())
}

fn answer(
    served: &Http2Served,
    request: &Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    fault: Option<Http2Fault>,
) -> Option<()> {
    match fault {
        Some(Http2Fault::Refused) => respond.send_reset(Reason::REFUSED_STREAM),
        Some(Http2Fault::Reset) => respond.send_reset(Reason::INTERNAL_ERROR),
        _ => {}
    }
    let range = request.headers().get("range")?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (range.0.parse::<usize>().ok()?, range.1.parse::<usize>().ok()?);
    let body = served.file.slice(first..last + 1);
    let response = Response::builder()
        .status(206)
        .header("etag", "\"one\"")
        .header("content-length", body.len())
        .header("content-range", format!("bytes {first}-{last}/{}", served.file.len()));
    let mut stream = respond.send_response(response.body(()).ok()?, false).ok()?;
    if let Some(Http2Fault::Cut) = fault {
        stream.send_data(body.slice(..body.len() / 2), false).ok()?;
        stream.send_reset(Reason::INTERNAL_ERROR);
        return None;
    }
    stream.send_data(body, true).ok()
}
