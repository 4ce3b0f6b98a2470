//! Completes erasures: removes rows, clears their traces, appends the entry to the erasure list, and only then says that it
//! is done. Used by the host and by the command line, also at the same time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use masque_auth::DEFAULT_TENANT;
use masque_store::{AuditEntry, AuditOutcome, Erasure, ErasureEntry, ErasureList, StoreError, UserData};
use serde_json::json;

/// How long after its beginning an erasure removes rows. By then every host has found out that turns and jobs of the user have
/// lost their leases, within 10 s, and has reported what they used, within another second.
const SETTLING: Duration = Duration::from_secs(15);

/// Completes an erasure. Returns its receipt, which is not complete if traces can't be cleared at the moment; the host tries
/// again later.
///
/// # Errors
/// The store or the list can't be written.
pub(crate) async fn complete<S>(
    store: &S,
    list: &ErasureList,
    erasure: Erasure,
    actor: &str,
) -> anyhow::Result<Erasure>
where
    S: UserData + ?Sized,
{
    tokio::time::sleep(left_to_settle(&erasure, SystemTime::now())).await;
    while store.erase_some(erasure.receipt).await? {
        // Turns and jobs of other users come in between.
        tokio::task::yield_now().await;
    }
    if !store.clear_traces().await? {
        return Ok(erasure);
    }
    let installation = store.installation().await?.id;
    let entry = ErasureEntry::new(&erasure, installation);
    let list = list.clone();
    tokio::task::spawn_blocking(move || list.append(&entry))
        .await
        .context("the erasure list can't be written")??;
    let finished = store.finish_erasure(erasure.receipt, audit_entry("user.erased", &erasure, actor)).await;
    match finished {
        Ok(Some(done)) => Ok(done),
        // Another process has completed it.
        Ok(None) => Ok(store.erasure(erasure.receipt).await?.unwrap_or(erasure)),
        // A write that began before the erasure came in between; its rows are removed by the next attempt.
        Err(StoreError::Refused(_)) => Ok(erasure),
        Err(error) => Err(error.into()),
    }
}

/// How long an erasure still waits for what hosts report. Clocks that differ make it no longer than [`SETTLING`].
pub(crate) fn left_to_settle(erasure: &Erasure, now: SystemTime) -> Duration {
    let begun = UNIX_EPOCH + Duration::from_millis(u64::try_from(erasure.begun_at).unwrap_or(0));
    SETTLING.saturating_sub(now.duration_since(begun).unwrap_or_default())
}

/// The audit entry of a step of an erasure. It names the user by the pseudonym.
pub(crate) fn audit_entry(action: &str, erasure: &Erasure, actor: &str) -> AuditEntry {
    AuditEntry {
        detail: json!({ "receipt": erasure.receipt }),
        ..entry_of(action, erasure.name.pseudonym(), actor)
    }
}

/// The audit entry of an action on the user with this pseudonym.
pub(crate) fn entry_of(action: &str, pseudonym: &str, actor: &str) -> AuditEntry {
    AuditEntry {
        tenant: DEFAULT_TENANT.into(),
        actor: actor.into(),
        action: action.into(),
        target: Some(format!("user:{pseudonym}")),
        outcome: AuditOutcome::Ok,
        request_id: None,
        address: None,
        detail: json!({}),
    }
}
