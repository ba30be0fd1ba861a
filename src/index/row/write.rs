//! Writing rows: a whole index file under its final name, or none.

use std::io::Write;
use std::iter::Peekable;
use std::path::Path;

use parquet::errors::ParquetError;

use super::arrays::arrays;
use super::overviews::EmbeddedOverviews;
use super::packets::PacketLengths;
use super::record::Record;
use super::stac::Describer;
use super::stored::StoredRow;
use crate::error::{Error, Result};
use crate::index::file::write::{IndexWriter, external, write_whole};
use crate::index::format::columns::Paged;
use crate::index::format::schema::{Carried, ROWS};

/// Writes `rows`, which are sorted, as one index file, and gives it its name when it is whole and on the disk.
/// `carried` says what they carry.
///
/// # Errors
/// [`Error::Index`] where the folder cannot be written to, the disk is full, or the like; the first error among `rows`.
pub(crate) fn write_index(path: &Path, rows: impl Iterator<Item = Result<StoredRow>>, carried: Carried) -> Result<()> {
    let bad = |what: String| Error::Index { index: path.display().to_string(), what };
    write_whole(path, |file| build_into(rows, carried, file).map_err(std::io::Error::other))
        .map_err(|error| bad(format!("it could not be written: {error}")))
}

/// The same in memory.
///
/// # Errors
/// The first error among `rows`.
pub(crate) fn build_index_of(rows: impl Iterator<Item = Result<StoredRow>>, carried: Carried) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    build_into(rows, carried, &mut bytes).map_err(|error| Error::read(error.to_string()))?;
    Ok(bytes)
}

/// The bytes of an index file of `records`, which are sorted.
pub(crate) fn build_index(records: &[Record]) -> Result<Vec<u8>, ParquetError> {
    let rows: Vec<StoredRow> = records.iter().map(StoredRow::from).collect();
    let carried = Carried::all(rows.iter().map(StoredRow::carried));
    let mut bytes = Vec::new();
    build_into(rows.into_iter().map(Ok), carried, &mut bytes)?;
    Ok(bytes)
}

/// Writes an index file of `rows`, which are sorted, row group by row group: they are more than memory holds, and so can
/// overviews be. `carried` says what they carry.
///
/// # Errors
/// Whatever writing fails with, and the first error among `rows`.
fn build_into(
    rows: impl Iterator<Item = Result<StoredRow>>,
    carried: Carried,
    out: impl Write + Send,
) -> Result<(), ParquetError> {
    let mut writer = IndexWriter::new(out, carried)?;
    let mut describer = Describer::default();
    let mut rows = rows.peekable();
    let mut begun = Vec::new();
    loop {
        let rows = next_group(&mut rows, &mut begun).map_err(external)?;
        if rows.is_empty() {
            return writer.finish();
        }
        writer.write(&arrays(&rows, carried, &mut describer)?, rows.len(), |column, row| match column {
            Paged::Packets => rows[row].packets.as_ref().map(PacketLengths::value),
            Paged::Overviews => rows[row].overviews.as_ref().map(EmbeddedOverviews::value),
        })?;
    }
}

/// The rows of the next row group; none at the end. The rows of a product stay together where a row group can hold them,
/// so that a look-up reads one: those of a product that would be cut wait in `begun`.
fn next_group(
    rows: &mut Peekable<impl Iterator<Item = Result<StoredRow>>>,
    begun: &mut Vec<StoredRow>,
) -> Result<Vec<StoredRow>> {
    let mut group = std::mem::take(begun);
    for row in rows.by_ref().take(ROWS - group.len()) {
        group.push(row?);
    }
    if let Some(Ok(next)) = rows.peek() {
        let cut = group.iter().rposition(|row| row.key.product_id != next.key.product_id).map_or(0, |last| last + 1);
        if cut > 0 {
            *begun = group.split_off(cut);
        }
    }
    Ok(group)
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
