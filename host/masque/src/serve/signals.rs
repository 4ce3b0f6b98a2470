//! The signals that stop the host: SIGTERM, sent by service managers, and SIGINT, sent by a terminal.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The signals received so far.
pub(super) struct Signals {
    /// Cancelled at the first signal.
    pub(super) stop: CancellationToken,
    /// Cancelled at the second signal.
    pub(super) cut: CancellationToken,
    /// Ends once `cut` is cancelled.
    pub(super) task: JoinHandle<()>,
}

impl Signals {
    /// Handles the signals from here on, instead of ending the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut source = Source::new()?;
        let (first, second) = (stop.clone(), cut.clone());
        let task = tokio::spawn(async move {
            source.next().await;
            first.cancel();
            source.next().await;
            second.cancel();
        });
        Ok(Self { stop, cut, task })
    }
}

struct Source {
    terminate: Signal,
    interrupt: Signal,
}

impl Source {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("can't listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("can't listen for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
