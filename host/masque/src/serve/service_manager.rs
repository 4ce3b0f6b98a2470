//! Tells the service manager that started the host how it is (`sd_notify(3)`): a unit of `Type=notify` of systemd. Without one,
//! which is without the variable `NOTIFY_SOCKET`, nothing is told.
//!
//! A message goes to a socket of the manager, which may block as long as the manager does not read. A manager that reads
//! nothing can restart nothing either, so that is accepted.

use sd_notify::NotifyState;

/// Requests are served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The host stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("waiting for running turns")]);
}

/// What the host does while it is not ready, for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Signs of life for the watchdog (`WatchdogSec=`), twice in each of its intervals. The manager kills and restarts a host whose
/// threads are all stuck. Ends at once if there is no watchdog.
pub(super) async fn keep_watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(interval / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told: {states:?}");
    }
}
