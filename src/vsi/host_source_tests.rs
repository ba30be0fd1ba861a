//! Reads through a host made here: side by side, under the opener's options, and after a fork.

use std::cell::RefCell;
use std::sync::Barrier;

use super::super::host::Severity;
use super::*;

/// What the file holds: each byte is its offset's last.
const SIZE: u64 = 4096;

/// A host whose file is read only under the option `KEY=right`.
#[derive(Default)]
struct Made {
    /// How many handles were opened, and how many closed.
    opened: AtomicUsize,
    closed: AtomicUsize,
    /// The read at this offset fails.
    fails_at: Mutex<Option<u64>>,
    /// Where there is one, reads wait until as many are under way.
    together: Option<Barrier>,
}

thread_local! {
    static OPTIONS: RefCell<ThreadOptions> = const { RefCell::new(Vec::new()) };
}

struct MadeFile(&'static Made);

impl HostFile for MadeFile {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> usize {
        let right = OPTIONS.with_borrow(|options| *options == [c"KEY=right".to_owned()]);
        if !right || *lock(&self.0.fails_at) == Some(offset) {
            return 0;
        }
        if let Some(together) = &self.0.together {
            together.wait();
        }
        for (place, byte) in buffer.iter_mut().enumerate() {
            *byte = (offset + place as u64) as u8;
        }
        buffer.len()
    }
}

impl Drop for MadeFile {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Host for &'static Made {
    fn option(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn report(&self, _: &str, _: Severity) {}

    fn open_file(&self, _: &str) -> Option<Box<dyn HostFile>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Some(Box::new(MadeFile(self)))
    }

    fn file_size(&self, _: &str) -> Option<(u64, Option<i64>)> {
        Some((SIZE, None))
    }

    fn forget_blocks(&self) {}

    fn shrink_cache(&self) {}

    fn restore_cache(&self) {}

    fn thread_options(&self) -> ThreadOptions {
        OPTIONS.with_borrow(Clone::clone)
    }

    fn process_options(&self) -> ThreadOptions {
        vec![c"B=process".into()]
    }

    fn with_thread_options(&self, options: &ThreadOptions, work: &mut dyn FnMut()) {
        let before = OPTIONS.replace(options.clone());
        work();
        OPTIONS.set(before);
    }

    fn forget_error(&self) {}

    fn last_error(&self) -> String {
        "HTTP 403 at https://me:word@host/a.jp2?sig=secret: refused".into()
    }
}

fn made(made: Made) -> &'static Made {
    Box::leak(Box::new(made))
}

/// Opens the host's file by a thread that has the right option; this one has another.
fn open(made: &'static Made, path: &str) -> Arc<dyn Source> {
    OPTIONS.set(vec![c"KEY=right".to_owned()]);
    let source = HostSource::open(Box::leak(Box::new(made)), path, &Identity::none()).unwrap();
    OPTIONS.set(vec![c"KEY=other".to_owned()]);
    source
}

fn ranges(count: u64) -> Vec<SourceRange> {
    (0..count).map(|number| SourceOffset(number * 100)..SourceOffset(number * 100 + 10)).collect()
}

#[test]
fn ranges_of_remote_files_are_read_side_by_side_under_the_openers_options() {
    let host = made(Made { together: Some(Barrier::new(MOST_HANDLES)), ..Made::default() });
    let source = open(host, "/vsis3/b/a.jp2");
    let wanted = ranges(2 * MOST_HANDLES as u64);
    // Each read waits for seven others: one after the other would never end.
    for (range, bytes) in wanted.iter().zip(source.read_ranges(&wanted).unwrap()) {
        assert_eq!((bytes.len(), u64::from(bytes[0])), (10, range.start.0 % 256));
    }
    assert!(host.opened.load(Ordering::Relaxed) <= 2 * MOST_HANDLES);
    OPTIONS.with_borrow(|options| assert_eq!(*options, [c"KEY=other".to_owned()], "this thread keeps its own"));
    drop(source);
    assert_eq!(host.opened.load(Ordering::Relaxed), host.closed.load(Ordering::Relaxed));
}

#[test]
fn one_failure_among_many_is_the_outcome_and_tells_no_secret() {
    for path in ["/vsis3/b/a.jp2", "/vsizip/a.zip/a.jp2"] {
        let host = made(Made { fails_at: Mutex::new(Some(700)), ..Made::default() });
        let source = open(host, path);
        let message = source.read_ranges(&ranges(40)).unwrap_err().to_string();
        assert!(message.contains("HTTP 403 at https://host/a.jp2"), "{message}");
        assert!(!message.contains("secret") && !message.contains("word"), "{message}");
        // A handle that has failed is not read again, and the others go on.
        assert_eq!(source.read_ranges(&ranges(7)).unwrap().len(), 7);
        *lock(&host.fails_at) = None;
        assert_eq!(source.read_ranges(&ranges(40)).unwrap().len(), 40);
        drop(source);
        assert_eq!(host.opened.load(Ordering::Relaxed), host.closed.load(Ordering::Relaxed));
    }
}

#[test]
fn handles_of_a_parent_are_not_closed() {
    let host = made(Made::default());
    for (pid, closed) in [(std::process::id() + 1, 0), (std::process::id(), 1)] {
        let idle = Idle { pid, handles: ManuallyDrop::default() };
        lock(&idle.handles).push(host.open_file("").unwrap());
        drop(idle);
        assert_eq!(host.closed.load(Ordering::Relaxed), closed);
    }
}

#[test]
fn what_cannot_be_is_an_error_and_takes_no_memory() {
    let source = open(made(Made::default()), "/vsis3/b/a.jp2");
    let past = SourceOffset(0)..SourceOffset(u64::MAX);
    assert!(source.read_ranges(&[past]).unwrap_err().to_string().contains("a file of 4096"));
    assert_eq!(source.read_up_to(SourceOffset(4090), u64::MAX).unwrap().len(), 6);
    assert!(source.read_ranges(&[]).unwrap().is_empty());
}

/// A file is read in a child that is forked while another thread of the parent's is at the list of handles. `fork` runs
/// its argument in a child and gives what that gave.
pub(in crate::vsi) fn read_in_a_child(fork: fn(&mut dyn FnMut() -> bool) -> bool) {
    let host = made(Made::default());
    OPTIONS.set(vec![c"KEY=right".to_owned()]);
    let source = HostSource {
        host: Box::leak(Box::new(host)),
        path: "/vsis3/b/a.jp2".into(),
        origin: "/vsis3/b/a.jp2".into(),
        identity: "/vsis3/b/a.jp2#0".into(),
        cheap: false,
        meta: Meta { size: SIZE, etag: None, last_modified: None },
        options: host.thread_options(),
        idle: PerProcess::new(),
    };
    let counts = || (host.opened.load(Ordering::Relaxed), host.closed.load(Ordering::Relaxed));
    source.put_back(host.open_file("").unwrap());
    let (held, go) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _at_the_list = lock(&source.idle.get().handles);
            held.wait();
            go.wait();
        });
        held.wait();
        let is_right = fork(&mut || {
            let mut buffer = [0; 4];
            source.read(5, &mut buffer).is_ok() && buffer == [5, 6, 7, 8] && counts() == (2, 0)
        });
        go.wait();
        assert!(is_right);
    });
}
