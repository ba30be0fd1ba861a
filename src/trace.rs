//! Debug messages, for `CPL_DEBUG=VSITLM` in a GDAL program.
//!
//! The rooms below `vsi` know no GDAL: they hand messages to the sink that `vsi` installs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes one message.
type Sink = fn(&str);

static SINK: OnceLock<Sink> = OnceLock::new();

/// Whether anybody reads the messages. Asked on the host's threads when they open a file: threads of this program that
/// fetch ahead may outlive the host's readiness to answer, when the process ends.
static LISTENS: AtomicBool = AtomicBool::new(false);

/// Installs the sink; the first one stays.
pub(crate) fn install(sink: Sink) {
    let _ = SINK.set(sink);
}

/// Takes note of whether anybody reads the messages from now on.
pub(crate) fn listen(listens: bool) {
    LISTENS.store(listens, Ordering::Relaxed);
}

/// Writes the message that `make` makes, when somebody listens.
pub(crate) fn debug(make: impl FnOnce() -> String) {
    if LISTENS.load(Ordering::Relaxed)
        && let Some(sink) = SINK.get()
    {
        sink(&make());
    }
}
