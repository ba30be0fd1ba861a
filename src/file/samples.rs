//! The samples of a file or of a view of it, decoded by this program.

use super::{Ahead, Lease};
use crate::decode::{Codestream, Sample, Target};
use crate::error::{Error, Result, ResultExt};
use crate::jp2::Area;
use crate::layout::data_type;
use crate::path::{View, Window};

/// Samples as they were decoded: component by component, row by row.
pub(crate) struct Samples {
    /// The number of components, rows and columns.
    pub(crate) shape: [usize; 3],
    pub(crate) values: Values,
}

/// Values in the type of all bands, that of the first.
pub(crate) enum Values {
    I8(Vec<i8>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
}

impl Values {
    /// numpy's name for their type.
    pub(crate) fn dtype(&self) -> &'static str {
        match self {
            Self::I8(_) => "int8",
            Self::U8(_) => "uint8",
            Self::U16(_) => "uint16",
            Self::I16(_) => "int16",
            Self::U32(_) => "uint32",
            Self::I32(_) => "int32",
        }
    }
}

impl Lease {
    /// The samples of this file, which is a whole one or a reduced one, or `View::Packets`: then of its window. `bands` are
    /// numbered from 1; all of them where there are none.
    ///
    /// # Errors
    /// As [`super::VirtualFile::read_at`] and [`Codestream::decode`].
    pub(crate) fn samples(&self, view: View, bands: Option<&[u16]>) -> Result<Samples> {
        let size =
            usize::try_from(self.size()).map_err(|_| Error::read("a file of more bytes than there is memory"))?;
        let mut bytes = zeros(size)?;
        let read = self.read_at(0, &mut bytes, &mut Ahead::default())?;
        bytes.truncate(read);
        let decoded = decode(&bytes, (bands, Types::OfGdal), 0, self.options().threads, |codestream| match view {
            // All coordinates are those of the image: the view lacks tiles at its edges.
            View::Packets(factor, window) => {
                let header = self.header.as_deref().map_or(codestream.main(), |header| &header.main);
                let edge = |edge: u32| edge.div_ceil(factor.max(1));
                let span = |start: u32, length: u32| start..start.saturating_add(length);
                let (x, y) = (edge(header.siz.x0) + window.x, edge(header.siz.y0) + window.y);
                Some((span(x, window.width), span(y, window.height)))
            }
            _ => codestream.area(0, 0),
        });
        decoded.in_file(&self.name)
    }
}

fn zeros<T: Default + Clone>(count: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| Error::read(format!("no memory for {count} samples")))?;
    values.resize(count, T::default());
    Ok(values)
}

/// Decodes a file in memory, a JP2 or a bare codestream: a window of the image at 1/2^k, or all of it, in pixels of that.
/// `bands` are numbered from 1; all of them where there are none.
///
/// # Errors
/// As [`Codestream::decode`].
pub(crate) fn decode_bytes(
    bytes: &[u8],
    window: Option<&Window>,
    k: u8,
    bands: Option<&[u16]>,
    threads: usize,
) -> Result<Samples> {
    decode(bytes, (bands, Types::Own), k, threads, |codestream| {
        let (x, y) = codestream.area(0, k)?;
        let Some(window) = window else { return Some((x, y)) };
        let span = |origin: u32, start: u32, length: u32| {
            let start = origin.saturating_add(start);
            start..start.saturating_add(length)
        };
        Some((span(x.start, window.x, window.width), span(y.start, window.y, window.height)))
    })
}

/// What type samples of at most 8 bits with a sign have: GDAL has none for them but Byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    OfGdal,
    Own,
}

/// Decodes the codestream in `bytes`: the window that `window` gives, of the image at 1/2^k.
fn decode(
    bytes: &[u8],
    (bands, types): (Option<&[u16]>, Types),
    k: u8,
    threads: usize,
    window: impl FnOnce(&Codestream<'_>) -> Option<Area>,
) -> Result<Samples> {
    let codestream = Codestream::new(bytes)?;
    let main = codestream.main();
    let count = main.siz.components.len();
    let components = match bands {
        None => (0..u16::try_from(count).unwrap_or(u16::MAX)).collect(),
        Some(bands) => bands
            .iter()
            .map(|band| band.checked_sub(1).ok_or(Error::Band { band: 0, count }))
            .collect::<Result<Vec<u16>>>()?,
    };
    let window = window(&codestream).ok_or(Error::Band { band: 1, count })?;
    // GDAL has its own ways with components of unlike size.
    let unlike = main.siz.components.iter().any(|component| (component.dx, component.dy) != (1, 1));
    if unlike {
        return Err(Error::Undecoded { what: "sub-sampled components".into() });
    }
    let shape = [components.len(), window.1.len(), window.0.len()];
    let is_signed = main.siz.components.first().is_some_and(|component| component.depth & 0x80 != 0);
    let values = match data_type(main) {
        "Byte" if types == Types::Own && is_signed => {
            Values::I8(values(&codestream, &window, (k, &components), threads)?)
        }
        "Byte" => Values::U8(values(&codestream, &window, (k, &components), threads)?),
        "Int16" => Values::I16(values(&codestream, &window, (k, &components), threads)?),
        "UInt16" => Values::U16(values(&codestream, &window, (k, &components), threads)?),
        "Int32" => Values::I32(values(&codestream, &window, (k, &components), threads)?),
        _ => Values::U32(values(&codestream, &window, (k, &components), threads)?),
    };
    Ok(Samples { shape, values })
}

fn values<T: Sample + Default>(
    codestream: &Codestream<'_>,
    window: &Area,
    (k, components): (u8, &[u16]),
    threads: usize,
) -> Result<Vec<T>> {
    let (width, height) = (window.0.len(), window.1.len());
    let all = width.checked_mul(height).and_then(|plane| plane.checked_mul(components.len()));
    let mut samples = zeros(all.ok_or_else(|| Error::read("more samples than there is memory for"))?)?;
    let target = Target { samples: &mut samples, row: width, component: width * height };
    codestream.decode(window, k, components, threads, target)?;
    Ok(samples)
}
