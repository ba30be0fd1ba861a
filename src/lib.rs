//! GDAL plugin that makes Sentinel-2's JPEG 2000 archives cloud-ready without touching them.
//!
//! A path names a JP2; an index row says where its tile-parts lie; a layout turns both into a virtual file;
//! the source fetches what that file is read for:
//!
//! ```text
//! path string ─► path ─► Request ─► index ─► Record ─► layout ─► Layout ─► file ─► read_at
//!                                                                   source ◄──┘
//! ```
//!
//! | room | in → out | never |
//! |---|---|---|
//! | `jp2` | bytes ↔ values of T.800 | IO |
//! | `geo` | boxes of a JP2 ↔ where its image lies on the ground | IO |
//! | `decode` | packets of tiles → samples of a window | IO |
//! | `path` | string → `Request` | IO |
//! | `options` | GDAL configuration options → `Options` | IO |
//! | `source` | range → bytes | knowledge of JP2 |
//! | `layout` | structure → ordered segments | IO |
//! | `tiff` | image → header of a virtual GeoTIFF; tiles of a real one → samples | IO |
//! | `index` | key → `Record` | a network of its own: it reads through `source` |
//! | `file` | offset, length → bytes; window → samples | GDAL types |
//! | `collect` | inputs → rows, an index | printing |
//! | `cli` | arguments → calls, what they give → output | logic |
//! | `ask` | a program's question → its answer, without blocking | logic |
//! | `vsi` | GDAL's callbacks → `VirtualFile` | logic |
//! | `fuzz` | bytes from anywhere → checks; compiled for fuzzing alone | |
//! | `error`, `lru`, `process`, `secret`, `trace` | what all rooms use | |
//!
//! Users of GDAL need no Rust: see README.md. The C entry points are declared in `include/vsitlm.h`.

mod ask;
pub mod cli;
mod collect;
mod decode;
mod error;
mod file;
#[cfg(fuzzing)]
pub mod fuzz;
mod geo;
mod index;
mod jp2;
mod layout;
mod lru;
mod options;
mod path;
mod process;
mod secret;
mod source;
mod tiff;
mod trace;
mod vsi;

pub use error::{Error, Result};
