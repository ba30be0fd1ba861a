//! Who asks a question: the options of the thread that does, and GDAL's own file systems.

use std::ffi::CString;

use super::handler::Files;
use super::host::{Host, ThreadOptions};
use crate::ask::Asker;
use crate::source::Caller;

/// A thread in a process with a libgdal that is served. The question is answered on other threads, and perhaps when the
/// options are others, so all that are set now are taken along.
pub(super) struct Thread {
    host: &'static dyn Host,
    options: ThreadOptions,
}

impl Thread {
    /// This one.
    pub(super) fn of(host: &'static dyn Host) -> Self {
        // The first of a name counts.
        let mut options = host.thread_options();
        options.extend(host.process_options());
        Self { host, options }
    }
}

impl Asker for Thread {
    fn with(&self, options: &[(String, String)], warn: &(dyn Fn(&str) + Sync), work: &mut dyn FnMut(&Caller<'_>)) {
        let own = options.iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok());
        let thread: ThreadOptions = own.chain(self.options.iter().cloned()).collect();
        let host = self.host;
        let get = |path: &str, name: &str| option(options, name).or_else(|| host.option(path, name));
        host.with_thread_options(&thread, &mut || {
            work(&Caller::new(&get).with_files(&Files(host)).with_warn(warn));
        });
    }
}

/// A process without GDAL: options are those of the environment, as for the command line.
pub(super) struct Environment;

impl Asker for Environment {
    fn with(&self, options: &[(String, String)], warn: &(dyn Fn(&str) + Sync), work: &mut dyn FnMut(&Caller<'_>)) {
        let get = |_: &str, name: &str| option(options, name).or_else(|| std::env::var(name).ok());
        work(&Caller::new(&get).with_warn(warn));
    }
}

/// The value of an option of a question: it goes before one that is set for a path.
fn option(options: &[(String, String)], name: &str) -> Option<String> {
    options.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}
