//! Raises the engine's epoch from an OS thread, so that every running guest yields at every tick.
//!
//! Not a task: a spinning guest may hold the very worker that drives the timers, and then no timeout in the process would
//! fire. While no guest runs the thread is parked, so an idle host wakes nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::Engine;

#[derive(Clone, Debug)]
pub(crate) struct Ticker {
    running: Arc<AtomicUsize>,
    thread: Thread,
}

impl Ticker {
    /// Starts the thread. It ends with the engine: it holds a weak one.
    pub(crate) fn start(engine: &Engine, tick: Duration) -> io::Result<Self> {
        let running = Arc::new(AtomicUsize::new(0));
        let (weak, count) = (engine.weak(), running.clone());
        let handle = std::thread::Builder::new().name("epoch".into()).spawn(move || {
            loop {
                if count.load(Ordering::Acquire) == 0 {
                    // The timeout is for the engine's end, which unparks nobody.
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
        Ok(Self { running, thread: handle.thread().clone() })
    }

    /// Keeps the epoch rising for as long as the value lives.
    pub(crate) fn hold(&self) -> Ticking {
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Ticking { running: self.running.clone() }
    }
}

/// A guest runs.
#[derive(Debug)]
pub(crate) struct Ticking {
    running: Arc<AtomicUsize>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}
