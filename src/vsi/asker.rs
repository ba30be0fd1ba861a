//! Who asks a question: the options of the thread that does, and GDAL's own file systems.

use std::ffi::CString;

use super::handler::{Files, Host};
use super::host_source::ThreadOptions;
use crate::ask::Asker;
use crate::file::Get;
use crate::source::HostFiles;

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
    fn with(&self, options: &[(String, String)], work: &mut dyn FnMut(&Get<'_>, Option<&dyn HostFiles>)) {
        let own = options.iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok());
        let options: ThreadOptions = own.chain(self.options.iter().cloned()).collect();
        let host = self.host;
        let get = |path: &str, name: &str| host.option(path, name);
        host.with_thread_options(&options, &mut || work(&get, Some(&Files(host))));
    }
}

/// A process without GDAL: options are those of the environment, as for the command line.
pub(super) struct Environment;

impl Asker for Environment {
    fn with(&self, _: &[(String, String)], work: &mut dyn FnMut(&Get<'_>, Option<&dyn HostFiles>)) {
        work(&|_, name| std::env::var(name).ok(), None);
    }
}
