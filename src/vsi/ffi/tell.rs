//! What a callback has to say is said when it is over.
//!
//! The host's handler of errors may be Python's, which takes the interpreter's lock. While Python ends, it ends the thread
//! that asks for the lock by pthread_exit(), which unwinds the stack: a frame that catches panics, or one of the ABI "C",
//! would abort the process on the way. So errors and messages wait until the callback's own frames are gone, and are told
//! from frames of the ABI "C-unwind" that hold nothing to be dropped, on the host's thread, on no other.
//!
//! What GDAL's own file systems say of a file that is read through them is kept from the program's handler. Not so what
//! the writing of another dataset's blocks says (`Host::forget_blocks`).

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::gdal::{errno, message_for_c, set_errno};
use super::waiting::{self, Raise};
use crate::process::lock;
use crate::trace;

thread_local! {
    /// How many callbacks run on this thread, one within the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether the process ends, so that the interpreter may be gone whose handler of errors it is: nothing is told any more.
static ENDS: AtomicBool = AtomicBool::new(false);

/// CPLDebug() of a libgdal.
type Debug = unsafe extern "C-unwind" fn(*const c_char, *const c_char, ...);

/// That of every libgdal that is served.
static LISTENERS: Mutex<Vec<Debug>> = Mutex::new(Vec::new());

/// Messages go to this libgdal too.
pub(super) fn listen(debug: Debug) {
    lock(&LISTENERS).push(debug);
}

/// The one at this place. A fork while another thread was at the list leaves the child a lock that nobody opens: then its
/// messages go nowhere.
fn listener(place: usize) -> Option<Debug> {
    LISTENERS.try_lock().ok()?.get(place).copied()
}

/// The process ends.
pub(super) fn end() {
    ENDS.store(true, Ordering::Relaxed);
}

/// A callback that runs on this thread, for as long as the value lives.
pub(super) struct Running(());

impl Running {
    pub(super) fn new() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Raises this thread's errors, and tells every libgdal the messages of all threads: each decides for itself whether its
/// CPL_DEBUG wants them. Nothing is told within another callback. Leaves errno as it was.
///
/// No value that must be dropped lives while the host's functions run: texts are its until they come back.
pub(super) extern "C-unwind" fn tell() {
    if DEPTH.get() > 0 || ENDS.load(Ordering::Relaxed) {
        return;
    }
    let number = errno();
    while let Some((raise, class, error, message)) = next_error() {
        // SAFETY: the format is "%s", with one C string: a message is never a format.
        unsafe { raise(class, error, c"%s".as_ptr(), message) };
        free(message);
    }
    while let Some(message) = next_message() {
        let mut place = 0;
        while let Some(debug) = listener(place) {
            // SAFETY: as above.
            unsafe { debug(c"VSITLM".as_ptr(), c"%s".as_ptr(), message) };
            place += 1;
        }
        free(message);
    }
    set_errno(number);
}

/// An error as the host takes it, its text to be freed.
type Raised = (Raise, c_int, c_int, *mut c_char);

fn next_error() -> Option<Raised> {
    let next = waiting::take()?;
    Some((next.raise, next.class, next.number, next.message.into_raw()))
}

fn next_message() -> Option<*mut c_char> {
    trace::take().map(|message| message_for_c(&message).into_raw())
}

fn free(text: *mut c_char) {
    // SAFETY: what `next_error` or `next_message` made of a CString.
    drop(unsafe { CString::from_raw(text) });
}

/// Tells, but only where nothing can unwind: on the process's first thread, which is the one that ends Python. A file is
/// closed by destructors too, which C++ lets nothing unwind through. What other threads have to say then waits for the
/// next callback.
pub(super) extern "C-unwind" fn tell_at_close() {
    // By its number: glibc has the function since 2.30.
    // SAFETY: no arguments, no preconditions.
    if unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) } {
        tell();
    }
}
