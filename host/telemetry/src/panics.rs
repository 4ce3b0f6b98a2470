//! Logs panics through the queue. The standard library's hook writes to standard error itself, so a panic in one request
//! would wait for whoever reads the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::Arc;

use crate::line_queue::{LineQueue, Priority};
use crate::targets::PANIC;

/// Replaces the panic hook of the process.
pub(crate) fn log_panics(queue: Arc<LineQueue>) {
    std::panic::set_hook(Box::new(move |panic| log_panic(panic, &queue)));
}

fn log_panic(panic: &PanicHookInfo<'_>, queue: &LineQueue) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("(unnamed)");
    let message = panic.payload_as_str().unwrap_or("(no message)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    // A filter can turn the log off. A panic is shown in spite of it.
    if tracing::enabled!(target: PANIC, tracing::Level::ERROR) {
        tracing::error!(target: PANIC, thread, location, backtrace, "panicked: {message}");
    } else {
        let text = format!("thread '{thread}' panicked at {location}: {message}\n");
        queue.push(Priority::High, text.as_bytes());
    }
}
