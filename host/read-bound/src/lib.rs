//! Bounds what an HTTP connection reads without delivering anything, and how much it reads at a time.
//!
//! Threat: a peer sends without end what is no content, such as zeros before the length of a chunk, or heads with a status of
//! 1xx. hyper decodes it byte by byte, some 65 ns each, for as long as there is something to read. One poll of such a connection
//! took half a second, in which its thread did nothing else: requests of others waited for seconds.
//!
//! Policy: after [`TURN_BYTES`] a connection lets the other tasks of its thread run. After [`MAX_BYTES`] without anything that its
//! reader could use (a head, or a part of a body), reading fails, and with it the connection.
//!
//! Accepted consequence: a peer that sends one byte of a body in each megabyte goes on until another limit ends it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

/// What a connection reads before the other tasks of its thread run: at 65 ns a byte, 2 ms.
pub const TURN_BYTES: usize = 32 << 10;

/// What a connection may read without delivering anything: more than twice the longest head, and the longest buffer, of hyper.
pub const MAX_BYTES: usize = 1 << 20;

/// What a connection has read since it last delivered something. Clones belong to the same connection.
#[derive(Clone, Debug, Default)]
pub struct ReadProgress(Arc<Undelivered>);

#[derive(Debug, Default)]
struct Undelivered {
    bytes: AtomicUsize,
    is_unbounded: AtomicBool,
}

impl ReadProgress {
    /// The connection has delivered something, or begins another request.
    pub fn made(&self) {
        self.0.bytes.store(0, Ordering::Relaxed);
    }

    /// The connection speaks a protocol with limits of its own, such as HTTP/2. It still lets other tasks run.
    pub fn lift_bound(&self) {
        self.0.is_unbounded.store(true, Ordering::Relaxed);
    }

    /// Counts bytes that were read.
    ///
    /// # Errors
    /// Too many were read without progress.
    fn read(&self, bytes: usize) -> io::Result<()> {
        let before = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= MAX_BYTES || self.0.is_unbounded.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reason = format!("the peer sent {MAX_BYTES} bytes of HTTP without content");
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

/// A transport whose reads are bounded.
#[derive(Debug)]
pub struct BoundedRead<T> {
    /// Its limit is what may still be read before the other tasks of the thread run.
    inner: Take<T>,
    progress: ReadProgress,
}

impl<T: AsyncRead> BoundedRead<T> {
    /// Bounds the reads of a transport. Whoever reads what the connection delivers tells `progress`.
    pub fn new(inner: T, progress: ReadProgress) -> Self {
        Self { inner: inner.take(TURN_BYTES as u64), progress }
    }

    /// The transport.
    pub fn inner(&self) -> &T {
        self.inner.get_ref()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BoundedRead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.inner.limit() == 0 {
            this.inner.set_limit(TURN_BYTES as u64);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if Pin::new(&mut this.inner).poll_read(context, buffer)?.is_pending() {
            this.inner.set_limit(TURN_BYTES as u64);
            return Poll::Pending;
        }
        Poll::Ready(this.progress.read(buffer.filled().len() - before))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BoundedRead<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner().is_write_vectored()
    }
}

/// Whoever opens a connection of hyper-util finds the [`ReadProgress`] among its extras.
impl<T: AsyncRead + Connection> Connection for BoundedRead<T> {
    fn connected(&self) -> Connected {
        self.inner().connected().extra(self.progress.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A transport that always has something to read.
    fn endless(progress: &ReadProgress) -> BoundedRead<tokio::io::Repeat> {
        BoundedRead::new(tokio::io::repeat(b'0'), progress.clone())
    }

    /// What one poll of a connection reads: until the transport has nothing, or fails.
    fn poll_once(transport: &mut BoundedRead<tokio::io::Repeat>) -> Result<usize, io::ErrorKind> {
        let (mut read, mut bytes) = (0, vec![0; 400_000]);
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let context = &mut Context::from_waker(Waker::noop());
            match Pin::new(&mut *transport).poll_read(context, &mut buffer) {
                Poll::Pending => return Ok(read),
                Poll::Ready(Err(error)) => return Err(error.kind()),
                Poll::Ready(Ok(())) => read += buffer.filled().len(),
            }
        }
    }

    #[test]
    fn a_poll_reads_no_more_than_a_turn() {
        let mut transport = endless(&ReadProgress::default());
        for _ in 0..MAX_BYTES / TURN_BYTES {
            assert_eq!(poll_once(&mut transport), Ok(TURN_BYTES));
        }
    }

    #[test]
    fn what_is_read_without_progress_is_bounded_and_progress_begins_anew() {
        let progress = ReadProgress::default();
        let mut transport = endless(&progress);
        for _ in 0..3 {
            progress.made();
            for _ in 0..MAX_BYTES / TURN_BYTES {
                assert_eq!(poll_once(&mut transport), Ok(TURN_BYTES));
            }
        }
        assert_eq!(poll_once(&mut transport), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn a_protocol_with_limits_of_its_own_only_takes_turns() {
        let progress = ReadProgress::default();
        progress.lift_bound();
        let mut transport = endless(&progress);
        for _ in 0..2 * MAX_BYTES / TURN_BYTES {
            assert_eq!(poll_once(&mut transport), Ok(TURN_BYTES));
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_a_turn_is_woken() {
        let mut bytes = vec![0; MAX_BYTES];
        endless(&ReadProgress::default()).read_exact(&mut bytes).await.unwrap();
    }
}
