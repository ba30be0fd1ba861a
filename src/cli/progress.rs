//! How far a long run is: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::print::complain;
use crate::collect::Report;
use crate::error::Error;
use crate::process::lock;

/// One line of progress in so much time, where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// The progress of files.
#[derive(Default)]
pub(super) struct Progress(Mutex<Option<Run>>);

/// Work on several files.
struct Run {
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    failed: usize,
    start: Instant,
    /// When the last line of progress was printed.
    shown: Instant,
}

impl Run {
    fn new(total: usize) -> Self {
        let bar = (std::io::stderr().is_terminal() && total > 1).then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left {msg}");
            ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let start = Instant::now();
        Self { bar, total, done: 0, failed: 0, start, shown: start }
    }

    fn step(&mut self, is_failed: bool) {
        self.done += 1;
        self.failed += usize::from(is_failed);
        if let Some(bar) = &self.bar {
            if self.failed > 0 {
                bar.set_message(format!("({} failed)", self.failed));
            }
            bar.inc(1);
        } else if self.shown.elapsed() >= EVERY {
            let Self { total, done, failed, .. } = *self;
            let rate = done as f64 / self.start.elapsed().as_secs_f64();
            let left = total.saturating_sub(done) as f64 / rate;
            complain(&format!("{done} of {total} files, {rate:.1}/s, {left:.0} s left, {failed} failed"));
            self.shown = Instant::now();
        }
    }
}

impl Report for Progress {
    fn begin(&self, total: usize) {
        *lock(&self.0) = Some(Run::new(total));
    }

    fn step(&self, error: Option<&Error>) {
        if let Some(error) = error {
            self.say(&error.chain());
        }
        if let Some(run) = &mut *lock(&self.0) {
            run.step(error.is_some());
        }
    }

    /// A line, without disturbing the bar.
    fn say(&self, text: &str) {
        match lock(&self.0).as_ref().and_then(|run| run.bar.as_ref()) {
            Some(bar) => bar.suspend(|| complain(text)),
            None => complain(text),
        }
    }

    /// Takes the bar away.
    fn end(&self) {
        if let Some(bar) = lock(&self.0).take().and_then(|run| run.bar) {
            bar.finish_and_clear();
        }
    }
}
