//! How far a long run is: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::complain;
use crate::error::Error;
use crate::process::lock;

/// One line of progress in so much time, where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// The progress of files.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    done: usize,
    failed: usize,
    told: Instant,
}

impl Progress {
    /// None of `total` files is done.
    pub(super) fn new(total: usize) -> Self {
        let bar = (std::io::stderr().is_terminal() && total > 1).then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left {msg}");
            ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let start = Instant::now();
        Self { bar, total, start, state: Mutex::new(State { done: 0, failed: 0, told: start }) }
    }

    /// Another file is done, or has failed.
    pub(super) fn step(&self, error: Option<&Error>) {
        let mut state = lock(&self.state);
        state.done += 1;
        state.failed += usize::from(error.is_some());
        if let Some(error) = error {
            self.tell(&error.chain());
        }
        if let Some(bar) = &self.bar {
            if state.failed > 0 {
                bar.set_message(format!("({} failed)", state.failed));
            }
            bar.inc(1);
        } else if state.told.elapsed() >= EVERY {
            let State { done, failed, .. } = *state;
            let rate = done as f64 / self.start.elapsed().as_secs_f64();
            let left = (self.total - done.min(self.total)) as f64 / rate;
            complain(&format!("{done} of {} files, {rate:.1}/s, {left:.0} s left, {failed} failed", self.total));
            state.told = Instant::now();
        }
    }

    /// A line, without disturbing the bar.
    pub(super) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(text)),
            None => complain(text),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
