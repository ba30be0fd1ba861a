//! GDAL's virtual file system interface: `handler` answers the callbacks in safe code, `ffi` is the boundary itself,
//! `host` is what it needs of a libgdal, `asker` is who asks a question, `host_source` reads through GDAL's own file
//! systems, `hidden_failures` makes failures of GDAL's threads seen, `filter` decodes chunks for its Zarr driver, `end` is
//! the end of the process.

mod asker;
mod end;
mod ffi;
mod filter;
mod handler;
mod hidden_failures;
mod host;
mod host_source;
