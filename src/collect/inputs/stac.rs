//! STAC: items and collections of them, as JSON and as stac-geoparquet. The JP2s are the assets of the media type
//! `image/jp2`; the item's properties complete what an asset's name says of its product.
//!
//! - <https://github.com/radiantearth/stac-spec/blob/master/item-spec/item-spec.md>
//! - <https://github.com/stac-utils/stac-geoparquet/blob/main/spec/stac-geoparquet-spec.md>: a row an item, its properties
//!   columns of their own, its assets a group with a group for each

use std::collections::BTreeMap;

use arrow_array::Array;
use serde_json::Value;
use serde_json::value::RawValue;

use super::document::{named_in, read};
use super::input::{Expanded, Input};
use super::selection::Selection;
use crate::error::{Error, Result, ResultExt};
use crate::index::Table;
use crate::path::{Location, ProductName, is_jp2_name, product_name};
use crate::source::Caller;

/// Bytes of a document: some thousand items as JSON, some hundred thousand as stac-geoparquet.
const MOST_BYTES: u64 = 256 << 20;

/// The properties that may name the product, the best first.
const NAMES: [&str; 2] = ["s2:product_uri", "s2:product_id"];

/// The property of the cloud cover (<https://github.com/stac-extensions/eo>).
const CLOUD_COVER: &str = "eo:cloud_cover";

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
    /// Where its JP2s lie.
    hrefs: Vec<String>,
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
        for href in &self.hrefs {
            match named_in(document, href) {
                Ok(location) if inputs.iter().any(|input| input.location == location) => {}
                Ok(location) => inputs.push(self.named(Input::new(location))),
                Err(error) => found.fail(&name, error),
            }
        }
        if self.hrefs.is_empty() {
            found.fail(name, Error::read("the item has no asset of the type image/jp2"));
        } else if !inputs.is_empty() {
            match selection.pick(&name, inputs) {
                Ok(picked) => found.add(picked),
                Err(error) => found.fail(name, error),
            }
        }
        found
    }

    /// A whole name in the file's own path is what a look-up by that path goes by; the item's is the next best.
    fn named(&self, input: Input) -> Input {
        let input = Input { cloud_cover: self.cloud_cover, ..input };
        let is_whole = input.key.as_ref().is_some_and(|key| matches!(key.product, ProductName::Full(_)));
        match &self.product {
            Some(product) if !is_whole => input.of_product(product),
            _ => input,
        }
    }
}

/// Whether an asset is a JP2: `image/jp2`, perhaps with parameters. Where it has no type, its name decides.
fn is_jp2(media_type: Option<&str>, href: &str) -> bool {
    let Some(media_type) = media_type else { return is_jp2_name(href) };
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("image/jp2"))
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
    let assets = item.get("assets").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::values);
    let hrefs = assets.filter_map(|asset| {
        let href = text(asset, "href")?;
        is_jp2(asset.get("type").and_then(Value::as_str), &href).then_some(href)
    });
    Item { hrefs: hrefs.collect(), product, cloud_cover, id }
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
    let mut assets: Vec<(usize, Option<usize>)> = Vec::new();
    for (path, place) in &columns {
        if let [group, asset, field] = path.as_slice()
            && group == "assets"
            && field == "href"
        {
            assets.push((*place, columns.get(&[group, asset, "type"].map(str::to_owned)[..]).copied()));
        }
    }
    if assets.is_empty() {
        return Err(Error::read("it is not stac-geoparquet: it has no assets")).in_file(&name);
    }
    assets.sort_unstable();
    let column = |name: &str| columns.get(&[name.to_owned()][..]).copied();
    let mut found = Expanded::default();
    for group in 0..table.groups() {
        let values = |place: Option<usize>| table.values(group, place).in_file(&name);
        let ids = values(column("id"))?;
        let names = NAMES.iter().map(|name| values(column(name))).collect::<Result<Vec<_>>>()?;
        let clouds = table.numbers(group, CLOUD_COVER).in_file(&name)?;
        let mut items: Vec<Item> = Vec::new();
        for (row, id) in ids.iter().enumerate() {
            let id = id.map_or_else(|| format!("row {row} of row group {group}"), str::to_owned);
            let named = names.iter().map(|column| column.is_valid(row).then(|| column.value(row)));
            let product = Item::product_of(named.chain([Some(id.as_str())]));
            let cloud_cover = percent(clouds.get(row).copied().flatten());
            items.push(Item { product, cloud_cover, hrefs: Vec::new(), id });
        }
        for (href, media_type) in &assets {
            let types = values(*media_type)?;
            // Most assets of most items are something else: their names are not even read.
            if !types.iter().any(|known| known.is_none_or(|known| is_jp2(Some(known), ""))) {
                continue;
            }
            let hrefs = values(Some(*href))?;
            for ((item, href), media_type) in items.iter_mut().zip(&hrefs).zip(&types) {
                item.hrefs.extend(href.filter(|href| is_jp2(media_type, href)).map(str::to_owned));
            }
        }
        items.into_iter().for_each(|item| found.add(item.files(location, selection)));
    }
    Ok(found)
}

#[cfg(test)]
#[path = "stac_tests.rs"]
mod tests;
