//! The row of one JP2.

mod arrays;
pub(super) mod overviews;
pub(super) mod packets;
pub(super) mod partition;
pub(super) mod record;
pub(super) mod stac;
pub(super) mod stored;
pub(super) mod tiff;
pub(super) mod write;
