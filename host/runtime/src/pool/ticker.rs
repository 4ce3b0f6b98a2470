//! Raises the engine's epoch from an OS thread, so that every running guest yields at every tick.
//!
//! A task is not enough: a spinning guest may hold the worker that drives the timers, and then no timeout in the process fires.
//! While no guest runs the thread is parked, so an idle host does not wake up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::watch;
use wasmtime::Engine;

/// The thread that raises the epoch.
#[derive(Clone, Debug)]
pub(crate) struct Ticker {
    running: Arc<AtomicUsize>,
    thread: Thread,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Ticker {
    /// Starts the thread. It holds a weak engine and ends with it.
    pub(crate) fn start(engine: &Engine, tick: Duration) -> io::Result<Self> {
        let running = Arc::new(AtomicUsize::new(0));
        let (weak, count) = (engine.weak(), running.clone());
        let (ending, ended) = watch::channel(());
        let handle = std::thread::Builder::new().name("epoch".into()).spawn(move || {
            // Dropped with the thread, also by a panic.
            let _ending = ending;
            loop {
                if count.load(Ordering::Acquire) == 0 {
                    // The timeout notices the end of the engine, which unparks no thread.
                    std::thread::park_timeout(Duration::from_secs(1));
                } else {
                    std::thread::sleep(tick);
                }
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { running, thread: handle.thread().clone(), ended })
    }

    /// Resolves when the thread has ended.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Keeps the epoch rising for as long as the returned value lives.
    pub(crate) fn keep_running(&self) -> RunningGuest {
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        RunningGuest { running: self.running.clone() }
    }
}

/// Counts one guest that may run.
#[derive(Debug)]
pub(crate) struct RunningGuest {
    running: Arc<AtomicUsize>,
}

impl Drop for RunningGuest {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_thread_has_ended_when_its_engine_is_gone_and_not_before() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine, Duration::from_millis(1)).unwrap();
        assert_eq!(ticker.ended().now_or_never(), None);
        drop(engine);
        // A guest that may run wakes the thread.
        let _running = ticker.keep_running();
        ticker.ended().await;
    }
}
