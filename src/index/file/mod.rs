//! Parquet files: where their row groups, columns and pages lie, and reading no more of them than is needed.

pub(super) mod chunks;
pub(super) mod directory;
mod groups;
mod guard;
pub(super) mod pages;
mod raw;
pub(super) mod read;
pub(super) mod stream;
pub(super) mod table;
pub(super) mod write;
