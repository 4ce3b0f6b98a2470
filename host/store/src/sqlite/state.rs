//! [`PluginState`]. A key's row outlives its value for a day (see the sweep), so that versions go on rising.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{millis, now, unsigned};
use super::writer::{Operation, Session, Verdict};
use crate::{
    ConflictReason, PluginState, StateChange, StateConflict, StateKey, StateResult, StateScope, StateSpace,
    StateValue, StateWrite, StoreError,
};

#[async_trait]
impl PluginState for SqliteStore {
    async fn state_get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError> {
        let mut connection = self.reader().await?;
        let Some(place) = place(&mut connection, &key.space).await? else { return Ok(None) };
        let found = find(&mut connection, &place, &key.key).await?;
        Ok(found.value.map(|value| StateValue { value, version: found.version }))
    }

    async fn state_write(
        &self,
        writes: Vec<StateWrite>,
    ) -> Result<Result<Vec<StateResult>, StateConflict>, StoreError> {
        self.write(Write(writes)).await
    }

    async fn state_list(
        &self,
        space: &StateSpace,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(list(&mut connection, space, prefix, after, limit).await?)
    }
}

struct Write(Vec<StateWrite>);

impl Operation for Write {
    type Answer = Result<Vec<StateResult>, StateConflict>;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        Ok(match apply(connection, &self.0).await? {
            Ok(results) => Verdict::Keep(Ok(results)),
            Err(conflict) => Verdict::Undo(Err(conflict)),
        })
    }
}

/// Applies writes in order up to the first that does not fit; undoing those before it is the caller's part.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    writes: &[StateWrite],
) -> Result<Result<Vec<StateResult>, StateConflict>, Fault> {
    let mut results = Vec::with_capacity(writes.len());
    for (index, write) in writes.iter().enumerate() {
        match change(connection, write).await? {
            Ok(result) => results.push(result),
            Err(reason) => return Ok(Err(StateConflict { index, key: write.key.key.clone(), reason })),
        }
    }
    Ok(Ok(results))
}

/// A space as columns.
struct Place<'a> {
    tenant: &'a str,
    plugin: &'a str,
    scope: &'static str,
    issuer: String,
    subject: String,
    conversation: Vec<u8>,
}

/// `None` for a conversation that is not there: its state went with it and must not come back.
async fn place<'a>(
    connection: &mut SqliteConnection,
    space: &'a StateSpace,
) -> Result<Option<Place<'a>>, Fault> {
    let (scope, issuer, subject, conversation) = match &space.scope {
        StateScope::Shared => ("shared", String::new(), String::new(), Vec::new()),
        StateScope::User(owner) if owner.tenant == space.tenant => {
            ("user", owner.issuer.clone(), owner.subject.clone(), Vec::new())
        }
        StateScope::User(owner) => {
            let text = format!("a user of the tenant {} has no state in {}", owner.tenant, space.tenant);
            return Err(StoreError::Refused(text).into());
        }
        StateScope::Conversation(id) => {
            let row = sqlx::query("SELECT issuer, subject FROM conversations WHERE id = ?1 AND tenant = ?2")
                .bind(id.as_uuid())
                .bind(&space.tenant)
                .fetch_optional(connection)
                .await?;
            let Some(row) = row else { return Ok(None) };
            ("conversation", row.try_get(0)?, row.try_get(1)?, id.as_uuid().as_bytes().to_vec())
        }
    };
    Ok(Some(Place { tenant: &space.tenant, plugin: &space.plugin, scope, issuer, subject, conversation }))
}

/// A key as it stands: its version is 0 and its value absent if it is.
struct Found {
    value: Option<Vec<u8>>,
    version: u64,
}

async fn find(connection: &mut SqliteConnection, place: &Place<'_>, key: &str) -> Result<Found, Fault> {
    let row = sqlx::query(concat!(
        "SELECT value, version FROM state
          WHERE tenant = ?1 AND plugin = ?2 AND scope = ?3 AND issuer = ?4 AND subject = ?5 AND conversation = ?6
            AND key = ?7 AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ", now!(), ")"
    ))
    .bind(place.tenant)
    .bind(place.plugin)
    .bind(place.scope)
    .bind(&place.issuer)
    .bind(&place.subject)
    .bind(&place.conversation)
    .bind(key)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(Found { value: None, version: 0 }) };
    Ok(Found { value: Some(row.try_get(0)?), version: unsigned(row.try_get(1)?)? })
}

/// What a key's time to live becomes.
enum Life {
    Ends(Option<i64>),
    /// As it was, unless it was over.
    Stays,
}

async fn put(
    connection: &mut SqliteConnection,
    place: &Place<'_>,
    key: &str,
    value: &[u8],
    life: Life,
) -> Result<u64, Fault> {
    let (stays, ttl) = match life {
        Life::Ends(ttl) => (false, ttl),
        Life::Stays => (true, None),
    };
    let row: SqliteRow = sqlx::query(concat!(
        "INSERT INTO state (tenant, plugin, scope, issuer, subject, conversation, key, value, version, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ", now!(), " + ?9)
         ON CONFLICT (tenant, plugin, scope, issuer, subject, conversation, key) DO UPDATE
            SET value = excluded.value, version = version + 1,
                expires_at = iif(?10 AND value IS NOT NULL AND expires_at > ", now!(), ", expires_at, excluded.expires_at)
         RETURNING version"
    ))
    .bind(place.tenant)
    .bind(place.plugin)
    .bind(place.scope)
    .bind(&place.issuer)
    .bind(&place.subject)
    .bind(&place.conversation)
    .bind(key)
    .bind(value)
    .bind(ttl)
    .bind(stays)
    .fetch_one(connection)
    .await?;
    unsigned(row.try_get(0)?)
}

async fn remove(connection: &mut SqliteConnection, place: &Place<'_>, key: &str) -> Result<(), Fault> {
    sqlx::query(concat!(
        "UPDATE state SET value = NULL, version = version + 1, expires_at = ", now!(), "
          WHERE tenant = ?1 AND plugin = ?2 AND scope = ?3 AND issuer = ?4 AND subject = ?5 AND conversation = ?6
            AND key = ?7 AND value IS NOT NULL"
    ))
    .bind(place.tenant)
    .bind(place.plugin)
    .bind(place.scope)
    .bind(&place.issuer)
    .bind(&place.subject)
    .bind(&place.conversation)
    .bind(key)
    .execute(connection)
    .await?;
    Ok(())
}

async fn change(
    connection: &mut SqliteConnection,
    write: &StateWrite,
) -> Result<Result<StateResult, ConflictReason>, Fault> {
    let key = &write.key.key;
    let Some(place) = place(connection, &write.key.space).await? else {
        return Ok(Err(ConflictReason::NoConversation));
    };
    match &write.change {
        StateChange::Set { value, if_version, ttl } => {
            if let Some(found) = differs(connection, &place, key, *if_version).await? {
                return Ok(Err(ConflictReason::Version { found }));
            }
            let version = put(connection, &place, key, value, Life::Ends(ttl.map(millis))).await?;
            Ok(Ok(StateResult::Version(version)))
        }
        StateChange::Delete { if_version } => {
            if let Some(found) = differs(connection, &place, key, *if_version).await? {
                return Ok(Err(ConflictReason::Version { found }));
            }
            remove(connection, &place, key).await?;
            Ok(Ok(StateResult::Deleted))
        }
        StateChange::Add { amount } => {
            let found = find(connection, &place, key).await?;
            let sum = match sum(found.value.as_deref(), *amount) {
                Ok(sum) => sum,
                Err(reason) => return Ok(Err(reason)),
            };
            put(connection, &place, key, sum.to_string().as_bytes(), Life::Stays).await?;
            Ok(Ok(StateResult::Sum(sum)))
        }
    }
}

/// The version a key has, if it is not the one asked for.
async fn differs(
    connection: &mut SqliteConnection,
    place: &Place<'_>,
    key: &str,
    wanted: Option<u64>,
) -> Result<Option<u64>, Fault> {
    let Some(wanted) = wanted else { return Ok(None) };
    let found = find(connection, place, key).await?.version;
    Ok((found != wanted).then_some(found))
}

/// Adds to a decimal integer, absent counting as 0.
fn sum(held: Option<&[u8]>, amount: i64) -> Result<i64, ConflictReason> {
    let held = match held {
        None => 0,
        Some(bytes) => str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(ConflictReason::NotAnInteger)?,
    };
    held.checked_add(amount).ok_or(ConflictReason::Overflow)
}

async fn list(
    connection: &mut SqliteConnection,
    space: &StateSpace,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, Fault> {
    let Some(place) = place(connection, space).await? else { return Ok(Vec::new()) };
    let rows = sqlx::query(concat!(
        "SELECT key FROM state
          WHERE tenant = ?1 AND plugin = ?2 AND scope = ?3 AND issuer = ?4 AND subject = ?5 AND conversation = ?6
            AND key >= ?7 AND (?8 IS NULL OR key < ?8) AND (?9 IS NULL OR key > ?9)
            AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ", now!(), ")
          ORDER BY key LIMIT ?10 + 0"
    ))
    .bind(place.tenant)
    .bind(place.plugin)
    .bind(place.scope)
    .bind(&place.issuer)
    .bind(&place.subject)
    .bind(&place.conversation)
    .bind(prefix.max(after.unwrap_or_default()))
    .bind(past(prefix))
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The least text greater than all that start with `prefix`; `None` if there is none. UTF-8 sorts as its characters do.
fn past(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{past, sum};
    use crate::ConflictReason;

    #[test]
    fn the_end_of_a_prefix_is_past_every_text_that_starts_with_it() {
        let cases = [
            ("", None),
            ("a", Some("b")),
            ("ab\u{10ffff}", Some("ac")),
            ("\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
        ];
        for (prefix, expected) in cases {
            assert_eq!(past(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn only_a_decimal_integer_of_64_bits_can_be_added_to() {
        assert_eq!(sum(None, -3), Ok(-3));
        assert_eq!(sum(Some(b"41"), 1), Ok(42));
        for held in [b" 41".as_slice(), b"4.1", b"", b"\xff", b"9223372036854775808"] {
            assert_eq!(sum(Some(held), 1), Err(ConflictReason::NotAnInteger), "{held:?}");
        }
        assert_eq!(sum(Some(b"9223372036854775807"), 1), Err(ConflictReason::Overflow));
    }
}
