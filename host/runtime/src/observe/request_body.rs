//! The bodies of an outgoing request and its answer, on their way past the host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;

use super::recorded_body::BodyDirection;
use super::request::ObservedRequest;
use super::usage::Waiting;

/// Observes a body that it passes on unchanged. Of an answer it also measures for how long the guest waits, and when it ends.
pub(crate) struct ObservedBody<B> {
    inner: B,
    request: Arc<ObservedRequest>,
    direction: BodyDirection,
    waiting: Option<Waiting>,
}

impl<B> ObservedBody<B> {
    pub(crate) fn new(inner: B, request: Arc<ObservedRequest>, direction: BodyDirection) -> Self {
        Self { inner, request, direction, waiting: None }
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for ObservedBody<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let is_answer = this.direction == BodyDirection::Received;
        let Poll::Ready(frame) = polled else {
            if is_answer && this.waiting.is_none() {
                this.waiting = Some(this.request.wait());
            }
            return Poll::Pending;
        };
        this.waiting = None;
        match &frame {
            Some(Ok(frame)) => {
                if this.request.is_detailed()
                    && let Some(data) = frame.data_ref()
                {
                    this.request.record_bytes(this.direction, data);
                }
            }
            Some(Err(error)) if is_answer => this.request.end(Some(error)),
            None if is_answer => this.request.end(None),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for ObservedBody<B> {
    fn drop(&mut self) {
        if self.direction == BodyDirection::Received {
            self.request.end(None);
        }
    }
}
