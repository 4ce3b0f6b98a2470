//! An output stream into a file, whose bytes are charged before they are written.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::diagnostics::CallDiagnostics;
use crate::scratch::{QuotaExceeded, ScratchLease, in_blocks};

/// The most bytes that a stream takes at once.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// Where a stream writes.
pub(super) enum WritePosition {
    Offset {
        next: u64,
        /// The end of the blocks that were charged.
        charged: u64,
    },
    /// At the end of the file. Other streams may move it, so each piece is charged as if it began a block.
    End,
}

impl WritePosition {
    pub(super) fn at(offset: u64) -> Self {
        Self::Offset { next: offset, charged: 0 }
    }

    /// The bytes of the blocks that `length` more bytes may take, and where these bytes end.
    fn price(&self, length: u64) -> (u64, u64) {
        match self {
            Self::Offset { next, charged } => {
                let end = next.saturating_add(length);
                let block = in_blocks(1);
                (in_blocks(end).saturating_sub((next / block * block).max(*charged)), end)
            }
            Self::End => (in_blocks(length), length),
        }
    }

    fn advance(&mut self, end: u64) {
        if let Self::Offset { next, charged } = self {
            *next = end;
            *charged = (*charged).max(in_blocks(end));
        }
    }
}

/// Records that the granted size is used up.
pub(super) fn record_quota_refusal(lease: &ScratchLease, diagnostics: &CallDiagnostics) {
    diagnostics.record_refusal(format!("more than {} bytes of scratch (limit `scratch`)", lease.limit()));
}

/// An output stream into a file of the scratch folder.
pub(super) struct MeteredWriter {
    inner: DynOutputStream,
    lease: Arc<ScratchLease>,
    diagnostics: CallDiagnostics,
    position: WritePosition,
}

/// Bytes on their way to the file. They hold the lease, because a write may outlive its store.
struct LeasedBytes {
    bytes: Bytes,
    _lease: Arc<ScratchLease>,
}

impl AsRef<[u8]> for LeasedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl MeteredWriter {
    pub(super) fn new(
        inner: DynOutputStream,
        lease: Arc<ScratchLease>,
        diagnostics: CallDiagnostics,
        position: WritePosition,
    ) -> Self {
        Self { inner, lease, diagnostics, position }
    }

    /// Charges for `bytes` and returns them with a hold on the lease.
    fn charge(&mut self, bytes: Bytes) -> StreamResult<Bytes> {
        let (price, end) = self.position.price(bytes.len() as u64);
        let charge = if end > self.lease.limit() { Err(QuotaExceeded) } else { self.lease.charge(price) };
        match charge {
            Ok(charge) => charge.complete(true),
            Err(QuotaExceeded) => {
                record_quota_refusal(&self.lease, &self.diagnostics);
                return Err(StreamError::LastOperationFailed(io::Error::from(Errno::NOSPC).into()));
            }
        }
        self.position.advance(end);
        Ok(Bytes::from_owner(LeasedBytes { bytes, _lease: self.lease.clone() }))
    }
}

// The trait builds its other methods from these.
#[async_trait]
impl OutputStream for MeteredWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // The bytes are held until they are written, once for each stream.
        if bytes.len() > MAX_PIECE_BYTES {
            return Err(StreamError::Trap(wasmtime::format_err!("write exceeded budget")));
        }
        let bytes = self.charge(bytes)?;
        self.inner.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let bytes = self.charge(bytes)?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.inner.check_write()?.min(MAX_PIECE_BYTES))
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for MeteredWriter {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_charged_once_for_each_block_that_it_touches() {
        let mut position = WritePosition::at(4090);
        let mut paid = Vec::new();
        for length in [6, 1, 4095, 1, 10_000] {
            let (price, end) = position.price(length);
            position.advance(end);
            paid.push(price / 4096);
        }
        assert_eq!(paid, [1, 1, 0, 1, 2]);
        assert_eq!(WritePosition::End.price(1).0, 4096);
    }
}
