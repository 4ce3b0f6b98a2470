//! What tells the host to stop: SIGTERM, as service managers send it, or SIGINT, as a terminal does.

use anyhow::Context;
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
        let mut next = source()?;
        tokio::spawn(async move {
            next().await;
            stop.cancel();
            next().await;
            cut.cancel();
        });
        Ok(signals)
    }
}

#[cfg(unix)]
fn source() -> anyhow::Result<impl AsyncFnMut()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    Ok(async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
