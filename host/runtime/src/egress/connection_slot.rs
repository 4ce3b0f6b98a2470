//! The place of an HTTP/1.1 connection, which is polled by a task of its own or by whoever borrows it.
//!
//! hyper hands over a body frame by frame, through a channel with room for one. If the connection's task read each frame, it would
//! be woken for each, and the reader after it. So whoever waits for the head of an answer, or reads its body, borrows the connection
//! and polls it itself. The task polls it at all other times: then the end of an idle connection is noticed, and the rest of a
//! dropped body is read. A connection is in one place at a time. Whoever gets it polls it at once, which replaces the wakers of the
//! one before.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use masque_read_bound::ReadProgress;

type BoxedConnection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// The place of one connection.
pub(super) struct ConnectionSlot {
    content: Mutex<SlotContent>,
    progress: ReadProgress,
    /// Whether the body of a request may not have been written. The task writes it once the head of the answer is there: whether and
    /// when the answer is read is the guest's choice.
    is_sending: AtomicBool,
}

struct SlotContent {
    place: Place,
    /// Wakes the task.
    task: Option<Waker>,
}

enum Place {
    InSlot(BoxedConnection),
    /// With whoever polls it.
    Borrowed,
    /// Dropped, or to be dropped when it is returned.
    Ended,
}

impl ConnectionSlot {
    /// Spawns the task of a connection. Requests are sent, and answers are read, as with any other connection of hyper.
    /// `progress` is that of the connection.
    pub(super) fn spawn(
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        progress: ReadProgress,
    ) -> Arc<Self> {
        let content = SlotContent { place: Place::InSlot(Box::pin(connection)), task: None };
        let slot =
            Arc::new(Self { content: Mutex::new(content), progress, is_sending: AtomicBool::new(false) });
        tokio::spawn(ConnectionTask(slot.clone()));
        slot
    }

    /// Whether the body of a request may not have been written.
    pub(super) fn is_sending(&self) -> bool {
        self.is_sending.load(Ordering::Acquire)
    }

    /// The task leaves the connection to the caller, who must poll it at once, until the returned value is dropped. `None` while it is
    /// polled elsewhere, while a request may still be written, and after its end.
    pub(super) fn borrow(self: &Arc<Self>) -> Option<BorrowedConnection> {
        if self.is_sending() {
            return None;
        }
        let connection = self.take()?;
        Some(BorrowedConnection { slot: self.clone(), connection: Some(connection) })
    }

    /// What the connection has read since it delivered something.
    pub(super) fn progress(&self) -> &ReadProgress {
        &self.progress
    }

    /// Closes the connection, whatever is under way on it.
    pub(super) fn close(&self) {
        let (connection, task) = {
            let mut content = self.content();
            (std::mem::replace(&mut content.place, Place::Ended), content.task.clone())
        };
        // Outside of the lock, since it drops the body of a request.
        drop(connection);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// A request is sent until the returned value is dropped, which belongs to the request's body.
    pub(super) fn begin_sending(self: &Arc<Self>) -> SendingGuard {
        self.progress.made();
        self.is_sending.store(true, Ordering::Release);
        SendingGuard(self.clone())
    }

    fn take(&self) -> Option<BoxedConnection> {
        let place = &mut self.content().place;
        match std::mem::replace(place, Place::Borrowed) {
            Place::InSlot(connection) => Some(connection),
            other => {
                *place = other;
                None
            }
        }
    }

    /// Puts back what was taken. `None` stands for a connection that has ended. Returns what wakes the task.
    fn put_back(&self, connection: Option<BoxedConnection>) -> Option<Waker> {
        // Dropped outside of the lock, since it drops the body of a request.
        let mut dropped = connection;
        let mut content = self.content();
        content.place = match content.place {
            Place::Ended => Place::Ended,
            _ => dropped.take().map_or(Place::Ended, Place::InSlot),
        };
        let task = content.task.clone();
        drop(content);
        task
    }

    fn content(&self) -> MutexGuard<'_, SlotContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls the connection while nobody borrows it. It ends with the connection; where it ends before, so does the connection.
struct ConnectionTask(Arc<ConnectionSlot>);

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let slot = &self.0;
        {
            let mut content = slot.content();
            if matches!(content.place, Place::Ended) {
                return Poll::Ready(());
            }
            if !content.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                content.task = Some(cx.waker().clone());
            }
        }
        let Some(connection) = slot.take() else { return Poll::Pending };
        let (polled, connection) = poll_connection(connection, cx);
        slot.put_back(connection);
        polled
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let ended = std::mem::replace(&mut self.0.content().place, Place::Ended);
        drop(ended);
    }
}

/// A connection that its task leaves to a reader.
pub(super) struct BorrowedConnection {
    slot: Arc<ConnectionSlot>,
    /// Absent after its end, and after a panic in it.
    connection: Option<BoxedConnection>,
}

impl BorrowedConnection {
    /// Resolves when the connection has ended. Its reader receives its errors.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.take() else { return Poll::Ready(()) };
        let (polled, connection) = poll_connection(connection, cx);
        self.connection = connection;
        polled
    }
}

impl Drop for BorrowedConnection {
    fn drop(&mut self) {
        if let Some(task) = self.slot.put_back(self.connection.take()) {
            task.wake();
        }
    }
}

/// Returns the connection unless it has ended.
fn poll_connection(
    mut connection: BoxedConnection,
    cx: &mut Context<'_>,
) -> (Poll<()>, Option<BoxedConnection>) {
    match connection.as_mut().poll(cx) {
        Poll::Pending => (Poll::Pending, Some(connection)),
        Poll::Ready(result) => {
            if let Err(error) = result {
                tracing::debug!(%error, "the connection to an upstream ended");
            }
            (Poll::Ready(()), None)
        }
    }
}

/// The body of a request is dropped once it has been written, and this with it.
pub(super) struct SendingGuard(Arc<ConnectionSlot>);

impl Drop for SendingGuard {
    fn drop(&mut self) {
        self.0.is_sending.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    /// A connection that never ends, and what is dropped with it.
    fn endless() -> (impl Future<Output = hyper::Result<()>> + Send + 'static, Arc<()>) {
        let held = Arc::new(());
        let kept = held.clone();
        let connection = async move {
            let _kept = kept;
            pending().await
        };
        (connection, held)
    }

    #[test]
    fn a_borrowed_connection_ends_with_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (connection, held) = endless();
        let slot = runtime.block_on(async { ConnectionSlot::spawn(connection, ReadProgress::default()) });
        let borrowed = slot.borrow().unwrap();
        assert!(slot.borrow().is_none(), "it is in one place");
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(borrowed);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(slot.borrow().is_none());
    }

    #[tokio::test]
    async fn a_connection_that_is_returned_is_polled_by_its_task() {
        let (polls, mut polled) = tokio::sync::mpsc::unbounded_channel();
        let connection = poll_fn(move |_| {
            // The test may have ended.
            let _ = polls.send(());
            Poll::Pending
        });
        let slot = ConnectionSlot::spawn(connection, ReadProgress::default());
        polled.recv().await.unwrap();
        for _ in 0..3 {
            drop(slot.borrow().unwrap());
            polled.recv().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_is_dropped_wherever_it_is() {
        for is_borrowed in [false, true] {
            let (connection, held) = endless();
            let slot = ConnectionSlot::spawn(connection, ReadProgress::default());
            let borrowed = is_borrowed.then(|| slot.borrow().unwrap());
            slot.close();
            assert!(slot.borrow().is_none());
            drop(borrowed);
            assert_eq!(Arc::strong_count(&held), 1, "borrowed: {is_borrowed}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_panics_has_ended() {
        let slot = ConnectionSlot::spawn(poll_fn(|_| panic!("a bug")), ReadProgress::default());
        let mut borrowed = slot.borrow().unwrap();
        let poll = std::panic::AssertUnwindSafe(|| borrowed.poll(&mut Context::from_waker(Waker::noop())));
        assert!(std::panic::catch_unwind(poll).is_err());
        assert!(borrowed.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        drop(borrowed);
        assert!(slot.borrow().is_none());
    }
}
