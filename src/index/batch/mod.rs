//! Many rows at a time.

pub(super) mod check;
pub(super) mod rows;
pub(super) mod stage;
