//! What the bytes of a column mean. Pure.

pub(super) mod blob;
pub(super) mod planes;
pub(super) mod thrift;
