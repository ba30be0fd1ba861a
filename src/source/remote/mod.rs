//! HTTP and the object stores: `target` makes object_stores from options, `http` sends what `call` asks for, `response`
//! checks the answer against it; `file` is an open file, `list` whole objects, `netrc` the hosts that GDAL has a password
//! for.

pub(super) mod call;
pub(super) mod file;
pub(super) mod http;
pub(super) mod list;
pub(super) mod netrc;
pub(super) mod response;
pub(super) mod target;

pub(crate) use list::{list, put, read_whole};
