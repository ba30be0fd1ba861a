//! Rows as a table: the columns of an index file that are written whole, as Arrow's arrays.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder};
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int32Type};
use arrow_array::{
    ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field};

use super::stac::{Describer, Stac};
use super::stored::StoredRow;
use crate::index::format::schema::Carried;

/// The columns, in the order of the schema of a file whose rows carry this.
pub(super) fn arrays(
    rows: &[StoredRow],
    carried: Carried,
    describer: &mut Describer,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let of = || rows.iter();
    let text = |value: fn(&StoredRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(of().map(value))) };
    let bytes =
        |value: fn(&StoredRow) -> Option<&[u8]>| -> ArrayRef { Arc::new(BinaryArray::from_iter(of().map(value))) };
    let number = |value: fn(&StoredRow) -> Option<u64>| -> ArrayRef {
        Arc::new(of().map(|row| i64::try_from(value(row)?).ok()).collect::<Int64Array>())
    };
    let mut arrays = vec![
        text(|row| &row.key.product_id),
        text(|row| &row.key.band_id),
        text(|row| &row.path),
        bytes(|row| Some(&row.index)),
        text(|row| &row.key.mgrs_tile),
        Arc::new(Int32Array::from_iter_values(of().map(|row| i32::try_from(row.key.resolution).unwrap_or(0)))),
        number(|row| row.file_size),
        bytes(|row| row.header.as_deref()),
        bytes(|row| row.resolution_ends.as_deref()),
        texts(of().map(|row| row.origin.as_deref())),
        texts(of().map(|row| row.etag.as_deref())),
        times(of().map(|row| row.last_modified?.checked_mul(1_000_000))),
    ];
    if carried.overviews {
        arrays.push(number(|row| row.overviews.as_ref().map(|overviews| 1 << overviews.k())));
    }
    if carried.packets {
        arrays.push(number(|row| row.packets.as_ref().map(|packets| packets.count().into())));
    }
    arrays.push(Arc::new(of().map(|row| row.cloud_cover).collect::<Float64Array>()));
    let stac: Vec<Stac> = of().map(|row| describer.describe(row)).collect();
    arrays.extend(stac_arrays(&stac)?);
    Ok(arrays)
}

fn stac_arrays(rows: &[Stac]) -> Result<[ArrayRef; 9], ArrowError> {
    let of = || rows.iter();
    let number = |value: fn(&Stac) -> Option<i32>| -> ArrayRef { Arc::new(Int32Array::from_iter(of().map(value))) };
    Ok([
        times(of().map(|row| row.datetime)),
        texts(of().map(|row| row.platform.as_deref())),
        texts(of().map(|row| row.processing_baseline.as_deref())),
        number(|row| row.relative_orbit),
        number(|row| row.epsg),
        lists::<Int32Type>(of().map(|row| Some(&row.shape.as_ref()?[..]))),
        lists::<Float64Type>(of().map(|row| Some(&row.transform.as_ref()?[..]))),
        bounds(of().map(|row| Some(row.footprint.as_ref()?.bbox)).collect())?,
        Arc::new(BinaryArray::from_iter(of().map(|row| Some(&row.footprint.as_ref()?.wkb)))),
    ])
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// Times in microseconds since 1970-01-01 UTC.
fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Lists that have elements, or are null.
fn lists<'a, T: ArrowPrimitiveType>(lists: impl Iterator<Item = Option<&'a [T::Native]>>) -> ArrayRef {
    let element = Field::new("element", T::DATA_TYPE, false);
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(element);
    lists.for_each(|list| builder.append_option(list.map(|list| list.iter().copied().map(Some))));
    Arc::new(builder.finish())
}

/// Bounding boxes: xmin, ymin, xmax, ymax.
fn bounds(boxes: Vec<Option<[f64; 4]>>) -> Result<ArrayRef, ArrowError> {
    let edge = |(place, name): (usize, &&str)| {
        let values = boxes.iter().map(|edges| edges.map_or(0.0, |edges| edges[place]));
        (Field::new(*name, DataType::Float64, false), Arc::new(Float64Array::from_iter_values(values)) as ArrayRef)
    };
    let (fields, edges): (Vec<Field>, Vec<ArrayRef>) =
        ["xmin", "ymin", "xmax", "ymax"].iter().enumerate().map(edge).unzip();
    let present = boxes.iter().map(Option::is_some).collect::<Vec<bool>>();
    Ok(Arc::new(StructArray::try_new(fields.into(), edges, Some(present.into()))?))
}
