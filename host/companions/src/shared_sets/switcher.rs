//! Follows the database once a second, and switches to what is active there.

use std::sync::Arc;
use std::time::Duration;

use masque_config::Config;
use masque_store::{ActiveSets, SetHost};
use tokio::sync::watch;

use super::candidate::Candidate;
use super::preparer::Preparer;
use crate::active::Active;
use crate::changes::{describe_changes, dropped_companions};
use crate::set::ActiveSet;

/// How often the database is asked which generations there are.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same while a generation is published, so that all hosts switch within a second of its activation.
const HURRIED_INTERVAL: Duration = Duration::from_millis(250);
/// How long leaving may take when the host stops. The lease of the host ends by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Follows without end. `changes` has the configuration of this host with its credentials.
pub(crate) async fn follow_database(
    mut preparer: Preparer,
    active: Arc<Active>,
    mut changes: watch::Receiver<Arc<Config>>,
) {
    let mut is_away = false;
    loop {
        let local = Arc::clone(&changes.borrow_and_update());
        let mut pause = INTERVAL;
        match preparer.round(&local).await {
            Ok(round) => {
                if std::mem::take(&mut is_away) {
                    tracing::info!("the active set in the database is followed again");
                }
                if round.is_hurried {
                    pause = HURRIED_INTERVAL;
                }
                active.set_obstacle(round.obstacle);
                if let Some(set) = round.switch.and_then(|candidate| switch(&active, candidate)) {
                    let digests = set.plugins.values().map(|plugin| plugin.package().digest().to_owned());
                    preparer.components().keep_only(digests.collect()).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, "the active set in the database can't be followed; the one in use stays");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = changes.changed() => {}
        }
    }
}

/// Switches to a set, unless it behaves as the one in use. Returns what is in use since.
fn switch(active: &Active, candidate: Candidate) -> Option<Arc<ActiveSet>> {
    let Candidate { of, revision, set, warnings } = candidate;
    let base = of.base?;
    let (changes, dropped) = (describe_changes(&base, &set), dropped_companions(&base, &set));
    if changes.is_empty() && set.generation == base.generation {
        return None;
    }
    // If another set is in use by now, the next round makes one that can follow it.
    let set = active.switch(&base, set, warnings.clone()).ok()?;
    let changes =
        if changes.is_empty() { "nothing that a turn notices".to_owned() } else { changes.join("; ") };
    tracing::info!(generation = set.generation, revision, "changes are in effect: {changes}");
    dropped.iter().chain(&warnings).for_each(|warning| tracing::warn!("{warning}"));
    Some(set)
}

/// Ends the waiting of others for this host.
pub(crate) async fn leave(store: &dyn ActiveSets, host: &SetHost) {
    match tokio::time::timeout(LEAVE_TIMEOUT, store.leave_sets(host.id)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "this host can't leave the active set"),
        Err(_elapsed) => tracing::debug!("this host can't leave the active set in time"),
    }
}
