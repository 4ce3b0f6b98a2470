//! Whether the store works, for probes that anyone may send.
//!
//! The threats: a flood of probes, each of which would occupy a reading thread of the store, and a store that does not answer,
//! behind which every probe would wait. The policy: the store is asked once in a second at most, by a task that no prober can
//! end; all get its answer, and no answer within [`MAX_WAIT`] counts as one that it does not work. While it has not answered,
//! it is not asked again before [`MAX_CHECK`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use masque_store::StoreError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How long an answer of the store is used.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How long a probe waits for the store.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How long the store has for one answer. It is longer than a probe waits, so that a store that is slow is asked by one task at
/// a time.
const MAX_CHECK: Duration = Duration::from_secs(30);

/// What the store has answered last.
#[derive(Debug, Default)]
pub(crate) struct StoreProbe(Mutex<Option<watch::Receiver<Answer>>>);

/// The answer of one check.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// None yet; the check has begun then.
    Pending(Instant),
    /// None within the time that a probe waits.
    Late,
    /// Whether the store works, and since when this is known.
    Known(Instant, bool),
}

impl Answer {
    /// Whether the store has to be asked again. Never while a check runs.
    fn is_outdated(self) -> bool {
        matches!(self, Self::Known(at, _) if at.elapsed() >= MAX_AGE)
    }
}

impl StoreProbe {
    /// Whether the store works, by `check` or by the last answer. `check` is called only if the store is to be asked.
    pub(crate) async fn is_ok<F>(&self, check: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let mut answer = self.current(check);
        let last = *answer.borrow();
        let Answer::Pending(begun) = last else { return matches!(last, Answer::Known(_, true)) };
        let known =
            timeout_at(begun + MAX_WAIT, answer.wait_for(|answer| !matches!(answer, Answer::Pending(_))));
        // The error of the channel: the check has panicked.
        matches!(known.await, Ok(Ok(answer)) if matches!(*answer, Answer::Known(_, true)))
    }

    /// The check that runs or whose answer is used; begins one if there is none.
    fn current<F>(&self, check: impl FnOnce() -> F) -> watch::Receiver<Answer>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A check whose task is gone without an answer has panicked.
        let usable = last.as_ref().filter(|answer| {
            let is_known = matches!(*answer.borrow(), Answer::Known(..));
            !answer.borrow().is_outdated() && (is_known || answer.has_changed().is_ok())
        });
        if let Some(answer) = usable {
            return answer.clone();
        }
        let (sender, answer) = watch::channel(Answer::Pending(Instant::now()));
        tokio::spawn(ask(check(), sender));
        last.insert(answer).clone()
    }
}

/// Asks the store, and tells whoever waits. The first answer may come after they have left.
async fn ask(check: impl Future<Output = Result<(), StoreError>>, answer: watch::Sender<Answer>) {
    let mut check = std::pin::pin!(timeout(MAX_CHECK, check));
    let checked = match timeout(MAX_WAIT, &mut check).await {
        Ok(checked) => checked,
        Err(_elapsed) => {
            tracing::warn!("the store has not answered within {MAX_WAIT:?}");
            answer.send_replace(Answer::Late);
            check.await
        }
    };
    let is_ok = match checked {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store does not answer");
            false
        }
        Err(_elapsed) => false,
    };
    answer.send_replace(Answer::Known(Instant::now(), is_ok));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    /// Far more than the resolution of the clock, far less than any bound.
    const TICK: Duration = Duration::from_millis(10);

    /// A store that answers when it is told to, and counts how often it is asked.
    #[derive(Clone, Default)]
    struct SlowStore {
        asked: Arc<AtomicUsize>,
        may_answer: Arc<Notify>,
    }

    impl SlowStore {
        fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let may_answer = Arc::clone(&self.may_answer);
            async move {
                may_answer.notified().await;
                Ok(())
            }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_probes_asks_the_store_once_in_a_second() {
        let (probe, asked) = (StoreProbe::default(), AtomicUsize::new(0));
        let check = || {
            asked.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::task::yield_now().await;
                Ok(())
            }
        };
        let flood = async || {
            let answers = futures::future::join_all((0..1000).map(|_| probe.is_ok(check))).await;
            assert!(answers.into_iter().all(|is_ok| is_ok));
            asked.load(Ordering::Relaxed)
        };
        assert_eq!((flood().await, flood().await), (1, 1));
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(flood().await, 2);
        assert!(probe.is_ok(async || Err(StoreError::Unavailable("not asked".into()))).await);
        tokio::time::advance(MAX_AGE).await;
        assert!(!probe.is_ok(async || Err(StoreError::Unavailable("asked".into()))).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_holds_no_probe_longer_than_its_time_and_is_asked_once() {
        let (probe, store) = (StoreProbe::default(), SlowStore::default());
        let begun = Instant::now();
        let answers = futures::future::join_all((0..100).map(|_| probe.is_ok(|| store.check()))).await;
        let waited = begun.elapsed();
        assert!(answers.into_iter().all(|is_ok| !is_ok) && waited < MAX_WAIT + TICK, "{waited:?}");
        // Later probes wait no more, and the store is not asked while it has not answered.
        tokio::time::advance(MAX_AGE * 5).await;
        let begun = Instant::now();
        assert!(!probe.is_ok(|| store.check()).await);
        assert!(begun.elapsed() < TICK && store.asked() == 1);
        store.may_answer.notify_one();
        tokio::time::sleep(TICK).await;
        assert!(probe.is_ok(|| store.check()).await, "it has answered");
        assert_eq!(store.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_never_ends_gives_way_to_another() {
        let (probe, store) = (StoreProbe::default(), SlowStore::default());
        assert!(!probe.is_ok(|| store.check()).await);
        tokio::time::sleep(MAX_CHECK + MAX_AGE * 2).await;
        assert!(probe.is_ok(async || Ok(())).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_prober_that_leaves_ends_no_check() {
        let (probe, store) = (StoreProbe::default(), SlowStore::default());
        for _ in 0..10 {
            assert_eq!(probe.is_ok(|| store.check()).now_or_never(), None);
        }
        store.may_answer.notify_one();
        assert!(probe.is_ok(|| store.check()).await);
        assert_eq!(store.asked(), 1);
    }

    async fn panics() -> Result<(), StoreError> {
        panic!("the store panicked")
    }

    #[tokio::test]
    async fn a_check_that_panics_counts_as_failed_and_is_repeated() {
        let probe = StoreProbe::default();
        assert!(!probe.is_ok(panics).await);
        assert!(probe.is_ok(async || Ok(())).await);
    }
}
