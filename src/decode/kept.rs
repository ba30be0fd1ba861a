//! Code-blocks that were decoded, kept for windows to come: neighbours share those at their common edge, and all those of
//! the coarser resolutions.

/// A code-block of a codestream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockId {
    pub(super) tile: u32,
    pub(super) component: u16,
    pub(super) resolution: u8,
    /// The sub-band's number among those of the resolution.
    pub(super) band: u8,
    /// Where it begins in the sub-band.
    pub(super) at: (u32, u32),
}

/// The coefficients of one codestream's code-blocks.
pub(crate) trait Kept: Sync {
    /// Those that were kept.
    fn get(&self, block: &BlockId) -> Option<Box<[i32]>>;
    /// Keeps them, for as long as there is room.
    fn put(&self, block: BlockId, coefficients: &[i32]);
}
