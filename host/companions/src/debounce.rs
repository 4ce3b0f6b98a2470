//! Waits until files are quiet, so that a change in several steps is applied once.

use std::time::Duration;

use tokio::time::Instant;

/// The files count as quiet when two readings with this interval are equal. Editors and deployment tools rarely pause
/// longer between two writes of one change.
const QUIET: Duration = Duration::from_millis(100);
/// The longest wait. Files that never stop changing are read as they are after it.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Something whose state can be read again and again.
pub(crate) trait Observable {
    type State;

    /// The state now.
    fn observe(&self) -> impl Future<Output = Self::State> + Send;

    fn is_same(before: &Self::State, after: &Self::State) -> bool;
}

/// Resolves when two observations in a row are the same, or after [`MAX_WAIT`].
pub(crate) async fn debounce<O: Observable>(files: &O) {
    let end = Instant::now() + MAX_WAIT;
    let mut before = files.observe().await;
    loop {
        tokio::time::sleep_until((Instant::now() + QUIET).min(end)).await;
        let after = files.observe().await;
        if O::is_same(&before, &after) || Instant::now() >= end {
            return;
        }
        before = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is written `times` times, once every `pause`.
    struct WrittenFile {
        since: Instant,
        pause: Duration,
        times: u32,
    }

    impl Observable for WrittenFile {
        type State = u32;

        async fn observe(&self) -> u32 {
            let writes = self.since.elapsed().as_millis() / self.pause.as_millis();
            u32::try_from(writes).unwrap_or(u32::MAX).min(self.times)
        }

        fn is_same(before: &u32, after: &u32) -> bool {
            before == after
        }
    }

    async fn debounced(pause: Duration, times: u32) -> Duration {
        let since = Instant::now();
        debounce(&WrittenFile { since, pause, times }).await;
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn writes_close_together_are_one_change() {
        let short = Duration::from_millis(60);
        // The readings at 0, 100 and 200 ms all differ; the one at 300 ms equals the one before.
        assert_eq!(debounced(short, 3).await, 3 * QUIET);
        assert_eq!(debounced(2 * QUIET, 3).await, QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_written_without_end_is_waited_for_no_longer_than_the_maximum() {
        assert_eq!(debounced(Duration::from_millis(60), u32::MAX).await, MAX_WAIT);
    }
}
