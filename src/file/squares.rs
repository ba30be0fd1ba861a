//! Squares of pixels around points: which windows they are read by, and putting together what was read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::decode::{BlockId, Kept};
use crate::error::{Error, Result};
use crate::path::Window;
use crate::process::lock;

/// Columns and rows whose squares are decoded together: what a code-block of 64 x 64 of the finest sub-bands is made of.
/// Those of one cell share nearly all of what they need.
const CELL: u32 = 128;

/// Squares of pixels, all of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Squares {
    /// Columns and rows of each.
    side: u32,
    cells: Vec<Cell>,
    count: usize,
    around: Window,
}

/// A square's number, and its first column and row.
type Square = (usize, (u32, u32));

/// Squares that are decoded together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    squares: Vec<Square>,
    window: Window,
}

impl Squares {
    /// Squares of `side` pixels that begin at these columns and rows.
    ///
    /// # Errors
    /// [`Error::Question`] where there are none, or no image has them.
    pub(crate) fn new(side: u32, at: &[(u32, u32)]) -> Result<Self> {
        let mut of_cells: BTreeMap<(u32, u32), Vec<Square>> = BTreeMap::new();
        for (number, (x, y)) in at.iter().enumerate() {
            of_cells.entry((y / CELL, x / CELL)).or_default().push((number, (*x, *y)));
        }
        let window = |squares: &Vec<Square>| {
            let windows: Vec<Window> =
                squares.iter().map(|(_, (x, y))| Window { x: *x, y: *y, width: side, height: side }).collect();
            Window::around(&windows)
        };
        let none = || Error::Question { what: "\"squares\" has none, or some that no image has".to_owned() };
        let windows: Vec<Window> = of_cells.values().map(window).collect::<Option<_>>().ok_or_else(none)?;
        let around = Window::around(&windows).filter(|_| side > 0).ok_or_else(none)?;
        let cells = of_cells.into_values().zip(windows).map(|(squares, window)| Cell { squares, window });
        Ok(Self { side, cells: cells.collect(), count: at.len(), around })
    }

    /// The windows that they are read by.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Window> {
        self.cells.iter().map(|cell| cell.window)
    }

    /// The window around them all.
    pub(crate) fn around(&self) -> Window {
        self.around
    }

    /// Columns and rows of them all, one below the other; nothing where that is more than there can be.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        let side = self.side as usize;
        Some((side, side.checked_mul(self.count)?))
    }

    /// Puts together the squares of a band after the other. `read` gives the samples of one of the windows: band by band, row
    /// by row.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn gather<T: Copy>(
        &self,
        bands: usize,
        out: &mut [T],
        mut read: impl FnMut(&Window) -> Result<Vec<T>>,
    ) -> Result<()> {
        let side = self.side as usize;
        for Cell { squares, window } in &self.cells {
            let samples = read(window)?;
            let (width, height) = (window.width as usize, window.height as usize);
            for (number, (x, y)) in squares {
                for (band, row) in (0..bands).flat_map(|band| (0..side).map(move |row| (band, row))) {
                    let from = (band * height + (y - window.y) as usize + row) * width + (x - window.x) as usize;
                    let to = ((band * self.count + number) * side + row) * side;
                    if let (Some(from), Some(to)) = (samples.get(from..from + side), out.get_mut(to..to + side)) {
                        to.copy_from_slice(from);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Code-blocks that the cells of one read share.
pub(super) struct Shared {
    blocks: Mutex<HashMap<BlockId, Box<[i32]>>>,
    /// The most coefficients that are kept.
    limit: usize,
}

impl Shared {
    /// Nothing yet, and up to so many bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { blocks: Mutex::default(), limit: usize::try_from(limit).unwrap_or(usize::MAX) / size_of::<i32>() }
    }
}

impl Kept for Shared {
    fn get(&self, block: &BlockId) -> Option<Box<[i32]>> {
        lock(&self.blocks).get(block).cloned()
    }

    fn put(&self, block: BlockId, coefficients: &[i32]) {
        let mut blocks = lock(&self.blocks);
        // Code-blocks have 4096 coefficients at most (A.6.1).
        if (blocks.len() + 1).saturating_mul(4096) <= self.limit {
            blocks.insert(block, coefficients.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_gathered_in_their_order() {
        let at = [(300, 5), (0, 0), (301, 6), (127, 0)];
        let squares = Squares::new(2, &at).unwrap();
        assert_eq!(squares.around(), Window { x: 0, y: 0, width: 303, height: 8 });
        assert_eq!(
            squares.windows().collect::<Vec<_>>(),
            [Window { x: 0, y: 0, width: 129, height: 2 }, Window { x: 300, y: 5, width: 3, height: 3 }]
        );
        let sample = |band: u32, x: u32, y: u32| band * 1_000_000 + y * 1000 + x;
        let mut out = vec![0; 2 * 4 * 4];
        let read = |window: &Window| {
            let Window { x, y, width, height } = *window;
            let rows = (0..2).flat_map(|band| (y..y + height).map(move |row| (band, row)));
            Ok(rows.flat_map(|(band, row)| (x..x + width).map(move |column| sample(band, column, row))).collect())
        };
        squares.gather(2, &mut out, read).unwrap();
        let right = (0..2).flat_map(|band| at.iter().map(move |(x, y)| (band, *x, *y))).flat_map(|(band, x, y)| {
            [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(right, down)| sample(band, x + right, y + down))
        });
        assert_eq!(out, right.collect::<Vec<_>>());
        for (side, at) in [(1, &[][..]), (0, &[(1, 1)]), (2, &[(u32::MAX - 1, 0)])] {
            assert!(Squares::new(side, at).is_err(), "{side} at {at:?}");
        }
    }
}
