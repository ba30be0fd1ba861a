//! Values of the cells of a grid, which is as large as a header claims: few cells are kept one after the other, of many only
//! those that were asked for.

use std::collections::HashMap;

/// Up to how many cells are kept one after the other.
const FEW: u64 = 1024;

/// The values of a grid's cells, the default until they are set.
#[derive(Debug)]
pub(super) enum Cells<T> {
    /// All, row by row, once one is asked for.
    Few { width: usize, count: usize, cells: Vec<T> },
    /// By column and row.
    Many(HashMap<(u32, u32), T>),
}

impl<T: Default + Clone> Cells<T> {
    pub(super) fn new(width: u32, height: u32) -> Self {
        match u64::from(width) * u64::from(height) {
            count @ ..=FEW => {
                let (width, count) = (usize::try_from(width).unwrap_or(0), usize::try_from(count).unwrap_or(0));
                Self::Few { width, count, cells: Vec::new() }
            }
            _ => Self::Many(HashMap::new()),
        }
    }

    /// The value of a cell, which is one of the grid.
    pub(super) fn at(&mut self, column: u32, row: u32) -> &mut T {
        match self {
            Self::Few { width, count, cells } => {
                if cells.is_empty() {
                    // One more: an empty grid has a cell to answer with, too.
                    cells.resize(*count + 1, T::default());
                }
                let at = (row as usize * *width + column as usize).min(*count);
                #[expect(clippy::indexing_slicing, reason = "there are count + 1 cells")]
                &mut cells[at]
            }
            Self::Many(cells) => cells.entry((column, row)).or_default(),
        }
    }

    /// The value of a cell, if it was ever asked for.
    pub(super) fn get(&mut self, column: u32, row: u32) -> Option<&mut T> {
        match self {
            Self::Few { width, cells, .. } => cells.get_mut(row as usize * *width + column as usize),
            Self::Many(cells) => cells.get_mut(&(column, row)),
        }
    }

    /// The bytes of memory that the cells take up, about.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Few { cells, .. } => cells.capacity() * size_of::<T>(),
            Self::Many(cells) => cells.capacity() * (size_of::<((u32, u32), T)>() + 1),
        }
    }
}
