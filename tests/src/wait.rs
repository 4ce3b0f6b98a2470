//! Waits for an event, with a time limit that only a failure reaches.

use std::future::Future;
use std::time::{Duration, Instant};

/// The time limit of a wait. It is far longer than any wait takes, even on a busy machine: a host that starts, or loads a
/// plugin, may compile components one after the other in a child process of low priority, which comes last there.
pub const WAIT_LIMIT: Duration = Duration::from_secs(300);

/// Returns the result of `future`. Panics with `what` if it takes too long.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_LIMIT, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited {WAIT_LIMIT:?} in vain: {what}"),
    }
}

/// Calls `probe` until it returns a value, with pauses.
///
/// Only for state that can't be awaited, such as the files of another process or the answers of its API.
pub async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(start.elapsed() < WAIT_LIMIT, "waited {WAIT_LIMIT:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
