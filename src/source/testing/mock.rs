//! A scripted HTTP server on a thread of its own, for tests: one file, and faults that are used up one a request.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A status and headers, with a short body.
    Status(u16, Vec<(&'static str, String)>),
    /// This body, in place of the file.
    Body(Vec<u8>),
    /// The connection ends before the response.
    Reset,
    /// The connection ends in the middle of the body.
    Cut,
    /// A body, and its Content-Length, shorter by one byte than the Content-Range says.
    Short,
    /// The same, longer by one byte.
    Long,
    /// Both again without Content-Length.
    ShortOpen,
    LongOpen,
    /// The range that follows the one asked for.
    OtherRange,
    /// The whole file, as a server does that knows no ranges.
    Whole,
    /// A 200 that announces 9 MiB.
    WholeLarge,
    /// 9 MiB that are not announced.
    WholeOpen,
    /// The file as it should be, with this ETag.
    ETag(&'static str),
    /// The file as it should be, as one byte longer in all.
    Grown,
    /// A good response without any size.
    NoSize,
    /// Half of the body, and then nothing, for ever.
    Stall,
    /// No answer at all, for ever.
    Silence,
    /// 412, whatever If-Match says.
    Misjudged,
}

/// One request as it came: its first line, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Script {
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    waiting: usize,
    most_waiting: usize,
}

pub(crate) struct Mock {
    address: SocketAddr,
    served: Arc<Served>,
}

struct Served {
    /// The file as it is now, and its ETag.
    file: Mutex<(Vec<u8>, String)>,
    /// Requests that must have come before the first is answered.
    together: usize,
    script: Mutex<Script>,
    came: Condvar,
}

impl Mock {
    pub(crate) fn new(file: &[u8]) -> Self {
        Self::holding(file, 1)
    }

    /// A server that answers nobody before `together` requests wait at the same time (or ten seconds are over).
    pub(crate) fn holding(file: &[u8], together: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let file = Mutex::new((file.to_vec(), "\"one\"".to_owned()));
        let served = Arc::new(Served { file, together, script: Mutex::default(), came: Condvar::new() });
        let for_thread = served.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = for_thread.clone();
                std::thread::spawn(move || while serve(&served, &stream).is_some() {});
            }
        });
        Self { address, served }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn fault(&self, faults: impl IntoIterator<Item = Fault>) {
        self.served.script.lock().unwrap().faults.extend(faults);
    }

    /// Puts another version of the file in the place of this one.
    pub(crate) fn replace(&self, file: &[u8], etag: &str) {
        *self.served.file.lock().unwrap() = (file.to_vec(), etag.to_owned());
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.served.script.lock().unwrap().seen.clone()
    }

    /// Requests so far.
    pub(crate) fn count(&self) -> usize {
        self.served.script.lock().unwrap().seen.len()
    }

    /// The most requests that were there at the same time.
    pub(crate) fn most_together(&self) -> usize {
        self.served.script.lock().unwrap().most_waiting
    }
}

/// One request on `stream`; `None` when the connection is over.
fn serve(served: &Served, stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let method = line.split(' ').next()?.to_owned();
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { method, target, headers, body: Vec::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body.resize(length, 0);
    reader.read_exact(&mut seen.body).ok()?;
    let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let size = served.file.lock().unwrap().0.len();
    let range = range.map(|(first, last)| match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), last) => (first, last.unwrap() + 1),
        (Err(_), length) => (size.saturating_sub(length.unwrap()), size),
    });
    let wanted = seen.header("if-match").map(str::to_owned);
    let fault = {
        let mut script = served.script.lock().unwrap();
        let fault = script.faults.pop_front();
        script.seen.push(seen);
        script.waiting += 1;
        script.most_waiting = script.most_waiting.max(script.waiting);
        served.came.notify_all();
        let wait = Duration::from_secs(10);
        let held = |script: &mut Script| script.most_waiting < served.together;
        let (script, _) = served.came.wait_timeout_while(script, wait, held).unwrap();
        drop(script);
        if served.together > 1 {
            // Time for requests to come that should not: a client that keeps its limit passes however long it is.
            std::thread::sleep(Duration::from_millis(30));
        }
        served.script.lock().unwrap().waiting -= 1;
        fault
    };
    let end = respond(served, stream, range, wanted.as_deref(), fault.as_ref());
    if let Some(Fault::Stall | Fault::Silence) = fault {
        // Until the client has enough of it.
        let _ = reader.read_line(&mut String::new());
    }
    end
}

fn respond(
    served: &Served,
    mut stream: &TcpStream,
    range: Option<(usize, usize)>,
    wanted: Option<&str>,
    fault: Option<&Fault>,
) -> Option<()> {
    let (file, etag) = served.file.lock().unwrap().clone();
    let size = file.len();
    let misses = wanted.is_some_and(|wanted| wanted != etag) || matches!(fault, Some(Fault::Misjudged));
    let etag = match fault {
        Some(Fault::ETag(etag)) => (*etag).to_owned(),
        _ => etag,
    };
    let meta = format!("ETag: {etag}\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let whole = |length: usize| format!("HTTP/1.1 200 OK\r\n{meta}Content-Length: {length}\r\n\r\n");
    let (head, body) = match (fault, range) {
        (Some(Fault::Reset | Fault::Silence), _) => return None,
        _ if misses && wanted.is_some() => ("HTTP/1.1 412 X\r\nContent-Length: 0\r\n\r\n".to_owned(), Vec::new()),
        (Some(Fault::Status(status, headers)), _) => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            (format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 4\r\n\r\n"), b"oops".to_vec())
        }
        (Some(Fault::Body(body)), _) => (whole(body.len()), body.clone()),
        (Some(Fault::WholeOpen), _) => ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(), vec![0; 9 << 20]),
        (Some(Fault::WholeLarge), _) => (whole(9 << 20), Vec::new()),
        (Some(Fault::Whole), _) | (_, None) => (whole(size), file),
        (_, Some((start, _))) if start >= size => {
            (format!("HTTP/1.1 416 X\r\n{meta}Content-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"), Vec::new())
        }
        (_, Some((start, end))) => {
            let end = end.min(size);
            let mut body = file[start..end].to_vec();
            let (mut first, mut last, mut total) = (start, end - 1, size.to_string());
            match fault {
                Some(Fault::Short | Fault::ShortOpen) => body.truncate(body.len() - 1),
                Some(Fault::Long | Fault::LongOpen) => body.push(0),
                Some(Fault::OtherRange) => (first, last) = (first + 1, last + 1),
                Some(Fault::Grown) => total = (size + 1).to_string(),
                Some(Fault::NoSize) => total = "*".to_owned(),
                _ => {}
            }
            let length = match fault {
                Some(Fault::ShortOpen | Fault::LongOpen) => "Connection: close".to_owned(),
                _ => format!("Content-Length: {}", body.len()),
            };
            if let Some(Fault::Cut | Fault::Stall) = fault {
                body.truncate(body.len() / 2);
            }
            (format!("HTTP/1.1 206 X\r\n{meta}Content-Range: bytes {first}-{last}/{total}\r\n{length}\r\n\r\n"), body)
        }
    };
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    let ends = matches!(
        fault,
        Some(Fault::Stall | Fault::Cut | Fault::ShortOpen | Fault::LongOpen | Fault::WholeLarge | Fault::WholeOpen)
    );
    (!ends).then_some(())
}
