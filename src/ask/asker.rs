//! Who asks.

use crate::source::Caller;

/// Who asks: the options that held on the thread that has asked, and GDAL's own file systems where there is GDAL.
pub(crate) trait Asker: Send + Sync {
    /// Runs `work` once on this thread, for that caller; `options`, those of the question, go before its own. Its warnings
    /// go to `warn`, since no program listens on this thread.
    fn with(&self, options: &[(String, String)], warn: &(dyn Fn(&str) + Sync), work: &mut dyn FnMut(&Caller<'_>));
}
