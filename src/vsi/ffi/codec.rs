//! The filter of GDAL's Zarr driver, as GDAL knows it: a compressor and a decompressor of one name (`cpl_compressor.h`, since
//! GDAL 3.4). The driver opens no array of a filter that lacks one of them.

use std::ffi::{c_char, c_int, c_void};
use std::mem::transmute_copy;

use super::gdal::{Gdal, borrow};
use super::guard;
use super::library::Library;
use crate::error::Error;
use crate::options;
use crate::vsi::filter::Chunk;
use crate::vsi::host::{Host, Severity};

/// `CPLCompressionFunc`.
type Function = unsafe extern "C-unwind" fn(
    *const c_void,
    usize,
    *mut *mut c_void,
    *mut usize,
    *const *const c_char,
    *mut c_void,
) -> bool;

/// `CPLCompressor` of version 1.
#[repr(C)]
pub(super) struct Compressor {
    version: c_int,
    id: *const c_char,
    kind: c_int,
    metadata: *const *const c_char,
    pub(super) function: Option<Function>,
    pub(super) user_data: *mut c_void,
}

/// `CCT_FILTER`.
const FILTER: c_int = 1;

/// Makes the filter known to a libgdal that has filters, found by `library`.
pub(super) fn register(library: &Library, gdal: &'static Gdal) {
    type Register = unsafe extern "C" fn(*const Compressor) -> bool;
    let both = library.symbol("CPLRegisterCompressor\0").zip(library.symbol("CPLRegisterDecompressor\0"));
    let Some((compressor, decompressor)) = both else { return };
    for (symbol, function) in [(compressor, on_compress as Function), (decompressor, on_decompress as Function)] {
        // SAFETY: as in `Functions::resolve`.
        let register: Register = unsafe { transmute_copy(&symbol) };
        let filter = Compressor {
            version: 1,
            id: c"vsitlm.jp2_tile".as_ptr(),
            kind: FILTER,
            metadata: std::ptr::null(),
            function: Some(function),
            user_data: (&raw const *gdal).cast_mut().cast(),
        };
        // SAFETY: a struct of the version that it tells; the host copies it, and the function and `gdal` stay.
        unsafe { register(&raw const filter) };
    }
}

/// The libgdal behind a filter's user data.
///
/// # Safety
/// `user_data` is what [`register`] put there.
unsafe fn gdal(user_data: *mut c_void) -> &'static Gdal {
    // SAFETY: promised by the caller; it lives as long as the process.
    unsafe { &*user_data.cast::<Gdal>() }
}

fn refuse(gdal: &'static Gdal, what: &str) -> bool {
    gdal.report(&format!("vsitlm.jp2_tile: {what}"), Severity::ReadFailed);
    false
}

unsafe extern "C-unwind" fn on_compress(
    _: *const c_void,
    _: usize,
    _: *mut *mut c_void,
    _: *mut usize,
    _: *const *const c_char,
    user_data: *mut c_void,
) -> bool {
    // SAFETY: the host passes what `register` gave.
    let gdal = unsafe { gdal(user_data) };
    guard(gdal, false, || refuse(gdal, "it does not encode"))
}

/// Where the samples go: see `CPLCompressionFunc`.
enum Output<'a> {
    /// To a buffer of the host's.
    Buffer(&'a mut [u8]),
    /// To one that is allocated for the host.
    Allocated(&'a mut *mut c_void),
    /// Only their size is asked for.
    Nowhere,
}

unsafe extern "C-unwind" fn on_decompress(
    input: *const c_void,
    input_size: usize,
    output: *mut *mut c_void,
    output_size: *mut usize,
    options: *const *const c_char,
    user_data: *mut c_void,
) -> bool {
    // SAFETY: the host passes what `register` gave.
    let gdal = unsafe { gdal(user_data) };
    guard(gdal, false, || {
        let is_slice = |size: usize| isize::try_from(size).is_ok();
        if output_size.is_null() || (input.is_null() && input_size > 0) || !is_slice(input_size) {
            return refuse(gdal, "it is called without an input or an output");
        }
        // SAFETY: the host passes `input_size` bytes, and a list of C strings that ends in null, or null.
        let (parts, options) = unsafe {
            let parts = if input.is_null() { &[] } else { std::slice::from_raw_parts(input.cast::<u8>(), input_size) };
            (parts, strings(options))
        };
        // SAFETY: not null, so the host's, as what `output` points to is; the buffer has `size` bytes, which are only written.
        let (size, output) = unsafe {
            let size = &mut *output_size;
            let output = match output.as_mut() {
                None => Output::Nowhere,
                Some(buffer) if buffer.is_null() => Output::Allocated(buffer),
                Some(buffer) if *size > 0 && is_slice(*size) => {
                    Output::Buffer(std::slice::from_raw_parts_mut(buffer.cast::<u8>(), *size))
                }
                Some(_) => return refuse(gdal, "it is called with a buffer of no size"),
            };
            (size, output)
        };
        // What is not known is 0.
        *size = 0;
        match decompress(gdal, parts, &options, output, size) {
            Ok(()) => true,
            Err(error) => refuse(gdal, &error.chain()),
        }
    })
}

/// The texts of a list.
///
/// # Safety
/// `list` is null, or a list of C strings that ends in null and lives as long as the result.
unsafe fn strings<'a>(list: *const *const c_char) -> Vec<&'a str> {
    let mut strings = Vec::new();
    let mut at = list;
    // SAFETY: promised by the caller.
    unsafe {
        while !at.is_null() && !(*at).is_null() {
            strings.extend(borrow(*at));
            at = at.add(1);
        }
    }
    strings
}

/// Decodes a chunk to `output`; `size` becomes that of the samples once it is known.
fn decompress(gdal: &Gdal, parts: &[u8], options: &[&str], output: Output<'_>, size: &mut usize) -> Result<(), Error> {
    let chunk = Chunk::new(options.iter().copied(), parts)?;
    let (tile, bytes) = chunk.tile()?;
    *size = bytes;
    let threads = options::threads(&|name| gdal.option(name))?;
    match output {
        Output::Nowhere => Ok(()),
        Output::Buffer(buffer) => match buffer.get_mut(..bytes) {
            Some(buffer) => tile.decode(threads, buffer),
            None => Err(Error::read(format!("a tile of {bytes} bytes, there is room for fewer"))),
        },
        Output::Allocated(place) => {
            // SAFETY: any numbers are allowed.
            let allocated = unsafe { (gdal.functions.calloc)(bytes, 1) };
            if allocated.is_null() {
                return Err(Error::read(format!("no memory for {bytes} bytes")));
            }
            // SAFETY: as many bytes were just allocated, all of them 0.
            let buffer = unsafe { std::slice::from_raw_parts_mut(allocated.cast::<u8>(), bytes) };
            let outcome = tile.decode(threads, buffer);
            match outcome {
                Ok(()) => *place = allocated,
                // SAFETY: allocated above, and kept nowhere.
                Err(_) => unsafe { (gdal.functions.free)(allocated) },
            }
            outcome
        }
    }
}
