//! Which files of a product are wanted.
//!
//! By default the bands, each at the best resolution that is there; Landsat's quality bands are such, since its bands cannot
//! be masked without them. What lies in `QI_DATA` (masks, probabilities and the preview), and what Earth Search has of it, is
//! wanted with `--masks`, coarser copies of bands with `--all-resolutions`. What lies in AWS's folder `preview` is
//! never: files of the bands' names that are not the bands. Neither are files called `preview` or `thumbnail` beside bands.

use std::collections::HashMap;

use super::input::{Expanded, Input, names};
use crate::error::{Error, Result};
use crate::path::{Key, ProductName, Store, aws_folder};

/// What of a product is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Masks and previews too.
    pub(crate) masks: bool,
    /// Bands at all of their resolutions.
    pub(crate) all_resolutions: bool,
    /// Where products lie that are named alone.
    pub(crate) store: Option<Store>,
}

/// What a file of a product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Band,
    Mask,
    Preview,
}

impl Selection {
    /// What is wanted of the files of one folder, prefix or item, in their order. Files of no product are all wanted.
    ///
    /// # Errors
    /// [`Error::Path`] in the name of `place`, where nothing is.
    pub(super) fn pick(&self, place: &str, inputs: Vec<Input>) -> Result<Expanded> {
        let found = inputs.len();
        let is_wanted = |input: &Input| match part(input) {
            Part::Band => true,
            Part::Mask => self.masks,
            Part::Preview => false,
        };
        let mut inputs: Vec<Input> = inputs.into_iter().filter(is_wanted).collect();
        if !self.all_resolutions {
            let mut best: HashMap<Key, u32> = HashMap::new();
            for key in inputs.iter().filter_map(|input| input.key.as_ref()) {
                if let (Some(name), Some(metres)) = (at_no_resolution(key), key.resolution) {
                    best.entry(name).and_modify(|least| *least = metres.min(*least)).or_insert(metres);
                }
            }
            inputs.retain(|input| {
                let key = input.key.as_ref();
                let least = key.and_then(at_no_resolution).and_then(|name| best.get(&name).copied());
                least.is_none() || key.and_then(|key| key.resolution).is_none_or(|metres| Some(metres) == least)
            });
        }
        match (inputs.is_empty(), found) {
            (false, _) => Ok(Expanded { inputs, ..Expanded::default() }),
            (true, 0) => Err(nothing(place, "there is no JP2 or TIFF in it")),
            (true, _) => Err(nothing(place, "the JP2s and TIFFs in it are masks and previews alone: add --masks")),
        }
    }
}

fn nothing(place: &str, what: &str) -> Error {
    Error::Path { path: place.to_owned(), what: what.to_owned() }
}

/// The name that a band has in common with its copies, for a file of a product.
fn at_no_resolution(key: &Key) -> Option<Key> {
    (key.product != ProductName::Unknown).then(|| Key { resolution: None, ..key.clone() })
}

fn part(input: &Input) -> Part {
    let path = names(&input.location);
    let Some(key) = &input.key else { return Part::Band };
    if key.product == ProductName::Unknown && aws_folder(&path).is_none() {
        return Part::Band;
    }
    let is_in = |name: &str| path.split('/').any(|part| part == name);
    let is_mask = ["PVI", "CLD", "SNW", "DDV"].contains(&key.band.as_str()) || key.band.starts_with("MSK_");
    if is_in("preview") || ["preview", "thumbnail"].contains(&key.band.as_str()) {
        Part::Preview
    } else if is_mask || is_in("QI_DATA") || is_in("qi") {
        Part::Mask
    } else {
        Part::Band
    }
}
