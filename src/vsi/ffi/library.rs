//! A library of the process.

use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

/// A library that the process has loaded. It stays loaded, unless it is closed.
pub(super) struct Library(NonNull<c_void>);

impl Library {
    /// The object of this name, where the process has loaded it; null names the program itself. Runs no code of it.
    ///
    /// # Safety
    /// `name` is null or a C string.
    pub(super) unsafe fn open(name: *const c_char) -> Option<Self> {
        // SAFETY: the name is as the caller promises, and RTLD_NOLOAD runs no code of the library.
        NonNull::new(unsafe { libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD) }).map(Self)
    }

    /// A symbol of the library or of one that it depends on. `name` ends with NUL.
    pub(super) fn symbol(&self, name: &'static str) -> Option<NonNull<c_void>> {
        // SAFETY: the handle is open, and the name ends with NUL.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr().cast()) })
    }

    /// Gives the handle back.
    pub(super) fn close(self) {
        // SAFETY: the handle was opened by `open`, and nothing of it is kept.
        unsafe { libc::dlclose(self.0.as_ptr()) };
    }
}
