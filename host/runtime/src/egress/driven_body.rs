//! The body of an answer, which polls the connection that it is read from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection_driver::ConnectionDriver;

/// A body of hyper that drives its connection, where that is one of HTTP/1.1.
pub(crate) struct DrivenBody {
    /// Dropped before the connection is returned, which then reads the rest of the body or closes.
    incoming: Incoming,
    /// Present until the body has ended.
    driver: Option<ConnectionDriver>,
}

impl DrivenBody {
    pub(super) fn new(incoming: Incoming, driver: Option<ConnectionDriver>) -> Self {
        Self { incoming, driver }
    }
}

impl Body for DrivenBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, driver } = &mut *self;
        let Some(driving) = driver else { return Pin::new(incoming).poll_frame(cx) };
        let frame = ready!(driving.poll(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            *driver = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests;
