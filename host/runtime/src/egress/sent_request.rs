//! A request on its way to an upstream, and what remains of it where that fails.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::TrySendError;
use wasmtime_wasi_http::{Error, WasiBody};

use super::connection_slot::SendingGuard;

/// The body of a request, which hyper drops as soon as it has been written.
pub(super) struct SentBody {
    pub(super) body: WasiBody,
    pub(super) _sending: SendingGuard,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a request has no answer.
pub(super) struct SendError {
    pub(super) error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Request<WasiBody>>,
}

impl SendError {
    pub(super) fn new<B>(mut error: TrySendError<Request<B>>, body: impl FnOnce(B) -> WasiBody) -> Self {
        let unsent = error.take_message().map(|request| request.map(body));
        Self { error: error.into_error(), unsent }
    }
}
