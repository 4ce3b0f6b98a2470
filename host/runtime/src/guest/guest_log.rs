//! Standard output and standard error of a guest, as lines of the call that runs.
//!
//! The threat: a guest opens many streams, and each holds bytes that were not written yet. The policy: the streams hold nothing.
//! What was written is a line at once, or the start of one, and all streams of a kind share that. The accepted consequence:
//! lines that are written through two streams at the same time are mixed, as they are in a terminal.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::call_log::CallLog;
use crate::text::MAX_LINE_BYTES;

/// The most bytes that a stream of WASI 0.2 takes at once.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// The log of the call that runs, for streams that live as long as their store.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Lines>>);

/// One of the two streams that a guest can write to.
#[derive(Clone, Copy)]
pub(crate) enum StandardStream {
    Output,
    Error,
}

impl GuestLog {
    pub(crate) fn new(log: CallLog) -> Self {
        Self(Arc::new(Mutex::new(Lines { log, output: Vec::new(), error: Vec::new() })))
    }

    /// Switches to the log of the next call. A line that the last call has not ended belongs to that call.
    pub(crate) fn begin_call(&self, log: CallLog) {
        let mut lines = self.lines();
        lines.end_lines();
        lines.log = log;
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits what is written into lines and cuts each at the longest line that is kept.
struct Lines {
    log: CallLog,
    /// The start of a line on standard output.
    output: Vec<u8>,
    /// The start of a line on standard error.
    error: Vec<u8>,
}

impl Lines {
    fn started(&mut self, stream: StandardStream) -> &mut Vec<u8> {
        match stream {
            StandardStream::Output => &mut self.output,
            StandardStream::Error => &mut self.error,
        }
    }

    fn append(&mut self, stream: StandardStream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let line = self.started(stream);
            let space = MAX_LINE_BYTES.saturating_sub(line.len());
            line.extend(text.iter().take(space));
            if text.len() < piece.len() {
                self.end_line(stream);
            }
        }
    }

    fn end_line(&mut self, stream: StandardStream) {
        let line = std::mem::take(self.started(stream));
        if !line.is_empty() {
            let line = String::from_utf8_lossy(&line);
            match stream {
                StandardStream::Output => self.log.write(Level::INFO, &line, &[]),
                StandardStream::Error => self.log.write_error_output(&line),
            }
        }
    }

    fn end_lines(&mut self) {
        self.end_line(StandardStream::Output);
        self.end_line(StandardStream::Error);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_lines();
    }
}

/// Standard output or standard error of a guest.
#[derive(Clone)]
pub(crate) struct LogStream {
    pub(crate) log: GuestLog,
    pub(crate) stream: StandardStream,
}

impl LogStream {
    fn append(&self, bytes: &[u8]) {
        self.log.lines().append(self.stream, bytes);
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    /// wasmtime's own stream has a buffer of 8 KiB and a task.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_PIECE_BYTES)
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use masque_grants::Limits;

    use super::*;
    use crate::diagnostics::CallDiagnostics;
    use crate::guest::call_log::LogSource;
    use crate::secret_matcher::SecretMatcher;

    fn call_log() -> CallLog {
        let source = LogSource {
            plugin: "chatty".into(),
            version: "1.0.0".into(),
            function: "compose",
            secrets: SecretMatcher::default(),
            diagnostics: CallDiagnostics::default(),
        };
        CallLog::new(source, &Limits::default())
    }

    #[test]
    fn a_thousand_streams_hold_no_more_than_one_line() {
        let log = GuestLog::new(call_log());
        let error = LogStream { log: log.clone(), stream: StandardStream::Error };
        let mut streams: Vec<_> = (0..1000).map(|_| error.p2_stream()).collect();
        for stream in &mut streams {
            stream.write(Bytes::from(vec![b'x'; MAX_LINE_BYTES])).unwrap();
        }
        let lines = log.lines();
        assert_eq!((lines.error.len(), lines.output.len()), (MAX_LINE_BYTES, 0));
    }

    #[test]
    fn a_line_that_is_written_in_pieces_is_one_line_of_the_call_that_began_it() {
        let log = GuestLog::new(call_log());
        let output = LogStream { log: log.clone(), stream: StandardStream::Output };
        // The standard library opens a stream for each piece.
        for piece in ["went ", "on"] {
            output.p2_stream().write(Bytes::from(piece)).unwrap();
        }
        assert_eq!(log.lines().output, b"went on");
        output.p2_stream().write(Bytes::from("\nand ")).unwrap();
        assert_eq!(log.lines().output, b"and ");
        log.begin_call(call_log());
        assert!(log.lines().output.is_empty());
    }
}
