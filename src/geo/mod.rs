//! Where images lie on the ground.

mod footprint;
mod utm;

pub(crate) use footprint::{Footprint, footprint};
