//! Answers, by the rooms below.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::asker::Asker;
use super::question::{Kind, Question};
use super::state::STATE;
use crate::collect::{describe_tiff, is_tiff, scan_jp2};
use crate::decode::Samples;
use crate::error::{Error, Result};
use crate::file::{self, Description, Lease, Selection, VirtualFile};
use crate::index::{FoundRows, Record};
use crate::path::{Request, View, Window};
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
        Kind::Parts => (asked.block(parts).await?, None),
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
    let Ready { fetched: Fetched { bytes, requests }, warnings, .. } = make_ready(asked).await?;
    Ok((json!({"bytes": bytes, "requests": requests}), warnings))
}

/// Decodes the file or view.
async fn read(asked: &Asked) -> Result<((Value, Vec<String>), Samples)> {
    let Ready { file, what, fetched: Fetched { bytes, requests }, warnings, _lease } = make_ready(asked).await?;
    let (question, threads) = (asked.question.clone(), file.options().threads);
    let decode = move || {
        let of = Selection { bands: question.bands.as_deref(), squares: question.squares.as_ref() };
        match what {
            What::All => file.samples(of),
            What::View(factor, window) => file.samples_of_view(factor, &window, of, None, false),
            What::Tiles(factor, window) => file.samples_of_tiles(factor, &window, of, None),
            What::Stored(factor, window) => file.samples_of_tiff(factor, window.as_ref(), of),
        }
    };
    let samples = STATE.get().decoders.run_on(threads, decode).await??;
    let dtype = samples.values.dtype();
    Ok(((json!({"shape": samples.shape, "dtype": dtype, "bytes": bytes, "requests": requests}), warnings), samples))
}

/// A file or view whose bytes are at hand.
struct Ready {
    file: Arc<VirtualFile>,
    what: What,
    fetched: Fetched,
    warnings: Vec<String>,
    /// What is open as long as this is, so that it is opened once for all who ask for it meanwhile.
    _lease: Arc<Lease>,
}

/// What of a file is decoded.
enum What {
    All,
    /// A window of the image at 1/factor, of a view that has it: of its packets, or of the whole reduced image.
    View(u32, Window),
    /// A window of the image at 1/factor, by the tiles that it touches.
    Tiles(u32, Window),
    /// A window of an overview of a TIFF; all of it where there is none.
    Stored(u32, Option<Window>),
}

/// Fetches what decoding the file or view reads.
async fn make_ready(asked: &Asked) -> Result<Ready> {
    let request = &asked.question.request;
    if request.location.is_tiff() {
        return make_tiff_ready(asked).await;
    }
    let View::Window(factor, window) = request.view else {
        let (lease, warnings) = asked.block_on(request.clone(), open).await?;
        let file = lease.file();
        let fetched = file.fetch_all().await?;
        return Ok(Ready { file, what: What::All, fetched, warnings, _lease: lease });
    };
    let windows: Arc<[Window]> = match &asked.question.squares {
        Some(squares) => squares.windows().collect(),
        None => [window].into(),
    };
    let wanted = windows.clone();
    let open = move |request: &Request, caller: &Caller<'_>| open_windows(request, factor, &wanted, caller);
    let ((lease, view), warnings) = asked.block_on(request.clone(), open).await?;
    let whole = lease.file();
    let (mut fetched, mut view) = (Fetched { bytes: 0, requests: 0 }, view);
    if view.is_none()
        && whole.needs_headers(factor, &windows).unwrap_or(false)
        && !whole.is_fetched_whole()
        && !whole.are_most_of_their_tiles(factor, &windows)?
    {
        // Fetched by this task, so that no thread waits for them.
        fetched = whole.fetch_headers(factor, &windows).await?;
        let file = whole.clone();
        view = STATE.get().openers.run(move || file.packets_worth_it(factor, &windows)).await??.map(Arc::new);
    }
    let (file, what) = match view {
        Some(view) => (view, What::View(factor, window)),
        None => (whole, What::Tiles(factor, window)),
    };
    let Fetched { bytes, requests } = match what {
        What::Tiles(..) => file.fetch_tiles(factor, &window).await?,
        _ => file.fetch_window(factor, &window).await?,
    };
    let fetched = Fetched { bytes: fetched.bytes + bytes, requests: fetched.requests + requests };
    Ok(Ready { file, what, fetched, warnings, _lease: lease })
}

/// The same for a TIFF as it lies in its archive.
async fn make_tiff_ready(asked: &Asked) -> Result<Ready> {
    let request = &asked.question.request;
    let (factor, window) = match request.view {
        View::Window(factor, window) => (factor, Some(window)),
        View::Reduced(factor) => (factor, None),
        _ => (1, None),
    };
    let (lease, warnings) = asked.block_on(request.with(View::Whole), file::open).await?;
    let file = lease.file();
    let of = Selection { bands: asked.question.bands.as_deref(), squares: asked.question.squares.as_ref() };
    let fetched = file.fetch_of_tiff(factor, window.as_ref(), of).await?;
    Ok(Ready { file, what: What::Stored(factor, window), fetched, warnings, _lease: lease })
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

/// A question and who has asked it.
struct Asked {
    question: Arc<Question>,
    asker: Arc<dyn Asker>,
}

impl Asked {
    /// Does `work` for the caller, which may block, on a thread for that: what it gives, and the warnings.
    async fn block<T: Send + 'static>(
        &self,
        work: impl FnMut(&Request, &Caller<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(T, Vec<String>)> {
        self.block_on(self.question.request.clone(), work).await
    }

    /// The same for another view of the question's file.
    async fn block_on<T: Send + 'static>(
        &self,
        request: Request,
        mut work: impl FnMut(&Request, &Caller<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(T, Vec<String>)> {
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

/// The file that windows of the image at 1/factor are of, and what has them in fewer bytes, where that is known without a
/// request: the packets that they need, or the reduced image.
fn open_windows(
    request: &Request,
    factor: u32,
    windows: &[Window],
    caller: &Caller<'_>,
) -> Result<(Arc<Lease>, Option<Arc<VirtualFile>>)> {
    let whole = request.with(View::Whole);
    let opened = || -> Result<_> {
        let file = open(&whole, caller)?;
        let is_known = !file.needs_headers(factor, windows).unwrap_or(true);
        let packets = if is_known { file.packets_worth_it(factor, windows)? } else { None };
        let view = match packets {
            None if factor > 1 && file.has_resolutions() => {
                open(&request.with(View::Reduced(factor)), caller).ok().map(|reduced| reduced.file())
            }
            packets => packets.map(Arc::new),
        };
        Ok((file, view))
    };
    match opened() {
        // The row is set aside by now: without it the file is a miss.
        Err(error) if matches!(error.root(), Error::Row { .. } | Error::Changed { .. }) => opened(),
        opened => opened,
    }
}

fn describe(request: &Request, caller: &Caller<'_>) -> Result<Value> {
    let Description { size, bands, dtype, georeference, tile, overviews, bytes } = file::describe(request, caller)?;
    Ok(json!({
        "width": size.0, "height": size.1, "count": bands, "dtype": dtype,
        "epsg": georeference.as_ref().map(|it| it.epsg), "transform": georeference.as_ref().map(|it| it.transform),
        "tile_shape": [tile.1, tile.0], "overviews": overviews, "size": bytes,
    }))
}

fn parts(request: &Request, caller: &Caller<'_>) -> Result<Value> {
    let whole = request.with(View::Whole);
    let factor = match request.view {
        View::Reduced(factor) => factor,
        _ => 1,
    };
    let parts = || -> Result<_> {
        let file = file::open(&whole, caller)?;
        Ok((file.parts_at(factor)?, file.found_at().unwrap_or(&request.location).display()))
    };
    let told = match parts() {
        // The row is set aside by now: without it the file is a miss.
        Err(error) if matches!(error.root(), Error::Row { .. } | Error::Changed { .. }) => parts(),
        told => told,
    };
    let (parts, location) = told?;
    Ok(json!({"location": location, "parts": parts}))
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
        "has_packets": record.packets.is_some(), "is_tiff": record.is_of_tiff(),
    })
}

fn scan(request: &Request, caller: &Caller<'_>) -> Result<Value> {
    let source = file::source_of(request, caller)?;
    let (found, warnings) = match is_tiff(&request.location, &*source)? {
        true => {
            let (anatomy, warnings) = describe_tiff(&request.location, &*source, caller)?;
            (serde_json::to_value(anatomy), warnings)
        }
        false => {
            let (anatomy, warnings) = scan_jp2(&request.location, &*source, caller)?;
            (serde_json::to_value(anatomy), warnings)
        }
    };
    let found = found.map_err(|error| Error::read(format!("it cannot be written: {error}")))?;
    Ok(with_warnings(found, warnings.iter().map(Error::chain).collect()))
}
