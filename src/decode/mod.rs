//! Decoding: from the packets of tiles to the samples of a window (T.800 Annexes B to G).
//!
//! ```text
//! packets ─► code-blocks that the window needs ─► coefficients ─► inverse wavelet ─► components ─► samples
//!   tile          block, codeword, arithmetic                         wavelet          colour
//! ```
//!
//! Pure: bytes in, samples out. What a header claims decides about no memory but that for the samples that were asked for.
//! Packets that are missing, and code-blocks that no encoder writes, are errors, never samples.

mod arithmetic;
mod block;
mod codestream;
mod codeword;
mod colour;
mod contexts;
mod kept;
mod samples;
mod simd;
mod threads;
mod tile;
mod wavelet;

pub(crate) use codestream::{Codestream, Target, left_out};
pub(crate) use colour::Sample;
pub(crate) use kept::{BlockId, Kept};
pub(crate) use samples::{Samples, Values};
pub(crate) use threads::spread;
