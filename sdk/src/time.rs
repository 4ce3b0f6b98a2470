//! Waiting. In a component the host's clock counts; in a native test it is the virtual clock of
//! [`testing`](crate::testing), which moves on whenever everything waits.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// A wait that has a fixed end. Awaiting it pauses until that end; [`unless`](Self::unless) bounds other waits, as many as fit
/// into it.
#[must_use = "a sleep does nothing unless it is awaited or bounds another wait"]
pub struct Sleep {
    ended: bool,
    wait: Pin<Box<dyn Future<Output = ()>>>,
}

/// Starts a wait of this length. The time counts from the first use.
///
/// To pause, await it:
///
/// ```
/// use masque_sdk::{Finish, Model, Prompt, ReplyWriter, Result, time};
/// use std::time::Duration;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Countdown {}
///
/// impl Model for Countdown {
///     async fn generate(&self, _: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
///         for number in ["Three", ", two", ", one"] {
///             reply.text(number).await?;
///             time::sleep(Duration::from_secs(1)).await;
///         }
///         Ok(Finish::stop())
///     }
/// }
/// # let answer = masque_sdk::testing::answer(&Countdown {}, Prompt::new([])).unwrap();
/// # assert_eq!(answer.text(), "Three, two, one");
/// ```
///
/// To bound another wait, use [`Sleep::unless`]:
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

/// Pauses until the wait ends: for its length, or for what is left of it if it was used before.
impl IntoFuture for Sleep {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()>>>;

    fn into_future(self) -> Self::IntoFuture {
        // A wait that has ended must not be polled again.
        if self.ended { Box::pin(std::future::ready(())) } else { self.wait }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::future::pending;

    const SECOND: Duration = Duration::from_secs(1);

    /// Whether a pause ends before a sleep of this length.
    fn ends_within(length: Duration, pause: Sleep) -> bool {
        testing::run(sleep(length).unless(pause.into_future())).is_some()
    }

    #[test]
    fn a_sleep_that_is_awaited_pauses_for_its_length() {
        testing::run(async { sleep(SECOND).await });
        assert!(ends_within(SECOND * 2, sleep(SECOND)));
        assert!(!ends_within(SECOND / 2, sleep(SECOND)));
    }

    #[test]
    fn a_sleep_that_was_used_before_pauses_for_the_rest_of_its_length() {
        let mut begun = sleep(SECOND * 3);
        assert_eq!(testing::run(begun.unless(sleep(SECOND * 2).into_future())), Some(()));
        assert!(ends_within(SECOND * 2, begun));
    }

    #[test]
    fn a_sleep_that_has_ended_pauses_no_more() {
        let mut ended = sleep(SECOND);
        assert_eq!(testing::run(ended.unless(pending::<()>())), None);
        assert!(ends_within(Duration::ZERO, ended));
    }
}
