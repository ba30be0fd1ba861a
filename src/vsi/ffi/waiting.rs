//! The errors of a callback, until it is over: see `tell`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CString, c_char, c_int};

/// CPLError() of a libgdal.
pub(super) type Raise = unsafe extern "C-unwind" fn(c_int, c_int, *const c_char, ...);

/// An error or warning that waits.
pub(super) struct Waiting {
    pub(super) raise: Raise,
    pub(super) class: c_int,
    pub(super) number: c_int,
    pub(super) message: CString,
}

thread_local! {
    /// The errors of this thread's callback.
    static ERRORS: RefCell<VecDeque<Waiting>> = const { RefCell::new(VecDeque::new()) };
}

/// Keeps an error or warning of this thread's.
pub(super) fn keep(raise: Raise, class: c_int, number: c_int, message: CString) {
    ERRORS.with_borrow_mut(|errors| errors.push_back(Waiting { raise, class, number, message }));
}

/// The earliest of this thread's.
pub(super) fn take() -> Option<Waiting> {
    ERRORS.with_borrow_mut(VecDeque::pop_front)
}
