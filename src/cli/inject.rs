//! `vsitlm inject`: writes the virtual file to a real one, or its tile-part table to a `.tlm`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::print::{complain, print, size};
use crate::collect::locate;
use crate::error::{Error, Result, ResultExt};
use crate::index::{Record, RecordKey, build_index_blob, scan};
use crate::layout::{Content, Layout, VirtualOffset, compose_to_keep};
use crate::source::{Caller, Source, SourceOffset};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The JP2: a path, a URL or s3://bucket/key
    #[arg(value_name = "IN.jp2")]
    input: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Write the TLM alone, as a .tlm file
    #[arg(long)]
    tlm: bool,
}

/// Bytes copied at a time.
const BLOCK: u64 = 8 << 20;

/// Whether the file was written.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let location = locate(&arguments.input)?;
    let name = location.display();
    let source = Caller::of_environment().source(&location)?;
    if is_same(&location, &arguments.output) {
        return Err(Error::Path { path: name, what: "it would be written over itself: name another file".into() });
    }
    let scanned = scan(&*source).in_file(&name)?;
    let (had_tlm, file_size) = (scanned.main.has_tlm(), scanned.meta.size);
    let record = Record::from_scan(RecordKey::default(), "", source.origin(), scanned);
    let output = &arguments.output;
    let shown = output.display();
    if arguments.tlm {
        let blob = if record.has_tlm {
            Vec::new()
        } else {
            build_index_blob(file_size, record.first_sot.unwrap_or(0), &record.parts)
        };
        write(output, |file| file.write_all(&blob))?;
        print(&match blob.len() {
            0 => format!("{shown}: empty, since the file has a TLM of its own"),
            length => format!("{shown}: {length} bytes for {} tile-parts", record.parts.len()),
        });
        return Ok(true);
    }
    let header = record.header.clone().unwrap_or_default();
    let structure = record.structure(&header, file_size).in_file(&name)?;
    let layout = compose_to_keep(&structure).in_file(&name)?;
    let mut failure = None;
    let written = write(output, |file| {
        copy(&layout, &*source, file).map_err(|error| match error {
            Copy::Write(error) => error,
            Copy::Read(error) => {
                failure = Some(error);
                std::io::Error::other("the source could not be read")
            }
        })
    });
    match failure {
        Some(error) => return Err(error).in_file(&name),
        None => written?,
    }
    if had_tlm {
        complain("the file has a TLM of its own: copied as it is");
    } else if layout.size() == file_size {
        complain("the file's tile-parts cannot be merged into one for each tile: copied as it is");
    }
    print(&format!("{shown}: {} ({} more)", size(layout.size()), size(layout.size().saturating_sub(file_size))));
    Ok(true)
}

/// Whether the output is the input itself.
fn is_same(input: &crate::path::Location, output: &Path) -> bool {
    let crate::path::Location::Local(input) = input else { return false };
    input.canonicalize().ok().is_some_and(|input| output.canonicalize().ok() == Some(input))
}

/// Writes a file that appears whole or not at all.
fn write(path: &Path, fill: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>) -> Result<()> {
    crate::index::write_whole(path, fill).map_err(|error| Error::Read {
        what: format!("{} could not be written", path.display()),
        source: Some(std::sync::Arc::new(error)),
    })
}

enum Copy {
    Read(Error),
    Write(std::io::Error),
}

/// Copies a virtual file from its first byte to its last.
fn copy(layout: &Layout, source: &dyn Source, out: &mut std::fs::File) -> std::result::Result<(), Copy> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(layout.size()) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left") {
        bar.set_style(style);
    }
    for (_, content) in layout.segments_from(VirtualOffset(0)) {
        match content {
            Content::Inline(bytes) => {
                out.write_all(bytes).map_err(Copy::Write)?;
                bar.inc(bytes.len() as u64);
            }
            Content::Source(range) => {
                let mut at = range.start.0;
                while at < range.end.0 {
                    let end = range.end.0.min(at + BLOCK);
                    let read = source.read_ranges(&[SourceOffset(at)..SourceOffset(end)]).map_err(Copy::Read)?;
                    for bytes in read {
                        out.write_all(&bytes).map_err(Copy::Write)?;
                    }
                    bar.inc(end - at);
                    at = end;
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}
