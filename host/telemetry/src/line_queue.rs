//! The bounded queue of lines between whoever logs and the thread that writes.
//!
//! The policy: adding a line never waits. Lines are written in the order in which they were added. A line of normal
//! priority is dropped if the queue is full; one of high priority takes the place of the oldest normal ones, and is dropped
//! only if the queue is full of its kind.
//!
//! Lines leave in batches, since each wake-up of the writer and each write cost as much as formatting the line. A line of
//! normal priority therefore waits for others for [`GATHER_TIME`]; one of high priority and a flush end that wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::process::LOG_LINES_DROPPED;

/// Bytes that are counted for each line beside its text: the allocation and its place in the queue.
const LINE_OVERHEAD: usize = 64;
/// A report of dropped lines waits no longer than this for a queue that has room.
const MAX_REPORT_DELAY: Duration = Duration::from_secs(10);
/// How long lines of normal priority wait for others. What a host logged in the last milliseconds before a `kill -9` is lost.
const GATHER_TIME: Duration = Duration::from_millis(5);
/// The most bytes of a batch of several lines. POSIX writes as many at once to a pipe (`PIPE_BUF` on Linux), so that lines of
/// several processes on one pipe stay whole.
pub(crate) const MAX_BATCH_BYTES: usize = 4096;

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
    /// Write these lines.
    Lines(Batch),
    /// Log that lines were dropped.
    Report(DroppedLines),
}

/// Lines that are written together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// One after the other, each with its line break.
    pub(crate) text: Vec<u8>,
    pub(crate) lines: u64,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct LineQueue {
    state: Mutex<State>,
    /// Lines for which the writer waits, or a wish to flush, have arrived.
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
    /// What the writer waits for.
    awaited: Awaited,
    /// Attempts to write that failed.
    failures: u64,
    /// Whether a flush wants the writer to try again at once.
    is_flush_wanted: bool,
}

/// What wakes the writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaited {
    /// Nothing: it is at work, or waits to try again.
    #[default]
    Nothing,
    /// A line of high priority, or a flush. It looks for other lines after [`GATHER_TIME`].
    HighLine,
    /// Any line.
    AnyLine,
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
        let is_awaited = match (priority, state.awaited) {
            (_, Awaited::AnyLine) | (Priority::High, Awaited::HighLine) => true,
            (Priority::Normal, Awaited::HighLine) | (_, Awaited::Nothing) => false,
        };
        match priority {
            Priority::High => state.high.push_back(line),
            Priority::Normal => state.normal.push_back(line),
        }
        drop(state);
        if is_awaited {
            self.work.notify_one();
        }
    }

    /// Counts lines as dropped that were taken and can't be written. Counts them as ones of high priority, since their own is
    /// no longer known.
    pub(crate) fn count_lost(&self, lines: u64) {
        let mut state = self.state();
        (0..lines).for_each(|_| state.count_dropped(Priority::High));
    }

    /// Waits for something to do. Whatever was taken before counts as done.
    pub(crate) fn wait_next(&self) -> Next {
        let mut state = self.state();
        state.is_writing = false;
        loop {
            if let Some(report) = state.take_report(self.max_bytes) {
                state.is_writing = true;
                return Next::Report(report);
            }
            if state.has_lines() {
                state.is_writing = true;
                return Next::Lines(self.gather(state));
            }
            self.progress.notify_all();
            state.awaited = Awaited::AnyLine;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.awaited = Awaited::Nothing;
        }
    }

    /// Takes the lines that are there, after a moment in which more may come.
    fn gather(&self, mut state: MutexGuard<'_, State>) -> Batch {
        let end = Instant::now() + GATHER_TIME;
        while state.high.is_empty() && !state.is_flush_wanted && state.bytes < MAX_BATCH_BYTES {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            state.awaited = Awaited::HighLine;
            (state, _) = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state.awaited = Awaited::Nothing;
        }
        state.take_batch()
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

    fn has_lines(&self) -> bool {
        !self.high.is_empty() || !self.normal.is_empty()
    }

    /// Takes the oldest lines: as many as fit into a batch, and at least one.
    fn take_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        loop {
            let oldest = match (self.high.front(), self.normal.front()) {
                (Some(high), Some(normal)) if high.number < normal.number => &mut self.high,
                (Some(_), None) => &mut self.high,
                _ => &mut self.normal,
            };
            let room = MAX_BATCH_BYTES.saturating_sub(batch.text.len());
            let Some(line) = oldest.pop_front_if(|line| batch.lines == 0 || line.text.len() <= room) else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(size(&line.text));
            batch.text.extend_from_slice(&line.text);
            batch.lines += 1;
        }
        if !self.has_lines() {
            self.is_flush_wanted = false;
        }
        batch
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
        !self.is_writing && !self.has_lines() && self.dropped_since.is_none()
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
            !state.has_lines() && state.dropped_since.is_none()
        };
        while !is_empty() {
            match queue.wait_next() {
                Next::Lines(batch) => text.push_str(&String::from_utf8_lossy(&batch.text)),
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
    fn lines_leave_together_up_to_what_a_pipe_takes_whole() {
        let queue = LineQueue::new(1 << 20);
        let long = vec![b'x'; MAX_BATCH_BYTES + 1];
        let lines: [&[u8]; 5] = [b"a\n", b"b\n", &long, b"c\n", &long[..MAX_BATCH_BYTES]];
        lines.iter().for_each(|line| queue.push(Priority::Normal, line));
        let taken: Vec<(usize, u64)> = (0..4)
            .map(|_| match queue.wait_next() {
                Next::Lines(batch) => (batch.text.len(), batch.lines),
                Next::Report(report) => panic!("{report:?}"),
            })
            .collect();
        assert_eq!(taken, [(4, 2), (MAX_BATCH_BYTES + 1, 1), (2, 1), (MAX_BATCH_BYTES, 1)]);
    }

    #[test]
    fn a_full_queue_drops_normal_lines_first_and_counts_every_one() {
        let queue = small_queue();
        for line in ["a", "b", "c", "d", "e"] {
            queue.push(Priority::Normal, line.as_bytes());
        }
        queue.push(Priority::High, b"F");
        queue.push(Priority::High, b"G");
        assert_eq!(drain(&queue), "cFG!0/4");
        for line in ["A", "B", "C", "D"] {
            queue.push(Priority::High, line.as_bytes());
        }
        queue.push(Priority::Normal, b"e");
        assert_eq!(drain(&queue), "ABC!1/1");
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
