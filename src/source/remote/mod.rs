//! HTTP and the object stores.
//!
//! | file | what |
//! |---|---|
//! | `file` | one open file |
//! | `list` | whole objects: what lies below a prefix, and writing one |
//! | `target` | where a file lies and how it is asked for: makes object_stores from options |
//! | `http` | sends what `call` asks for |
//! | `response` | checks the answer against it |
//! | `clients` | the HTTP clients of a process |
//! | `remembered` | what a process remembers of files besides their bytes |
//! | `netrc` | which hosts GDAL has a password for |
//! | `shown` | what may be shown of URLs and errors |

mod call;
mod clients;
mod file;
mod http;
mod list;
mod netrc;
mod remembered;
mod response;
mod shown;
mod target;

pub(crate) use file::Remote;
pub(crate) use list::{Listed, list, put};
pub(crate) use target::{Target, native, suffice};
