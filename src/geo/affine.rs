//! Affine transforms from pixels to coordinates, and the box that has nothing else.

use crate::jp2::build_box;

/// Of columns and rows, counted from the upper left corner of the first pixel: x = a·column + b·row + c and
/// y = d·column + e·row + f, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine(pub(super) [f64; 6]);

impl Affine {
    /// From the centre of the first pixel, and the steps to the next column and to the next row.
    pub(super) fn from_centre([x, y]: [f64; 2], [[cx, cy], [rx, ry]]: [[f64; 2]; 2]) -> Self {
        Self([cx, rx, x - (cx + rx) / 2.0, cy, ry, y - (cy + ry) / 2.0])
    }

    /// Of pixels that are `sx` times as wide and `sy` times as high, from the same corner.
    pub(super) fn scaled(self, [sx, sy]: [f64; 2]) -> Self {
        let [a, b, c, d, e, f] = self.0;
        Self([a * sx, b * sy, c, d * sx, e * sy, f])
    }

    /// Of the image that begins with this column and row.
    pub(super) fn moved(self, (column, row): (u32, u32)) -> Self {
        let [a, b, c, d, e, f] = self.0;
        let (column, row) = (f64::from(column), f64::from(row));
        Self([a, b, c + column * a + row * b, d, e, f + column * d + row * e])
    }

    /// Of coordinates whose axes are in the other order.
    pub(super) fn flipped(self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        Self([d, e, f, a, b, c])
    }

    /// How far the centre of the first pixel moves, where pixels become `sx` times as wide and `sy` times as high.
    pub(super) fn shift([[cx, cy], [rx, ry]]: [[f64; 2]; 2], [sx, sy]: [f64; 2]) -> [f64; 2] {
        [(cx * (sx - 1.0) + rx * (sy - 1.0)) / 2.0, (cy * (sx - 1.0) + ry * (sy - 1.0)) / 2.0]
    }
}

/// An MSIG box of pixels `scale` times as large: six doubles of a world file, little-endian, from byte 22 on.
pub(super) fn build_scaled_msig(uuid: &[u8; 16], msig: &[u8], scale: [f64; 2]) -> Option<Vec<u8>> {
    const AT: usize = 22;
    let mut out = msig.to_vec();
    let values = out.get_mut(AT..AT + 48)?;
    let mut doubles = [0.0; 6];
    for (double, bytes) in doubles.iter_mut().zip(values.chunks_exact(8)) {
        *double = f64::from_le_bytes(bytes.try_into().ok()?);
    }
    let [cx, cy, rx, ry, x, y] = doubles;
    let [sx, sy] = scale;
    let [dx, dy] = Affine::shift([[cx, cy], [rx, ry]], scale);
    for (bytes, value) in values.chunks_exact_mut(8).zip([cx * sx, cy * sx, rx * sy, ry * sy, x + dx, y + dy]) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    build_box(*b"uuid", &[&uuid[..], &out].concat())
}
