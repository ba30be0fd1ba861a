//! Questions to the core: their answers come on its threads, which take the GIL to hand them on.
//!
//! A thread that asks for the GIL of an interpreter that is being torn down is ended by it, or hangs. So answers are
//! handed on only between [`enter`] and [`leave`], and [`close`], which runs before the interpreter goes, lets nobody in
//! any more and waits for those inside.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::core;
use crate::samples::{CoreSamples, Samples};

/// How often a thread that waits looks whether the user has pressed Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A question whose answer is not there yet.
struct Pending {
    callback: Py<PyAny>,
    /// The core's number of it, once it has given one.
    question: Option<u64>,
}

/// By our own number, which the core carries as `user`. Locked only by threads that hold the GIL and keep it: so it is
/// open in every child of a fork.
static PENDING: Mutex<Option<HashMap<usize, Pending>>> = Mutex::new(None);

fn pending<T>(_py: Python<'_>, body: impl FnOnce(&mut HashMap<usize, Pending>) -> T) -> T {
    body(lock(&PENDING).get_or_insert_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Threads that are handing on an answer: their number in the lower half, in the upper one the process's, since a child
/// of a fork inherits the number and not the threads.
static INSIDE: AtomicU64 = AtomicU64::new(0);

/// How many of this process are inside.
fn inside(state: u64) -> u64 {
    if state >> 32 == u64::from(std::process::id()) { state & 0xFFFF_FFFF } else { 0 }
}

fn count(change: impl Fn(u64) -> u64) {
    let changed = |state| Some(u64::from(std::process::id()) << 32 | change(inside(state)));
    let _ = INSIDE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, changed);
}

/// Whether an answer may be handed on; then [`leave`] follows.
fn enter() -> bool {
    count(|inside| inside + 1);
    let open = !CLOSED.load(Ordering::SeqCst);
    if !open {
        leave();
    }
    open
}

fn leave() {
    count(|inside| inside.saturating_sub(1));
}

/// Lets no answer through any more. To be called before the interpreter goes (atexit).
#[pyfunction]
pub(crate) fn close(py: Python<'_>) {
    CLOSED.store(true, Ordering::SeqCst);
    py.detach(|| {
        while inside(INSIDE.load(Ordering::SeqCst)) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// What the core gives where it can ask nothing.
const NONE: u64 = 0;

fn failed() -> PyErr {
    PyRuntimeError::new_err("the plugin has met a bug and cannot answer this question; please report it")
}

fn to_c(question: &str) -> PyResult<CString> {
    CString::new(question).map_err(|_| PyValueError::new_err("a question holds a NUL character"))
}

/// Asks a question. `callback` gets the answer and the samples that came with it, or None, on whatever thread; what it
/// raises is printed.
#[pyfunction]
pub(crate) fn ask(py: Python<'_>, question: &str, callback: Py<PyAny>) -> PyResult<usize> {
    static NEXT: Mutex<usize> = Mutex::new(1);
    let (core, question) = (core::loaded()?, to_c(question)?);
    let number = {
        let mut next = lock(&NEXT);
        *next += 1;
        *next
    };
    pending(py, |pending| pending.insert(number, Pending { callback, question: None }));
    // SAFETY: the number is no pointer, and `on_answer` looks it up.
    let asked = py.detach(|| unsafe { core.ask(&question, on_answer, std::ptr::without_provenance_mut(number)) });
    let asked = asked.and_then(|asked| if asked == NONE { Err(failed()) } else { Ok(asked) });
    let dropped = pending(py, |pending| match &asked {
        Ok(asked) => {
            if let Some(pending) = pending.get_mut(&number) {
                pending.question = Some(*asked);
            }
            None
        }
        Err(_) => pending.remove(&number),
    });
    drop(dropped);
    asked.map(|_| number)
}

/// Ends a question: whether its callback is never called, or else was or will be.
#[pyfunction]
pub(crate) fn cancel(py: Python<'_>, number: usize) -> PyResult<bool> {
    let Some(question) = pending(py, |pending| pending.get(&number).and_then(|pending| pending.question)) else {
        return Ok(false);
    };
    let core = core::loaded()?;
    let ended = py.detach(|| core.cancel(question))?;
    if ended {
        drop(pending(py, |pending| pending.remove(&number)));
    }
    Ok(ended)
}

/// Hands an answer to the callback of its question.
unsafe extern "C" fn on_answer(user: *mut c_void, json: *const c_char, samples: *mut CoreSamples) {
    // SAFETY: what the core calls with.
    let samples = unsafe { CoreSamples::take(samples) };
    if !enter() {
        return;
    }
    Python::try_attach(|py| {
        let Some(Pending { callback, .. }) = pending(py, |pending| pending.remove(&user.addr())) else { return };
        // SAFETY: the core gives a C string that lives until this function returns.
        let json = unsafe { CStr::from_ptr(json) }.to_string_lossy();
        if let Err(error) = callback.call1(py, (&*json, samples.map(Samples))) {
            error.write_unraisable(py, Some(callback.bind(py)));
        }
    });
    leave();
}

/// An answer, and the samples that came with it.
type Answered = (String, Option<CoreSamples>);

/// An answer that a thread waits for.
#[derive(Default)]
struct Awaited {
    answer: Mutex<Option<Answered>>,
    came: Condvar,
}

/// Asks a question and waits for its answer, and the samples that come with it, without the GIL. Ctrl-C ends the question.
#[pyfunction]
pub(crate) fn ask_and_wait(py: Python<'_>, question: &str) -> PyResult<(String, Option<Samples>)> {
    let (core, question) = (core::loaded()?, to_c(question)?);
    let awaited = Arc::new(Awaited::default());
    // The address of a reference that `on_awaited`, which is called once, takes over.
    let user = Arc::into_raw(Arc::clone(&awaited)).expose_provenance();
    // SAFETY: as above.
    let asked = py.detach(|| unsafe { core.ask(&question, on_awaited, std::ptr::with_exposed_provenance_mut(user)) });
    let release = || {
        // SAFETY: called only where `on_awaited` never is.
        drop(unsafe { Arc::<Awaited>::from_raw(std::ptr::with_exposed_provenance(user)) });
    };
    let number = asked.inspect_err(|_| release())?;
    if number == NONE {
        return Err(failed());
    }
    loop {
        let came = py.detach(|| {
            let answer = lock(&awaited.answer);
            let waited = awaited.came.wait_timeout_while(answer, LOOK_EVERY, |answer| answer.is_none());
            waited.unwrap_or_else(PoisonError::into_inner).0.take()
        });
        if let Some((answer, samples)) = came {
            return Ok((answer, samples.map(Samples)));
        }
        if let Err(interrupted) = py.check_signals() {
            if py.detach(|| core.cancel(number))? {
                release();
            }
            return Err(interrupted);
        }
    }
}

/// Hands an answer to the thread that waits for it.
unsafe extern "C" fn on_awaited(user: *mut c_void, json: *const c_char, samples: *mut CoreSamples) {
    // SAFETY: `user` is the reference that `ask_and_wait` gave away, and the rest what the core calls with.
    let (awaited, json, samples) =
        unsafe { (Arc::from_raw(user.cast::<Awaited>()), CStr::from_ptr(json), CoreSamples::take(samples)) };
    *lock(&awaited.answer) = Some((json.to_string_lossy().into_owned(), samples));
    awaited.came.notify_all();
}
