//! The raw callbacks, called as a host would, on a host made here; and the mirror of `cpl_vsi.h` against gdal-sys.

use std::cell::{Cell, RefCell};
use std::mem::{offset_of, size_of};

use super::exports::vsitlm_last_error;
use super::gdal::{Callbacks, Functions};
use super::*;
use crate::jp2::made;
use std::ffi::CString;

thread_local! {
    /// What the fake host was told: messages with their class, and the callbacks that were installed.
    static MESSAGES: RefCell<Vec<(c_int, String)>> = const { RefCell::new(Vec::new()) };
    static INSTALLED: RefCell<Vec<(String, [u8; STRUCT], usize)>> = const { RefCell::new(Vec::new()) };
    static ALLOCATED: RefCell<usize> = const { RefCell::new(STRUCT) };
    /// Whether VSITLM_OVERVIEWS=NO.
    static NO_OVERVIEWS: Cell<bool> = const { Cell::new(false) };
    /// Blocks in the fake host's cache that nobody has locked.
    static BLOCKS: Cell<u32> = const { Cell::new(0) };
    /// The limit of that cache, in bytes.
    static CACHE_MAX: Cell<i64> = const { Cell::new(1000) };
    /// This thread's configuration options.
    static OPTIONS: RefCell<Vec<CString>> = const { RefCell::new(Vec::new()) };
}

const STRUCT: usize = size_of::<Callbacks>();
/// What stands behind a host's shorter struct, and must stay.
const CANARY: u8 = 0xA5;

unsafe extern "C" fn fake_alloc() -> *mut Callbacks {
    let mut bytes = Box::new([0u64; STRUCT / 8]);
    let size = ALLOCATED.with_borrow(|size| *size);
    // SAFETY: the bytes behind the host's size, inside the box.
    unsafe { bytes.as_mut_ptr().cast::<u8>().add(size).write_bytes(CANARY, STRUCT - size) };
    Box::into_raw(bytes).cast()
}

unsafe extern "C" fn fake_free(callbacks: *mut Callbacks) {
    // SAFETY: what `fake_alloc` gave.
    drop(unsafe { Box::from_raw(callbacks.cast::<[u64; STRUCT / 8]>()) });
}

unsafe extern "C" fn fake_install(prefix: *const c_char, callbacks: *const Callbacks) -> c_int {
    // SAFETY: a C string, and the struct of `fake_alloc`.
    let (prefix, bytes) = unsafe { (borrow(prefix).unwrap().to_owned(), callbacks.cast::<[u8; STRUCT]>().read()) };
    INSTALLED.with_borrow_mut(|installed| installed.push((prefix, bytes, ALLOCATED.with_borrow(|size| *size))));
    0
}

/// CPLError as it is called here: with "%s" and one argument. On this platform a variadic call passes them alike.
unsafe extern "C" fn fake_error(class: c_int, _: c_int, format: *const c_char, message: *const c_char) {
    // SAFETY: C strings.
    let (format, message) = unsafe { (borrow(format), borrow(message).unwrap().to_owned()) };
    assert_eq!(format, Some("%s"), "a message is never a format");
    MESSAGES.with_borrow_mut(|messages| messages.push((class, message)));
}

unsafe extern "C" fn fake_debug(_: *const c_char, _: *const c_char, _: *const c_char) {}

unsafe extern "C" fn fake_option(name: *const c_char, _: *const c_char) -> *const c_char {
    // SAFETY: a C string.
    match unsafe { borrow(name) } {
        Some("VSITLM_CACHE_DIR") => c"NO".as_ptr(),
        Some("VSITLM_OVERVIEWS") if NO_OVERVIEWS.get() => c"NO".as_ptr(),
        Some("VSITLM_OVERVIEWS") => c"ALL".as_ptr(),
        _ => std::ptr::null(),
    }
}

unsafe extern "C" fn fake_version(_: *const c_char) -> *const c_char {
    c"3060200".as_ptr()
}

unsafe extern "C" fn fake_fopen(_: *const c_char, _: *const c_char) -> *mut c_void {
    std::ptr::null_mut()
}

unsafe extern "C" fn fake_fseek(_: *mut c_void, _: u64, _: c_int) -> c_int {
    -1
}

unsafe extern "C" fn fake_fread(_: *mut c_void, _: usize, _: usize, _: *mut c_void) -> usize {
    0
}

unsafe extern "C" fn fake_fclose(_: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn fake_fstat(_: *const c_char, _: *mut libc::stat64, _: c_int) -> c_int {
    -1
}

unsafe extern "C" fn fake_flush_block() -> c_int {
    let blocks = BLOCKS.get();
    BLOCKS.set(blocks.saturating_sub(1));
    c_int::from(blocks > 0)
}

unsafe extern "C" fn fake_cache_max() -> i64 {
    CACHE_MAX.get()
}

unsafe extern "C" fn fake_set_cache_max(limit: i64) {
    CACHE_MAX.set(limit);
}

unsafe extern "C" fn fake_thread_options() -> *mut *mut c_char {
    OPTIONS.with_borrow(|options| {
        if options.is_empty() {
            return std::ptr::null_mut();
        }
        // SAFETY: room for the options and null.
        unsafe {
            let list: *mut *mut c_char = libc::calloc(options.len() + 1, size_of::<*mut c_char>()).cast();
            for (place, option) in options.iter().enumerate() {
                *list.add(place) = libc::strdup(option.as_ptr());
            }
            list
        }
    })
}

unsafe extern "C" fn fake_set_thread_options(list: *const *const c_char) {
    OPTIONS.with_borrow_mut(|options| {
        options.clear();
        // SAFETY: a list of C strings that ends in null.
        unsafe {
            for place in 0.. {
                let option = *list.add(place);
                if option.is_null() {
                    break;
                }
                options.push(CStr::from_ptr(option).to_owned());
            }
        }
    });
}

unsafe extern "C" fn fake_free_list(list: *mut *mut c_char) {
    if list.is_null() {
        return;
    }
    // SAFETY: what `fake_thread_options` gave.
    unsafe {
        for place in 0.. {
            let option = *list.add(place);
            if option.is_null() {
                break;
            }
            libc::free(option.cast());
        }
        libc::free(list.cast());
    }
}

unsafe extern "C" fn fake_process_options() -> *mut *mut c_char {
    // SAFETY: room for one pointer, zeroed: an empty list.
    unsafe { libc::calloc(1, size_of::<*mut c_char>()).cast() }
}

unsafe extern "C" fn fake_error_reset() {}

unsafe extern "C" fn fake_last_error() -> *const c_char {
    c"".as_ptr()
}

unsafe extern "C" fn fake_push_handler(_: unsafe extern "C" fn(c_int, c_int, *const c_char)) {}

unsafe extern "C" fn fake_pop_handler() {}

unsafe extern "C" fn fake_quiet_handler(_: c_int, _: c_int, _: *const c_char) {}

unsafe extern "C" fn fake_calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: any numbers are allowed.
    unsafe { libc::calloc(count, size) }
}

unsafe extern "C" fn fake_strdup(text: *const c_char) -> *mut c_char {
    // SAFETY: a C string.
    unsafe { libc::strdup(text) }
}

fn gdal(version: u32) -> &'static Gdal {
    type Error = unsafe extern "C-unwind" fn(c_int, c_int, *const c_char, ...);
    type Debug = unsafe extern "C-unwind" fn(*const c_char, *const c_char, ...);
    let functions = Functions {
        version_info: fake_version,
        alloc_callbacks: fake_alloc,
        free_callbacks: fake_free,
        install_handler: fake_install,
        // SAFETY: see `fake_error`; both pointers have the size of a pointer.
        error: unsafe { std::mem::transmute::<*const c_void, Error>(fake_error as *const c_void) },
        // SAFETY: as above.
        debug: unsafe { std::mem::transmute::<*const c_void, Debug>(fake_debug as *const c_void) },
        config_option: fake_option,
        calloc: fake_calloc,
        free: libc::free,
        strdup: fake_strdup,
        fopen: fake_fopen,
        fseek: fake_fseek,
        fread: fake_fread,
        fclose: fake_fclose,
        fstat: fake_fstat,
        flush_block: fake_flush_block,
        cache_max: fake_cache_max,
        set_cache_max: fake_set_cache_max,
        thread_options: fake_thread_options,
        process_options: fake_process_options,
        set_thread_options: fake_set_thread_options,
        free_list: fake_free_list,
        error_reset: fake_error_reset,
        last_error: fake_last_error,
        push_handler: fake_push_handler,
        pop_handler: fake_pop_handler,
        quiet_handler: fake_quiet_handler,
    };
    Box::leak(Box::new(Gdal { functions, path_option: None, version, cache_max: Default::default() }))
}

/// The callbacks as a host of `version` gets them.
fn callbacks(version: u32) -> Callbacks {
    callbacks_of(version, false)
}

/// Those of `/vsitlm/`, or of `/vsitlm?`.
fn callbacks_of(version: u32, query: bool) -> Callbacks {
    ALLOCATED.set(STRUCT);
    let gdal = gdal(version);
    let prefix = if query { c"/vsitlm?" } else { c"/vsitlm/" };
    assert!(install(gdal, prefix, Box::leak(Box::new(Mount { gdal, query }))));
    let (_, bytes, _) = INSTALLED.with_borrow_mut(|installed| installed.pop().unwrap());
    // SAFETY: a struct that `install` filled, byte for byte.
    unsafe { bytes.as_ptr().cast::<Callbacks>().read_unaligned() }
}

fn messages() -> Vec<(c_int, String)> {
    MESSAGES.take()
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A made JP2 on disk, by its name after the prefix.
fn file(folder: &tempfile::TempDir) -> (CString, Vec<u8>) {
    file_of(folder, &made::File::default())
}

fn file_of(folder: &tempfile::TempDir, made: &made::File) -> (CString, Vec<u8>) {
    let path = folder.path().join("made.jp2");
    let bytes = made.bytes();
    std::fs::write(&path, &bytes).unwrap();
    (CString::new(path.to_str().unwrap()).unwrap(), bytes)
}

#[test]
fn the_mirror_has_the_fields_of_the_header() {
    type Theirs = gdal_sys::VSIFilesystemPluginCallbacksStruct;
    macro_rules! same {
        ($($ours:ident $theirs:ident,)*) => {$(
            assert_eq!(offset_of!(Callbacks, $ours), offset_of!(Theirs, $theirs), stringify!($theirs));
        )*};
    }
    same! {
        user_data pUserData, stat stat, unlink unlink, rename rename, mkdir mkdir, rmdir rmdir, read_dir read_dir,
        open open, tell tell, seek seek, read read, read_multi_range read_multi_range, get_range_status get_range_status,
        eof eof, write write, flush flush, truncate truncate, close close, buffer_size nBufferSize,
        cache_size nCacheSize, sibling_files sibling_files,
    }
}

#[test]
fn fields_that_the_host_lacks_are_not_written() {
    let sizes = [
        (3_000_000, offset_of!(Callbacks, buffer_size)),
        (3_020_000, offset_of!(Callbacks, advise_read)),
        (3_060_200, offset_of!(Callbacks, advise_read)),
        (3_070_000, offset_of!(Callbacks, error)),
        (3_090_200, offset_of!(Callbacks, error)),
        (3_100_000, STRUCT),
        (3_140_000, STRUCT),
    ];
    for (version, size) in sizes {
        ALLOCATED.set(size);
        let gdal = gdal(version);
        assert!(install(gdal, c"/vsitlm/", Box::leak(Box::new(Mount { gdal, query: false }))));
        let (prefix, bytes, _) = INSTALLED.with_borrow_mut(|installed| installed.pop().unwrap());
        assert_eq!(prefix, "/vsitlm/");
        assert!(bytes[size..].iter().all(|byte| *byte == CANARY), "{version} has {size} bytes");
        assert!(bytes[offset_of!(Callbacks, unlink)..][..8].iter().all(|byte| *byte == 0), "unlink stays NULL");
    }
}

#[test]
fn a_file_is_read_as_a_host_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (name, bytes) = file(&folder);
    for version in [3_000_000, 3_060_200, 3_120_200] {
        let host = callbacks(version);
        // SAFETY: the callbacks are called as their contract has it.
        unsafe {
            let handle = host.open.unwrap()(host.user_data, name.as_ptr(), c"rb".as_ptr());
            assert!(!handle.is_null(), "{:?}", messages());
            let mut buffer = vec![0u8; bytes.len() + 100];
            // Four items of one byte, then items that do not divide the file: whole items are counted.
            assert_eq!(host.read.unwrap()(handle, buffer.as_mut_ptr().cast(), 1, 12), 12);
            assert_eq!(buffer[..12], bytes[..12]);
            assert_eq!(host.tell.unwrap()(handle), 12);
            assert_eq!(host.eof.unwrap()(handle), 0);
            assert_eq!(host.seek.unwrap()(handle, 0, libc::SEEK_END), 0);
            let size = host.tell.unwrap()(handle);
            assert!(size > bytes.len() as u64, "the TLM is there");
            assert_eq!(host.seek.unwrap()(handle, 5, libc::SEEK_SET), 0);
            assert_eq!(
                host.read.unwrap()(handle, buffer.as_mut_ptr().cast(), 10, size as usize),
                (size as usize - 5) / 10
            );
            assert_eq!(host.eof.unwrap()(handle), 1);
            assert_eq!(host.read.unwrap()(handle, buffer.as_mut_ptr().cast(), 1, 1), 0);
            assert_eq!(host.seek.unwrap()(handle, (-3i64) as u64, libc::SEEK_CUR), 0);
            assert_eq!(host.tell.unwrap()(handle), size - 3);
            assert_eq!(host.eof.unwrap()(handle), 0, "a seek clears the end");
            assert_eq!(host.seek.unwrap()(handle, 0, 9), -1);
            assert_eq!(host.read.unwrap()(handle, buffer.as_mut_ptr().cast(), 0, 5), 0);
            assert_eq!(host.read.unwrap()(handle, buffer.as_mut_ptr().cast(), usize::MAX, 2), 0);
            assert_eq!(host.write.unwrap()(handle, bytes.as_ptr().cast(), 1, 4), 0);
            assert_eq!(host.error.map_or(0, |error| error(handle)), 0);
            assert_eq!(host.close.unwrap()(handle), 0);
            let mut stat: libc::stat64 = std::mem::zeroed();
            assert_eq!(host.stat.unwrap()(host.user_data, name.as_ptr(), &raw mut stat, 7), 0);
            assert_eq!((stat.st_size as u64, stat.st_mode & libc::S_IFMT), (size, libc::S_IFREG));
        }
        assert_eq!(messages(), []);
    }
}

#[test]
fn several_ranges_are_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (name, _) = file(&folder);
    let host = callbacks(3_100_000);
    let mut whole = vec![0u8; 1 << 16];
    let mut parts = [[0u8; 40]; 3];
    // SAFETY: the callbacks are called as their contract has it.
    unsafe {
        let handle = host.open.unwrap()(host.user_data, name.as_ptr(), c"rb".as_ptr());
        let size = host.read.unwrap()(handle, whole.as_mut_ptr().cast(), 1, whole.len());
        let read = |offsets: [u64; 3], parts: &mut [[u8; 40]; 3]| {
            let mut buffers = parts.each_mut().map(|part| part.as_mut_ptr().cast());
            host.read_multi_range.unwrap()(handle, 3, buffers.as_mut_ptr(), offsets.as_ptr(), [40, 0, 7].as_ptr())
        };
        let offsets = [100, 5, size as u64 - 7];
        assert_eq!(read(offsets, &mut parts), 0);
        assert_eq!((&parts[0][..], parts[1]), (&whole[100..140], [0; 40]));
        assert_eq!(parts[2][..7], whole[size - 7..size]);
        assert_eq!(host.tell.unwrap()(handle), size as u64, "the cursor stays");
        assert_eq!(read([0, 0, size as u64 - 6], &mut parts), -1);
        assert!(messages().is_empty(), "GDAL reads each by itself then");
        assert_eq!(host.read_multi_range.unwrap()(handle, 1, [std::ptr::null_mut()].as_mut_ptr(), &0, &9), -1);
        assert_eq!(host.close.unwrap()(handle), 0);
    }
}

#[test]
fn a_local_file_that_was_replaced_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (name, _) = file(&folder);
    let host = callbacks(3_060_200);
    let size = || {
        // SAFETY: the callbacks are called as their contract has it.
        unsafe {
            let handle = host.open.unwrap()(host.user_data, name.as_ptr(), c"rb".as_ptr());
            assert!(!handle.is_null(), "{:?}", messages());
            host.seek.unwrap()(handle, 0, libc::SEEK_END);
            let size = host.tell.unwrap()(handle);
            host.close.unwrap()(handle);
            size
        }
    };
    let before = size();
    let other = folder.path().join("other");
    std::fs::write(&other, made::File { packet: 500, ..made::File::default() }.bytes()).unwrap();
    std::fs::rename(other, folder.path().join("made.jp2")).unwrap();
    assert!(size() > before, "the name leads to another file now");
}

#[test]
fn failures_set_errno_and_say_why_once() {
    let folder = tempfile::tempdir().unwrap();
    let (good, _) = file(&folder);
    let missing = CString::new(format!("{}/missing.jp2", folder.path().display())).unwrap();
    let host = callbacks(3_060_200);
    let cases: [(&CStr, &CStr, c_int, &str); 5] = [
        (&missing, c"rb", libc::ENOENT, "not found"),
        (&good, c"wb", libc::EROFS, "read-only"),
        (&good, c"a", libc::EROFS, "read-only"),
        (c"", c"rb", libc::ENOENT, "write /vsitlm/"),
        (c"/vsitlm//x.jp2", c"rb", libc::ENOENT, "vsitlm"),
    ];
    for (name, mode, number, says) in cases {
        // SAFETY: the callbacks are called as their contract has it.
        unsafe {
            set_errno(0);
            let handle = host.open.unwrap()(host.user_data, name.as_ptr(), mode.as_ptr());
            assert!(handle.is_null(), "{name:?}");
            assert_eq!(errno(), number, "{name:?}");
            let said = messages();
            assert_eq!(said.len(), 1, "{name:?}: {said:?}");
            assert!(said[0].1.contains(says), "{said:?}");
            let handle = host.open.unwrap()(host.user_data, good.as_ptr(), c"rb".as_ptr());
            assert!(!handle.is_null(), "good files are read afterwards");
            host.close.unwrap()(handle);
        }
    }
    // SAFETY: as above.
    unsafe {
        let mut stat: libc::stat64 = std::mem::zeroed();
        assert_eq!(host.stat.unwrap()(host.user_data, missing.as_ptr(), &raw mut stat, 7), -1);
        assert!(host.open.unwrap()(host.user_data, std::ptr::null(), c"rb".as_ptr()).is_null());
        assert!(host.read.unwrap()(std::ptr::null_mut(), (&raw mut stat).cast(), 1, 1) == 0);
    }
}

#[test]
fn what_is_not_understood_is_served_as_it_is_with_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.jp2");
    std::fs::write(&path, "<html>not found</html>").unwrap();
    let name = CString::new(path.to_str().unwrap()).unwrap();
    let host = callbacks(3_060_200);
    for warnings in [1, 0] {
        assert_eq!(read_whole(&host, &name).unwrap(), b"<html>not found</html>");
        let said = messages();
        assert_eq!(said.len(), warnings, "{said:?}");
        assert!(said.iter().all(|(class, text)| *class == 2 && text.contains("is served unchanged: no JPEG 2000")));
    }
}

/// What the host is told to lie beside a file, sorted.
fn siblings(host: &Callbacks, name: &CStr) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: the callback gives a list that ends in null, allocated by the fake host with libc.
    unsafe {
        let list = host.sibling_files.unwrap()(host.user_data, name.as_ptr());
        assert!(!list.is_null(), "no list would make GDAL look for each side-car");
        let mut at = list;
        while !(*at).is_null() {
            names.push(borrow(*at).unwrap().to_owned());
            libc::free((*at).cast());
            at = at.add(1);
        }
        libc::free(list.cast());
    }
    names.sort();
    names
}

#[test]
fn side_cars_are_named_by_the_list_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (name, _) = file(&folder);
    std::fs::write(folder.path().join("made.jp2.aux.xml"), "<PAMDataset/>").unwrap();
    std::fs::write(folder.path().join("other.jp2"), "").unwrap();
    let host = callbacks(3_060_200);
    let list = |name: &CStr| siblings(&host, name);
    assert_eq!(list(&name), ["made.jp2", "made.jp2.aux.xml"]);
    assert_eq!(list(c"https://host.invalid/made.jp2"), Vec::<String>::new());
    for probe in [c"https://host.invalid/made.jp2.aux.xml", c"https://host.invalid/made.j2w", c"s3://b/made.jp2.ovr"] {
        // SAFETY: as above. The host does not exist: an answer means that nobody asked it.
        unsafe {
            set_errno(0);
            assert!(host.open.unwrap()(host.user_data, probe.as_ptr(), c"rb".as_ptr()).is_null());
            assert_eq!(errno(), libc::ENOENT);
        }
    }
    assert_eq!(messages(), []);
}

/// The size that a stat gives, or errno.
fn stat(host: &Callbacks, name: &CStr) -> Result<u64, c_int> {
    // SAFETY: the callbacks are called as their contract has it.
    unsafe {
        set_errno(0);
        let mut stat: libc::stat64 = std::mem::zeroed();
        match host.stat.unwrap()(host.user_data, name.as_ptr(), &raw mut stat, 7) {
            0 => Ok(stat.st_size as u64),
            _ => Err(errno()),
        }
    }
}

/// The whole of a file, or errno.
fn read_whole(host: &Callbacks, name: &CStr) -> Result<Vec<u8>, c_int> {
    // SAFETY: as above.
    unsafe {
        set_errno(0);
        let handle = host.open.unwrap()(host.user_data, name.as_ptr(), c"rb".as_ptr());
        if handle.is_null() {
            return Err(errno());
        }
        let mut bytes = vec![0u8; 1 << 20];
        let read = host.read.unwrap()(handle, bytes.as_mut_ptr().cast(), 1, bytes.len());
        bytes.truncate(read);
        host.close.unwrap()(handle);
        Ok(bytes)
    }
}

fn with_suffix(name: &CStr, suffix: &str) -> CString {
    CString::new(format!("{}{suffix}", name.to_str().unwrap())).unwrap()
}

#[test]
fn overviews_are_listed_beside_an_open_file_that_has_them() {
    let plt = made::File { plt: true, ..made::File::default() };
    for (no, made, listed) in [(false, &plt, true), (true, &plt, false), (false, &made::File::default(), false)] {
        NO_OVERVIEWS.set(no);
        let folder = tempfile::tempdir().unwrap();
        let (name, _) = file_of(&folder, made);
        let list = with_suffix(&name, ".ovr");
        let host = callbacks(3_060_200);
        assert_eq!(siblings(&host, &name), ["made.jp2"], "GDAL asks when it has the file open");
        // SAFETY: the callbacks are called as their contract has it.
        let handle = unsafe { host.open.unwrap()(host.user_data, name.as_ptr(), c"rb".as_ptr()) };
        let beside = siblings(&host, &name);
        assert_eq!(beside == ["made.jp2", "made.jp2.ovr"], listed, "{beside:?}");
        match read_whole(&host, &list) {
            Ok(text) => {
                assert!(listed && text.starts_with(b"<VRTDataset rasterXSize=\"40\" rasterYSize=\"30\">"));
                assert_eq!(stat(&host, &list), Ok(text.len() as u64));
                assert_eq!(siblings(&host, &list), Vec::<String>::new());
            }
            Err(number) => assert!(!listed && number == libc::ENOENT && stat(&host, &list) == Err(libc::ENOENT)),
        }
        // One that somebody made goes first.
        std::fs::write(folder.path().join("made.jp2.ovr"), "II*").unwrap();
        assert_eq!(read_whole(&host, &list).unwrap(), b"II*");
        assert_eq!(siblings(&host, &name), ["made.jp2", "made.jp2.ovr"], "once");
        std::fs::remove_file(folder.path().join("made.jp2.ovr")).unwrap();
        assert_eq!(siblings(&host, &name), beside, "as before");
        // SAFETY: as above.
        unsafe { host.close.unwrap()(handle) };
        NO_OVERVIEWS.set(false);
    }
    assert_eq!(messages(), []);
}

#[test]
fn views_are_files_and_nothing_lies_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let (name, bytes) = file_of(&folder, &made::File { plt: true, ..made::File::default() });
    let path = name.to_str().unwrap().replace('/', "%2F");
    let query = |options: &str, suffix: &str| CString::new(format!("{options}&url={path}{suffix}")).unwrap();
    let host = callbacks_of(3_060_200, true);
    let half = read_whole(&host, &query("overview=2", "")).unwrap();
    assert_eq!(stat(&host, &query("overview=2", "")), Ok(half.len() as u64));
    assert!(half[..12] == bytes[..12] && half.len() < bytes.len() + 1024);
    assert_eq!(siblings(&host, &query("overview=2", "")), Vec::<String>::new());
    // What GDAL looks for beside the file, its list of overviews and its views; those of the file are not the views'.
    std::fs::write(folder.path().join("made.jp2.aux.xml"), "<PAMDataset/>").unwrap();
    let plain = callbacks(3_060_200);
    for (host, name) in [
        (&plain, with_suffix(&name, ".ovr.ovr")),
        (&plain, with_suffix(&name, ".ovr.aux.xml")),
        (&plain, with_suffix(&name, ".msk")),
        (&host, query("overview=2", ".ovr")),
        (&host, query("overview=2", ".aux.xml")),
        (&host, query("overview=2", ".msk.ovr")),
        (&host, query("overview=2", ".ovr.ovr")),
    ] {
        assert_eq!((stat(host, &name), read_whole(host, &name)), (Err(libc::ENOENT), Err(libc::ENOENT)), "{name:?}");
    }
    assert_eq!(messages(), []);
    for (options, says) in [
        ("overview=3", "the factors are 2, 4"),
        ("overview=1", "the factors are 2, 4"),
        ("overview=0", "the factors are 2, 4"),
        ("overview=8", "the factors are 2, 4"),
        ("overview=4294967295", "the factors are 2, 4"),
        ("overview=2147483648", "the factors are 2, 4"),
        ("overview=4294967296", "takes a factor"),
    ] {
        assert_eq!(stat(&host, &query(options, "")), Err(libc::ENOENT));
        assert_eq!(messages(), [], "a stat is silent");
        assert_eq!(read_whole(&host, &query(options, "")), Err(libc::ENOENT));
        let said = messages();
        assert!(said.len() == 1 && said[0].1.contains(says) && said[0].1.contains("made.jp2"), "{options}: {said:?}");
    }
}

#[test]
fn a_threads_failure_is_left_to_the_main_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (name, bytes) = file(&folder);
    let host = callbacks(3_100_000);
    // SAFETY: the callbacks are called as their contract has it.
    unsafe {
        let open = || host.open.unwrap()(host.user_data, name.as_ptr(), c"rb".as_ptr());
        let mut buffer = vec![0u8; bytes.len()];
        let mut read = |handle, count| host.read.unwrap()(handle, buffer.as_mut_ptr().cast(), 1, count);
        let seek = |handle, offset| assert_eq!(host.seek.unwrap()(handle, offset, libc::SEEK_SET), 0);
        let main = open();
        assert_eq!(read(main, 12), 12);
        let [other, good, bad] = [(); 3].map(|()| open());
        assert!(!good.is_null() && !bad.is_null() && !other.is_null(), "{:?}", messages());
        // The file is cut short under its readers: what was there is read no more.
        let cut = std::fs::OpenOptions::new().write(true).open(folder.path().join("made.jp2")).unwrap();
        cut.set_len(100).unwrap();
        for worker in [bad, other] {
            seek(worker, 200);
            assert_eq!(read(worker, bytes.len()), 0);
        }
        assert!(messages().iter().any(|(_, message)| message.contains("reads the tile once more")));
        // What the host clears is its own state; the block is still there.
        host.clear_err.unwrap()(bad);
        assert_eq!(host.error.unwrap()(bad), 0);
        BLOCKS.set(3);
        assert_eq!(host.close.unwrap()(good), 0);
        assert_eq!((BLOCKS.get(), CACHE_MAX.get()), (3, 1000), "nothing has failed there");
        assert_eq!(host.close.unwrap()(bad), 0);
        assert_eq!((BLOCKS.get(), CACHE_MAX.get()), (0, 1));
        BLOCKS.set(1);
        seek(other, 200);
        assert_eq!(read(other, 12), 0);
        assert_eq!(CACHE_MAX.get(), 1, "another thread goes on");
        assert_eq!(host.close.unwrap()(other), 0);
        assert_eq!((BLOCKS.get(), CACHE_MAX.get()), (0, 1));
        seek(main, 200);
        assert_eq!(read(main, 12), 0);
        assert_eq!(CACHE_MAX.get(), 1000);
        BLOCKS.set(1);
        assert_eq!(host.close.unwrap()(main), 0);
        assert_eq!((BLOCKS.get(), CACHE_MAX.get()), (0, 1000), "no other handle waits");
    }
}

#[test]
fn options_of_another_thread_hold_for_a_while_even_if_that_ends_in_a_panic() {
    let (ours, theirs) = (vec![c"A=1".to_owned()], vec![c"A=2".to_owned(), c"B=3".to_owned()]);
    let gdal = gdal(3_060_200);
    assert_eq!(gdal.thread_options(), Vec::<CString>::new());
    OPTIONS.set(ours.clone());
    let mut seen = Vec::new();
    gdal.with_thread_options(&theirs, &mut || seen = gdal.thread_options());
    assert_eq!((seen, gdal.thread_options()), (theirs.clone(), ours.clone()));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let panicked = catch_unwind(AssertUnwindSafe(|| gdal.with_thread_options(&theirs, &mut || panic!("by design"))));
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    assert_eq!(gdal.thread_options(), ours);
    OPTIONS.take();
}

#[test]
fn a_child_reads_a_hosts_file_though_a_thread_of_its_parent_holds_the_handles() {
    crate::vsi::host_source::tests::read_in_a_child(|work| {
        // SAFETY: the child runs on memory of its own, waits for no lock of this process's other threads, and leaves by
        // _exit; alarm() ends it where it hangs.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe {
                libc::alarm(20);
                libc::_exit(c_int::from(!work()));
            }
        }
        let mut status = 0;
        // SAFETY: the child made above.
        child > 0 && unsafe { libc::waitpid(child, &raw mut status, 0) } == child && status == 0
    });
}

/// Serves ranges of one file on loopback for as long as the process lives, and gives its address.
fn serve(content: Vec<u8>) -> std::net::SocketAddr {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let content: &'static [u8] = content.leak();
    let answer = |mut stream: std::net::TcpStream| -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        loop {
            let mut range = 0..content.len();
            for line in lines.by_ref() {
                let line = line.ok()?.to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some((first, last)) = line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-'))
                {
                    range = first.parse().ok()?..last.parse::<usize>().ok()?.saturating_add(1).min(content.len());
                }
            }
            let (first, last, body) = (range.start, range.end.checked_sub(1)?, content.get(range)?);
            let (length, size) = (body.len(), content.len());
            let head = format!(
                "HTTP/1.1 206 OK\r\nContent-Range: bytes {first}-{last}/{size}\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// A host that threads share.
struct Shared(Callbacks);

// SAFETY: the callbacks may be called on any thread, and what `pUserData` points to lives as long as the process.
unsafe impl Sync for Shared {}

/// Whether a process ends well within twenty seconds. One that hangs is ended.
fn ends_well(child: libc::pid_t) -> bool {
    for _ in 0..2000 {
        let mut status = 0;
        // SAFETY: a child of this process's that nobody has waited for.
        if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
            return status == 0;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // SAFETY: as above.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    false
}

#[test]
fn children_read_though_threads_of_their_parent_read_at_the_fork() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
    let made = made::File { packet: 3000, ..made::File::default() };
    let address = serve(made.bytes());
    let host = Shared(callbacks(3_100_000));
    let right = {
        let folder = tempfile::tempdir().unwrap();
        read_whole(&host.0, &file_of(&folder, &made).0).unwrap()
    };
    // Files that are known, and files that are not.
    let name = |number: usize| CString::new(format!("http://{address}/made.jp2?{number}")).unwrap();
    let (ends, number, reads) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let is_right = |number: usize| read_whole(&{ &host }.0, &name(number)).is_ok_and(|bytes| bytes == right);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    while !ends.load(Relaxed) {
                        assert!(is_right(number.fetch_add(1, Relaxed) / 4), "{:?}", messages());
                        reads.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        let all_end_well = (0..20).all(|fork| {
            let before = reads.load(Relaxed);
            while reads.load(Relaxed) < before + 5 && !threads.iter().any(|thread| thread.is_finished()) {
                std::thread::yield_now();
            }
            // SAFETY: the child calls the callbacks, which is what is tested, and leaves by _exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let is_right = catch_unwind(AssertUnwindSafe(|| is_right(fork) && is_right(1_000_000 + fork)));
                // SAFETY: as above.
                unsafe { libc::_exit(c_int::from(!is_right.unwrap_or(false))) };
            }
            child > 0 && ends_well(child)
        });
        ends.store(true, Relaxed);
        assert!(all_end_well);
    });
}

#[test]
fn a_panic_is_an_error_message() {
    let gdal = gdal(3_060_200);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let outcome = guard(gdal, -7, || panic!("by design"));
    std::panic::set_hook(hook);
    assert_eq!((outcome, errno()), (-7, libc::EIO));
    assert!(messages()[0].1.contains("by design"));
}

#[test]
fn the_last_error_is_cut_to_fit() {
    let mut buffer = [1i8; 4];
    // SAFETY: room for four bytes; then null.
    unsafe {
        let length = vsitlm_last_error(buffer.as_mut_ptr(), 4);
        assert_eq!(length, handler::read_errors().1.len());
        assert_eq!(buffer[3.min(length)], 0);
        assert_eq!(vsitlm_last_error(std::ptr::null_mut(), 4), length);
    }
}

#[test]
fn texts_are_cut_where_a_character_ends() {
    for (text, size, expected) in
        [("aé€", 9, "aé€"), ("aé€", 6, "aé"), ("aé€", 3, "a"), ("aé€", 1, ""), ("a\0b", 9, "a\u{FFFD}b")]
    {
        let mut buffer = [1 as c_char; 16];
        // SAFETY: room for 16 bytes, of which `size` may be used.
        let length = unsafe { exports::hand_out(text, buffer.as_mut_ptr(), size) };
        let end = buffer.iter().position(|byte| *byte == 0).unwrap();
        // SAFETY: a NUL was found in it.
        assert_eq!(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str(), Ok(expected), "{text} in {size} bytes");
        assert!(end < size && buffer[size..].iter().all(|byte| *byte == 1), "nothing is written behind");
        assert_eq!(length, text.replace('\0', "\u{FFFD}").len());
    }
    // SAFETY: null, and no room.
    unsafe {
        assert_eq!(exports::hand_out("aé", std::ptr::null_mut(), 9), 3);
        assert_eq!(exports::hand_out("aé", [1 as c_char; 1].as_mut_ptr(), 0), 3);
    }
}

#[test]
fn long_messages_are_cut_where_a_character_ends() {
    let gdal = gdal(3_060_200);
    for front in ["", "a"] {
        let text = format!("{front}{}", "é".repeat(30_000));
        guard(gdal, (), || gdal.report(&text, Severity::Warning));
        let said = messages().pop().unwrap().1;
        assert!(said.len() <= 20_000 && said.len() > 19_990 && text.starts_with(&said), "{} bytes", said.len());
    }
}

#[test]
fn nulls_of_programs_are_refused() {
    let arguments = [c"vsitlm".as_ptr(), std::ptr::null()];
    // SAFETY: what is null is not looked at.
    unsafe {
        assert_eq!(exports::vsitlm_command(2, std::ptr::null()), 2);
        assert_eq!(exports::vsitlm_command(2, arguments.as_ptr()), 2);
        assert_eq!(exports::vsitlm_command(-1, std::ptr::null()), 2, "no arguments make no sense");
        assert_eq!(exports::vsitlm_ask(c"{}".as_ptr(), None, std::ptr::null_mut()), 0);
        assert!(exports::vsitlm_statistics(std::ptr::null_mut(), 9) > 9);
        assert!(exports::vsitlm_gdals(std::ptr::null_mut(), 9) > 0);
    }
    assert_eq!(exports::vsitlm_cancel(0), 0);
}
