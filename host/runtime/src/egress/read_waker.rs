//! A waker for a reader that polls a connection and what the connection delivers in one go.
//!
//! The two wake each other whenever one has something for the other. The reader polls both anyway, so such a wake-up is none for its
//! task; only one that comes while the reader waits is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// The reader waits, and no wake-up has come.
const WAITING: u8 = 0;
/// The reader polls, or has got something and will poll again when it wants more.
const POLLING: u8 = 1;
/// A wake-up has come since the reader began to poll.
const WOKEN: u8 = 2;

/// How often the reader polls at once while wake-ups come and nothing is ready. After that its task lets others run.
const MAX_ROUNDS: usize = 3;

/// The waker of one reader.
pub(super) struct ReadWaker {
    shared: Arc<Shared>,
    /// Made of `shared`.
    waker: Waker,
}

struct Shared {
    state: AtomicU8,
    /// The reader's task.
    reader: AtomicWaker,
}

impl ReadWaker {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared { state: AtomicU8::new(POLLING), reader: AtomicWaker::new() });
        Self { waker: shared.clone().into(), shared }
    }

    /// Calls `poll` until it is ready, or until nothing has woken the reader since the last call. Then a wake-up wakes the task of
    /// `cx`.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let state = &self.shared.state;
        self.shared.reader.register(cx.waker());
        for _ in 0..MAX_ROUNDS {
            state.store(POLLING, Ordering::SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                return polled;
            }
            // It fails where a wake-up came. That one did not wake the task.
            if state.compare_exchange(POLLING, WAITING, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::SeqCst) == WAITING {
            self.reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct CountedWakes(AtomicUsize);

    impl Wake for CountedWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls with `poll` as a task would. Returns what came of it and how often the task was woken so far.
    fn poll(
        reader: &ReadWaker,
        task: &Arc<CountedWakes>,
        poll: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> (bool, usize) {
        let waker = task.clone().into();
        let polled = reader.poll(&mut Context::from_waker(&waker), poll);
        (polled.is_ready(), task.0.load(Ordering::SeqCst))
    }

    #[test]
    fn only_a_reader_that_waits_is_woken_and_only_once() {
        let (reader, task) = (ReadWaker::new(), Arc::new(CountedWakes::default()));
        let ready = |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        };
        assert_eq!(poll(&reader, &task, ready), (true, 0));
        reader.waker.wake_by_ref();
        assert_eq!(poll(&reader, &task, |_| Poll::Pending), (false, 0));
        reader.waker.wake_by_ref();
        reader.waker.wake_by_ref();
        assert_eq!(poll(&reader, &task, |_| Poll::Pending), (false, 1));
        reader.waker.wake_by_ref();
        assert_eq!(task.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_wake_up_during_a_poll_polls_again() {
        let (reader, task) = (ReadWaker::new(), Arc::new(CountedWakes::default()));
        let mut polls = 0;
        let twice = |cx: &mut Context<'_>| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        };
        assert_eq!(poll(&reader, &task, twice), (true, 0));
    }

    #[test]
    fn a_reader_that_is_woken_all_the_time_lets_other_tasks_run() {
        let (reader, task) = (ReadWaker::new(), Arc::new(CountedWakes::default()));
        let busy = |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            Poll::Pending
        };
        assert_eq!(poll(&reader, &task, busy), (false, 1));
        assert_eq!(poll(&reader, &task, busy), (false, 2));
    }
}
