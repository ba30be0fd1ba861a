//! The directory of a file of many row groups: what a look-up has to know of them, in a hundredth of the footer's bytes.
//!
//! The footer of a million rows has several megabytes, for it describes every column of every row group, at length. So the
//! writer puts a directory between the last row group and the footer, where other readers of parquet see nothing, and
//! names its place among the key-value metadata, which stand near the footer's end: the last 64 kB of the file show it.
//!
//! `vsitlm:directory` = "*offset* *length*", in bytes. The directory: `VTLD`, one byte of version (1), u64 XXH64 of what
//! follows with *offset* for its seed, and a zstd frame of these, where a number is an unsigned LEB128 varint and a
//! signed one is zigzag-coded before:
//!
//! 1. the number of look-up columns, and for each a byte for its place in [`COLUMNS`], its parquet type, whether it may
//!    be null, its unit of time (0 none, 1 ms, 2 µs, 3 ns), and its codec (as parquet numbers it);
//! 2. the number of row groups, and the rows of each;
//! 3. the least and the greatest product_id of each, in turn: how many bytes it has in common with the one before, how
//!    many follow, and these;
//! 4. column by column, for each row group how far its chunk begins behind the one before it (in the order of the
//!    columns, then of the row groups; the first counts from 0), signed;
//! 5. column by column, for each row group the length of its chunk.
//!
//! A directory that does not fit, such as one whose key was copied into another file, is passed over: the footer is read.

use std::io::{Read, Write};
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath, Type as SchemaType};

use super::groups::{Chunk, Columns, Groups, RowGroup, rows};
use crate::index::format::bytes::{put_varint, take, unzigzag, varint, xxh64, zigzag};
use crate::index::format::columns::{COLUMNS, COUNT, Column, fits};

/// The key of its place.
const KEY: &[u8] = b"vsitlm:directory";
/// What it begins with, the version included.
const MAGIC: &[u8] = b"VTLD\x01";
/// Bytes before the zstd frame.
const FIXED: usize = MAGIC.len() + 8;
/// The longest directory that is read, and what it may grow to when decompressed: that of some ten million rows.
const MOST: u64 = 4 << 20;
const MOST_WHOLE: u64 = 4 << 20;
/// Bytes of all product ids together: a few bytes can stand for a long one.
const MOST_TEXT: usize = 8 << 20;
/// Of zstd's window, as a power of two: what a frame may claim to need.
const WINDOW: u32 = 23;
/// A file of no more row groups than this has none: the footer has a few ten kilobytes.
const FEW: usize = 32;

/// Writes the directory of a file whose row groups have all been written, where there are many.
///
/// # Errors
/// Whatever writing fails with.
pub(crate) fn write(writer: &mut SerializedFileWriter<impl Write + Send>) -> Result<(), ParquetError> {
    if writer.flushed_row_groups().len() <= FEW {
        return Ok(());
    }
    let offset = writer.bytes_written() as u64;
    let groups = Groups::of_footer(writer.schema_descr(), writer.flushed_row_groups(), offset);
    // Without it, readers take the footer.
    let Some(directory) = groups.ok().and_then(|groups| build(&groups, offset)) else { return Ok(()) };
    writer.write_all(&directory)?;
    let key = String::from_utf8_lossy(KEY).into_owned();
    writer.append_key_value_metadata(KeyValue::new(key, format!("{offset} {}", directory.len())));
    Ok(())
}

/// Where the directory lies, by the end of a file of `size` bytes: nothing of it has been checked but that it is inside.
pub(super) fn place(tail: &[u8], size: u64) -> Option<Range<u64>> {
    let at = tail.windows(KEY.len()).rposition(|window| window == KEY)?;
    // KeyValue.value in compact Thrift: a field one further, a string, its length in one byte.
    let [0x18, length, rest @ ..] = tail.get(at + KEY.len()..)? else { return None };
    let text = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
    let (offset, length) = text.split_once(' ')?;
    let (offset, length) = (offset.parse::<u64>().ok()?, length.parse::<u64>().ok()?);
    let end = offset.checked_add(length).filter(|end| *end <= size && length <= MOST)?;
    Some(offset..end)
}

/// The directory that lies at `offset`.
pub(super) fn build(groups: &Groups, offset: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let columns: Vec<_> = groups.columns().iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?))).collect();
    let first = groups.groups().first()?;
    put_varint(&mut out, columns.len() as u64);
    for ((at, column), chunk) in columns.iter().zip(&first.chunks) {
        let (kind, codec) = (physical_number(column.physical_type())?, codec_number(chunk.compression)?);
        out.extend([*at as u8, kind, u8::from(column.max_def_level() > 0), unit_number(column), codec]);
    }
    put_varint(&mut out, groups.groups().len() as u64);
    groups.groups().iter().for_each(|group| put_varint(&mut out, group.rows.into()));
    let mut before: &[u8] = &[];
    for group in groups.groups() {
        let (least, greatest) = group.products.as_ref()?;
        for text in [least, greatest] {
            let common = text.iter().zip(before).take_while(|(one, other)| one == other).count();
            put_varint(&mut out, common as u64);
            put_varint(&mut out, (text.len() - common) as u64);
            out.extend_from_slice(&text[common..]);
            before = text;
        }
    }
    let (mut end, mut gaps) = (0, Vec::new());
    for chunk in groups.groups().iter().flat_map(|group| &group.chunks) {
        gaps.push(chunk.start.wrapping_sub(end) as i64);
        end = chunk.range().end;
    }
    for place in 0..columns.len() {
        gaps.iter().skip(place).step_by(columns.len()).for_each(|gap| put_varint(&mut out, zigzag(*gap)));
    }
    for (place, of_first) in first.chunks.iter().enumerate() {
        for group in groups.groups() {
            let chunk = group.chunks.get(place).filter(|chunk| chunk.compression == of_first.compression)?;
            put_varint(&mut out, chunk.length.into());
        }
    }
    let frame = zstd::bulk::compress(&out, 19).ok()?;
    let directory = [MAGIC, &xxh64(&frame, offset).to_le_bytes(), &frame].concat();
    (directory.len() as u64 <= MOST && out.len() as u64 <= MOST_WHOLE).then_some(directory)
}

/// What a directory that lies at `offset` of a file of `size` bytes records; nothing where it is wrong.
pub(super) fn parse(directory: &[u8], offset: u64, size: u64) -> Option<Groups> {
    let frame = directory.get(FIXED..)?;
    let sum = directory.strip_prefix(MAGIC)?.first_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != xxh64(frame, offset) {
        return None;
    }
    let mut decoder = zstd::stream::read::Decoder::new(frame).ok()?;
    decoder.window_log_max(WINDOW).ok()?;
    let mut whole = Vec::new();
    decoder.take(MOST_WHOLE + 1).read_to_end(&mut whole).ok()?;
    if whole.len() as u64 > MOST_WHOLE {
        return None;
    }
    let mut rest = &whole[..];
    let (columns, codecs) = parse_columns(&mut rest)?;
    let groups = usize::try_from(varint(&mut rest)?).ok()?;
    // Of a row group there are its rows, four numbers of its products, and two a chunk, each of a byte or more.
    if groups.checked_mul(5 + 2 * codecs.len()).is_none_or(|least| least > whole.len()) {
        return None;
    }
    let rows: Vec<u32> = (0..groups).map(|_| rows(varint(&mut rest)?).ok()).collect::<Option<_>>()?;
    let mut products = Vec::new();
    let (mut before, mut text): (Box<[u8]>, _) = (Box::default(), 0);
    for _ in 0..groups {
        let least = prefixed(&mut rest, &before)?;
        let greatest = prefixed(&mut rest, &least)?;
        text += least.len() + greatest.len();
        if text > MOST_TEXT {
            return None;
        }
        before.clone_from(&greatest);
        products.push((least, greatest));
    }
    let all = groups * codecs.len();
    let gaps: Vec<i64> = (0..all).map(|_| varint(&mut rest).map(unzigzag)).collect::<Option<_>>()?;
    let lengths: Vec<u64> = (0..all).map(|_| varint(&mut rest)).collect::<Option<_>>()?;
    let mut end = 0u64;
    let mut out = Vec::new();
    for (number, (rows, products)) in rows.into_iter().zip(products).enumerate() {
        let mut chunks = Vec::new();
        for (place, codec) in codecs.iter().enumerate() {
            let at = place * groups + number;
            let start = end.checked_add_signed(*gaps.get(at)?)?;
            let chunk = Chunk::new(start, *lengths.get(at)?, *codec, size).ok()?;
            end = chunk.range().end;
            chunks.push(chunk);
        }
        out.push(RowGroup { rows, products: Some(products), chunks: chunks.into() });
    }
    rest.is_empty().then(|| Groups::new(columns, out))
}

/// The columns, and the codec of each that is there.
fn parse_columns(rest: &mut &[u8]) -> Option<(Columns, Vec<Compression>)> {
    let (mut columns, mut codecs) = (Columns::default(), Vec::new());
    let count = usize::try_from(varint(rest)?).ok().filter(|count| *count <= COUNT)?;
    let mut next = 0;
    for _ in 0..count {
        let [at, kind, nullable, unit, codec] = *take(rest, 5)?.first_chunk::<5>()?;
        let at = usize::from(at);
        let (known, ..) = COLUMNS.get(at).filter(|_| at >= next)?;
        columns[at] = Some(described(*known, kind, nullable, unit)?);
        codecs.push(codec_of(codec)?);
        next = at + 1;
    }
    let complete = columns.iter().zip(COLUMNS).all(|(column, (.., required))| column.is_some() || !required);
    complete.then_some((columns, codecs))
}

fn described(column: Column, kind: u8, nullable: u8, unit: u8) -> Option<ColumnDescPtr> {
    let physical = [Type::INT32, Type::INT64, Type::FLOAT, Type::DOUBLE, Type::BYTE_ARRAY]
        .into_iter()
        .find(|physical| physical_number(*physical) == Some(kind) && fits(column, *physical))?;
    let (repetition, level) = match nullable {
        0 => (Repetition::REQUIRED, 0),
        1 => (Repetition::OPTIONAL, 1),
        _ => return None,
    };
    let unit = match unit {
        0 => None,
        1 => Some(TimeUnit::MILLIS),
        2 => Some(TimeUnit::MICROS),
        3 => Some(TimeUnit::NANOS),
        _ => return None,
    };
    let time = unit.filter(|_| physical == Type::INT64).map(|unit| LogicalType::timestamp(true, unit));
    let name = column.name();
    let schema = SchemaType::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(time);
    Some(Arc::new(ColumnDescriptor::new(Arc::new(schema.build().ok()?), level, 0, ColumnPath::from(name))))
}

/// As parquet's Thrift numbers them.
fn physical_number(physical: Type) -> Option<u8> {
    match physical {
        Type::INT32 => Some(1),
        Type::INT64 => Some(2),
        Type::FLOAT => Some(4),
        Type::DOUBLE => Some(5),
        Type::BYTE_ARRAY => Some(6),
        _ => None,
    }
}

fn unit_number(column: &ColumnDescPtr) -> u8 {
    match column.logical_type_ref() {
        Some(LogicalType::Timestamp(time)) => match time.unit {
            TimeUnit::MILLIS => 1,
            TimeUnit::MICROS => 2,
            TimeUnit::NANOS => 3,
        },
        _ => 0,
    }
}

/// As parquet's Thrift numbers them.
fn codec_number(compression: Compression) -> Option<u8> {
    match compression {
        Compression::UNCOMPRESSED => Some(0),
        Compression::SNAPPY => Some(1),
        Compression::ZSTD(_) => Some(6),
        Compression::LZ4_RAW => Some(7),
        _ => None,
    }
}

fn codec_of(number: u8) -> Option<Compression> {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, Compression::LZ4_RAW];
    codecs.into_iter().find(|codec| codec_number(*codec) == Some(number))
}

/// A text that begins as `before` does.
fn prefixed(rest: &mut &[u8], before: &[u8]) -> Option<Box<[u8]>> {
    let common = before.get(..usize::try_from(varint(rest)?).ok()?)?;
    let length = usize::try_from(varint(rest)?).ok()?;
    Some([common, take(rest, length)?].concat().into())
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
