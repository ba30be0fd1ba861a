//! Debug messages, for `CPL_DEBUG=VSITLM` in a GDAL program.
//!
//! The rooms below `vsi` know no GDAL: they hand messages to the sink that `vsi` installs.

use std::sync::OnceLock;

/// Where debug messages go.
pub(crate) struct Sink {
    /// Whether anybody reads them now.
    pub(crate) enabled: fn() -> bool,
    /// Takes one message.
    pub(crate) write: fn(&str),
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Installs the sink; the first one stays.
pub(crate) fn install(sink: Sink) {
    let _ = SINK.set(sink);
}

/// Writes the message that `make` makes, when somebody listens.
pub(crate) fn debug(make: impl FnOnce() -> String) {
    if let Some(sink) = SINK.get()
        && (sink.enabled)()
    {
        (sink.write)(&make());
    }
}
