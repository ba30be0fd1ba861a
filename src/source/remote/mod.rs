//! HTTP and the object stores.
//!
//! | file | what |
//! |---|---|
//! | `file` | one open file |
//! | `list` | whole objects: what lies below a prefix, and writing one |
//! | `ask` | asks until the answer is there, or another try does not help |
//! | `http` | one try: waits for its turn, sends, follows redirects |
//! | `target` | where a file lies and how it is asked for: makes and signs requests |
//! | `response` | checks the answer against what was asked for |
//! | `call` | what is asked for, and what came of it |
//! | `clients` | the HTTP clients of a process |
//! | `remembered` | what a process remembers of files besides their bytes |
//! | `netrc` | which hosts GDAL has a password for |
//!
//! Of object_store the authorizers are used, not the stores. A store would decide by the status alone what is tried again,
//! would not check an answer's length, and would sign a request before it waits for its turn.

mod ask;
mod call;
mod clients;
mod file;
mod http;
mod list;
mod netrc;
mod remembered;
mod response;
mod target;

pub(crate) use file::Remote;
pub(crate) use list::{Listed, list, put};
pub(crate) use target::{Target, native, suffice};
