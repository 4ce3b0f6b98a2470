//! How a test waits: for an event, with a limit that only a failure reaches.

use std::future::Future;
use std::time::{Duration, Instant};

/// Far longer than anything here takes, even on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The result of `future`, or a panic that says `what` did not happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

/// Asks until `probe` has an answer.
///
/// For state that only asking shows, such as another process's files or what its API says: the one place in these tests
/// that looks again after a pause. What can be awaited is awaited.
pub async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
