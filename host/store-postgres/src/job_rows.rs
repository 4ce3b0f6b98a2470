//! Rows of jobs, and the words for what they call.

use masque_store::{Ability, ConversationId, JobId, JobRecord, Owner, ParkedJob, StoreError, TurnId};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::attempt;
use crate::error::Result;
use crate::statement::get;

/// The kinds of job that this version can run. Jobs of others are parked when they are to be taken.
pub(crate) const KINDS: [&str; 2] = ["observe", "reflect"];

/// How often a host may end while it runs a job. The job may be what ended it, so it does not run again by itself.
pub(crate) const MAX_CRASHES: i64 = 2;

/// The word for an ability.
pub(crate) fn kind(ability: Ability) -> &'static str {
    match ability {
        Ability::Observe => "observe",
        Ability::Reflect => "reflect",
    }
}

fn ability(kind: &str) -> Result<Ability> {
    match kind {
        "observe" => Ok(Ability::Observe),
        "reflect" => Ok(Ability::Reflect),
        other => {
            Err(StoreError::Corrupt(format!("`{other}` is no kind of job that this version knows")).into())
        }
    }
}

/// A job that was taken.
pub(crate) fn taken(row: &PgRow) -> Result<JobRecord> {
    Ok(JobRecord {
        id: JobId::from(get::<Uuid, _>(row, "id")?),
        owner: owner(row)?,
        conversation: ConversationId::from(get::<Uuid, _>(row, "conversation")?),
        turn: TurnId::from(get::<Uuid, _>(row, "turn")?),
        plugin: get(row, "plugin")?,
        ability: ability(get(row, "kind")?)?,
        payload: get(row, "payload")?,
        attempt: attempt(get(row, "attempt")?)?,
        epoch: get(row, "epoch")?,
    })
}

/// A job that is parked.
pub(crate) fn parked(row: &PgRow) -> Result<ParkedJob> {
    Ok(ParkedJob {
        id: JobId::from(get::<Uuid, _>(row, "id")?),
        owner: owner(row)?,
        plugin: get(row, "plugin")?,
        kind: get(row, "kind")?,
        attempt: attempt(get(row, "attempt")?)?,
        error: get(row, "error")?,
        created_at: get(row, "created_at")?,
    })
}

fn owner(row: &PgRow) -> Result<Owner> {
    Ok(Owner { tenant: get(row, "tenant")?, issuer: get(row, "issuer")?, subject: get(row, "subject")? })
}

#[cfg(test)]
mod tests {
    use super::{KINDS, ability, kind};

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        assert_eq!(KINDS.map(|word| kind(ability(word).unwrap())), KINDS);
        assert!(ability("odd").is_err());
    }
}
