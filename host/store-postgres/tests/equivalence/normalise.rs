//! What a caller sees of a result: everything but times, which each database takes from its own clock, and ids that it makes.

use std::fmt::Debug;
use std::time::Duration;

use masque_store::{
    AdmissionOutcome, ApiKeyRecord, AuditRecord, ConversationRecord, Ending, Heartbeat, JobCounts, JobId,
    MessageRecord, ParkedJob, ReportAnswer, Revocation, Security, Spent, Started, StoreError, TakenJobs,
    TurnRecord,
};
use uuid::Uuid;

/// The result of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What is compared.
    pub(crate) seen: String,
    /// What later operations are made of.
    pub(crate) learned: Learned,
}

/// What later operations are made of.
#[derive(Clone, Debug)]
pub(crate) enum Learned {
    Nothing,
    Started(Box<Started>),
    /// The admission got a ticket.
    Waits,
    Jobs(Vec<(JobId, i64)>),
}

/// A result as text. Of an error, the kind is compared and not its words.
pub(crate) fn result<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(failed) => error(&failed),
    }
}

pub(crate) fn error(error: &StoreError) -> String {
    match error {
        StoreError::NewerFormat(format) => format!("newer format {format}"),
        StoreError::Refused(_) => "refused".into(),
        StoreError::FenceEnded => "fence ended".into(),
        StoreError::Conflict(conflict) => format!("{conflict:?}"),
        // None of these may happen here.
        other => format!("{other:?}"),
    }
}

pub(crate) fn message(message: MessageRecord) -> MessageRecord {
    MessageRecord { created_at: 0, ..message }
}

pub(crate) fn conversation(record: ConversationRecord) -> ConversationRecord {
    ConversationRecord { created_at: 0, updated_at: 0, ..record }
}

pub(crate) fn turn(record: TurnRecord) -> TurnRecord {
    let ended_at = record.ended_at.map(|_| 0);
    TurnRecord { created_at: 0, ended_at, reply: record.reply.map(message), ..record }
}

pub(crate) fn ending(ending: Ending) -> Ending {
    match ending {
        Ending::Done { reply, next } => Ending::Done { reply: reply.map(message), next },
        Ending::LeaseLost => Ending::LeaseLost,
    }
}

pub(crate) fn admission(admitted: Result<AdmissionOutcome, StoreError>) -> Outcome {
    let outcome = admitted.map(|outcome| match outcome {
        AdmissionOutcome::Started(started) => AdmissionOutcome::Started(Started {
            message: message(started.message),
            tail: started.tail.into_iter().map(message).collect(),
            ..started
        }),
        AdmissionOutcome::Busy { retry_after, is_waiting } => {
            AdmissionOutcome::Busy { retry_after: rounded(retry_after), is_waiting }
        }
        AdmissionOutcome::Completed(record) => AdmissionOutcome::Completed(turn(record)),
        other => other,
    });
    let learned = match &outcome {
        Ok(AdmissionOutcome::Started(started)) => Learned::Started(Box::new(started.clone())),
        Ok(AdmissionOutcome::Busy { is_waiting: true, .. }) => Learned::Waits,
        _ => Learned::Nothing,
    };
    Outcome { seen: result(outcome), learned }
}

/// The order in which jobs are taken depends on clocks; which ones are taken does not, as all that are due are. Leases of no
/// length may have ended within the call or not.
pub(crate) fn taken(taken: Result<TakenJobs, StoreError>, lease: Duration) -> Outcome {
    let taken = taken.map(|mut taken| {
        taken.jobs.sort_by_key(|job| job.id);
        let is_unclear = lease.is_zero() && !taken.jobs.is_empty();
        let next_due = taken.next_due.filter(|_| !is_unclear).map(rounded);
        TakenJobs { next_due, ..taken }
    });
    let learned = match &taken {
        Ok(taken) => Learned::Jobs(taken.jobs.iter().map(|job| (job.id, job.epoch)).collect()),
        Err(_) => Learned::Nothing,
    };
    Outcome { seen: result(taken), learned }
}

/// Nothing, or half hours.
fn rounded(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().div_ceil(1800) * 1800)
}

pub(crate) fn counts(counts: JobCounts) -> JobCounts {
    JobCounts { oldest: counts.oldest.map(|_| Duration::ZERO), ..counts }
}

pub(crate) fn parked(job: ParkedJob) -> ParkedJob {
    ParkedJob { created_at: 0, ..job }
}

/// The key with its hashes, which its `Debug` output does not show.
pub(crate) fn key(record: ApiKeyRecord) -> ApiKeyRecord {
    let previous = record.previous.map(|(hash, _)| (hash, 0));
    let name = format!("{} {:?} {:?}", record.name, record.hash.0, previous.as_ref().map(|(hash, _)| hash.0));
    let revoked_at = record.revoked_at.map(|_| 0);
    ApiKeyRecord { created_at: 0, previous, revoked_at, name, ..record }
}

pub(crate) fn revocation(revocation: Revocation) -> Revocation {
    Revocation { revoked_at: 0, ..revocation }
}

/// It has no order.
pub(crate) fn security(security: Security) -> Security {
    let mut keys: Vec<_> = security.keys.into_iter().map(key).collect();
    keys.sort_by(|one, other| one.id.cmp(&other.id));
    let mut revocations: Vec<_> = security.revocations.into_iter().map(revocation).collect();
    revocations.sort_by_key(|revocation| format!("{revocation:?}"));
    Security { keys, revocations, ..security }
}

pub(crate) fn audit(record: AuditRecord) -> AuditRecord {
    AuditRecord { id: Uuid::nil(), at: 0, ..record }
}

/// One host lives on SQLite, whichever called.
pub(crate) fn heartbeat(mut heard: Heartbeat) -> Heartbeat {
    heard.held.sort_unstable();
    heard.cancel.sort_unstable();
    Heartbeat { live_hosts: 0, ..heard }
}

pub(crate) fn report(mut answer: ReportAnswer) -> ReportAnswer {
    answer.blocks.sort_by(|one, other| one.account.cmp(&other.account));
    ReportAnswer { now: 0, ..answer }
}

pub(crate) fn spent(spent: Spent) -> Spent {
    Spent { day_ends_in: Duration::ZERO, ..spent }
}
