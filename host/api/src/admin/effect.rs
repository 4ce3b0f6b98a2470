//! Puts changes of keys and revocations into effect on this host.

use crate::state::App;

/// Reads changed keys and revocations from the store, so that they are in effect before the request is answered.
///
/// The change is already on disk. If reading it fails, the periodic refresh picks it up within seconds.
pub(super) async fn apply_changes(app: &App) {
    if let Some(identity) = &app.identity
        && let Err(error) = identity.refresh().await
    {
        tracing::warn!(%error, "a change of keys is stored, and comes into force within seconds");
    }
}
