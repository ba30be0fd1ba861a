//! What tests read from, and the contract that every source keeps.

mod contract;
pub(crate) mod memory;
pub(crate) mod mock;
mod mock_http2;
mod store_model;
