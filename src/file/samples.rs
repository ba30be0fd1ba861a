//! The samples of a file or of a view of it, decoded by this program.

use std::ops::Range;

use super::kept::KeptOfFile;
use super::known::Known;
use super::squares::{Shared, Squares};
use super::window::exponent;
use super::{Ahead, VirtualFile};
use crate::decode::{self, Codestream, Kept, Sample, Samples, Target, Values};
use crate::error::{Error, Result, ResultExt};
use crate::jp2::{Area, MainHeader, Progress, overlap, parse_main_header, parse_tlm_segments};
use crate::layout::{DataType, data_type};
use crate::path::Window;
use crate::source::{SourceRange, fetch_units, peek, prefetch};

/// For a window of this part of its tiles, or a greater one, finding out the lengths of packets costs more than it saves: a
/// request for each tile before the others, and several ranges in place of one.
const SMALL_PART: u64 = 16;

/// What of an image is decoded.
#[derive(Clone, Copy, Default)]
pub(crate) struct Selection<'a> {
    /// Numbered from 1; all of them where there are none.
    pub(crate) bands: Option<&'a [u16]>,
    /// In place of all of the window around them.
    pub(crate) squares: Option<&'a Squares>,
}

/// The most bytes of code-blocks that the squares of a read share.
const SHARED: u64 = 32 << 20;

impl VirtualFile {
    /// The samples of this file, a whole or a reduced one.
    ///
    /// # Errors
    /// As [`super::VirtualFile::read_at`] and [`Codestream::decode`].
    pub(crate) fn samples(&self, of: Selection<'_>) -> Result<Samples> {
        let size =
            usize::try_from(self.size()).map_err(|_| Error::read("a file of more bytes than there is memory"))?;
        let mut bytes = zeros(size)?;
        let read = self.read_at(0, &mut bytes, &mut Ahead::default())?;
        bytes.truncate(read);
        decode_window(&bytes, &self.wanted(of, 0, None), |codestream| codestream.area(0, 0)).in_file(&self.name)
    }

    /// The samples of `window` of the image at 1/factor, of this whole file, by the tile-parts that it touches. Code-blocks
    /// are `kept` where there is a place for them.
    ///
    /// # Errors
    /// As [`VirtualFile::samples`].
    pub(crate) fn samples_of_tiles(
        &self,
        factor: u32,
        window: &Window,
        of: Selection<'_>,
        kept: Option<&dyn Kept>,
    ) -> Result<Samples> {
        let decode = || {
            let known = self.structure()?;
            let k = exponent(factor, known.structure.main())?;
            let bytes = self.tiles(known, &self.touched(factor, window)?)?;
            decode_window(&bytes, &self.wanted(of, k, kept), |codestream| Some(placed(window, &codestream.area(0, k)?)))
        };
        decode().inspect_err(|error| self.doubt_row(error)).in_file(&self.name)
    }

    /// The samples of `window` of the image at 1/2^k, of this whole file: by what is at hand, else by what is least to be
    /// fetched. `view` is one that has the image at 1/2^k within the window, where there is one. Code-blocks are `kept` for
    /// windows to come.
    ///
    /// # Errors
    /// As [`VirtualFile::samples`].
    pub(super) fn samples_of_window(
        &self,
        k: u8,
        window: &Window,
        view: Option<&VirtualFile>,
        kept: &KeptOfFile,
    ) -> Result<Samples> {
        let (factor, all) = (1 << k, Selection::default());
        let tile_parts = self.touched_ranges(factor, window)?;
        if self.are_at_hand(&tile_parts) {
            return self.samples_of_tiles(factor, window, all, Some(&kept.blocks(0)));
        }
        if let Some(view) = view {
            return view.samples_of_view(factor, window, all, Some(&kept.blocks(k)), true);
        }
        let windows = std::slice::from_ref(window);
        if !self.needs_headers(factor, windows).unwrap_or(true)
            && let Some(packets) = self.packets_worth_it(factor, windows)?
        {
            return packets.samples_of_view(factor, window, all, None, false);
        }
        self.samples_of_tiles(factor, window, all, Some(&kept.blocks(0)))
    }

    /// [`VirtualFile::packets_of`] windows, where they are less than half of the tile-parts that the window around them
    /// touches, for several windows less than three quarters: more are not worth several requests in place of one.
    ///
    /// # Errors
    /// As [`VirtualFile::packets_of`].
    pub(crate) fn packets_worth_it(&self, factor: u32, windows: &[Window]) -> Result<Option<VirtualFile>> {
        let Some(around) = Window::around(windows) else { return Ok(None) };
        let whole: u64 = self.touched_ranges(factor, &around)?.iter().map(|range| range.end.0 - range.start.0).sum();
        let share = if windows.len() > 1 { 3 } else { 2 };
        Ok(self.packets_of(factor, windows)?.filter(|packets| packets.layout.unit_bytes() < whole / 4 * share))
    }

    /// Begins to fetch what [`VirtualFile::samples_of_window`] reads.
    ///
    /// # Errors
    /// As [`VirtualFile::samples`].
    pub(super) fn send_for_window(&self, k: u8, window: &Window, view: Option<&VirtualFile>) -> Result<()> {
        let factor = 1 << k;
        let tile_parts = self.touched_ranges(factor, window)?;
        match view {
            _ if self.are_at_hand(&tile_parts) => {}
            Some(view) => {
                let area = view.placed(factor, window)?;
                view.send_for_ranges(&view.tiles_of_view(&area)?.1);
            }
            None => prefetch(&self.source, &tile_parts, &self.access.options),
        }
        Ok(())
    }

    /// The tile-parts that a window touches.
    fn touched_ranges(&self, factor: u32, window: &Window) -> Result<Vec<SourceRange>> {
        let numbers = self.touched(factor, window).in_file(&self.name)?;
        Ok(numbers.into_iter().map(|number| self.unit_range(number)).collect())
    }

    fn are_at_hand(&self, ranges: &[SourceRange]) -> bool {
        self.source.is_cheap() || ranges.iter().all(|range| peek(&*self.source, range).is_some())
    }

    /// The samples of `window` of the image at 1/factor, of this view, which has that within the window: by the tiles that
    /// it touches. Where others are probably read after it, `ahead`, they are fetched with it.
    ///
    /// # Errors
    /// As [`VirtualFile::samples`].
    pub(crate) fn samples_of_view(
        &self,
        factor: u32,
        window: &Window,
        of: Selection<'_>,
        kept: Option<&dyn Kept>,
        ahead: bool,
    ) -> Result<Samples> {
        let decode = || {
            let window = self.placed(factor, window)?;
            let (mut bytes, tiles) = self.tiles_of_view(&window)?;
            if ahead {
                self.send_for_ranges(&tiles);
            }
            for range in tiles {
                let from = bytes.len();
                let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                bytes.resize(from.saturating_add(length), 0);
                let part = bytes.get_mut(from..).unwrap_or_default();
                let mut ahead = if ahead { Ahead::default() } else { Ahead::none() };
                let read = self.read_at(range.start, part, &mut ahead)?;
                bytes.truncate(from + read);
            }
            decode_window(&bytes, &self.wanted(of, 0, kept), |_| Some(window))
        };
        decode().in_file(&self.name)
    }

    /// The parts of this view that have the tiles that a window touches.
    pub(super) fn parts_of_window(&self, factor: u32, window: &Window) -> Result<Vec<Range<u64>>> {
        Ok(self.tiles_of_view(&self.placed(factor, window)?)?.1)
    }

    /// Whether windows are so large a part of the tiles that they touch that their tile-parts are read whole, where the
    /// lengths of packets are not known: finding these takes a request more for each, and most packets are needed.
    pub(crate) fn are_most_of_their_tiles(&self, factor: u32, windows: &[Window]) -> Result<bool> {
        let siz = &self.structure()?.structure.main().siz;
        let k = exponent(factor, self.structure()?.structure.main())?;
        let Some(around) = Window::around(windows) else { return Ok(false) };
        let around = self.placed(factor, &around)?;
        let tiles = (0..siz.tiles()).filter_map(|tile| siz.tile_area(tile, 0, k));
        let size = |area: &Area| area.0.len() as u64 * area.1.len() as u64;
        let touched: u64 = tiles.filter(|tile| overlap(tile, &around)).map(|tile| size(&tile)).sum();
        let wanted: u64 = windows.iter().map(|window| u64::from(window.width) * u64::from(window.height)).sum();
        Ok(wanted >= touched / SMALL_PART)
    }

    /// A window of the image at 1/factor in coordinates of that. A view may lack tiles at the image's edges.
    ///
    /// # Errors
    /// [`Error::Window`] where the image does not have it.
    fn placed(&self, factor: u32, window: &Window) -> Result<Area> {
        let header = self.header.as_deref().ok_or_else(|| Error::read("a view without its header"))?;
        let image = header.main.siz.component_area(0, exponent(factor, &header.main)?).unwrap_or_default();
        window.check((image.0.end - image.0.start, image.1.end - image.1.start))?;
        Ok(placed(window, &image))
    }

    /// The main header of this view, and where those of its tiles lie that touch `area`, as its TLM tells.
    fn tiles_of_view(&self, area: &Area) -> Result<(Vec<u8>, Vec<Range<u64>>)> {
        let unknown = || Error::read("a view without its header");
        let header = self.layout.first_inline().ok_or_else(unknown)?;
        let Progress::Done(main) = parse_main_header(&header, self.size())? else { return Err(unknown()) };
        let bytes = header.get(..usize::try_from(main.end).unwrap_or(usize::MAX)).ok_or_else(unknown)?.to_vec();
        let mut start = main.end;
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for (tile, length) in parse_tlm_segments(&main.tlm(&header).concat())? {
            let end = start + u64::from(length);
            if main.siz.tile_area(tile.into(), 0, 0).is_some_and(|tile| overlap(&tile, area)) {
                match wanted.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => wanted.push(start..end),
                }
            }
            start = end;
        }
        Ok((bytes, wanted))
    }

    fn wanted<'a>(&self, of: Selection<'a>, k: u8, kept: Option<&'a dyn Kept>) -> Wanted<'a> {
        Wanted { of, types: Types::OfGdal, k, threads: self.options().threads, kept, may_be_empty: false }
    }

    pub(super) fn structure(&self) -> Result<&Known> {
        let unknown = || Error::Undecoded { what: "it is served as it is, its structure unknown".into() };
        self.known.as_ref().ok_or_else(unknown)
    }

    /// The numbers of the tile-parts that a window touches.
    pub(super) fn touched(&self, factor: u32, window: &Window) -> Result<Vec<usize>> {
        let known = self.structure()?;
        let siz = &known.structure.main().siz;
        let k = exponent(factor, known.structure.main())?;
        let window = self.placed(factor, window)?;
        let touches = |tile: u16| siz.tile_area(tile.into(), 0, k).is_some_and(|area| overlap(&area, &window));
        let parts = known.structure.tile_parts.parts().iter().enumerate();
        Ok(parts.filter(|(_, part)| touches(part.tile)).map(|(number, _)| number).collect())
    }

    /// A file of these tile-parts alone: decoding needs no others.
    fn tiles(&self, known: &Known, numbers: &[usize]) -> Result<Vec<u8>> {
        let end = usize::try_from(known.structure.main().end).unwrap_or(usize::MAX);
        let mut bytes = known.structure.header.bytes.get(..end).unwrap_or_default().to_vec();
        let ranges: Vec<SourceRange> = numbers.iter().map(|number| self.unit_range(*number)).collect();
        if self.source.is_cheap() {
            for range in ranges {
                let start = bytes.len();
                let length = usize::try_from(range.end.0 - range.start.0).unwrap_or(usize::MAX);
                bytes.resize(start.saturating_add(length), 0);
                self.source.read_into(range.start, bytes.get_mut(start..).unwrap_or_default())?;
            }
            return Ok(bytes);
        }
        let whole = if self.are_at_hand(&ranges) { None } else { self.small_file() };
        let fetched =
            fetch_units(&self.source, whole.as_ref().map_or(&ranges[..], std::slice::from_ref), &self.access.options)?;
        self.confirm()?;
        let part_of = |place: usize, range: &SourceRange| match &whole {
            None => fetched.get(place).map(|part| &part[..]),
            Some(_) => fetched.first().and_then(|file| within(file, range)),
        };
        for (place, (number, range)) in numbers.iter().zip(&ranges).enumerate() {
            let part = part_of(place, range).unwrap_or_default();
            self.check_sot(*number, part)?;
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }
}

/// A range of a file that is at hand.
fn within<'a>(file: &'a [u8], range: &SourceRange) -> Option<&'a [u8]> {
    file.get(usize::try_from(range.start.0).ok()?..usize::try_from(range.end.0).ok()?)
}

/// What of an image with this main header is left to GDAL; `None` where it is decoded here.
pub(crate) fn left_out(main: &MainHeader) -> Option<String> {
    // GDAL has its own ways with components of unlike size.
    let unlike = main.siz.components.iter().any(|component| (component.dx, component.dy) != (1, 1));
    if unlike { Some("sub-sampled components".into()) } else { decode::left_out(main) }
}

/// A window in coordinates of the image that it is of.
pub(super) fn placed(window: &Window, image: &Area) -> Area {
    let span = |origin: u32, start: u32, length: u32| {
        let start = origin.saturating_add(start);
        start..start.saturating_add(length)
    };
    (span(image.0.start, window.x, window.width), span(image.1.start, window.y, window.height))
}

pub(super) fn zeros<T: Default + Clone>(count: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| Error::read(format!("no memory for {count} samples")))?;
    values.resize(count, T::default());
    Ok(values)
}

/// What type samples of at most 8 bits with a sign have: GDAL has none for them but Byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Types {
    OfGdal,
    Own,
}

/// What of a codestream is decoded, and how.
pub(super) struct Wanted<'a> {
    pub(super) of: Selection<'a>,
    pub(super) types: Types,
    /// The image at 1/2^k.
    pub(super) k: u8,
    pub(super) threads: usize,
    pub(super) kept: Option<&'a dyn Kept>,
    /// Whether a window of no samples is answered by none; else it is an error.
    pub(super) may_be_empty: bool,
}

/// Decodes the codestream in `bytes`: the window that `window` gives, of the image at 1/2^k.
pub(super) fn decode_window(
    bytes: &[u8],
    wanted: &Wanted<'_>,
    window: impl FnOnce(&Codestream<'_>) -> Option<Area>,
) -> Result<Samples> {
    decode_codestream(&Codestream::new(bytes)?, wanted, window)
}

/// The same of a codestream that is understood.
pub(super) fn decode_codestream(
    codestream: &Codestream<'_>,
    wanted: &Wanted<'_>,
    window: impl FnOnce(&Codestream<'_>) -> Option<Area>,
) -> Result<Samples> {
    let main = codestream.main();
    let count = main.siz.components.len();
    let components: Vec<u16> = match wanted.of.bands {
        None => (0..u16::try_from(count).unwrap_or(u16::MAX)).collect(),
        Some(bands) => bands
            .iter()
            .map(|band| band.checked_sub(1).ok_or(Error::Band { band: 0, count }))
            .collect::<Result<Vec<u16>>>()?,
    };
    let window = window(codestream).ok_or(Error::Band { band: 1, count })?;
    if let Some(what) = left_out(main) {
        return Err(Error::Undecoded { what });
    }
    let (width, height) = match wanted.of.squares {
        Some(squares) => squares.size().ok_or_else(too_many)?,
        None => (window.0.len(), window.1.len()),
    };
    let shape = [components.len(), height, width];
    let is_signed = main.siz.components.first().is_some_and(|component| component.depth & 0x80 != 0);
    let values = match data_type(main) {
        DataType::Byte if wanted.types == Types::Own && is_signed => {
            Values::I8(values(codestream, &window, &components, wanted)?)
        }
        DataType::Byte => Values::U8(values(codestream, &window, &components, wanted)?),
        DataType::Int16 => Values::I16(values(codestream, &window, &components, wanted)?),
        DataType::UInt16 => Values::U16(values(codestream, &window, &components, wanted)?),
        DataType::Int32 => Values::I32(values(codestream, &window, &components, wanted)?),
        DataType::UInt32 => Values::U32(values(codestream, &window, &components, wanted)?),
    };
    Ok(Samples { shape, values })
}

fn values<T: Sample + Default>(
    codestream: &Codestream<'_>,
    window: &Area,
    components: &[u16],
    wanted: &Wanted<'_>,
) -> Result<Vec<T>> {
    if let Some(squares) = wanted.of.squares {
        return values_of_squares(squares, codestream, window, components, wanted);
    }
    let (width, height) = (window.0.len(), window.1.len());
    let all = width.checked_mul(height).and_then(|plane| plane.checked_mul(components.len()));
    let mut samples = zeros(all.ok_or_else(too_many)?)?;
    if !(samples.is_empty() && wanted.may_be_empty) {
        let target = Target { samples: &mut samples, row: width, component: width * height };
        codestream.decode(window, wanted.k, components, wanted.threads, wanted.kept, target)?;
    }
    Ok(samples)
}

/// The values of squares, whose window is `window` of the image. Code-blocks are decoded once for all of them.
fn values_of_squares<T: Sample + Default>(
    squares: &Squares,
    codestream: &Codestream<'_>,
    window: &Area,
    components: &[u16],
    wanted: &Wanted<'_>,
) -> Result<Vec<T>> {
    let all = squares.size().and_then(|(width, height)| width.checked_mul(height)?.checked_mul(components.len()));
    let mut samples = zeros(all.ok_or_else(too_many)?)?;
    let shared = Shared::new(SHARED);
    let wanted = Wanted { of: Selection::default(), kept: Some(wanted.kept.unwrap_or(&shared)), ..*wanted };
    let around = squares.around();
    let origin = (window.0.start.saturating_sub(around.x), window.1.start.saturating_sub(around.y));
    squares.gather(components.len(), &mut samples, |part| {
        values(codestream, &placed(part, &(origin.0..window.0.end, origin.1..window.1.end)), components, &wanted)
    })?;
    Ok(samples)
}

pub(super) fn too_many() -> Error {
    Error::read("more samples than there is memory for")
}
