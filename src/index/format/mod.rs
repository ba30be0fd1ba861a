//! What the bytes of a column mean. Pure.

pub(super) mod blob;
pub(super) mod bytes;
pub(super) mod columns;
pub(super) mod overviews;
pub(super) mod packets;
mod planes;
pub(super) mod ranges;
pub(super) mod schema;
pub(super) mod thrift;
