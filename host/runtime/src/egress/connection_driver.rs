//! Polls a connection of HTTP/1.1 together with what it delivers: the head of an answer, or the frames of its body.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::connection_slot::{BorrowedConnection, ConnectionSlot};
use super::read_waker::ReadWaker;

/// Drives a connection for one request, whenever its task does not.
pub(super) struct ConnectionDriver {
    /// Present from when it could be borrowed.
    connection: Option<BorrowedConnection>,
    slot: Arc<ConnectionSlot>,
    waker: ReadWaker,
}

impl ConnectionDriver {
    pub(super) fn new(slot: Arc<ConnectionSlot>) -> Self {
        Self { connection: None, slot, waker: ReadWaker::new() }
    }

    /// Borrows the connection for a request that will be sent, so that the request does not wake the connection's task. The caller
    /// calls [`Self::poll`] after it has been sent.
    pub(super) fn attach(&mut self, cx: &mut Context<'_>) {
        self.connection = self.slot.borrow();
        if let Some(connection) = &mut self.connection {
            // A connection that ends here refuses the request.
            let _ = self.waker.poll(cx, |cx| Poll::Ready(connection.poll(cx)));
        }
    }

    /// Polls what the connection delivers and, as long as that is not ready, the connection.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut delivered: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let polled = self.poll_both(cx, &mut delivered);
        if polled.is_ready() {
            self.slot.progress().made();
        }
        polled
    }

    fn poll_both<T>(
        &mut self,
        cx: &mut Context<'_>,
        delivered: &mut impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.connection.is_none() {
            // The connection's task may have read it.
            if let ready @ Poll::Ready(_) = delivered(cx) {
                return ready;
            }
            self.connection = self.slot.borrow();
        }
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        self.waker.poll(cx, |cx| {
            if let ready @ Poll::Ready(_) = delivered(cx) {
                return ready;
            }
            // A connection that has ended has delivered what it read, and its error.
            let _ = connection.poll(cx);
            delivered(cx)
        })
    }

    /// Returns the connection if the body of its request has not been written, which its task then does whether the answer is read or
    /// not.
    pub(super) fn end_sending(&mut self) {
        if self.slot.is_sending() {
            self.connection = None;
        }
    }
}
