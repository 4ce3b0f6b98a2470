//! The threads of the store: how one is started, and how others learn that it has ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use masque_store::StoreError;
use tokio::sync::watch;

/// A thread that works until it is told to end.
#[derive(Debug)]
pub(crate) struct StoreThread {
    /// Holds why the thread ended although it was not told to. Closed when the thread has ended.
    end: watch::Receiver<Option<StoreError>>,
}

impl StoreThread {
    /// Starts a thread. `work` returns when the thread was told to end, or with the reason if it can't go on.
    ///
    /// # Errors
    /// The thread can't be started.
    pub(crate) fn start(
        name: &'static str,
        work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (ending, end) = watch::channel(None);
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // Everything that the thread owns is dropped with `work`, before anybody learns of the end.
            let ended = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                let panic = message(panic.as_ref());
                Err(StoreError::Internal(format!("the thread {name} panicked: {panic}")))
            });
            if let Err(reason) = ended {
                ending.send_replace(Some(reason));
            }
        })?;
        Ok(Self { end })
    }

    /// Resolves when the thread has ended and everything that it owned is dropped.
    pub(crate) async fn ended(&self) {
        let mut end = self.end.clone();
        while end.changed().await.is_ok() {}
    }

    /// Resolves with the reason if the thread panics or can't go on, and never if it ends because it was told to.
    pub(crate) async fn failed(&self) -> StoreError {
        let mut end = self.end.clone();
        let reason = end.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // It ended because it was told to.
            None => std::future::pending().await,
        }
    }
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use masque_store::StoreError;

    use super::StoreThread;

    #[tokio::test]
    async fn a_thread_that_panics_or_gives_a_reason_has_failed_and_one_that_returns_has_not() {
        let panicking = StoreThread::start("panicking", || panic!("on purpose")).unwrap();
        let reason = StoreError::Internal("the thread panicking panicked: on purpose".into());
        assert_eq!(panicking.failed().await, reason);
        panicking.ended().await;
        assert_eq!(panicking.failed().await, reason, "also when it is asked later");

        let reason = StoreError::Unavailable("the disk is gone".into());
        let failing = StoreThread::start("failing", {
            let reason = reason.clone();
            move || Err(reason)
        });
        assert_eq!(failing.unwrap().failed().await, reason);

        let returning = StoreThread::start("returning", || Ok(())).unwrap();
        returning.ended().await;
        assert_eq!(returning.failed().now_or_never(), None);
    }
}
