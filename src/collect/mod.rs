//! What scans and expands inputs: from what somebody names to files, from files to rows, from rows to an index.
//!
//! ```text
//! arguments ─► inputs ─► scanner ─► rows ─► output          describe, contents, validate
//! ```
//!
//! | file | what |
//! |---|---|
//! | `build`, `merge` | an index from inputs, one index from several |
//! | `validate`, `contents` | an index checked, an index summed up |
//! | `describe`, `describe_tiff` | what a JP2 is made of, and a TIFF |
//! | `scanner`, `lengths` | a file becomes a row |
//! | `inputs` | what is named becomes files |
//! | `output`, `shards` | where an index is written to, where its files lie |
//! | `report`, `parallel`, `place` | what all of them use |
//!
//! Nothing here prints: how far a run is goes to a [`Report`], what came of it is a value.

mod build;
mod contents;
mod describe;
mod describe_tiff;
mod inputs;
mod lengths;
mod merge;
mod output;
mod parallel;
mod place;
mod report;
mod scanner;
mod shards;
mod validate;

pub(crate) use build::{Built, Plan, build};
pub(crate) use contents::{IndexContents, contents};
#[cfg(test)]
pub(crate) use describe::tests::anatomy;
pub(crate) use describe::{Anatomy, IndexRow, scan_jp2};
pub(crate) use describe_tiff::{TiffAnatomy, describe_tiff};
pub(crate) use inputs::{Selection, Slice};
pub(crate) use merge::{Merged, merge};
pub(crate) use output::Output;
pub(crate) use place::locate;
pub(crate) use report::Report;
pub(crate) use scanner::{ScanOptions, is_tiff};
pub(crate) use shards::shards;
pub(crate) use validate::{Findings, validate};
