//! Samples of an image, in the type of its bands: what decoding gives, of whatever file.

/// Samples as they were decoded: component by component, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    /// The number of components, rows and columns.
    pub(crate) shape: [usize; 3],
    pub(crate) values: Values,
}

/// Values in the type of all bands, that of the first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    I8(Vec<i8>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Samples {
    /// A rectangle of columns and rows from this column and row on, pixel by pixel, little-endian; 0 where it is outside.
    pub(crate) fn rectangle(&self, at: (usize, usize), size: (usize, usize)) -> Vec<u8> {
        let mut out = vec![0; size.0 * size.1 * self.shape[0] * self.values.sample_bytes()];
        self.copy_rectangle(at, size, &mut out);
        out
    }

    /// The same, written to the beginning of `out`, which is 0.
    pub(crate) fn copy_rectangle(&self, at: (usize, usize), size: (usize, usize), out: &mut [u8]) {
        match &self.values {
            Values::I8(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::U8(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::U16(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::I16(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::U32(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::I32(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::U64(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::I64(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::F32(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
            Values::F64(values) => rectangle(values, self.shape, at, size, out, |value| value.to_le_bytes()),
        }
    }
}

/// See [`Samples::copy_rectangle`].
fn rectangle<T: Copy, const N: usize>(
    values: &[T],
    [bands, height, width]: [usize; 3],
    (x, y): (usize, usize),
    (across, down): (usize, usize),
    out: &mut [u8],
    bytes: impl Fn(T) -> [u8; N],
) {
    let columns = across.min(width.saturating_sub(x));
    for band in 0..bands {
        for row in 0..down.min(height.saturating_sub(y)) {
            let start = (band * height + y + row) * width + x;
            let from = values.get(start..start + columns).unwrap_or_default();
            let to = out.get_mut(row * across * bands * N..).unwrap_or_default();
            for (to, from) in to.chunks_exact_mut(bands * N).zip(from) {
                if let Some(to) = to.get_mut(band * N..band * N + N) {
                    to.copy_from_slice(&bytes(*from));
                }
            }
        }
    }
}

impl Values {
    /// The bytes of a sample.
    fn sample_bytes(&self) -> usize {
        match self {
            Self::I8(_) | Self::U8(_) => 1,
            Self::U16(_) | Self::I16(_) => 2,
            Self::U32(_) | Self::I32(_) | Self::F32(_) => 4,
            Self::U64(_) | Self::I64(_) | Self::F64(_) => 8,
        }
    }

    /// numpy's name for their type.
    pub(crate) fn dtype(&self) -> &'static str {
        match self {
            Self::I8(_) => "int8",
            Self::U8(_) => "uint8",
            Self::U16(_) => "uint16",
            Self::I16(_) => "int16",
            Self::U32(_) => "uint32",
            Self::I32(_) => "int32",
            Self::U64(_) => "uint64",
            Self::I64(_) => "int64",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
        }
    }
}
