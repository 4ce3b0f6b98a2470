//! Runs a future without an executor.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs a plugin's function to its end. Never blocks, since the in-memory host answers at once.
///
/// # Panics
/// If the future waits for something that does not happen on this thread.
#[allow(clippy::panic, reason = "this is how a test says that it cannot go on")]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future waits for something that does not happen in a test")
}
