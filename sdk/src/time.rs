//! Waiting. In a component the host's clock counts; in a native test it is the virtual clock of
//! [`testing`](crate::testing), which moves on whenever everything waits.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// A wait that has a fixed end, for as many futures as fit into it.
pub struct Sleep {
    ended: bool,
    wait: Pin<Box<dyn Future<Output = ()>>>,
}

/// Starts a wait of this length. The time counts from the first use.
///
/// ```
/// use masque_sdk::{testing, time};
/// use std::time::Duration;
///
/// let mut sleep = time::sleep(Duration::from_secs(1));
/// assert_eq!(testing::run(sleep.unless(async { 7 })), Some(7));
/// assert_eq!(testing::run(sleep.unless(std::future::pending::<u8>())), None);
/// ```
pub fn sleep(length: Duration) -> Sleep {
    Sleep { ended: false, wait: Box::pin(wait(length)) }
}

impl Sleep {
    /// Waits for `future`, and returns its output, or `None` if the wait ends first. The future is dropped then.
    pub async fn unless<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if !self.ended {
                self.ended = self.wait.as_mut().poll(context).is_ready();
            }
            if self.ended { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

#[cfg(target_arch = "wasm32")]
async fn wait(length: Duration) {
    let nanoseconds = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    wasip3::clocks::monotonic_clock::wait_for(nanoseconds).await;
}

#[cfg(not(target_arch = "wasm32"))]
async fn wait(length: Duration) {
    crate::testing::clock::wait(length).await;
}
