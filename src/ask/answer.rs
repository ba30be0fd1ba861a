//! Answers, by the rooms below.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::asker::Asker;
use super::question::{Kind, Question};
use super::state::STATE;
use crate::collect::scan_jp2;
use crate::error::{Error, Result};
use crate::file::{self, Description, Lease, Samples};
use crate::index::{FoundRows, Record};
use crate::path::{Request, View};
use crate::process::lock;
use crate::source::{Caller, Fetched};

/// What is answered.
pub(super) struct Answered {
    pub(super) json: Value,
    /// Those that it tells of.
    pub(super) samples: Option<Samples>,
}

/// Answers `question`, as a task of the engine's runtime.
pub(super) async fn answer(question: Arc<Question>, asker: Arc<dyn Asker>) -> Result<Answered> {
    let asked = Asked { question, asker };
    let ((answer, warnings), samples) = match asked.question.kind {
        Kind::Describe => (asked.block(describe).await?, None),
        Kind::Rows => (asked.block(rows).await?, None),
        Kind::Scan => (asked.block(scan).await?, None),
        Kind::Fetch => (fetch(&asked).await?, None),
        Kind::Read => {
            let (answer, samples) = read(&asked).await?;
            (answer, Some(samples))
        }
    };
    Ok(Answered { json: with_warnings(answer, warnings), samples })
}

/// Brings into the cache what decoding the file or view reads.
async fn fetch(asked: &Asked) -> Result<(Value, Vec<String>)> {
    let told = |Fetched { bytes, requests }: &Fetched| json!({"bytes": bytes, "requests": requests});
    match fetch_view(asked).await {
        Ok(Ready { fetched, warnings, .. }) => Ok((told(&fetched), warnings)),
        // Then it is a part of the whole image, whose tiles are fetched as they are read.
        Err(error) if is_window(asked) && matches!(error.root(), Error::NoOverview { .. }) => {
            Ok((told(&Fetched { bytes: 0, requests: 0 }), Vec::new()))
        }
        Err(error) => Err(error),
    }
}

/// Decodes the file or view.
async fn read(asked: &Asked) -> Result<((Value, Vec<String>), Samples)> {
    let question = asked.question.clone();
    let (fetched, warnings, samples) = match (fetch_view(asked).await, question.request.view) {
        (Ok(Ready { file, view, fetched, warnings }), _) => {
            let threads = file.options().threads;
            let decode = move || file.samples(view, question.bands.as_deref());
            (fetched, warnings, STATE.get().decoders.run_on(threads, decode).await??)
        }
        // Where it is not known which packets it needs, it is decoded by its tiles.
        (Err(error), View::Window(factor, window)) if matches!(error.root(), Error::NoOverview { .. }) => {
            let (file, warnings) = asked.block_on(question.request.with(View::Whole), open).await?;
            let fetched = file.fetch_tiles(factor, &window).await?;
            let threads = file.options().threads;
            let decode = move || file.samples_of_tiles(factor, &window, question.bands.as_deref(), None);
            (fetched, warnings, STATE.get().decoders.run_on(threads, decode).await??)
        }
        (Err(error), _) => return Err(error),
    };
    let Fetched { bytes, requests } = fetched;
    let dtype = samples.values.dtype();
    Ok(((json!({"shape": samples.shape, "dtype": dtype, "bytes": bytes, "requests": requests}), warnings), samples))
}

fn is_window(asked: &Asked) -> bool {
    matches!(asked.question.request.view, View::Window(..))
}

/// A file or view whose bytes are at hand.
struct Ready {
    file: Arc<Lease>,
    view: View,
    fetched: Fetched,
    warnings: Vec<String>,
}

/// Fetches what decoding the file or view reads. What a window is made of is fetched in its place.
async fn fetch_view(asked: &Asked) -> Result<Ready> {
    let request = &asked.question.request;
    let View::Window(factor, window) = request.view else {
        let (file, warnings) = asked.block_on(request.clone(), open).await?;
        let fetched = file.fetch_all().await?;
        return Ok(Ready { file, view: request.view, fetched, warnings });
    };
    let view = View::Packets(factor, window);
    // Where the headers of its tiles are needed, they are fetched first, by this task.
    let (opened, warnings) = asked.block_on(request.clone(), open_window).await?;
    let (headers, file) = match opened {
        Window::Packets(packets) => (Fetched { bytes: 0, requests: 0 }, packets?),
        Window::NeedsHeaders(whole) => {
            let headers = whole.fetch_headers(factor, &window).await?;
            (headers, asked.block_on(request.with(view), open).await?.0)
        }
    };
    let Fetched { bytes, requests } = file.fetch_all().await?;
    let fetched = Fetched { bytes: headers.bytes + bytes, requests: headers.requests + requests };
    Ok(Ready { file, view, fetched, warnings })
}

/// An answer with what did not stop it, where there is any.
fn with_warnings(mut answer: Value, warnings: Vec<String>) -> Value {
    if let Some(members) = answer.as_object_mut()
        && !warnings.is_empty()
    {
        let told = members.entry("warnings").or_insert_with(|| json!([]));
        told.as_array_mut().into_iter().for_each(|told| told.extend(warnings.iter().map(|warning| json!(warning))));
    }
    answer
}

/// What is done for a caller.
type Work<T> = fn(&Request, &Caller<'_>) -> Result<T>;

/// A question and who has asked it.
struct Asked {
    question: Arc<Question>,
    asker: Arc<dyn Asker>,
}

impl Asked {
    /// Does `work`, which may block, on a thread for that: what it gives, and the warnings.
    async fn block<T: Send + 'static>(&self, work: Work<T>) -> Result<(T, Vec<String>)> {
        self.block_on(self.question.request.clone(), work).await
    }

    /// The same for another view of the question's file.
    async fn block_on<T: Send + 'static>(&self, request: Request, work: Work<T>) -> Result<(T, Vec<String>)> {
        let (question, asker) = (self.question.clone(), self.asker.clone());
        let run = move || {
            let warnings = Mutex::<Vec<String>>::default();
            let mut outcome = Err(Error::read("nothing was done for the question"));
            let warn = |message: &str| lock(&warnings).push(message.to_owned());
            asker.with(&question.options, &warn, &mut |caller| outcome = work(&request, caller));
            outcome.map(|answer| (answer, std::mem::take(&mut *lock(&warnings))))
        };
        STATE.get().openers.run(run).await?
    }
}

fn open(request: &Request, caller: &Caller<'_>) -> Result<Arc<Lease>> {
    let file = file::open(request, caller)?;
    file.make_ready();
    Ok(file)
}

/// How far a window can be opened without a request of a thread's own.
enum Window {
    Packets(Result<Arc<Lease>>),
    NeedsHeaders(Arc<Lease>),
}

fn open_window(request: &Request, caller: &Caller<'_>) -> Result<Window> {
    let View::Window(factor, window) = request.view else { return Ok(Window::Packets(open(request, caller))) };
    let packets = request.with(View::Packets(factor, window));
    if let Some(packets) = file::at_hand(&packets, caller) {
        return Ok(Window::Packets(Ok(packets)));
    }
    let whole = open(&request.with(View::Whole), caller)?;
    match whole.needs_headers(factor, &window) {
        Ok(true) => Ok(Window::NeedsHeaders(whole)),
        _ => Ok(Window::Packets(open(&packets, caller))),
    }
}

fn describe(request: &Request, caller: &Caller<'_>) -> Result<Value> {
    let Description { size, bands, data_type, georeference, tile, overviews, bytes } = file::describe(request, caller)?;
    let dtype = match data_type {
        "Byte" => "uint8".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    Ok(json!({
        "width": size.0, "height": size.1, "count": bands, "dtype": dtype,
        "epsg": georeference.as_ref().map(|it| it.epsg), "transform": georeference.as_ref().map(|it| it.transform),
        "tile_shape": [tile.1, tile.0], "overviews": overviews, "size": bytes,
    }))
}

fn rows(request: &Request, caller: &Caller<'_>) -> Result<Value> {
    let FoundRows { records, warnings } = file::rows(request, caller)?;
    let warnings: Vec<String> = warnings.iter().map(Error::chain).collect();
    Ok(json!({"rows": records.iter().map(row).collect::<Vec<_>>(), "warnings": warnings}))
}

fn row(record: &Record) -> Value {
    // A file with a TLM of its own has its tile-parts there.
    let counted = || Some(record.structure(record.header.as_ref()?, record.file_size?).ok()?.tile_parts.parts().len());
    let tile_parts = Some(record.parts.len()).filter(|count| *count > 0).or_else(counted);
    json!({
        "product_id": record.key.product_id, "mgrs_tile": record.key.mgrs_tile, "band_id": record.key.band_id,
        "resolution": record.key.resolution, "path": record.path, "origin": record.origin, "etag": record.etag,
        "file_size": record.file_size, "last_modified": record.last_modified, "tile_parts": tile_parts,
        "has_tlm": record.has_tlm, "overview_factor": record.overviews.as_ref().map(|embedded| 1u64 << embedded.k()),
        "has_packets": record.packets.is_some(),
    })
}

fn scan(request: &Request, caller: &Caller<'_>) -> Result<Value> {
    let source = file::source_of(request, caller)?;
    let (anatomy, warnings) = scan_jp2(&request.location, &*source, caller)?;
    let found = serde_json::to_value(anatomy).map_err(|error| Error::read(format!("it cannot be written: {error}")))?;
    Ok(with_warnings(found, warnings.iter().map(Error::chain).collect()))
}
