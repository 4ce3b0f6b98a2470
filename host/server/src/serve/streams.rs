//! The streams of one HTTP/2 connection: how many are open, and whether their client takes what they are sent.
//!
//! HTTP/2 lets a client keep a stream open without reading it, by granting it no room (RFC 9113, section 5.2), while
//! the socket stays empty and every ping is answered. Nothing below a stream sees that, so each is looked after here:
//! one whose client leaves a piece of the answer waiting for too long is reset, and with it goes all it holds.

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

/// The protocol's own buffer takes a piece as soon as there is room for a byte of it, so this is what it may hold of a
/// stream that nobody reads, and what a client must read within the limit.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// What the stream of the running task waits for.
    static WAITING: Waiting;
}

/// Since when a piece of the answer waits for room, if one does.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Option<Instant>>>);

impl Waiting {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a piece has waited for `patience`. To be polled after every poll of the stream, in its task.
    async fn too_long(&self, patience: Duration) {
        let mut timer = pin!(tokio::time::sleep(patience));
        poll_fn(|context| {
            let Some(since) = self.since() else { return Poll::Pending };
            let until = since + patience;
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            timer.as_mut().poll(context)
        })
        .await;
    }
}

/// The streams of one connection. Runs each in a task of its own, as hyper asks.
#[derive(Clone)]
pub(super) struct Streams {
    open: watch::Sender<usize>,
    /// How long a piece of an answer may wait.
    patience: Duration,
}

impl Streams {
    pub(super) fn new(patience: Duration) -> Self {
        Self { open: watch::Sender::new(0), patience }
    }

    /// Resolves when none has been open for `time`.
    pub(super) async fn unused_for(&self, time: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // The sender lives as long as `self`: neither wait can fail.
            if open.wait_for(|open| *open == 0).await.is_err()
                || tokio::time::timeout(time, open.wait_for(|open| *open > 0)).await.is_err()
            {
                return;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let open = Open::new(&self.open);
        let patience = self.patience;
        let waiting = Waiting::default();
        tokio::spawn(WAITING.scope(waiting.clone(), async move {
            let _open = open;
            // Dropping the stream resets it.
            tokio::select! {
                biased;
                () = stream => {}
                () = waiting.too_long(patience) => tracing::debug!("a client does not read an answer"),
            }
        }));
    }
}

/// Counts one stream for as long as it is held.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The answer, watched if it is that of a stream. To be called in the stream's own task.
pub(super) fn watched(response: Response) -> Response {
    match WAITING.try_with(Waiting::clone) {
        Ok(waiting) => response.map(|body| Body::new(Watched { body, rest: Bytes::new(), waiting })),
        // HTTP/1.1: what is not read stays in the socket, which has its own limit.
        Err(_) => response,
    }
}

/// Hands its body out in pieces, and notes whether the last one has been taken: hyper asks for the next one then.
struct Watched {
    body: Body,
    rest: Bytes,
    waiting: Waiting,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.waiting.set(None);
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
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.waiting.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
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
