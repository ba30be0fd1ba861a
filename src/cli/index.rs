//! `vsitlm index`: scans files, several at a time, and adds their rows to an index.

use super::options::options;
use super::print::{complain, print, print_json, size};
use super::progress::Progress;
use crate::collect::{Built, Output, Plan, ScanOptions, Selection, Slice, build};
use crate::error::Result;
use crate::index::{Strategy, parse_factor};
use crate::path::Store;
use crate::source::Caller;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// JP2 and TIFF files, SAFE products, folders, URLs, s3://bucket/key, s3://bucket/prefix/, STAC items (.json,
    /// .geojson, .parquet); - reads a list from standard input
    #[arg(required = true)]
    input: Vec<String>,
    /// The index: a .parquet file, or a folder or prefix for one file a tile and year; rows that are there are kept
    #[arg(short, long, value_name = "OUT")]
    output: String,
    /// Scan the K-th of N parts of the inputs alone: those whose place modulo N is K - 1, among the files where fewer than
    /// N are named
    #[arg(long, value_name = "K/N")]
    slice: Option<Slice>,
    /// Go on where a run with the same output was broken off
    #[arg(long)]
    resume: bool,
    /// Where to list what failed, a JSON object a line [default: OUT.failures.jsonl, or in a folder _failures.jsonl]
    #[arg(long, value_name = "FILE")]
    failures: Option<String>,
    /// Files scanned at the same time [default: the processors, as many as connections for remote files]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// How tile-parts are found: auto, hop (one small read each), stream (large reads), resync (several places at once)
    #[arg(long, default_value = "auto")]
    strategy: Strategy,
    /// Carry the overviews of factor N and coarser in the index: a power of two from 2
    #[arg(long, value_name = "N", value_parser = factor)]
    embed_overviews: Option<u8>,
    /// Carry the length of every packet in the index: windows smaller than a tile then take a part of its bytes
    #[arg(long)]
    packets: bool,
    /// Where a file does not say how long its packets are (no PLT), read all of it to find out: overviews and --packets
    /// need it
    #[arg(long)]
    parse_packets: bool,
    /// Take the masks and previews of products too
    #[arg(long)]
    masks: bool,
    /// Take the bands of products at all of their resolutions, not at the best alone
    #[arg(long)]
    all_resolutions: bool,
    /// The archive in which products lie that are named alone: cdse, gcs, aws, or a base with the layout of one [default:
    /// VSITLM_STORE]
    #[arg(long, value_parser = store)]
    store: Option<Store>,
    /// Check files against the checksums in their products' manifests, which reads them whole
    #[arg(long)]
    checksums: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `--embed-overviews` takes: k of N = 2^k.
fn factor(text: &str) -> Result<u8, String> {
    parse_factor(text.parse().unwrap_or(0)).map_err(|expected| format!("use {expected}"))
}

fn store(text: &str) -> Result<Store, String> {
    Store::parse(text).ok_or_else(|| format!("use {}", Store::EXPECTED))
}

/// Whether nothing failed.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let options = options()?;
    let plan = Plan {
        inputs: &arguments.input,
        output: &Output::new(&arguments.output),
        slice: arguments.slice,
        resume: arguments.resume,
        jobs: arguments.jobs.map(usize::from),
        selection: Selection {
            masks: arguments.masks,
            all_resolutions: arguments.all_resolutions,
            store: arguments.store.clone().or_else(|| options.store.clone()),
        },
        scan: ScanOptions {
            strategy: arguments.strategy,
            embed: arguments.embed_overviews,
            packets: arguments.packets,
            parse_packets: arguments.parse_packets,
            checksums: arguments.checksums,
        },
        failures: arguments.failures.as_deref(),
        options: &options,
    };
    let built = build(&plan, std::io::stdin().lock(), &Caller::of_environment(), &Progress::default())?;
    match &built.output {
        _ if arguments.json => print_json(&built),
        Some(output) => {
            print(&format!("{output}: {}", text(&built)));
            if let Some(listed) = &built.failures {
                complain(&format!("what failed is listed in {listed}"));
            }
        }
        None => complain("nothing to write: no file could be scanned"),
    }
    Ok(built.failed.is_empty() && built.output.is_some())
}

/// The summary for people.
fn text(built: &Built) -> String {
    let carried = [("packets", built.packets), ("overviews", built.overviews.as_ref().map(|it| it.carried))];
    let carried = carried.iter().filter_map(|(what, carried)| Some((what, (*carried)?)));
    let carried: String =
        carried.map(|(what, carried)| format!(", {what} of {} in {}", carried.rows, size(carried.bytes))).collect();
    let counts = [(built.resumed, "of the run before"), (built.unchanged, "unchanged"), (built.failed.len(), "failed")];
    let counts: String = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
    format!(
        "{} of {} files scanned{counts}; {} rows, {} written{carried}, {:.1} s",
        built.scanned,
        built.files,
        built.rows,
        size(built.bytes),
        built.seconds
    )
}
