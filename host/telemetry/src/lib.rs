//! What an operator sees of a Masque host: its log, its [metrics](metrics) and its [traces](trace).
//!
//! This crate starts the log and names the targets that several crates log to, declares every metric, and holds the spans of a
//! turn. What is logged, counted and traced is decided where it happens.
//!
//! The feature `testing` adds the module `testing`, a collector that receives traces in tests.
//!
//! # The log
//!
//! The threat: whoever reads the log stalls or goes away, and each line that a request logs then waits or fails. The policy:
//! a line goes into a bounded queue, which never waits and never fails, and a thread of its own writes it. If the queue is
//! full, warnings, errors and security events are dropped last; dropped lines are counted, and the count is logged when the
//! reader is back. The thread survives its own panics, so the log never ends before the process. The accepted consequence:
//! lines that were not written when the process is killed are lost.

#![deny(missing_docs)]

pub mod level;
mod line_queue;
mod line_writer;
pub mod metrics;
mod output;
mod panics;
mod targets;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::level::{InvalidLevel, LevelControl, LevelFilterLayer};
use crate::line_queue::{DroppedLines, LineQueue, Priority};
use crate::line_writer::LineWriter;
use crate::output::{QueuedOutput, StandardError};
use crate::targets::LOG;

pub use crate::targets::AUDIT;

/// The most bytes of lines that wait to be written: some seconds of a busy host, and more than a pipe holds.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// How long the end of the process waits for a reader that stalls.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How the log is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The form of a line.
    pub format: Format,
    /// A level, or directives of `tracing_subscriber::EnvFilter` such as `info,masque=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; colored if standard error is a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the log can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// [`Options::level`] can't be parsed.
    #[error(transparent)]
    InvalidLevel(#[from] InvalidLevel),
    /// Standard error can't be opened, or the thread that writes to it can't be started.
    #[error("the log can't be written: {0}")]
    Output(#[source] io::Error),
    /// The process has a log already.
    #[error("another log is running")]
    AlreadyStarted(#[source] TryInitError),
}

/// The running log. Dropping it writes the lines that wait, for two seconds at most.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct Log {
    queue: Arc<LineQueue>,
}

impl Log {
    /// Writes text to standard error as it is, in order with the lines of the log. Neither waits nor fails.
    pub fn print(&self, text: &str) {
        self.queue.push(Priority::High, format!("{text}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.flush(FLUSH_TIMEOUT);
    }
}

/// Starts the log of this process. Panics are logged as errors from here on.
///
/// # Errors
/// The level can't be parsed, standard error can't be written, or the process has a log already.
pub fn start(options: &Options) -> Result<Log, StartError> {
    let filter = LevelFilterLayer::new(level::parse(&options.level)?);
    let queue = Arc::new(LineQueue::new(MAX_QUEUED_BYTES));
    let error_output = StandardError::open().map_err(StartError::Output)?;
    LineWriter::new(Arc::clone(&queue), error_output, report_dropped).start().map_err(StartError::Output)?;
    let lines = tracing_subscriber::fmt::layer()
        // The formatter would print its own errors to standard error, and panic if that fails.
        .log_internal_errors(false)
        .with_writer(QueuedOutput::new(Arc::clone(&queue)));
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    match options.format {
        Format::Text => registry.with(lines.with_ansi(io::stderr().is_terminal())).try_init(),
        // The list of spans has the fields of every enclosing span: the request id is on the request's span, whichever
        // span is innermost.
        Format::Json => registry
            .with(lines.json().flatten_event(true).with_current_span(false).with_span_list(true))
            .try_init(),
    }
    .map_err(StartError::AlreadyStarted)?;
    let apply = move |filter| {
        // It fails only if the subscriber is gone, which lives as long as the process.
        let _ = handle.reload(LevelFilterLayer::new(filter));
    };
    level::install(LevelControl::new(&options.level, Box::new(apply)));
    panics::log_panics(Arc::clone(&queue));
    // After the log, which reports a metric that can't be registered.
    metrics::start();
    Ok(Log { queue })
}

/// Logs how many lines are missing. At the level of the most important of them, so that a filter that lets these lines
/// through lets the report through too.
fn report_dropped(dropped: DroppedLines) {
    const WHAT: &str =
        "lines of this log are missing: standard error was not read fast enough, or not at all";
    let DroppedLines { high, normal } = dropped;
    if high > 0 {
        tracing::error!(target: LOG, dropped = high + normal, warnings_and_above = high, "{WHAT}");
    } else {
        tracing::warn!(target: LOG, dropped = normal, warnings_and_above = 0, "{WHAT}");
    }
}
