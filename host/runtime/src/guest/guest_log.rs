//! Standard output and standard error of a guest, as lines of the call that runs.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::call_log::CallLog;
use crate::text::MAX_LINE_BYTES;

/// The level of standard error.
pub(crate) const STDERR_LEVEL: Level = Level::WARN;

/// The log of the call that runs, for streams that live as long as their store.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<CallLog>>);

impl GuestLog {
    pub(crate) fn new(log: CallLog) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }

    /// Switches to the log of the next call.
    pub(crate) fn begin_call(&self, log: CallLog) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    fn current(&self) -> CallLog {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Standard output or standard error of a guest.
pub(crate) struct LogStream {
    pub(crate) log: GuestLog,
    pub(crate) level: Level,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LineWriter { log: self.log.clone(), level: self.level, partial: Vec::new() })
    }
}

/// Splits what is written into lines and cuts each at the longest line that is kept.
struct LineWriter {
    log: GuestLog,
    level: Level,
    partial: Vec<u8>,
}

impl LineWriter {
    fn end_line(&mut self) {
        if !self.partial.is_empty() {
            let (log, line) = (self.log.current(), String::from_utf8_lossy(&self.partial));
            if self.level == STDERR_LEVEL {
                log.keep_error_output(&line);
            }
            log.write(self.level, &line, &[]);
            self.partial.clear();
        }
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let space = MAX_LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend(text.iter().take(space));
            if text.len() < piece.len() {
                self.end_line();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.end_line();
    }
}
