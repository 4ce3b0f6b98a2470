//! The threads of the store: how one is started, and how others learn that it has ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::watch;

/// A thread that works until it is told to end.
#[derive(Debug)]
pub(crate) struct StoreThread {
    name: &'static str,
    /// Holds the message of the panic that ended the thread. Closed when the thread has ended.
    end: watch::Receiver<Option<String>>,
}

impl StoreThread {
    /// Starts a thread. `work` returns when the thread was told to end.
    ///
    /// # Errors
    /// The thread can't be started.
    pub(crate) fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let (ending, end) = watch::channel(None);
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // Everything that the thread owns is dropped with `work`, before anybody learns of the end.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                ending.send_replace(Some(message(panic.as_ref())));
            }
        })?;
        Ok(Self { name, end })
    }

    /// Resolves when the thread has ended and everything that it owned is dropped.
    pub(crate) async fn ended(&self) {
        let mut end = self.end.clone();
        while end.changed().await.is_ok() {}
    }

    /// Resolves with the reason if the thread ends by a panic, and never if it ends because it was told to.
    pub(crate) async fn failed(&self) -> String {
        let mut end = self.end.clone();
        let panic = end.wait_for(Option::is_some).await.ok().and_then(|panic| panic.clone());
        match panic {
            Some(panic) => format!("the thread {} panicked: {panic}", self.name),
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

    use super::StoreThread;

    #[tokio::test]
    async fn a_thread_that_panics_has_failed_and_one_that_returns_has_not() {
        let failing = StoreThread::start("failing", || panic!("on purpose")).unwrap();
        assert_eq!(failing.failed().await, "the thread failing panicked: on purpose");
        failing.ended().await;
        assert!(failing.failed().await.contains("on purpose"), "also when it is asked later");

        let returning = StoreThread::start("returning", || ()).unwrap();
        returning.ended().await;
        assert_eq!(returning.failed().now_or_never(), None);
    }
}
