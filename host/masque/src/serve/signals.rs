//! The signals that stop the host: SIGTERM, sent by service managers, and SIGINT, sent by a terminal.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The signals received so far.
pub(super) struct Signals {
    /// Cancelled at the first signal.
    pub(super) stop: CancellationToken,
    /// Cancelled at the second signal.
    pub(super) cut: CancellationToken,
}

impl Signals {
    /// Handles the signals from here on, instead of ending the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let signals = Self { stop: CancellationToken::new(), cut: CancellationToken::new() };
        let (stop, cut) = (signals.stop.clone(), signals.cut.clone());
        let mut source = Source::new()?;
        tokio::spawn(async move {
            source.next().await;
            stop.cancel();
            source.next().await;
            cut.cancel();
        });
        Ok(signals)
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
