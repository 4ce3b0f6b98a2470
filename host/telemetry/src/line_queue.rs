//! The bounded queue of lines between whoever logs and the thread that writes.
//!
//! The policy: adding a line never waits. Lines are written in the order in which they were added. A line of normal
//! priority is dropped if the queue is full; one of high priority takes the place of the oldest normal ones, and is dropped
//! only if the queue is full of its kind.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::process::LOG_LINES_DROPPED;

/// Bytes that are counted for each line beside its text: the allocation and its place in the queue.
const LINE_OVERHEAD: usize = 64;
/// A report of dropped lines waits no longer than this for a queue that has room.
const MAX_REPORT_DELAY: Duration = Duration::from_secs(10);

/// Which lines are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Everything else.
    Normal,
    /// Warnings, errors and security events.
    High,
}

impl Priority {
    /// Its name as the label of a metric.
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// How many lines were dropped, by their priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DroppedLines {
    pub(crate) high: u64,
    pub(crate) normal: u64,
}

/// What the writing thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write this line.
    Line(Box<[u8]>),
    /// Log that lines were dropped.
    Report(DroppedLines),
}

/// The queue.
#[derive(Debug)]
pub(crate) struct LineQueue {
    state: Mutex<State>,
    /// Lines, or a wish to flush, have arrived.
    work: Condvar,
    /// A line was written, or could not be.
    progress: Condvar,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    high: VecDeque<Line>,
    normal: VecDeque<Line>,
    bytes: usize,
    /// The number of the next line: decides the order among both kinds.
    next_number: u64,
    dropped: DroppedLines,
    /// When the first line of `dropped` was.
    dropped_since: Option<Instant>,
    /// Whether the writer has taken something that it has not finished.
    is_writing: bool,
    /// Attempts to write that failed.
    failures: u64,
    /// Whether a flush wants the writer to try again at once.
    is_flush_wanted: bool,
}

#[derive(Debug)]
struct Line {
    number: u64,
    text: Box<[u8]>,
}

impl LineQueue {
    /// An empty queue for lines of `max_bytes` together.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), progress: Condvar::new(), max_bytes }
    }

    /// Adds a line, or counts it as dropped.
    pub(crate) fn push(&self, priority: Priority, text: &[u8]) {
        let mut state = self.state();
        if !state.make_room(priority, text.len(), self.max_bytes) {
            state.count_dropped(priority);
            return;
        }
        let line = Line { number: state.next_number, text: text.into() };
        state.next_number += 1;
        state.bytes += size(text);
        match priority {
            Priority::High => state.high.push_back(line),
            Priority::Normal => state.normal.push_back(line),
        }
        drop(state);
        self.work.notify_one();
    }

    /// Counts a line as dropped that was taken and can't be written. Counts it as one of high priority, since its own is no
    /// longer known.
    pub(crate) fn count_lost(&self) {
        self.state().count_dropped(Priority::High);
        self.work.notify_one();
    }

    /// Waits for something to do. Whatever was taken before counts as done.
    pub(crate) fn wait_next(&self) -> Next {
        let mut state = self.state();
        state.is_writing = false;
        loop {
            let next = state.take_report(self.max_bytes).map(Next::Report);
            if let Some(next) = next.or_else(|| state.pop().map(Next::Line)) {
                state.is_writing = true;
                return next;
            }
            self.progress.notify_all();
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Called by the writer after a failed attempt. Returns after `delay`, or at once if a flush wants another attempt.
    pub(crate) fn wait_retry(&self, delay: Duration) {
        let mut state = self.state();
        state.failures += 1;
        self.progress.notify_all();
        let end = Instant::now() + delay;
        while !std::mem::take(&mut state.is_flush_wanted) {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            (state, _) = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everything is written, for `timeout` at most. Gives up at the first failure. Returns whether everything
    /// is written.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        let mut state = self.state();
        let failures = state.failures;
        state.is_flush_wanted = true;
        self.work.notify_all();
        while !state.is_done() {
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
            let (Some(left), true) = (left, state.failures == failures) else { return false };
            (state, _) = self.progress.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a line of that length has a place now. Drops normal lines for one of high priority.
    fn make_room(&mut self, priority: Priority, length: usize, max_bytes: usize) -> bool {
        let needed = length.saturating_add(LINE_OVERHEAD);
        if needed > max_bytes {
            return false;
        }
        while self.bytes.saturating_add(needed) > max_bytes {
            let oldest = if priority == Priority::High { self.normal.pop_front() } else { None };
            let Some(oldest) = oldest else { return false };
            self.bytes = self.bytes.saturating_sub(size(&oldest.text));
            self.count_dropped(Priority::Normal);
        }
        true
    }

    fn count_dropped(&mut self, priority: Priority) {
        match priority {
            Priority::High => self.dropped.high += 1,
            Priority::Normal => self.dropped.normal += 1,
        }
        LOG_LINES_DROPPED.increment(&[priority.name()]);
        self.dropped_since.get_or_insert_with(Instant::now);
    }

    fn pop(&mut self) -> Option<Box<[u8]>> {
        let is_high_next = match (self.high.front(), self.normal.front()) {
            (Some(high), Some(normal)) => high.number < normal.number,
            (high, _) => high.is_some(),
        };
        let line = if is_high_next { self.high.pop_front() } else { self.normal.pop_front() }?;
        self.bytes = self.bytes.saturating_sub(size(&line.text));
        Some(line.text)
    }

    /// The dropped lines, once the report about them has a place in the queue.
    fn take_report(&mut self, max_bytes: usize) -> Option<DroppedLines> {
        let since = self.dropped_since?;
        if self.bytes > max_bytes / 2 && since.elapsed() < MAX_REPORT_DELAY {
            return None;
        }
        self.dropped_since = None;
        Some(std::mem::take(&mut self.dropped))
    }

    fn is_done(&self) -> bool {
        !self.is_writing && self.high.is_empty() && self.normal.is_empty() && self.dropped_since.is_none()
    }
}

fn size(text: &[u8]) -> usize {
    text.len().saturating_add(LINE_OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for three lines of one byte.
    fn small_queue() -> LineQueue {
        LineQueue::new(3 * (LINE_OVERHEAD + 1))
    }

    /// Takes everything; a report is written as `!HIGH/NORMAL`.
    fn drain(queue: &LineQueue) -> String {
        let mut text = String::new();
        let is_empty = || {
            let state = queue.state();
            state.high.is_empty() && state.normal.is_empty() && state.dropped_since.is_none()
        };
        while !is_empty() {
            match queue.wait_next() {
                Next::Line(line) => text.push_str(&String::from_utf8_lossy(&line)),
                Next::Report(DroppedLines { high, normal }) => text.push_str(&format!("!{high}/{normal}")),
            }
        }
        text
    }

    #[test]
    fn lines_leave_in_the_order_in_which_they_came_whatever_their_priority() {
        let queue = small_queue();
        queue.push(Priority::Normal, b"a");
        queue.push(Priority::High, b"B");
        queue.push(Priority::Normal, b"c");
        assert_eq!(drain(&queue), "aBc");
    }

    #[test]
    fn a_full_queue_drops_normal_lines_first_and_counts_every_one() {
        let queue = small_queue();
        for line in ["a", "b", "c", "d", "e"] {
            queue.push(Priority::Normal, line.as_bytes());
        }
        queue.push(Priority::High, b"F");
        queue.push(Priority::High, b"G");
        assert_eq!(drain(&queue), "cF!0/4G");
        for line in ["A", "B", "C", "D"] {
            queue.push(Priority::High, line.as_bytes());
        }
        queue.push(Priority::Normal, b"e");
        assert_eq!(drain(&queue), "AB!1/1C");
    }

    #[test]
    fn a_line_that_never_fits_is_dropped_and_takes_no_other_line_with_it() {
        let queue = small_queue();
        queue.push(Priority::Normal, b"a");
        queue.push(Priority::High, &[b'x'; 1000]);
        assert_eq!(drain(&queue), "!1/0a");
    }

    #[test]
    fn a_flush_ends_without_a_writer_after_its_time_and_with_an_empty_queue_at_once() {
        let queue = small_queue();
        assert!(queue.flush(Duration::from_secs(3600)));
        queue.push(Priority::Normal, b"a");
        assert!(!queue.flush(Duration::from_millis(1)));
    }
}
