//! What tells the host to stop: SIGTERM, as service managers send it, or SIGINT, as a terminal does.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(super) struct Signals {
    /// Since the first signal.
    pub(super) stop: CancellationToken,
    /// Since the second.
    pub(super) cut: CancellationToken,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
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
