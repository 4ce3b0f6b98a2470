//! `/admin`: what operators do while the host runs. Each change is written together with its entry in the audit, and is
//! in force here before it is answered.

pub(crate) mod audit;
pub(crate) mod keys;
pub(crate) mod revocations;

use super::App;

/// Puts a change of keys or revocations in force at this host.
///
/// It is on disk by now: where it can't be read back, the host's next round does so.
async fn in_force(app: &App) {
    if let Some(identity) = &app.identity
        && let Err(error) = identity.catch_up().await
    {
        tracing::warn!(%error, "a change of keys is stored, and comes into force within seconds");
    }
}
