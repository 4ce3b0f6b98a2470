//! The virtual clock of a test. It stands still while anything can go on, and jumps to the end of the next wait when
//! nothing can.

use std::cell::Cell;
use std::task::Poll;
use std::time::Duration;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// The nearest end of a wait, of those that were polled since the last call of [`forget_waits`].
    static NEAREST: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Waits until the clock has moved on by `length`.
pub(crate) async fn wait(length: Duration) {
    let end = NOW.get().saturating_add(length);
    std::future::poll_fn(|_| {
        if NOW.get() >= end {
            return Poll::Ready(());
        }
        NEAREST.set(Some(NEAREST.get().map_or(end, |nearest| nearest.min(end))));
        Poll::Pending
    })
    .await;
}

/// Called before everything is polled.
pub(super) fn forget_waits() {
    NEAREST.set(None);
}

/// Moves the clock to the nearest end of a wait. Does nothing if nothing waits.
pub(super) fn jump() {
    if let Some(nearest) = NEAREST.get() {
        NOW.set(nearest);
    }
}
