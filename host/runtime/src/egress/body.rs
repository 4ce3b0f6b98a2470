//! A response's body on its way to the guest: its pauses bounded, its secrets struck out.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::redact::Redactor;

pub(crate) struct GuardedBody {
    inner: Incoming,
    redactor: Redactor,
    /// How long the upstream may pause, and the alarm for it.
    between: Duration,
    alarm: Pin<Box<Sleep>>,
    ended: bool,
    /// One of the requests that the call may have under way; given back when the body is gone.
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl GuardedBody {
    pub(crate) fn new(
        inner: Incoming,
        redactor: Redactor,
        between: Duration,
        place: tokio::sync::OwnedSemaphorePermit,
    ) -> Self {
        Self {
            inner,
            redactor,
            between,
            alarm: Box::pin(tokio::time::sleep(between)),
            ended: false,
            _place: place,
        }
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
                ready!(this.alarm.as_mut().poll(cx));
                this.ended = true;
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            };
            this.alarm.as_mut().reset(Instant::now() + this.between);
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = this.redactor.push(data);
                        if !data.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error_in_body(&error))));
                }
                None => {
                    this.ended = true;
                    let held = this.redactor.finish();
                    return Poll::Ready((!held.is_empty()).then(|| Ok(Frame::data(held))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// A body that breaks off is told apart from one that breaks the protocol, so that a plugin can say which.
fn error_in_body(error: &hyper::Error) -> Error {
    if error.is_incomplete_message() || error.is_closed() || error.is_body_write_aborted() {
        Error::HttpResponseIncomplete
    } else {
        Error::ConnectionTerminated
    }
}
