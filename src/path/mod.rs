//! What a path after `/vsitlm/` names: the path grammar.
//!
//! | written after `/vsitlm/` | is |
//! |---|---|
//! | `/data/x.jp2`, `data/x.jp2`, `file:///data/x.jp2` | a local file |
//! | `https://host/x.jp2`, `/vsicurl/https://…`, `vsicurl?url=…` | a URL |
//! | `vsicurl?max_retry=9&url=…` | a URL, and options for it alone (`curl`) |
//! | `s3://bucket/key`, `/vsis3/bucket/key` | an object of an S3 store |
//! | `gs://bucket/key`, `gcs://…`, `/vsigs/bucket/key` | an object of Google Cloud Storage |
//! | `az://container/blob`, `/vsiaz/container/blob` | a blob of Azure |
//! | `S2A_MSIL2A_…_T31UDQ_…/B03`, `…/B03_20m`, `…/MSK_DETFOO_B02`, each with `.jp2` or without | a file of a product, by name |
//! | `S2A_MSIL2A_…_T31UDQ_…` | the product's folder |
//! | `/vsizip/…`, `/vsimem/…`, any other `/vsi…/` | what GDAL makes of it |
//! | `?url=<percent-encoded path>` | any of the above |
//! | `?overview=4&url=<percent-encoded path>` | the image at 1/4 |
//! | `?as=tiff&url=<percent-encoded path>`, also with `overview=4` | the image as a GeoTIFF, where it can be one |
//! | `?as=jp2&url=<percent-encoded path>`, also with `overview=4` | the JP2, whatever VSITLM_SERVE is |
//! | `?window=512,0,64,64&url=…`, also with `overview=4` | 64 by 64 pixels of it, from column 512 and row 0 on, as a GeoTIFF |
//! | any of them + `.ovr` | the list of its overviews |
//!
//! The slash before `vsi…` may be missing, since the prefix ends in one. A product's name may have `.SAFE` behind it; in
//! front of a local file or folder of such a name stands `./`, while `S2A_….SAFE/GRANULE/…` is a local path as it is. No
//! string makes the parser panic.

mod archives;
mod curl;
mod ending;
mod headers;
mod location;
mod names;
mod parts;
mod scene;
mod url;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

pub(crate) use archives::{Archive, Store};
pub(crate) use ending::is_image_name;
pub(crate) use headers::parse_headers;
pub(crate) use location::{Location, without_secrets};
pub(crate) use names::{
    Key, ProductName, aws_folder, best_resolution, is_product_file, key_of_names, landsat_of, level_of, product_name,
    sensing_day, sensing_time, tile_of, year_of,
};
pub(crate) use url::{identifying_query, url_secrets};

use crate::error::{Error, Result};
use location::{bad, parse_location};

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Where the file lies.
    pub(crate) location: Location,
    /// What of it is asked for.
    pub(crate) view: View,
    /// In which form, where the path says so.
    pub(crate) form: Option<Form>,
    /// How the file itself is written, without the options of this file system and without `.ovr`.
    pub(crate) file: String,
    /// What the index calls it; `None` where the path has no file name.
    pub(crate) key: Option<Key>,
}

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// The file.
    Whole,
    /// The image at 1/factor.
    Reduced(u32),
    /// The list of its overviews, which GDAL looks for beside it under the name of the file and `.ovr`.
    Overviews,
    /// A window of the image at 1/factor, which is always a GeoTIFF.
    Window(u32, Window),
}

/// What an image is served as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// A JPEG 2000 file, which GDAL decodes.
    Jp2,
    /// A GeoTIFF, whose tiles are decoded here as they are read.
    Tiff,
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// Its first column and row.
    pub(crate) x: u32,
    pub(crate) y: u32,
    /// Its size in pixels.
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Window {
    /// The smallest window that holds others; nothing where there are none, or it has more pixels than a window can have.
    pub(crate) fn around(windows: &[Self]) -> Option<Self> {
        let start = |of: fn(&Self) -> u32| windows.iter().map(of).min();
        let length = |start: u32, of: fn(&Self) -> (u32, u32)| {
            let mut ends = windows.iter().map(of).map(|(start, length)| start.checked_add(length));
            ends.try_fold(start, |most, end| Some(most.max(end?))).map(|end| end - start)
        };
        let (x, y) = (start(|window| window.x)?, start(|window| window.y)?);
        let width = length(x, |window| (window.x, window.width))?;
        let height = length(y, |window| (window.y, window.height))?;
        Some(Self { x, y, width, height })
    }

    /// Parses `x,y,width,height`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(',').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let window = Self { x: next()?, y: next()?, width: next()?, height: next()? };
        numbers.next().is_none().then_some(window)
    }

    /// Whether it lies within an image of `size` in pixels and is not empty.
    ///
    /// # Errors
    /// [`Error::Window`] where it does not.
    pub(crate) fn check(&self, image: (u32, u32)) -> Result<()> {
        let Self { x, y, width, height } = *self;
        let is_within =
            |start: u32, length: u32, size: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= size);
        match is_within(x, width, image.0) && is_within(y, height, image.1) {
            true => Ok(()),
            false => Err(Error::Window { x, y, width, height, image }),
        }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{},{}", self.x, self.y, self.width, self.height)
    }
}

impl Request {
    /// Whether what lies there is read as a JPEG 2000 file: by its name, or because a view of one is asked for. Anything
    /// else is passed on unchanged.
    pub(crate) fn is_of_jp2(&self) -> bool {
        self.view != View::Whole || self.form.is_some() || self.location.is_jp2()
    }

    /// Whether a GeoTIFF is asked for.
    pub(crate) fn is_tiff(&self) -> bool {
        self.form == Some(Form::Tiff)
    }

    /// The same for a local path whose first slash is missing, as `pathlib.Path("/vsitlm//data/x.jp2")` writes it: with that
    /// slash. `None` for all others.
    pub(crate) fn with_first_slash(&self) -> Option<Self> {
        match &self.location {
            Location::Local(path) if path.is_relative() && self.file.starts_with(|first| first != '.') => {
                let (location, file) =
                    (Location::Local(std::path::Path::new("/").join(path)), format!("/{}", self.file));
                Some(Self { location, file, ..self.clone() })
            }
            _ => None,
        }
    }

    /// The same file in another view, as a JP2 where that can be; a TIFF as it is.
    pub(crate) fn with(&self, view: View) -> Self {
        let form = match view {
            View::Window(..) => Some(Form::Tiff),
            View::Whole if self.location.is_tiff() => None,
            _ => Some(Form::Jp2),
        };
        Self { view, form, ..self.clone() }
    }

    /// The same view in another form.
    pub(crate) fn in_form(&self, form: Form) -> Self {
        Self { form: Some(form), ..self.clone() }
    }

    /// One name for all ways of writing the same.
    pub(crate) fn name(&self) -> String {
        let of = |factor: u32| if factor == 1 { String::new() } else { format!("overview={factor}&") };
        let form = match self.form {
            Some(Form::Tiff) => "as=tiff&",
            // By its name it is none, so under that it is passed on as it is.
            Some(Form::Jp2) if self.view == View::Whole && !self.location.is_jp2() => "as=jp2&",
            _ => "",
        };
        let options = match self.view {
            View::Whole if form.is_empty() => return self.file.clone(),
            View::Whole => form.to_owned(),
            View::Overviews => return format!("{}{OVERVIEWS}", self.file),
            View::Reduced(factor) => format!("{form}overview={factor}&"),
            View::Window(factor, window) => format!("{}window={window}&", of(factor)),
        };
        format!("?{options}url={}", percent_encode(self.file.as_bytes(), ENCODED))
    }
}

/// What is percent-encoded after `url=`. Slashes are not: GDAL calls lstat() on the path of a VRT, and takes no name of more
/// than 255 bytes between two of them.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b':').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What GDAL puts behind a file's name to look for overviews.
const OVERVIEWS: &str = ".ovr";

/// What the index calls the file at `location`.
pub(crate) fn key_of(location: &Location) -> Option<Key> {
    match location {
        Location::Product { name, file: None } => Some(Key::of_product(name)),
        _ => key_of_names(&location.file_path()),
    }
}

/// Parses what follows `/vsitlm/`.
///
/// # Errors
/// [`crate::error::Error::Path`] for what names no file, for `/vsitlm/` inside itself, and for options that are not known.
pub(crate) fn parse(path: &str) -> Result<Request> {
    if let Some(file) = path.strip_suffix(OVERVIEWS)
        && let Ok(request) = parse_file(file)
        && request.view == View::Whole
        && request.location.is_jp2()
    {
        return Ok(request.with(View::Overviews));
    }
    parse_file(path)
}

/// The same for a name that means what it says: `x.jp2.ovr` is a file like any other.
pub(crate) fn parse_file(path: &str) -> Result<Request> {
    let (file, view, form) = match path.strip_prefix('?') {
        Some(options) => parse_options(path, options)?,
        None => (path.to_owned(), View::Whole, None),
    };
    let location = parse_location(&file)?;
    let key = key_of(&location);
    Ok(Request { location, view, form, file, key })
}

/// `?overview=2&url=…`: options of this file system, as /vsicurl? has them. Gives the path of the file, the view and its
/// form.
fn parse_options(path: &str, options: &str) -> Result<(String, View, Option<Form>)> {
    let (mut url, mut factor, mut window, mut form) = (None, None, None, None);
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "url" => url = Some(percent_decode_str(value).decode_utf8_lossy().into_owned()),
            "overview" => factor = Some(value.parse().map_err(|_| bad(path, "overview= takes a factor: 2, 4, 8, …"))?),
            "window" => {
                let what = "window= takes four numbers of pixels: column,row,width,height";
                window = Some(Window::parse(value).ok_or_else(|| bad(path, what))?);
            }
            "as" if value.eq_ignore_ascii_case("tiff") => form = Some(Form::Tiff),
            "as" if value.eq_ignore_ascii_case("jp2") => form = Some(Form::Jp2),
            "as" => return Err(bad(path, "as= takes jp2 or tiff")),
            other => {
                let what = format!(
                    "the option '{other}' is not known: use as=<jp2 or tiff>, overview=<factor>, \
                     window=<column,row,width,height>, url=<percent-encoded path>"
                );
                return Err(bad(path, &what));
            }
        }
    }
    let (view, form) = match (factor, window, form) {
        (_, Some(_), Some(Form::Jp2)) => return Err(bad(path, "a window is a GeoTIFF: leave as=jp2 out")),
        (factor, Some(window), _) => (View::Window(factor.unwrap_or(1), window), Some(Form::Tiff)),
        (Some(factor), None, form) => (View::Reduced(factor), form),
        (None, None, form) => (View::Whole, form),
    };
    match url {
        Some(url) => Ok((url, view, form)),
        None => Err(bad(path, "it has options but no url=<percent-encoded path>")),
    }
}

#[cfg(test)]
mod tests;
