//! The signals that the host answers to: SIGTERM, sent by service managers, and SIGINT, sent by a terminal, stop it.
//!
//! SIGHUP has two meanings. A terminal that is closed sends it, so a host on a terminal stops as at SIGTERM. Elsewhere it is
//! a service manager's request to read the configuration again, which the host does by itself, so it only gets a line of the
//! log.

use std::io::{self, IsTerminal};

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

/// What SIGHUP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HangUp {
    /// To stop.
    Stop,
    /// To read the configuration again.
    Reload,
}

impl HangUp {
    /// Its meaning in this process. To be called at the start: a terminal that was closed is none any more.
    fn of_process() -> Self {
        let has_terminal =
            io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        if has_terminal { Self::Stop } else { Self::Reload }
    }
}

impl Signals {
    /// Handles the signals from here on, instead of ending the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Self::listen_with(HangUp::of_process())
    }

    fn listen_with(hang_up: HangUp) -> anyhow::Result<Self> {
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut source = Source::new(hang_up)?;
        let (first, second) = (stop.clone(), cut.clone());
        let task = tokio::spawn(async move {
            source.first().await;
            first.cancel();
            source.second().await;
            second.cancel();
        });
        Ok(Self { stop, cut, task })
    }
}

struct Source {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    meaning: HangUp,
}

impl Source {
    fn new(meaning: HangUp) -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("can't listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("can't listen for SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("can't listen for SIGHUP")?,
            meaning,
        })
    }

    async fn first(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match self.meaning {
                    HangUp::Stop => return,
                    HangUp::Reload => tracing::info!(
                        "SIGHUP is ignored: the host follows its files by itself; SIGTERM stops it"
                    ),
                },
            }
        }
    }

    /// SIGHUP never counts as the second signal: the shell and the kernel both send it when one terminal is closed.
    async fn second(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    /// Sends SIGHUP to this process and waits until its listeners were told.
    async fn hang_up(witness: &mut Signal) {
        let command = format!("kill -HUP {}", std::process::id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
        tokio::time::timeout(Duration::from_secs(60), witness.recv()).await.unwrap();
        // The other listeners have been woken, too, and run before this task goes on.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// One test for both meanings: the signal reaches every listener of the process.
    #[tokio::test]
    async fn a_closed_terminal_stops_its_host_without_haste_and_a_request_to_reload_does_not() {
        let mut witness = signal(SignalKind::hangup()).unwrap();
        let on_terminal = Signals::listen_with(HangUp::Stop).unwrap();
        let managed = Signals::listen_with(HangUp::Reload).unwrap();
        tokio::task::yield_now().await;

        hang_up(&mut witness).await;
        assert!(on_terminal.stop.is_cancelled());
        hang_up(&mut witness).await;
        assert!(!on_terminal.cut.is_cancelled());
        assert!(!managed.stop.is_cancelled() && !managed.task.is_finished());
    }
}
