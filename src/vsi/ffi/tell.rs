//! What a callback has to say is said when it is over.
//!
//! The host's handler of errors may be Python's, which takes the interpreter's lock. While Python ends, it ends the thread
//! that asks for the lock by pthread_exit(), which unwinds the stack: a frame that catches panics, or one of the ABI "C",
//! would abort the process on the way. So errors and messages wait until the callback's own frames are gone, and are told
//! from frames of the ABI "C-unwind" that hold nothing to be dropped, on the host's thread, on no other.
//!
//! What GDAL's own file systems say of a file that is read through them is kept from the program's handler. Not so what
//! the writing of another dataset's blocks says (`Host::forget_blocks`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::{CString, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

use super::gdal::{Functions, cut, errno, set_errno, to_c};
use super::loader;
use crate::trace;

/// An error or warning that waits.
struct Waiting {
    raise: unsafe extern "C-unwind" fn(c_int, c_int, *const c_char, ...),
    class: c_int,
    number: c_int,
    message: CString,
}

thread_local! {
    /// The errors of this thread's callback.
    static ERRORS: RefCell<VecDeque<Waiting>> = const { RefCell::new(VecDeque::new()) };
    /// How many callbacks run on this thread, one within the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether the process ends, so that the interpreter may be gone whose handler of errors it is: nothing is told any more.
static ENDS: AtomicBool = AtomicBool::new(false);

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

/// The most bytes of a message: GDAL cuts longer ones itself, wherever that is in a character. CPLDebug() has room for
/// 25,000 with what it puts before them; a handler of errors that decodes UTF-8 must not meet half a character.
const MOST_BYTES: usize = 20_000;

/// A message for the host.
fn message_for_c(text: &str) -> CString {
    to_c(cut(text, MOST_BYTES))
}

/// Keeps an error or warning of this thread's.
pub(super) fn keep(functions: &Functions, class: c_int, number: c_int, message: &str) {
    let waiting = Waiting { raise: functions.error, class, number, message: message_for_c(message) };
    ERRORS.with_borrow_mut(|errors| errors.push_back(waiting));
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
        while let Some(gdal) = loader::host(place) {
            // SAFETY: as above.
            unsafe { (gdal.functions.debug)(c"VSITLM".as_ptr(), c"%s".as_ptr(), message) };
            place += 1;
        }
        free(message);
    }
    set_errno(number);
}

/// An error as the host takes it, its text to be freed.
type Raised = (unsafe extern "C-unwind" fn(c_int, c_int, *const c_char, ...), c_int, c_int, *mut c_char);

fn next_error() -> Option<Raised> {
    let next = ERRORS.with_borrow_mut(VecDeque::pop_front)?;
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
