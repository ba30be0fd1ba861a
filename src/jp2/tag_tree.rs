//! Tag trees of packet headers (T.800 B.10.2).

use super::bits::Bits;
use super::cells::Cells;
use crate::error::Result;

/// A node's value as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// The value, or what it is at least.
    least: u32,
    /// Whether it is the value.
    known: bool,
}

/// What the bits told of a leaf's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The value, which is below the limit.
    Value(u32),
    /// It is not below the limit, and so for all leaves left of `right` and above `lower` that come after it.
    AtLeast { right: u32, lower: u32 },
}

/// A tag tree being read. Its nodes exist once a bit told of them.
#[derive(Debug)]
pub(super) struct TagTree {
    /// The nodes of each level, the leaves first: both sides are halved from one to the next, until one node is left.
    levels: Vec<Cells<Node>>,
}

impl TagTree {
    /// The tree of `width` by `height` leaves of which nothing is known.
    pub(super) fn new(width: u32, height: u32) -> Self {
        let mut levels = vec![Cells::new(width, height)];
        let (mut width, mut height) = (width, height);
        while width > 1 || height > 1 {
            (width, height) = (width.div_ceil(2), height.div_ceil(2));
            levels.push(Cells::new(width, height));
        }
        Self { levels }
    }

    /// The bytes of memory that the nodes take up, about.
    pub(super) fn memory(&self) -> usize {
        self.levels.iter().map(Cells::memory).sum()
    }

    /// Reads on until it is known whether the leaf's value is below `limit`. Leaves are asked for row by row; once a
    /// leaf's value is known, it is not asked for again.
    pub(super) fn value(&mut self, column: u32, row: u32, limit: u32, bits: &mut Bits<'_>) -> Result<Told> {
        let mut least = 0;
        for (level, nodes) in self.levels.iter_mut().enumerate().rev() {
            // There are 33 levels at most, the root being a step of 2^32.
            let level = u32::try_from(level).unwrap_or(u32::BITS);
            let [x, y] = [column, row].map(|leaf| leaf.checked_shr(level).unwrap_or(0));
            let node = nodes.at(x, y);
            node.least = node.least.max(least);
            while !node.known && node.least < limit {
                if bits.bit()? == 1 {
                    node.known = true;
                } else {
                    node.least += 1;
                }
            }
            if node.least >= limit {
                let end = |at: u32| u32::try_from((u64::from(at) + 1) << level).unwrap_or(u32::MAX);
                return Ok(Told::AtLeast { right: end(x), lower: end(y) });
            }
            least = node.least;
        }
        Ok(Told::Value(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_read() {
        // Figure B.12: leaves of 1, 3, 2, … under parents of 1, 1, …
        let mut bits = Bits::new(&[0b0111_1001, 0b1010_0000], 0);
        let mut tree = TagTree::new(6, 3);
        for (column, value) in [(0, 1), (1, 3), (2, 2)] {
            assert_eq!(tree.value(column, 0, u32::MAX, &mut bits).unwrap(), Told::Value(value));
        }
    }

    #[test]
    fn what_a_node_leaves_out_is_told_at_once() {
        let mut tree = TagTree::new(6, 3);
        // The root, of 8 by 8 leaves, is not below 1; then it is below 2, and its first child is not.
        let mut bits = Bits::new(&[0b0100_0000], 0);
        assert_eq!(tree.value(0, 0, 1, &mut bits).unwrap(), Told::AtLeast { right: 8, lower: 8 });
        assert_eq!(tree.value(0, 0, 2, &mut bits).unwrap(), Told::AtLeast { right: 4, lower: 4 });
        assert_eq!(TagTree::new(1, 1).levels.len(), 1);
        assert_eq!(TagTree::new(u32::MAX, 1).levels.len(), 33);
    }
}
