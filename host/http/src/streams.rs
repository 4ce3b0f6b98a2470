//! The streams of one HTTP/2 connection: how many are open, and whether the client reads them.
//!
//! Threat: an HTTP/2 client keeps a stream open without reading it by granting it no flow-control window (RFC 9113,
//! section 5.2). The socket stays writable and every ping is answered, so no limit below the stream notices. Policy: a
//! stream whose client leaves data unread for too long is reset, which frees everything that the stream holds.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::Instant;

/// The largest frame of a response body. h2 takes a whole frame into its buffer once there is window for one byte of
/// it, so this bounds what is buffered for a stream whose client does not read, and it is what a client must read
/// within the time limit.
const MAX_FRAME_BYTES: usize = 16 * 1024;

tokio::task_local! {
    /// The unread data of the stream that the current task serves.
    static UNREAD: UnreadSince;
}

/// Since when data of the response waits for flow-control window, if any does.
#[derive(Clone, Default)]
struct UnreadSince(Arc<Mutex<Option<Instant>>>);

impl UnreadSince {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when data has been unread for `limit`. It registers no waker for changes of the value, so it must be
    /// polled after every poll of the stream, in the same task.
    async fn exceeds(&self, limit: Duration) {
        let mut timer = pin!(tokio::time::sleep(limit));
        poll_fn(|context| {
            let Some(since) = self.get() else { return Poll::Pending };
            let until = since + limit;
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            timer.as_mut().poll(context)
        })
        .await;
    }
}

/// The executor that hyper runs the streams of one HTTP/2 connection on, each in its own task.
#[derive(Clone)]
pub(crate) struct StreamExecutor {
    open: watch::Sender<usize>,
    /// How long the client may leave data of a response unread.
    unread_timeout: Duration,
}

impl StreamExecutor {
    pub(crate) fn new(unread_timeout: Duration) -> Self {
        Self { open: watch::Sender::new(0), unread_timeout }
    }

    /// Resolves when no stream has been open for `time`.
    pub(crate) async fn idle_for(&self, time: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // The sender lives as long as `self`, so neither wait can fail.
            if open.wait_for(|open| *open == 0).await.is_err()
                || tokio::time::timeout(time, open.wait_for(|open| *open > 0)).await.is_err()
            {
                return;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let open = OpenStream::new(&self.open);
        let unread_timeout = self.unread_timeout;
        let unread = UnreadSince::default();
        tokio::spawn(UNREAD.scope(unread.clone(), async move {
            let _open = open;
            // Dropping `stream` resets the HTTP/2 stream.
            tokio::select! {
                biased;
                () = stream => {}
                () = unread.exceeds(unread_timeout) => tracing::debug!("a client does not read an answer"),
            }
        }));
    }
}

/// Counts one open stream until it is dropped.
struct OpenStream(watch::Sender<usize>);

impl OpenStream {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Makes the response record when its data is unread. Must be called in the task of the stream. Returns an HTTP/1.1
/// response unchanged: there, unread data stays in the socket, which has its own limit.
pub(crate) fn record_unread_data(response: Response) -> Response {
    match UNREAD.try_with(UnreadSince::clone) {
        Ok(unread) => response.map(|body| Body::new(RecordingBody { body, rest: Bytes::new(), unread })),
        Err(_) => response,
    }
}

/// Splits its body into small frames, and records whether the last frame has been sent: hyper asks for the next one
/// only then.
struct RecordingBody {
    body: Body,
    rest: Bytes,
    unread: UnreadSince,
}

impl http_body::Body for RecordingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.unread.set(None);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context))
                .map(|frame| frame.map(Frame::into_data))
            {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(MAX_FRAME_BYTES);
        let data = self.rest.split_to(length);
        self.unread.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
