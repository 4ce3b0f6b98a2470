//! Watches over the tasks and threads that a host can't do without.
//!
//! The threat is a part that ends unnoticed: without the renewal of leases turns lose their conversation, without the
//! sweep the database grows, without an accept loop nobody gets in, and every probe goes on to succeed.
//!
//! The policy: a part ends after it was told to, or the host fails. Failing is one step with the end of the part: the
//! host is not ready any more, and the process stops with the reason as its error. A part that keeps nothing between two
//! rounds is started again instead, in the same step, but not forever ([`Restarts`]).
//!
//! A part must not end because of what one user sent. So whatever handles the input of users (a turn, a job, an
//! operation of the store, a reload) catches a panic by itself and fails alone.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use masque_http::{Lifecycle, Phase};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Watches over the parts of one host. Clones share it.
#[derive(Clone)]
pub(super) struct Supervisor {
    lifecycle: Lifecycle,
    /// Why the host has failed.
    failure: Arc<watch::Sender<Option<String>>>,
}

impl Supervisor {
    /// A supervisor that takes the host out of service by `lifecycle`.
    pub(super) fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle, failure: Arc::default() }
    }

    /// Spawns a part that may end only after `stop` was cancelled.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        part: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (supervisor, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            let ended = AssertUnwindSafe(part).catch_unwind().await;
            if !stop.is_cancelled() {
                supervisor.fail(reason(name, ended));
            }
        })
    }

    /// Spawns a part that is made again by `make` when it ends before `stop` was cancelled. Only for parts that can begin
    /// anew at any point.
    pub(super) fn spawn_restarting<Part>(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        mut make: impl FnMut() -> Part + Send + 'static,
    ) -> JoinHandle<()>
    where
        Part: Future<Output = ()> + Send + 'static,
    {
        let (supervisor, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            let mut restarts = Restarts::default();
            loop {
                let ended = AssertUnwindSafe(async { make().await }).catch_unwind().await;
                if stop.is_cancelled() {
                    return;
                }
                let reason = reason(name, ended);
                if !restarts.allow(Instant::now()) {
                    return supervisor.fail(reason);
                }
                tracing::error!("{reason}; it is started again");
            }
        })
    }

    /// Watches over a task that was spawned elsewhere and may end only after `stop` was cancelled.
    pub(super) fn watch(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        task: JoinHandle<()>,
    ) -> JoinHandle<()> {
        self.spawn(name, stop, joined(task))
    }

    /// Watches over something that is no task until `stop` is cancelled: `failed` resolves with the reason when it has
    /// ended.
    pub(super) fn watch_failure(
        &self,
        stop: &CancellationToken,
        failed: impl Future<Output = String> + Send + 'static,
    ) -> JoinHandle<()> {
        let (supervisor, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            if let Some(reason) = stop.run_until_cancelled(failed).await {
                supervisor.fail(reason);
            }
        })
    }

    /// Resolves with the reason once the host has failed. The first reason stays.
    pub(super) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender lives in `self`, so the channel is never closed.
            None => std::future::pending().await,
        }
    }

    fn fail(&self, reason: String) {
        // Before anything else, so that no probe succeeds after this.
        self.lifecycle.enter(Phase::Draining);
        tracing::error!("{reason}; the host can't go on without it");
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert(reason);
            is_first
        });
    }
}

/// The end of a task as the end of the future that waits for it: a panic goes on. Aborts the task when it is dropped.
pub(super) async fn joined(task: JoinHandle<()>) {
    match tokio_util::task::AbortOnDropHandle::new(task).await {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Ok(()) | Err(_) => {}
    }
}

/// Why a part ended.
fn reason(name: &str, ended: Result<(), Box<dyn Any + Send>>) -> String {
    match ended {
        Ok(()) => format!("{name} ended"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            format!("{name} panicked: {text}")
        }
    }
}

/// How often a part is started again. Something that happens once should not end the host. What happens again at once
/// will not stop, and would only fill the log.
#[derive(Default)]
struct Restarts {
    recent: VecDeque<Instant>,
}

impl Restarts {
    const MOST: usize = 3;
    const WINDOW: Duration = Duration::from_secs(60);

    /// Whether a part that ended at `now` is started again.
    fn allow(&mut self, now: Instant) -> bool {
        self.recent.retain(|restart| now.duration_since(*restart) < Self::WINDOW);
        let allowed = self.recent.len() < Self::MOST;
        if allowed {
            self.recent.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn ready() -> (Supervisor, Lifecycle, CancellationToken) {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        (Supervisor::new(lifecycle.clone()), lifecycle, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_part_that_panics_fails_the_host_with_its_name_and_message() {
        let (supervisor, lifecycle, stop) = ready();
        let part = supervisor.spawn("the renewal of leases", &stop, async { panic!("on purpose") });
        assert_eq!(supervisor.failed().await, "the renewal of leases panicked: on purpose");
        assert_eq!(lifecycle.now(), Phase::Draining);
        part.await.unwrap();
    }

    #[tokio::test]
    async fn a_host_is_never_ready_after_a_part_has_ended() {
        let (supervisor, lifecycle, stop) = ready();
        supervisor.spawn("the sweep", &stop, async {}).await.unwrap();
        assert_eq!(lifecycle.now(), Phase::Draining);
        let reasons = tokio::join!(supervisor.failed(), async {
            supervisor.spawn("another", &stop, async {}).await.unwrap();
            supervisor.failed().await
        });
        assert_eq!(
            reasons,
            ("the sweep ended".to_owned(), "the sweep ended".to_owned()),
            "the first reason stays"
        );
    }

    #[tokio::test]
    async fn a_part_that_ends_when_it_is_told_to_fails_nothing() {
        let (supervisor, lifecycle, stop) = ready();
        let told = stop.clone();
        let task = tokio::spawn(async move { told.cancelled().await });
        let parts = [
            supervisor.watch("a task", &stop, task),
            supervisor.spawn_restarting("a loop", &stop, {
                let stop = stop.clone();
                move || {
                    let stop = stop.clone();
                    async move { stop.cancelled().await }
                }
            }),
            supervisor.watch_failure(&stop, std::future::pending()),
        ];
        stop.cancel();
        for part in parts {
            part.await.unwrap();
        }
        assert_eq!(lifecycle.now(), Phase::Ready);
        assert_eq!(supervisor.failed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_part_that_can_begin_anew_does_so_and_the_host_stays_ready() {
        let (supervisor, lifecycle, stop) = ready();
        let (rounds, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let part = supervisor.spawn_restarting("the sweep", &stop, {
            let (rounds, again, stop) = (Arc::clone(&rounds), Arc::clone(&again), stop.clone());
            move || {
                let (round, again, stop) =
                    (rounds.fetch_add(1, Ordering::Relaxed), Arc::clone(&again), stop.clone());
                async move {
                    assert!(round > 0, "the first round fails");
                    again.notify_one();
                    stop.cancelled().await;
                }
            }
        });
        again.notified().await;
        assert_eq!(lifecycle.now(), Phase::Ready);
        stop.cancel();
        part.await.unwrap();
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_part_that_ends_again_and_again_fails_the_host() {
        let (supervisor, _lifecycle, stop) = ready();
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let part = supervisor.spawn_restarting("the sweep", &stop, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { panic!("every time") }
        });
        assert_eq!(supervisor.failed().await, "the sweep panicked: every time");
        part.await.unwrap();
        assert_eq!(rounds.load(Ordering::Relaxed), 1 + Restarts::MOST);
    }

    #[tokio::test]
    async fn the_panic_of_a_task_that_was_spawned_elsewhere_is_the_reason() {
        let (supervisor, lifecycle, stop) = ready();
        let task = tokio::spawn(async { panic!("in a task") });
        supervisor.watch("the background worker", &stop, task).await.unwrap();
        assert_eq!(supervisor.failed().await, "the background worker panicked: in a task");
        assert_eq!(lifecycle.now(), Phase::Draining);
    }

    #[test]
    fn restarts_are_few_in_a_minute_and_without_end_over_time() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let allowed: Vec<bool> =
            [0, 1, 2, 3, 59, 60, 61, 61, 62].map(|seconds| restarts.allow(at(seconds))).to_vec();
        assert_eq!(allowed, [true, true, true, false, false, true, true, false, true]);
    }
}
