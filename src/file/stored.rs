//! A TIFF as it lies in its archive: the samples of its windows, and where its tiles lie.

use std::sync::Arc;

use bytes::Bytes;

use super::samples::{Selection, placed, too_many, zeros};
use super::squares::Squares;
use super::tiff::{Stored, factor_of, no_overview};
use super::{Description, VirtualFile};
use crate::decode::{Samples, Values};
use crate::error::{Error, Result, ResultExt};
use crate::geo::Georeference;
use crate::jp2::Area;
use crate::path::Window;
use crate::source::{Fetched, fetch_units_async};
use crate::tiff::{Numeric, Page, StoredLevel};

/// What of a level is read.
struct Read<'a> {
    level: &'a StoredLevel,
    bands: Option<&'a [u16]>,
    /// In coordinates of the level.
    areas: Vec<Area>,
}

impl VirtualFile {
    /// Whether it is a TIFF as it lies in its archive, which is read by [`VirtualFile::samples_of_tiff`].
    pub(crate) fn is_stored_tiff(&self) -> bool {
        self.tiff.is_some()
    }

    fn stored(&self) -> Result<&Stored> {
        let unknown = || Error::Undecoded { what: "it is served as it is, its structure unknown".into() };
        self.tiff.as_deref().ok_or_else(unknown)
    }

    /// The tiles of the image at 1/factor that the file has: number, offset and length in bytes.
    ///
    /// # Errors
    /// As [`VirtualFile::samples_of_tiff`].
    pub(super) fn tiles_of_tiff(&self, factor: u32) -> Result<Vec<(u32, u64, u64)>> {
        let places = self.stored()?.level(factor)?.places()?.into_iter();
        Ok(places.map(|(tile, range)| (tile, range.start, range.end - range.start)).collect())
    }

    fn wanted_of_tiff<'a>(&'a self, factor: u32, window: Option<&Window>, of: Selection<'a>) -> Result<Read<'a>> {
        let level = self.stored()?.level(factor)?;
        let whole = Window { x: 0, y: 0, width: level.size.0, height: level.size.1 };
        let windows: Vec<Window> = match of.squares {
            Some(squares) => squares.windows().collect(),
            None => vec![*window.unwrap_or(&whole)],
        };
        windows.iter().try_for_each(|window| window.check(level.size))?;
        let area = |window: &Window| placed(window, &(0..level.size.0, 0..level.size.1));
        Ok(Read { level, bands: of.bands, areas: windows.iter().map(area).collect() })
    }

    /// Brings into the cache the tiles that [`VirtualFile::samples_of_tiff`] reads, for a task of the engine's runtime.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn fetch_of_tiff(
        self: &Arc<Self>,
        factor: u32,
        window: Option<&Window>,
        of: Selection<'_>,
    ) -> Result<Fetched> {
        let stretches = || -> Result<_> {
            let Read { level, bands, areas } = self.wanted_of_tiff(factor, window, of)?;
            let mut tiles = Vec::new();
            for area in &areas {
                tiles.extend(level.plan(area, bands)?);
            }
            Ok(self.stretches(tiles.into_iter()))
        };
        let stretches = stretches().in_file(&self.name)?;
        let file = self.clone();
        let check = move |_: usize, _: &Bytes| file.confirm();
        let fetched = fetch_units_async(&self.source, &stretches, &self.fetching(), check).await;
        fetched.inspect_err(|error| self.doubt_row(error)).in_file(&self.name)
    }

    /// The samples of `window` of the image at 1/factor, where that is one of the file's overviews; of all of it where there
    /// is no window.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where it is none; [`Error::Undecoded`] where GDAL is to be asked; [`Error::Malformed`] where
    /// tiles are damaged; as [`VirtualFile::read_at`].
    pub(crate) fn samples_of_tiff(&self, factor: u32, window: Option<&Window>, of: Selection<'_>) -> Result<Samples> {
        let read = || {
            let wanted = self.wanted_of_tiff(factor, window, of)?;
            match (of.squares, wanted.areas.as_slice()) {
                (Some(squares), _) => self.squares_of_tiff(&wanted, squares),
                (None, [area]) => self.pixels(&wanted, area),
                _ => Err(Error::read("no window of a TIFF")),
            }
        };
        read().in_file(&self.name)
    }

    /// The pixels of a window.
    fn pixels(&self, Read { level, bands, .. }: &Read<'_>, area: &Area) -> Result<Samples> {
        let tiles = level.plan(area, *bands)?;
        let mut fetched: Vec<Vec<u8>> = Vec::with_capacity(tiles.len());
        for tile in &tiles {
            let length = usize::try_from(tile.end - tile.start).map_err(|_| Error::read("a tile too large"))?;
            fetched.push(vec![0; length]);
        }
        let mut ranges: Vec<(u64, &mut [u8])> =
            tiles.iter().zip(&mut fetched).map(|(tile, bytes)| (tile.start, bytes.as_mut_slice())).collect();
        self.read_ranges_of(&mut ranges)?;
        let fetched: Vec<Bytes> = fetched.into_iter().map(Bytes::from).collect();
        level.decode(area, *bands, &fetched, self.options().threads)
    }

    /// The samples of squares, one below the other.
    fn squares_of_tiff(&self, wanted: &Read<'_>, squares: &Squares) -> Result<Samples> {
        let bands = wanted.bands.map_or(usize::from(wanted.level.bands), <[u16]>::len);
        let (width, height) = squares.size().ok_or_else(too_many)?;
        let count = width.checked_mul(height).and_then(|plane| plane.checked_mul(bands)).ok_or_else(too_many)?;
        macro_rules! gather {
            ($kind:ident) => {{
                let mut out = zeros(count)?;
                squares.gather(bands, &mut out, |window| {
                    match self
                        .pixels(wanted, &placed(window, &(0..wanted.level.size.0, 0..wanted.level.size.1)))?
                        .values
                    {
                        Values::$kind(values) => Ok(values),
                        _ => Err(Error::read("samples of another type")),
                    }
                })?;
                Values::$kind(out)
            }};
        }
        let values = match wanted.level.sample {
            Numeric::U8 => gather!(U8),
            Numeric::I8 => gather!(I8),
            Numeric::U16 => gather!(U16),
            Numeric::I16 => gather!(I16),
            Numeric::U32 => gather!(U32),
            Numeric::I32 => gather!(I32),
            Numeric::U64 => gather!(U64),
            Numeric::I64 => gather!(I64),
            Numeric::F32 => gather!(F32),
            Numeric::F64 => gather!(F64),
        };
        Ok(Samples { shape: [bands, height, width], values })
    }

    /// What image it is, at 1/factor.
    ///
    /// # Errors
    /// [`Error::NoOverview`] where the file has no such overview, [`Error::Undecoded`] where numpy has no type for its samples.
    pub(super) fn describe_tiff(&self, factor: u32, window: Option<&Window>) -> Result<Description> {
        let head = &self.stored()?.head;
        let levels: Vec<Page> = head.levels();
        let of = |page: &Page| factor_of(levels.first().map_or(0, |whole| whole.width), page.width);
        let found = levels.iter().find(|page| of(page) == factor.max(1));
        let page = found.ok_or_else(|| no_overview(levels.iter().map(of)))?;
        let length = |pixels: u64| u32::try_from(pixels).map_err(|_| Error::read("an image too large"));
        let size = (length(page.width)?, length(page.height)?);
        window.map_or(Ok(()), |window| window.check(size))?;
        let whole = head.shape().unwrap_or(size);
        let scale = [f64::from(whole.0) / f64::from(size.0), f64::from(whole.1) / f64::from(size.1)];
        let origin = window.map_or((0, 0), |window| (window.x, window.y));
        let what = || Error::Undecoded { what: format!("a TIFF of {} bits a sample ({})", page.bits, page.samples) };
        Ok(Description {
            size: window.map_or(size, |window| (window.width, window.height)),
            bands: usize::try_from(page.bands).unwrap_or(usize::MAX),
            dtype: page.dtype().ok_or_else(what)?,
            georeference: head.georeference().map(|it: Georeference| it.scaled(scale).moved(origin)),
            tile: (length(page.tile[0])?, length(page.tile[1])?),
            overviews: levels
                .iter()
                .map(of)
                .filter(|other| window.is_none() && *other > factor)
                .map(|other| other / factor.max(1))
                .collect(),
            bytes: self.size(),
        })
    }
}
