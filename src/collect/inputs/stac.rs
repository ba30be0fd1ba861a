//! STAC: items and collections of them, as JSON and as stac-geoparquet. The images are the assets of the media types
//! `image/jp2` and `image/tiff`; the item's properties complete what an asset's name says of its product. Thumbnails and
//! overviews of an item are no images of it, unless their names are those of a product's files, which are picked as such:
//! Earth Search has called the true colour image an overview.
//!
//! Landsat's items name files at `landsatlook.usgs.gov`, which demands a login, and the same at `s3://usgs-landsat` as an
//! alternate (<https://github.com/stac-extensions/alternate-assets>): that is taken, and read with
//! `AWS_REQUEST_PAYER=requester`. Of all other assets the plain `href` is taken.
//!
//! - <https://github.com/radiantearth/stac-spec/blob/master/item-spec/item-spec.md>
//! - <https://github.com/stac-utils/stac-geoparquet/blob/main/spec/stac-geoparquet-spec.md>: a row an item, its properties
//!   columns of their own, its assets a group with a group for each

use std::collections::BTreeMap;

use arrow_array::Array;
use chrono::DateTime;
use serde_json::Value;
use serde_json::value::RawValue;

use super::document::{named_in, read};
use super::input::{Expanded, Input};
use super::selection::Selection;
use crate::error::{Error, Result, ResultExt};
use crate::index::Table;
use crate::path::{Location, ProductName, is_image_name, product_name};
use crate::source::Caller;

/// Bytes of a document: some thousand items as JSON, some hundred thousand as stac-geoparquet.
const MOST_BYTES: u64 = 256 << 20;

/// The properties that may name the product, the best first.
const NAMES: [&str; 2] = ["s2:product_uri", "s2:product_id"];

/// The property of the cloud cover (<https://github.com/stac-extensions/eo>).
const CLOUD_COVER: &str = "eo:cloud_cover";

/// The properties of the time, the best first: an item of a stretch of time has null and where that begins.
const TIMES: [&str; 2] = ["datetime", "start_datetime"];

/// The media types of images, without their parameters. The last is what GeoTIFFs were called before STAC 1.0, and
/// are in Landsat's items.
const IMAGES: [&str; 3] = ["image/jp2", "image/tiff", "image/vnd.stac.geotiff"];

/// What assets are called, or have as a role, that show the item and are no data of it.
const PREVIEWS: [&str; 3] = ["thumbnail", "overview", "preview"];

/// Where Landsat's items name files that only who has logged in can read.
const LANDSAT_LOGIN: &str = "https://landsatlook.usgs.gov/";

/// A time of RFC 3339 in microseconds since 1970-01-01 UTC.
fn instant(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}

/// A cloud cover that can be one.
fn percent(value: Option<f64>) -> Option<f64> {
    value.filter(|value| (0.0..=100.0).contains(value))
}

/// What is needed of an item.
#[derive(Debug, Default)]
struct Item {
    id: String,
    /// Of the product, as far as properties name it.
    product: Option<String>,
    /// Of its tile, in percent.
    cloud_cover: Option<f64>,
    /// When it was sensed, in microseconds since 1970-01-01 UTC.
    datetime: Option<i64>,
    /// Its images.
    images: Vec<Image>,
}

/// An asset that is a JP2 or a TIFF.
#[derive(Debug)]
struct Image {
    /// Where it lies.
    href: String,
    /// Whether it shows the item, by what it is called or by its roles.
    is_preview: bool,
}

impl Image {
    /// Of an asset that has another place, `in_s3`, perhaps.
    fn new(href: &str, in_s3: Option<&str>, is_preview: bool) -> Self {
        let place = in_s3.filter(|_| href.starts_with(LANDSAT_LOGIN)).unwrap_or(href);
        Self { href: place.to_owned(), is_preview }
    }
}

impl Item {
    /// The name of the product among what may be one.
    fn product_of<'a>(names: impl IntoIterator<Item = Option<&'a str>>) -> Option<String> {
        names.into_iter().flatten().find_map(product_name).map(str::to_owned)
    }

    /// The files that are wanted of it; `document` is where it stands.
    fn files(self, document: &Location, selection: &Selection) -> Expanded {
        let name = format!("{}: {}", document.display(), self.id);
        let mut found = Expanded::default();
        let mut inputs: Vec<Input> = Vec::new();
        for image in &self.images {
            match named_in(document, &image.href).map(Input::new) {
                Ok(input) if inputs.iter().any(|known| known.location == input.location) => {}
                Ok(input) if image.is_preview && is_nameless(&input) => {}
                Ok(input) => inputs.push(self.named(input)),
                Err(error) => found.fail(&name, error),
            }
        }
        if !inputs.is_empty() {
            match selection.pick(&name, inputs) {
                Ok(picked) => found.add(picked),
                Err(error) => found.fail(name, error),
            }
        } else if found.failures.is_empty() {
            found.fail(name, Error::read("the item has no asset of the type image/jp2 or image/tiff"));
        }
        found
    }

    /// A whole name in the file's own path is what a look-up by that path goes by; the item's is the next best.
    fn named(&self, input: Input) -> Input {
        let input = Input { cloud_cover: self.cloud_cover, datetime: self.datetime, ..input };
        let is_whole = input.key.as_ref().is_some_and(|key| matches!(key.product, ProductName::Full(_)));
        match &self.product {
            Some(product) if !is_whole => input.of_product(product),
            _ => input,
        }
    }
}

/// Whether a file's name tells no product.
fn is_nameless(input: &Input) -> bool {
    input.key.as_ref().is_none_or(|key| key.product == ProductName::Unknown)
}

/// Whether an asset is a JP2 or a TIFF: `image/jp2` or `image/tiff`, perhaps with parameters. Where it has no type, its name
/// decides.
fn is_image(media_type: Option<&str>, href: &str) -> bool {
    let Some(media_type) = media_type else { return is_image_name(href) };
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    IMAGES.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

fn is_preview(name: &str) -> bool {
    PREVIEWS.contains(&name)
}

/// What is wanted of the item or the items in the JSON document at `location`.
///
/// # Errors
/// Those of reading it, and [`Error::Read`] for any other document.
pub(super) fn expand_json(location: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    let bytes = read(location, MOST_BYTES, caller)?;
    let items = parse(&bytes).in_file(&location.display())?;
    let mut found = Expanded::default();
    items.into_iter().for_each(|item| found.add(item.files(location, selection)));
    Ok(found)
}

fn parse(bytes: &[u8]) -> Result<Vec<Item>> {
    let bad = |what: &str| Error::read(format!("it is not a STAC item or a collection of items: {what}"));
    let unread = |error: serde_json::Error| bad(&error.to_string());
    let text = std::str::from_utf8(bytes).map_err(|error| bad(&error.to_string()))?;
    let items: Vec<&RawValue> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(unread)?
    } else {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(unread)?;
        match members.get("features") {
            Some(features) => serde_json::from_str(features.get()).map_err(unread)?,
            None if members.contains_key("assets") && members.contains_key("id") => {
                vec![serde_json::from_str(text).map_err(unread)?]
            }
            None => return Err(bad("it has neither 'features' nor 'assets'")),
        }
    };
    // One at a time: a value in memory has ten times the bytes of its text. Anything else is an item without assets.
    Ok(items.iter().map(|item| json_item(&serde_json::from_str(item.get()).unwrap_or_default())).collect())
}

fn json_item(item: &Value) -> Item {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = text(item, "id").unwrap_or_else(|| "an item without an id".to_owned());
    let property = |name: &str| item.get("properties").and_then(|properties| properties.get(name));
    let names = NAMES.iter().map(|name| property(name).and_then(Value::as_str));
    let product = Item::product_of(names.chain([Some(id.as_str())]));
    let cloud_cover = percent(property(CLOUD_COVER).and_then(Value::as_f64));
    let datetime = TIMES.iter().find_map(|name| instant(property(name)?.as_str()?));
    let assets = item.get("assets").and_then(Value::as_object).into_iter().flatten();
    let images = assets.filter_map(|(name, asset)| {
        let href = asset.get("href")?.as_str()?;
        let mut roles = asset.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let in_s3 = asset.pointer("/alternate/s3/href").and_then(Value::as_str);
        let image = Image::new(href, in_s3, is_preview(name) || roles.any(is_preview));
        is_image(asset.get("type").and_then(Value::as_str), href).then_some(image)
    });
    Item { images: images.collect(), product, cloud_cover, datetime, id }
}

/// What is wanted of the items in the stac-geoparquet at `location`. One that `vsitlm index` has written, or any other
/// that has no assets, is refused.
///
/// # Errors
/// As for JSON.
pub(super) fn expand_parquet(location: &Location, selection: &Selection, caller: &Caller<'_>) -> Result<Expanded> {
    let name = location.display();
    let table = Table::new(&name, read(location, MOST_BYTES, caller)?).in_file(&name)?;
    let columns = table.columns();
    let mut assets: Vec<Asset> = Vec::new();
    for (path, place) in &columns {
        if let [group, asset, field] = path.as_slice()
            && group == "assets"
            && field == "href"
        {
            let beside = |fields: &[&str]| {
                let path = [&[group.as_str(), asset][..], fields].concat();
                let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
                columns.get(&path).copied()
            };
            assets.push(Asset {
                href: *place,
                media_type: beside(&["type"]),
                in_s3: beside(&["alternate", "s3", "href"]),
                is_preview: is_preview(asset),
            });
        }
    }
    if assets.is_empty() {
        return Err(Error::read("it is not stac-geoparquet: it has no assets")).in_file(&name);
    }
    assets.sort_unstable_by_key(|asset| asset.href);
    let column = |name: &str| columns.get(&[name.to_owned()][..]).copied();
    let mut found = Expanded::default();
    for group in 0..table.groups() {
        let values = |place: Option<usize>| table.values(group, place).in_file(&name);
        let ids = values(column("id"))?;
        let names = NAMES.iter().map(|name| values(column(name))).collect::<Result<Vec<_>>>()?;
        let times = TIMES.iter().map(|property| instants(&table, group, property, column(property)));
        let times = times.collect::<Result<Vec<_>>>().in_file(&name)?;
        let clouds = table.numbers(group, CLOUD_COVER).in_file(&name)?;
        let mut items: Vec<Item> = Vec::new();
        for (row, id) in ids.iter().enumerate() {
            let id = id.map_or_else(|| format!("row {row} of row group {group}"), str::to_owned);
            let named = names.iter().map(|column| column.is_valid(row).then(|| column.value(row)));
            let product = Item::product_of(named.chain([Some(id.as_str())]));
            let cloud_cover = percent(clouds.get(row).copied().flatten());
            let datetime = times.iter().find_map(|times| times.get(row).copied().flatten());
            items.push(Item { product, cloud_cover, datetime, images: Vec::new(), id });
        }
        for asset in &assets {
            let types = values(asset.media_type)?;
            // Most assets of most items are something else: their names are not even read.
            if !types.iter().any(|known| known.is_none_or(|known| is_image(Some(known), ""))) {
                continue;
            }
            let (hrefs, in_s3) = (values(Some(asset.href))?, values(asset.in_s3)?);
            for (((item, href), in_s3), media_type) in items.iter_mut().zip(&hrefs).zip(&in_s3).zip(&types) {
                let href = href.filter(|href| is_image(media_type, href));
                item.images.extend(href.map(|href| Image::new(href, in_s3, asset.is_preview)));
            }
        }
        items.into_iter().for_each(|item| found.add(item.files(location, selection)));
    }
    Ok(found)
}

/// The columns of an asset of stac-geoparquet.
struct Asset {
    href: usize,
    media_type: Option<usize>,
    in_s3: Option<usize>,
    is_preview: bool,
}

/// The times of a row group, from a column of timestamps, or of text, as some write it.
fn instants(table: &Table, group: usize, name: &str, text: Option<usize>) -> Result<Vec<Option<i64>>> {
    match text {
        None => table.instants(group, name),
        text => Ok(table.values(group, text)?.iter().map(|value| instant(value?)).collect()),
    }
}

#[cfg(test)]
#[path = "stac_tests.rs"]
mod tests;
