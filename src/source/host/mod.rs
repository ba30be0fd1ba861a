//! One host: what is known of it, who may ask it next (`turns`), what requests to it cost (`link`), and what was asked
//! (`statistics`).

mod known;
pub(super) mod link;
pub(super) mod statistics;
pub(super) mod turns;

pub(crate) use known::{Host, host, statistics, statistics_json};
pub(crate) use link::Link;
