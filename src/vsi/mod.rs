//! GDAL's virtual file system interface: `handler` answers the callbacks in safe code, `ffi` is the boundary itself,
//! `asker` is who asks a question, `host_source` reads through GDAL's own file systems, `workers` sees to it that no thread of GDAL's fails in silence,
//! `end` is the end of the process.

mod asker;
mod end;
mod ffi;
mod handler;
mod hidden_failures;
mod host_source;
