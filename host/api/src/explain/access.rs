//! Which turn a caller may have explained, and with what.
//!
//! Whoever has `chat` sees what is their own in their own turns. `content:read` shows everything, of any user, and is
//! useless here without an audit entry: that is written first, and where it can't be, nothing is shown. What a caller may
//! not see is answered like what does not exist; only the user of a turn learns why there is no record of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_auth::{Scope, store_problem};
use masque_problem::{Kind, Problem};
use masque_store::{AuditEntry, AuditLog, OwnedTurnRecord, StoreError, TurnId, TurnRecord, TurnStatus};
use serde_json::json;

use super::content_access::ContentAccess;
use crate::author::Author;
use crate::options::Options;
use crate::reach;
use crate::state::App;

/// The action of the audit entry.
const ACTION: &str = "turn.explained";

/// Finds the record of a turn, and what of it the caller may see. With [`ContentAccess::All`], the audit entry is written.
///
/// # Errors
/// `TurnNotFound`, `ExplanationNotFound`, `StorageUnavailable`.
pub(super) async fn find(
    app: &App,
    author: &Author,
    turn: TurnId,
) -> Result<(OwnedTurnRecord, ContentAccess), Problem> {
    let caller = &author.principal;
    let own = match caller.scopes.has(Scope::Chat) {
        true => match reach::turn(app, caller, turn).await {
            Ok(own) => Some(own),
            Err(problem) if problem.kind == Kind::TurnNotFound => None,
            Err(problem) => return Err(problem),
        },
        false => None,
    };
    let shows_content = caller.scopes.has(Scope::ContentRead);
    if own.is_none() && !shows_content {
        return Err(Kind::TurnNotFound.into());
    }
    let record = match (app.store.turn_record(turn).await, &own) {
        (Ok(Some(record)), _) if caller.may_talk_to(&record.record.companion) => record,
        (Ok(_), None) => return Err(Problem::new(Kind::TurnNotFound, NO_RECORD_OF_OTHERS)),
        (Ok(_), Some(own)) => {
            let reason = why_no_record(RecordPolicy::of(&app.options), own, now());
            return Err(Problem::new(Kind::ExplanationNotFound, reason));
        }
        // The companion is not known, so a key for some companions learns no more than of a turn that does not exist.
        (Err(StoreError::NewerFormat(_)), None) if caller.allowed_companions().is_some() => {
            return Err(Problem::new(Kind::TurnNotFound, NO_RECORD_OF_OTHERS));
        }
        (Err(StoreError::NewerFormat(format)), _) => {
            return Err(Problem::new(Kind::ExplanationNotFound, newer_format(format)));
        }
        (Err(error), _) => return Err(store_problem(error)),
    };
    if !shows_content {
        return Ok((record, ContentAccess::OwnOnly));
    }
    let installation = app.store.installation().await.map_err(store_problem)?;
    let name = installation.erased_name(&record.owner);
    let is_own = record.owner == caller.owner;
    let entry = author.entry_on_user(ACTION, name.pseudonym(), is_own, json!({ "turn": turn }));
    record_access(&*app.store, entry).await?;
    Ok((record, ContentAccess::All))
}

/// What whoever may see any turn is told of one without a record, whether or not there is such a turn.
const NO_RECORD_OF_OTHERS: &str = "There is no record of a turn with this id: the turn is unknown or deleted, still runs, or ended \
     a moment ago, as its record is written a little later (then ask again); or its record is off, expired or dropped.";

/// Writes the audit entry of an access to content.
///
/// # Errors
/// `StorageUnavailable`, whatever the reason is: without the entry, nothing is shown.
async fn record_access<L: AuditLog + ?Sized>(log: &L, entry: AuditEntry) -> Result<(), Problem> {
    log.record(entry).await.map_err(|error| {
        tracing::error!(%error, "an explanation is refused, since the audit log can't be written");
        let detail = "The audit log can't be written, and nothing is shown without it. Try again later.";
        Problem::new(Kind::StorageUnavailable, detail)
    })
}

fn newer_format(format: u32) -> String {
    format!(
        "The record has the format {format}, which a later version of Masque wrote; this host reads up to {}. Ask a host of \
         that version.",
        masque_store::RECORD_FORMAT
    )
}

/// What the operator keeps of turns.
#[derive(Clone, Copy, Debug)]
struct RecordPolicy {
    is_on: bool,
    share: f64,
    max_age: Duration,
}

impl RecordPolicy {
    fn of(options: &Options) -> Self {
        let Options { record_content, record_share, record_max_age, .. } = options;
        Self { is_on: *record_content != "off", share: *record_share, max_age: *record_max_age }
    }
}

/// Why there is no record of a turn of the caller.
fn why_no_record(policy: RecordPolicy, turn: &TurnRecord, now: Duration) -> String {
    let ended = Duration::from_millis(u64::try_from(turn.ended_at.unwrap_or(turn.created_at)).unwrap_or(0));
    if turn.status == TurnStatus::Running {
        "The turn still runs; its record is written after its end.".to_owned()
    } else if now.saturating_sub(ended) > policy.max_age {
        let age = humantime::format_duration(policy.max_age);
        format!("The record has expired: records are kept for {age}.")
    } else if !policy.is_on {
        "This host records no turns.".to_owned()
    } else if policy.share < 1.0 {
        "There is no record: the turn is not among the share of turns that are recorded, ended a moment ago (then ask again), or its \
         record was dropped."
            .to_owned()
    } else {
        "There is no record: the turn ended a moment ago and it is not written yet (then ask again), or it was dropped, or made room \
         for newer ones."
            .to_owned()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use masque_store::{AuditOutcome, AuditRecord, ConversationId, Page, Paged};
    use uuid::Uuid;

    use super::*;

    struct FullDisk(StoreError);

    #[async_trait]
    impl AuditLog for FullDisk {
        async fn record(&self, _entry: AuditEntry) -> Result<(), StoreError> {
            Err(self.0.clone())
        }

        async fn audit(&self, _page: Page) -> Result<Paged<AuditRecord>, StoreError> {
            Err(self.0.clone())
        }

        async fn forget_audit(&self, _older_than: Duration) -> Result<u64, StoreError> {
            Err(self.0.clone())
        }
    }

    #[tokio::test]
    async fn without_an_audit_entry_access_is_refused_as_unavailable() {
        for error in [StoreError::Unavailable("full".into()), StoreError::Internal("a fault".into())] {
            let entry = AuditEntry {
                tenant: "default".into(),
                actor: "key:1".into(),
                action: ACTION.into(),
                target: None,
                outcome: AuditOutcome::Ok,
                request_id: None,
                address: None,
                detail: json!({}),
            };
            let problem = record_access(&FullDisk(error), entry).await.unwrap_err();
            assert_eq!(problem.kind, Kind::StorageUnavailable);
        }
    }

    #[test]
    fn the_user_of_a_turn_is_told_why_there_is_no_record() {
        let policy = RecordPolicy { is_on: true, share: 1.0, max_age: Duration::from_secs(60) };
        let off = RecordPolicy { is_on: false, ..policy };
        let some = RecordPolicy { share: 0.5, ..policy };
        let turn = TurnRecord {
            id: TurnId::new(),
            conversation: ConversationId::new(),
            companion: "elara".into(),
            status: TurnStatus::Completed,
            attempt: 1,
            host: Uuid::nil(),
            reply: None,
            finish: None,
            usage: None,
            response: None,
            problem: None,
            created_at: 1_000,
            ended_at: Some(2_000),
        };
        let running = TurnRecord { status: TurnStatus::Running, ended_at: None, ..turn.clone() };
        for (policy, turn, seconds, words) in [
            (policy, &running, 3, "still runs"),
            (policy, &turn, 62, "not written yet"),
            (policy, &turn, 63, "kept for 1m"),
            (off, &turn, 3, "records no turns"),
            (some, &turn, 3, "share of turns"),
        ] {
            let reason = why_no_record(policy, turn, Duration::from_secs(seconds));
            assert!(reason.contains(words), "{reason}");
        }
    }
}
