//! Results go to standard output, complaints to standard error.

use std::io::Write;

use serde::Serialize;

/// Prints to standard output. Whoever closes the pipe (`| head`) has read enough: no error, and no panic.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// Prints a value as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) {
    print(&serde_json::to_string(value).unwrap_or_default());
}

/// Prints a value as JSON for people.
pub(super) fn print_pretty_json(value: &impl Serialize) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints to standard error.
pub(super) fn complain(text: &str) {
    // In one piece, so that the lines of two threads or processes do not mix.
    let _ = std::io::stderr().lock().write_all(format!("vsitlm: {text}\n").as_bytes());
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
