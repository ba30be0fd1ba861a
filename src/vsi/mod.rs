//! GDAL's virtual file system interface: `handler` answers the callbacks in safe code, `ffi` is the boundary itself,
//! `host_source` reads through GDAL's own file systems.

mod ffi;
mod handler;
mod host_source;
