//! Many rows at a time.

pub(super) mod check;
pub(super) mod journal;
pub(super) mod rows;
