//! The thread that writes the queued lines, in batches that a pipe takes whole.
//!
//! The policy: a line that can't be written is tried again, with growing waits, until it is written. Meanwhile the queue
//! decides what is dropped. So a reader that comes back finds the most important lines of the time between.
//!
//! The thread can't be missed, and nothing watches over it: it catches its own panics instead. That is safe, because all that
//! it keeps between two lines is in the queue. A line at which it panics is tried once more and then counted as dropped; the
//! waits keep a panic at every line from using up a processor.

use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::line_queue::{DroppedLines, LineQueue, Next};

const FIRST_RETRY: Duration = Duration::from_millis(20);
const MAX_RETRY: Duration = Duration::from_secs(1);

/// Writes the lines of a queue to an output that may wait and fail.
pub(crate) struct LineWriter<W> {
    queue: Arc<LineQueue>,
    output: W,
    /// Logs that lines were dropped.
    report: fn(DroppedLines),
}

impl<W: Write + Send + 'static> LineWriter<W> {
    pub(crate) fn new(queue: Arc<LineQueue>, output: W, report: fn(DroppedLines)) -> Self {
        Self { queue, output, report }
    }

    /// Starts the thread. It ends with the process.
    pub(crate) fn start(self) -> io::Result<()> {
        std::thread::Builder::new().name("log".into()).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        loop {
            let next = self.queue.wait_next();
            self.process(&next);
        }
    }

    /// Writes a line or logs a report. Never panics.
    fn process(&mut self, next: &Next) {
        for delay in [FIRST_RETRY, MAX_RETRY] {
            let attempt = AssertUnwindSafe(|| match next {
                Next::Lines(batch) => self.write(&batch.text),
                Next::Report(dropped) => (self.report)(*dropped),
            });
            // The panic hook has put a line about it into the queue.
            if catch_unwind(attempt).is_ok() {
                return;
            }
            self.queue.wait_retry(delay);
        }
        // A report is not counted again: it comes before all lines, which would then never be written.
        if let Next::Lines(batch) = next {
            self.queue.count_lost(batch.lines);
        }
    }

    /// Returns when the lines are written.
    fn write(&mut self, lines: &[u8]) {
        let (mut rest, mut delay) = (lines, FIRST_RETRY);
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                failed => {
                    if failed.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
                        rest = from_begun_line(lines, rest);
                    }
                    self.queue.wait_retry(delay);
                    delay = (delay * 2).min(MAX_RETRY);
                }
            }
        }
    }
}

/// What is left of `lines` with the whole of the line in which `rest` begins: the next reader of a pipe has not seen the
/// beginning of that line.
fn from_begun_line<'a>(lines: &'a [u8], rest: &'a [u8]) -> &'a [u8] {
    let written = lines.get(..lines.len().saturating_sub(rest.len())).unwrap_or_default();
    let begin = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    lines.get(begin..).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::line_queue::{MAX_BATCH_BYTES, Priority};

    /// Longer than any step takes unless the test fails.
    const LONG: Duration = Duration::from_secs(60);

    /// Answers each `write` with the next result that the test gives, and shows what was written.
    struct ScriptedOutput {
        results: Receiver<io::Result<usize>>,
        written: Sender<String>,
    }

    impl Write for ScriptedOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let result = self.results.recv().unwrap_or(Ok(usize::MAX));
            let count = result?.min(bytes.len());
            // The test may have ended.
            let _ = self.written.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Panics at the first calls of `write`, and shows what was written.
    struct PanickingOutput {
        panics: usize,
        written: Sender<String>,
    }

    impl Write for PanickingOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(left) = self.panics.checked_sub(1) {
                self.panics = left;
                panic!("on purpose");
            }
            // The test may have ended.
            let _ = self.written.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start_panicking(panics: usize, report: fn(DroppedLines)) -> (Arc<LineQueue>, Receiver<String>) {
        let queue = Arc::new(LineQueue::new(1 << 20));
        let (written, lines) = channel();
        LineWriter::new(Arc::clone(&queue), PanickingOutput { panics, written }, report).start().unwrap();
        (queue, lines)
    }

    fn start(
        max_bytes: usize,
        report: fn(DroppedLines),
    ) -> (Arc<LineQueue>, Sender<io::Result<usize>>, Receiver<String>) {
        let queue = Arc::new(LineQueue::new(max_bytes));
        let (results, (written, lines)) = (channel(), channel());
        let output = ScriptedOutput { results: results.1, written };
        LineWriter::new(Arc::clone(&queue), output, report).start().unwrap();
        (queue, results.0, lines)
    }

    fn broken_pipe() -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    #[test]
    fn a_line_whose_reader_went_away_is_written_whole_for_the_next_one() {
        let (queue, results, lines) = start(1 << 20, |_| ());
        queue.push(Priority::Normal, b"hello");
        for result in [Ok(2), broken_pipe(), broken_pipe(), Ok(usize::MAX)] {
            results.send(result).unwrap();
        }
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "he");
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "hello");
    }

    #[test]
    fn a_reader_that_comes_back_gets_the_line_that_was_cut_whole_and_none_twice() {
        let lines = b"one\ntwo\nthree\n";
        for (written, left) in
            [(0, "one\ntwo\nthree\n"), (3, "one\ntwo\nthree\n"), (4, "two\nthree\n"), (9, "three\n")]
        {
            assert_eq!(from_begun_line(lines, &lines[written..]), left.as_bytes(), "after {written} bytes");
        }
    }

    #[test]
    fn a_line_that_a_full_disk_cut_is_continued_where_it_was_cut() {
        let (queue, results, lines) = start(1 << 20, |_| ());
        queue.push(Priority::Normal, b"hello");
        for result in [Ok(2), Err(ErrorKind::StorageFull.into()), Ok(0), Ok(usize::MAX)] {
            results.send(result).unwrap();
        }
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "he");
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "");
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "llo");
    }

    #[test]
    fn logging_never_waits_for_a_stalled_reader_and_what_was_dropped_is_reported_afterwards() {
        static REPORTS: Mutex<Vec<DroppedLines>> = Mutex::new(Vec::new());
        let (queue, results, lines) = start(10_000, |dropped| REPORTS.lock().unwrap().push(dropped));
        // No result is given: the output stalls. Of the thousand lines most are dropped, of the warnings none.
        for _ in 0..1000 {
            queue.push(Priority::Normal, b"n");
        }
        for _ in 0..10 {
            queue.push(Priority::High, b"H");
        }
        assert!(!queue.flush(Duration::from_millis(1)), "the reader stalls");
        drop(results);
        assert!(queue.flush(LONG));
        let text: String = lines.try_iter().collect();
        assert_eq!(text.matches('H').count(), 10);
        let reported = REPORTS.lock().unwrap().iter().fold(DroppedLines::default(), |all, dropped| {
            DroppedLines { high: all.high + dropped.high, normal: all.normal + dropped.normal }
        });
        assert_eq!(reported, DroppedLines { high: 0, normal: 1000 - text.matches('n').count() as u64 });
        assert!(reported.normal > 600, "{reported:?}");
    }

    #[test]
    fn a_writer_that_panics_once_loses_no_line_and_goes_on() {
        let (queue, lines) = start_panicking(1, |_| ());
        // Too long for one batch with another line.
        let first = "1".repeat(MAX_BATCH_BYTES);
        queue.push(Priority::Normal, first.as_bytes());
        queue.push(Priority::Normal, b"second");
        assert_eq!(lines.recv_timeout(LONG).unwrap(), first);
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "second");
        assert!(queue.flush(LONG));
    }

    #[test]
    fn a_line_at_which_the_writer_panics_again_is_counted_as_dropped_and_the_next_one_is_written() {
        static REPORTS: Mutex<Vec<DroppedLines>> = Mutex::new(Vec::new());
        let (queue, lines) = start_panicking(2, |dropped| REPORTS.lock().unwrap().push(dropped));
        queue.push(Priority::High, &[b'1'; MAX_BATCH_BYTES]);
        queue.push(Priority::High, b"second");
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "second");
        assert!(queue.flush(LONG));
        assert_eq!(*REPORTS.lock().unwrap(), [DroppedLines { high: 1, normal: 0 }]);
    }

    #[test]
    fn a_report_that_panics_does_not_end_the_writer() {
        let (queue, lines) = start_panicking(0, |_| panic!("on purpose"));
        queue.count_lost(1);
        queue.push(Priority::Normal, b"after it");
        assert_eq!(lines.recv_timeout(LONG).unwrap(), "after it");
    }

    #[test]
    fn a_flush_gives_up_on_a_reader_that_is_gone() {
        let (queue, results, _lines) = start(1 << 20, |_| ());
        queue.push(Priority::Normal, b"hello");
        for _ in 0..3 {
            results.send(broken_pipe()).unwrap();
        }
        assert!(!queue.flush(LONG));
    }
}
