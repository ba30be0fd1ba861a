//! The functions for programs, as include/vsitlm.h declares them.

use std::ffi::{CStr, OsString, c_char, c_int, c_void};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::ffi_stream::FFI_ArrowArrayStream;

use super::gdal::{borrow, cut, to_c};
use super::{loader, tell};
use crate::ask::{self, Asker};
use crate::decode::{Samples, Values};
use crate::error::Error;
use crate::vsi::asker::{Environment, Thread};
use crate::vsi::handler;
use crate::{cli, source};

/// GDAL's entry point for plugins: installs `/vsitlm/` in every libgdal of the process that does not have it yet.
/// GDAL calls it in every GDALAllRegister(); any number of calls is fine.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn GDALRegister_vsitlm() {
    let _ = catch_unwind(loader::install_everywhere).is_ok();
    tell::tell();
}

/// The entry point's other name, for hosts that look for it.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn GDALRegisterMe() {
    GDALRegister_vsitlm();
}

/// The plugin's version, such as "0.1.0": a static string.
#[unsafe(no_mangle)]
pub extern "C" fn vsitlm_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// How many reads have failed for good in this process.
#[unsafe(no_mangle)]
pub extern "C" fn vsitlm_read_errors() -> u64 {
    handler::read_errors().0
}

/// Copies the message of the last read that failed for good in this process, on whatever thread, into `buffer` of `size`
/// bytes, cut to fit where a character ends, and ended by NUL. Gives the message's length without the NUL; 0 where no read has failed.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_last_error(buffer: *mut c_char, size: usize) -> usize {
    let message = catch_unwind(|| handler::read_errors().1).unwrap_or_default();
    // SAFETY: promised by the caller.
    unsafe { hand_out(&message, buffer, size) }
}

/// Copies what this process has asked of each host, as JSON, into `buffer` of `size` bytes, cut to fit and ended by NUL.
/// Gives the text's length without the NUL.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_statistics(buffer: *mut c_char, size: usize) -> usize {
    let json = catch_unwind(source::statistics_json).unwrap_or_default();
    // SAFETY: promised by the caller.
    unsafe { hand_out(&json, buffer, size) }
}

/// Copies which libgdals were found and whether they are served, as JSON, into `buffer` of `size` bytes, cut to fit and
/// ended by NUL. Gives the text's length without the NUL.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_gdals(buffer: *mut c_char, size: usize) -> usize {
    let json = catch_unwind(loader::gdals_json).unwrap_or_default();
    // SAFETY: promised by the caller.
    unsafe { hand_out(&json, buffer, size) }
}

/// What a Rust program's exit code is that panics.
const PANICKED: c_int = 101;

/// The exit code for arguments that make no sense.
const NONSENSE: c_int = 2;

/// Runs the command line with `count` arguments, the program's name first, and gives its exit code: 2, and a message on
/// standard error, where one of them is null.
///
/// # Safety
/// `arguments` is null or has `count` pointers, each null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_command(count: c_int, arguments: *const *const c_char) -> c_int {
    let mut own: Vec<OsString> = Vec::new();
    for place in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: `arguments` is not null, and then has `count` pointers, as the caller promises.
        let argument = if arguments.is_null() { std::ptr::null() } else { unsafe { *arguments.add(place) } };
        if argument.is_null() {
            let _ = writeln!(std::io::stderr(), "vsitlm: argument {place} of {count} of vsitlm_command() is null");
            return NONSENSE;
        }
        // SAFETY: not null, so a C string, as the caller promises.
        let argument = unsafe { CStr::from_ptr(argument) };
        own.push(OsString::from_vec(argument.to_bytes().to_vec()));
    }
    catch_unwind(|| c_int::from(cli::exit_code(own))).unwrap_or(PANICKED)
}

/// `struct vsitlm_samples`: memory that the program has until it releases it.
#[repr(C)]
pub struct ProgramSamples {
    data: *mut c_void,
    size: usize,
    release: Option<unsafe extern "C" fn(*mut ProgramSamples)>,
    owner: *mut c_void,
}

impl ProgramSamples {
    fn new(samples: Samples) -> Self {
        let owner = Box::into_raw(Box::new(samples));
        // SAFETY: it was made just now, and nobody else has it.
        let (data, size) = match unsafe { &mut (*owner).values } {
            Values::I8(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::U8(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::U16(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::I16(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::U32(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::I32(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::U64(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::I64(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::F32(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
            Values::F64(values) => (values.as_mut_ptr().cast(), size_of_val(&values[..])),
        };
        Self { data, size, release: Some(release), owner: owner.cast() }
    }
}

/// Frees samples, once.
///
/// # Safety
/// `samples` is null or one that `answer` was called with, or a copy of it.
unsafe extern "C" fn release(samples: *mut ProgramSamples) {
    // SAFETY: promised by the caller.
    let Some(samples) = (unsafe { samples.as_mut() }) else { return };
    if samples.release.take().is_some() {
        // SAFETY: it was made by `ProgramSamples::new`, and is freed here alone.
        drop(unsafe { Box::from_raw(samples.owner.cast::<Samples>()) });
    }
}

/// `vsitlm_answer`.
type Answer = unsafe extern "C" fn(*mut c_void, *const c_char, *mut ProgramSamples);

/// Who is told an answer.
struct Told {
    answer: Answer,
    user: *mut c_void,
}

// SAFETY: the header says that `answer` is called on any thread, with `user`, which is the program's.
unsafe impl Send for Told {}

impl Told {
    fn tell(self, json: &str, samples: Option<Samples>) {
        let json = to_c(json);
        let mut samples = samples.map(ProgramSamples::new);
        let given = samples.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: a function of the program's, called as the header has it. It takes the samples over.
        unsafe { (self.answer)(self.user, json.as_ptr(), given) };
    }
}

/// Asks a question, in JSON; `answer` is called with `user` and the answer, in JSON. Gives the question's number, or 0
/// where `answer` is null.
///
/// # Safety
/// `question` is null or a C string; `answer` may be called with `user` on any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_ask(question: *const c_char, answer: Option<Answer>, user: *mut c_void) -> u64 {
    let Some(answer) = answer else { return 0 };
    // SAFETY: promised by the caller.
    let question = unsafe { borrow(question) }.unwrap_or_default();
    let told = Told { answer, user };
    let ask = || ask::ask(question, asker(), Box::new(move |json, samples| told.tell(&json, samples)));
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or(0)
}

/// The calling thread, as the one who asks.
fn asker() -> Arc<dyn Asker> {
    match loader::first_host() {
        Some(gdal) => Arc::new(Thread::of(gdal)),
        None => Arc::new(Environment),
    }
}

/// Ends a question. 1: `answer` is never called; 0: it was or will be called, or there is no such question.
#[unsafe(no_mangle)]
pub extern "C" fn vsitlm_cancel(question: u64) -> c_int {
    catch_unwind(|| ask::cancel(question)).map_or(0, c_int::from)
}

/// Decodes a JP2 or a bare codestream of `size` bytes at `data`; `wanted` is JSON. `answer` is called with `user` before the
/// function returns.
///
/// # Safety
/// `data` is null or has `size` bytes; `wanted` is null or a C string; `answer` may be called with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_decode(
    data: *const c_void,
    size: usize,
    wanted: *const c_char,
    answer: Option<Answer>,
    user: *mut c_void,
) {
    let Some(answer) = answer else { return };
    // SAFETY: promised by the caller.
    let wanted = unsafe { borrow(wanted) }.unwrap_or_default();
    // SAFETY: as above.
    let data = if data.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) } };
    let panicked = || Error::read("decoding ended by a panic, which is an error of this program: report it");
    let decoded = catch_unwind(|| ask::decode(data, wanted));
    let (json, samples) = decoded.unwrap_or_else(|_| (ask::error_json(panicked()), None));
    Told { answer, user }.tell(&json, samples);
}

/// Makes `stream` one of the rows of the indexes that `index` names, separated by `;`, read with `options`, a JSON object.
/// Gives 0, or the length of the error, which is copied into `buffer` of `size` bytes as JSON, cut to fit and ended by NUL.
///
/// # Safety
/// `index` and `options` are C strings or null. `stream` is null or has room for a `struct ArrowArrayStream`, of which nothing is read.
/// `buffer` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vsitlm_index_rows(
    index: *const c_char,
    options: *const c_char,
    stream: *mut FFI_ArrowArrayStream,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: promised by the caller.
    let (index, options) = unsafe { (borrow(index).unwrap_or_default(), borrow(options).unwrap_or_default()) };
    let panicked = || Error::read("the index was opened with a panic, which is an error of this program: report it");
    let rows =
        catch_unwind(AssertUnwindSafe(|| ask::table(index, options, asker()))).unwrap_or_else(|_| Err(panicked()));
    match rows {
        Ok(rows) if !stream.is_null() => {
            // SAFETY: the caller promises room for it. What was there is not dropped, since it may be anything.
            unsafe { stream.write(FFI_ArrowArrayStream::new(Box::new(rows))) };
            0
        }
        // SAFETY: promised by the caller.
        Ok(_) => unsafe { hand_out(&ask::error_json(Error::read("there is no room for the stream")), buffer, size) },
        // SAFETY: as above.
        Err(error) => unsafe { hand_out(&ask::error_json(error), buffer, size) },
    }
}

/// Copies `text` into `buffer` of `size` bytes, cut to fit where a character ends and ended by NUL, and gives its whole
/// length. NULs within it, which would end it for the program, are replaced.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes.
pub(super) unsafe fn hand_out(text: &str, buffer: *mut c_char, size: usize) -> usize {
    let text = to_c(text);
    let text = text.to_str().unwrap_or_default();
    if !buffer.is_null() && size > 0 {
        let kept = cut(text, size - 1);
        // SAFETY: the caller promises room for `size` bytes, of which at most `size - 1` are copied, and a NUL is added.
        unsafe {
            std::ptr::copy_nonoverlapping(kept.as_ptr(), buffer.cast(), kept.len());
            *buffer.add(kept.len()) = 0;
        }
    }
    text.len()
}
