//! Finding the rows that can be meant by a path, in the indexes of `VSITLM_INDEX`, in their order.
//!
//! An entry is a file; a template with `{level}`, `{mgrs_tile}`, `{year}`, such as the published
//! `s3://bucket/v1/{level}-{mgrs_tile}.parquet`; or a folder or prefix in the partition layout
//! `level=L2A/tile=31UDQ/year=2024/part-0.parquet`. Of Landsat the tile is WRS path and row in both. A local folder's shards are listed; behind a URL or in an object
//! store, where listing costs a request and rights, the shard is `part-0.parquet`. A shard or a template's file that
//! does not exist is a miss; a file that does not exist, and anything that cannot be read, is a warning, and the next
//! entry is asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::wanted::Wanted;
use crate::error::{Error, Result, ResultExt};
use crate::index::cache::Cache;
use crate::index::file::chunks::Chunks;
use crate::index::file::read::IndexFile;
use crate::index::format::columns::Column;
use crate::index::row::partition::{SHARD, is_index_name, partition};
use crate::index::row::record::Record;
use crate::index::row::stored::StoredRow;
use crate::path::{Key, Location, parse};
use crate::process::lock;
use crate::source::{Access, Caller, Identity};
use crate::trace;

/// What a look-up found.
#[derive(Debug, Default)]
pub(crate) struct FoundRows {
    /// The rows that can be meant, the likeliest first: more than one where the path does not name the product. They
    /// are checked in themselves, not against the file: its size and ETag decide.
    pub(crate) records: Vec<Record>,
    /// Indexes that could not be asked, and rows that could not be read.
    pub(crate) warnings: Vec<Error>,
}

/// How long an index that does not exist, or a remote one that cannot be used, is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(60);
/// More rows than this for one path are no answer.
const MOST_ROWS: usize = 64;
/// Row groups whose keys are read together, where statistics do not help.
const GROUPS_AT_ONCE: usize = 16;

const KEYS: [Column; 5] = [Column::ProductId, Column::BandId, Column::MgrsTile, Column::Resolution, Column::Origin];

/// Asks `indexes`, as VSITLM_INDEX names them, for the rows of a file called `key` that lies at `origin`. The first index
/// that has any answers.
pub(crate) fn find(indexes: &[String], key: &Key, origin: &str, caller: &Caller<'_>) -> FoundRows {
    let wanted = Wanted::new(key, origin);
    let mut found = FoundRows::default();
    for entry in indexes {
        for place in places(entry, key) {
            match ask(&place, caller, |file| rows(file, &wanted)) {
                Ok(Some(answer)) => {
                    found.records.extend(answer.records);
                    found.warnings.extend(answer.warnings);
                }
                Ok(None) => {}
                Err(warning) => found.warnings.push(warning),
            }
        }
        if !found.records.is_empty() {
            break;
        }
    }
    wanted.sort(&mut found.records);
    trace::debug(|| format!("index: {} rows for {key:?}, {} warnings", found.records.len(), found.warnings.len()));
    found
}

/// One index file to ask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IndexPath {
    path: String,
    /// Whether it may not exist.
    optional: bool,
    /// Whether it is one of the small shards of the partition layout.
    shard: bool,
}

/// The index files of an entry that can hold `key`.
pub(crate) fn places(entry: &str, key: &Key) -> Vec<IndexPath> {
    let levels = key.level().map_or_else(|| vec!["L1C", "L2A"], |level| vec![level]);
    let tile = key.tile();
    let file = |path: String| IndexPath { path, optional: false, shard: false };
    if ["{level}", "{mgrs_tile}", "{year}"].iter().any(|name| entry.contains(name)) {
        let known = |name: &str, value: Option<&str>| !entry.contains(name) || value.is_some();
        if !known("{mgrs_tile}", tile.as_deref()) || !known("{year}", key.year()) {
            return Vec::new(); // an index sorted by what the path does not say
        }
        let fill = |level: &str| {
            let path = entry.replace("{level}", level).replace("{mgrs_tile}", tile.as_deref().unwrap_or(""));
            IndexPath { path: path.replace("{year}", key.year().unwrap_or("")), optional: true, shard: false }
        };
        let levels = if entry.contains("{level}") { levels } else { vec![""] };
        return levels.into_iter().map(fill).collect();
    }
    let local = match parse(entry).map(|request| request.location) {
        Ok(Location::Local(path)) => Some(path),
        _ => None,
    };
    let bare = entry.split('?').next().unwrap_or(entry);
    let is_folder = match &local {
        Some(path) => path.is_dir(),
        None => bare.ends_with('/') || !bare.rsplit('/').next().unwrap_or_default().contains('.'),
    };
    if !is_folder {
        return vec![file(entry.to_owned())];
    }
    let (Some(tile), Some(year)) = (tile.as_deref(), key.year()) else { return Vec::new() };
    let shard = |path: String| IndexPath { path, optional: true, shard: true };
    let mut out = Vec::new();
    for level in levels {
        let folder = format!("{}/{}", bare.trim_end_matches('/'), partition(level, tile, year));
        match &local {
            Some(_) => out.extend(listed(Path::new(&folder)).into_iter().map(|path| shard(path.display().to_string()))),
            None => out.push(shard(format!("{folder}/{SHARD}"))),
        }
    }
    out
}

/// The parquet files of a folder, in the order of their names.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| is_index_name(&path.to_string_lossy())).collect();
    files.sort();
    files
}

/// What is kept of an index between look-ups.
#[derive(Clone)]
enum KeptIndex {
    Open(Arc<IndexFile>, Stamp),
    Absent(Instant),
    /// A remote index that cannot be reached or used.
    Failed(Instant, Error),
}

/// By what a local file is known to be the same; nothing for others, which show a change when they are read.
type Stamp = Option<(u64, Option<SystemTime>)>;
/// An index as it is kept open: callers with other credentials have one of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct IndexId {
    path: String,
    identity: Identity,
}
/// One thread opens an index; the others that want it wait.
type Slot = Arc<Mutex<Option<KeptIndex>>>;

/// The indexes open in this process, by the bytes of their footers.
static OPEN: Cache<IndexId, Slot, { 32 << 20 }> = Cache::new();

fn stamp(location: &Location) -> Stamp {
    match location {
        Location::Local(path) => {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.len(), meta.modified().ok()))
        }
        _ => None,
    }
}

/// What `look` finds in one index file; `None` where it does not exist and need not.
pub(crate) fn ask<T>(
    place: &IndexPath,
    caller: &Caller<'_>,
    look: impl Fn(&Arc<IndexFile>) -> Result<T>,
) -> Result<Option<T>> {
    let location = parse(&place.path)?.location;
    let name = location.display();
    let access = caller.access(&location).in_file(&name)?;
    let index = Index { id: IndexId { path: place.path.clone(), identity: access.identity.clone() }, location, access };
    for last in [false, true] {
        let (file, fresh) = match index.opened(&name, place, caller)? {
            Some(opened) => opened,
            None => return Ok(None),
        };
        match look(&file) {
            // What was kept open may have been replaced since: look once more.
            Err(error) if !fresh && !last => {
                trace::debug(|| format!("index {name}: opened again, after: {}", error.chain()));
                OPEN.remove(&index.id);
            }
            answer => return answer.map(Some),
        }
    }
    Ok(None)
}

/// An index as a caller reaches it.
struct Index {
    id: IndexId,
    location: Location,
    access: Access,
}

impl Index {
    /// The open index, and whether it was opened just now.
    fn opened(&self, name: &str, place: &IndexPath, caller: &Caller<'_>) -> Result<Option<(Arc<IndexFile>, bool)>> {
        let Self { id, location, access } = self;
        let slot = OPEN.get_or_default(id, 1024);
        let mut kept = lock(&slot);
        let now = stamp(location);
        match &*kept {
            Some(KeptIndex::Open(file, then)) if *then == now && !file.is_doubtful() => {
                return Ok(Some((file.clone(), false)));
            }
            Some(KeptIndex::Absent(since)) if now.is_none() && since.elapsed() < ABSENT_FOR => return Ok(None),
            Some(KeptIndex::Failed(since, error)) if since.elapsed() < ABSENT_FOR => return Err(error.clone()),
            _ => {}
        }
        let source = caller.open(location, access).and_then(|source| IndexFile::open(name, source, place.shard));
        let file = match source {
            Ok(file) => Arc::new(file),
            Err(error) if place.optional && matches!(error.root(), Error::NotFound { .. }) => {
                *kept = Some(KeptIndex::Absent(Instant::now()));
                return Ok(None);
            }
            Err(error) => {
                let error = match error {
                    named @ (Error::Index { .. } | Error::InFile { .. }) => named,
                    other => Error::InFile { file: name.to_owned(), source: Box::new(other) },
                };
                if !matches!(location, Location::Local(_)) {
                    // A host that does not answer would make every open wait for all its tries.
                    *kept = Some(KeptIndex::Failed(Instant::now(), error.clone()));
                }
                return Err(error);
            }
        };
        *kept = Some(KeptIndex::Open(file.clone(), now));
        OPEN.put(id.clone(), slot.clone(), file.memory());
        Ok(Some((file, true)))
    }
}

/// The rows of an open index.
fn rows(file: &Arc<IndexFile>, wanted: &Wanted) -> Result<FoundRows> {
    let candidates: Vec<usize> = (0..file.groups())
        .filter(|group| file.products(*group).is_none_or(|(min, max)| wanted.may_hold(min, max)))
        .collect();
    let mut found = FoundRows::default();
    let one_step = matches!(candidates[..], [_]) && file.are_small(&candidates);
    for groups in candidates.chunks(GROUPS_AT_ONCE) {
        let groups = if one_step { groups.to_vec() } else { holding(file, groups, wanted)? };
        let chunks = file.fetch(&groups, &Column::all())?;
        for group in groups {
            let rows = matching(file, &chunks, group, wanted)?;
            read_rows(file, &chunks, group, &rows, &mut found)?;
        }
        if found.records.len() > MOST_ROWS {
            found.records.truncate(MOST_ROWS);
            break;
        }
        if wanted.is_answered_by(&found.records) {
            break;
        }
    }
    Ok(found)
}

/// Those of some row groups that have a row which can be meant, by few columns: where rows differ by nothing but the
/// origin, by those that are matched, else by the product, which is one small chunk a row group.
fn holding(file: &Arc<IndexFile>, groups: &[usize], wanted: &Wanted) -> Result<Vec<usize>> {
    let columns: &[Column] = if wanted.by_origin() { &KEYS } else { &[Column::ProductId] };
    let chunks = file.fetch(groups, columns)?;
    let mut held = Vec::new();
    for group in groups {
        let mut holds = false;
        if wanted.by_origin() {
            holds = !matching(file, &chunks, *group, wanted)?.is_empty();
        } else {
            chunks.each(*group, Column::ProductId, |_, product| holds |= wanted.product(product))?;
        }
        if holds {
            held.push(*group);
        }
    }
    Ok(held)
}

/// The first row of an index, whatever its key.
pub(crate) fn first_row(file: &Arc<IndexFile>) -> Result<Option<Record>> {
    if file.groups() == 0 {
        return Ok(None);
    }
    let mut found = FoundRows::default();
    read_rows(file, &file.fetch(&[0], &Column::all())?, 0, &[0], &mut found)?;
    match found.warnings.pop() {
        Some(warning) => Err(warning),
        None => Ok(found.records.pop()),
    }
}

/// The numbers of the rows of a row group that can be meant.
fn matching(file: &IndexFile, chunks: &Chunks<'_>, group: usize, wanted: &Wanted) -> Result<Vec<usize>> {
    let mut rows = Vec::new();
    let mut products = Vec::new();
    chunks.each(group, Column::ProductId, |row, product| {
        if wanted.product(product) {
            rows.push(row);
            products.push(String::from_utf8_lossy(product).into_owned());
        }
    })?;
    if rows.is_empty() {
        return Ok(rows);
    }
    let bands = chunks.text(group, Column::BandId, &rows)?;
    let tiles = chunks.text(group, Column::MgrsTile, &rows)?;
    let resolutions = chunks.numbers(group, Column::Resolution, &rows)?;
    let origins = if wanted.by_origin() { chunks.text(group, Column::Origin, &rows)? } else { vec![None; rows.len()] };
    let known = file.has(Column::Resolution);
    let mut at = 0..rows.len();
    rows.retain(|_| {
        let Some(n) = at.next() else { return false };
        let resolution = resolutions[n].and_then(|metres| u32::try_from(metres).ok()).filter(|_| known);
        wanted.row(
            &products[n],
            bands[n].as_deref().unwrap_or(""),
            tiles[n].as_deref(),
            resolution,
            origins[n].as_deref(),
        )
    });
    Ok(rows)
}

fn read_rows(
    file: &Arc<IndexFile>,
    chunks: &Chunks<'_>,
    group: usize,
    rows: &[usize],
    found: &mut FoundRows,
) -> Result<()> {
    for (row, columns) in rows.iter().zip(StoredRow::read(file, chunks, group, rows, &mut found.warnings)?) {
        match columns.record() {
            Ok(record) => found.records.push(record),
            Err(error) => {
                let file = format!("{}, row {row} of row group {group}", file.name());
                found.warnings.push(Error::InFile { file, source: Box::new(error) });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "find_tests.rs"]
pub(crate) mod tests;
