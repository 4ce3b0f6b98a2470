//! Both ends of the queue: the writer that the formatter of the log is given, and standard error.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use tracing_subscriber::fmt::MakeWriter;

use crate::line_queue::{LineQueue, Priority};
use crate::targets::AUDIT;

/// Gives the formatter a writer that adds lines to the queue.
#[derive(Debug)]
pub(crate) struct QueuedOutput {
    queue: Arc<LineQueue>,
}

impl QueuedOutput {
    pub(crate) fn new(queue: Arc<LineQueue>) -> Self {
        Self { queue }
    }
}

impl<'a> MakeWriter<'a> for QueuedOutput {
    type Writer = QueuedLine<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        QueuedLine { queue: &self.queue, priority: Priority::Normal }
    }

    fn make_writer_for(&'a self, metadata: &tracing::Metadata<'_>) -> Self::Writer {
        QueuedLine { queue: &self.queue, priority: priority(metadata.target(), *metadata.level()) }
    }
}

/// Warnings, errors and security events are dropped last.
fn priority(target: &str, level: tracing::Level) -> Priority {
    let is_audit = target.strip_prefix(AUDIT).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if is_audit || level <= tracing::Level::WARN { Priority::High } else { Priority::Normal }
}

/// Takes one formatted line. The formatter writes each line with one call.
#[derive(Debug)]
pub(crate) struct QueuedLine<'a> {
    queue: &'a LineQueue,
    priority: Priority,
}

impl Write for QueuedLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(self.priority, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error without the standard library's lock: a stalled reader must not make others wait who print.
#[derive(Debug)]
pub(crate) struct StandardError {
    file: File,
}

impl StandardError {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { file: io::stderr().as_fd().try_clone_to_owned()?.into() })
    }
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                // The other end of a pipe or terminal may have been made non-blocking by another process.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn warnings_errors_and_security_events_have_high_priority() {
        for (target, level, expected) in [
            ("masque_turns", Level::ERROR, Priority::High),
            ("masque_turns", Level::WARN, Priority::High),
            ("masque_turns", Level::INFO, Priority::Normal),
            ("masque_turns", Level::TRACE, Priority::Normal),
            (AUDIT, Level::INFO, Priority::High),
            ("masque::audit::keys", Level::DEBUG, Priority::High),
            ("masque::auditor", Level::INFO, Priority::Normal),
        ] {
            assert_eq!(priority(target, level), expected, "{target} {level}");
        }
    }
}
