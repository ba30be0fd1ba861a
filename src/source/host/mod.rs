//! One host: what is known of it, who may ask it next, what requests to it cost, and what was asked.

pub(super) mod known;
pub(super) mod link;
pub(super) mod statistics;
pub(super) mod turns;

pub(crate) use known::Host;
pub(crate) use link::Link;
