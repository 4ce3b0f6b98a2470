//! A future that is polled only after it was woken.
//!
//! The reader of a reply is polled for many reasons: it has taken an item, or something else in its task woke up. A poll of the
//! call without a reason of its own finds nothing, but costs the engine's event loop and the budgets around it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Polls the future within only when that has been woken since its last poll, and once at first.
pub(super) struct PollOnWake<F> {
    future: F,
    wakes: Arc<Wakes>,
    /// Made of `wakes` once, since each poll needs it.
    waker: Waker,
}

struct Wakes {
    is_woken: AtomicBool,
    /// The task that polls.
    task: AtomicWaker,
}

impl<F> PollOnWake<F> {
    pub(super) fn new(future: F) -> Self {
        let wakes = Arc::new(Wakes { is_woken: AtomicBool::new(true), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&wakes));
        Self { future, wakes, waker }
    }

    /// Whether the next poll polls the future.
    pub(super) fn is_woken(&self) -> bool {
        self.wakes.is_woken.load(Ordering::Acquire)
    }
}

impl<F: Future + Unpin> Future for PollOnWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look at the flag: whoever sets it later wakes this task.
        self.wakes.task.register(cx.waker());
        if !self.wakes.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { future, waker, .. } = &mut *self;
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_once_at_first_and_then_only_after_it_was_woken() {
        let (mut polls, mut kept) = (0, None);
        let mut future = PollOnWake::new(poll_fn(|cx| {
            polls += 1;
            kept = Some(cx.waker().clone());
            if polls < 3 { Poll::Pending } else { Poll::Ready((polls, kept.take())) }
        }));
        for _ in 0..3 {
            assert!((&mut future).now_or_never().is_none());
            assert!(!future.is_woken());
        }
        let waker = future.waker.clone();
        waker.wake_by_ref();
        assert!(future.is_woken());
        assert!((&mut future).now_or_never().is_none());
        waker.wake_by_ref();
        assert_eq!(future.await.0, 3);
    }

    #[tokio::test]
    async fn a_wake_reaches_the_task_that_polled_last() {
        let mut future = PollOnWake::new(poll_fn(|_| Poll::<()>::Pending));
        let waker = future.waker.clone();
        assert!((&mut future).now_or_never().is_none());
        let mut is_first = true;
        let mut polling = tokio::spawn(poll_fn(move |cx| {
            let woken = !std::mem::take(&mut is_first) && future.is_woken();
            let _ = future.poll_unpin(cx);
            if woken { Poll::Ready(()) } else { Poll::Pending }
        }));
        tokio::task::yield_now().await;
        assert!((&mut polling).now_or_never().is_none());
        waker.wake();
        polling.await.unwrap();
    }
}
