//! Runs a future without an executor.

use super::clock;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// How often a future is polled in vain before the virtual clock moves on.
const PATIENCE: usize = 100;

/// Runs a plugin's function to its end. Never blocks, since the in-memory host answers at once, and a
/// [`sleep`](crate::time::sleep) takes no time: the virtual clock jumps to its end when nothing else goes on.
///
/// # Panics
/// If the future waits for something that does not happen on this thread.
#[allow(clippy::panic, reason = "this is how a test says that it cannot go on")]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for round in 1..=10_000 {
        clock::forget_waits();
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        if round % PATIENCE == 0 {
            clock::jump();
        }
    }
    panic!("the future waits for something that does not happen in a test")
}
