//! Looking rows up, in the indexes of the options and among what was learned.

#[cfg(test)]
mod archives_tests;
pub(super) mod find;
pub(super) mod learned;
pub(super) mod list;
pub(super) mod wanted;
