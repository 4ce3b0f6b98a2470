//! Rows of plugin state. The row of a key is kept for a day after its value is gone (see the sweep), so that versions
//! go on rising.

use masque_store::{
    CheckTexts as _, ConflictReason, StateChange, StateConflict, StateResult, StateScope, StateSpace,
    StateWrite, StateWritten, StoreError, columns,
};
use rusqlite::{Connection, params};

use crate::columns::{millis, now, unsigned};
use crate::error::{DatabaseError, Result};
use crate::query::{all_rows, execute, first_row, one_row};
use crate::state_spaces::{SpaceColumns, check_tenant, find_space, total};
use crate::users;

/// A key as stored. An absent key has version 0 and no value.
pub(crate) struct FoundValue {
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) version: u64,
}

/// Reads a key. An expired value is absent.
pub(crate) fn find(connection: &Connection, space: &SpaceColumns<'_>, key: &str) -> Result<FoundValue> {
    let found = first_row(
        connection,
        "SELECT value, version FROM state
          WHERE owner = ?1 AND tenant = ?2 AND plugin = ?3 AND scope = ?4 AND key = ?5
            AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ?6)",
        params![space.owner, space.tenant, space.plugin, space.scope, key, now()],
        |row| Ok(FoundValue { value: Some(row.get(0)?), version: unsigned(row.get(1)?)? }),
    )?;
    Ok(found.unwrap_or(FoundValue { value: None, version: 0 }))
}

/// Keys that start with `prefix`, after `after`, in byte order.
pub(crate) fn list(
    connection: &Connection,
    space: &StateSpace,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>> {
    let Some(space) = find_space(connection, space)? else { return Ok(Vec::new()) };
    all_rows(
        connection,
        "SELECT key FROM state
          WHERE owner = ?1 AND tenant = ?2 AND plugin = ?3 AND scope = ?4
            AND key >= ?5 AND (?6 IS NULL OR key < ?6) AND (?7 IS NULL OR key > ?7)
            AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ?8)
          ORDER BY key LIMIT ?9",
        params![
            space.owner,
            space.tenant,
            space.plugin,
            space.scope,
            prefix.max(after.unwrap_or_default()),
            columns::end_of_prefix(prefix),
            after,
            now(),
            limit,
        ],
        |row| Ok(row.get(0)?),
    )
}

/// Refuses writes that no state of the store could make valid, before anything of them or of their fence is looked up.
pub(crate) fn check(writes: &[StateWrite]) -> Result<()> {
    for write in writes {
        write.check_texts()?;
        check_tenant(&write.key.space)?;
    }
    Ok(())
}

/// Applies writes that were [checked](check) in their order. The first whose condition is not met ends with [`StoreError::Conflict`]; the caller
/// undoes those before it.
pub(crate) fn apply(connection: &Connection, writes: &[StateWrite]) -> Result<Vec<StateWritten>> {
    let mut results = Vec::with_capacity(writes.len());
    for (index, write) in writes.iter().enumerate() {
        match change(connection, write)? {
            Ok(written) => results.push(written),
            Err(reason) => {
                let conflict = StateConflict { index, key: write.key.key.clone(), reason };
                return Err(DatabaseError::Store(StoreError::Conflict(conflict)));
            }
        }
    }
    Ok(results)
}

fn change(
    connection: &Connection,
    write: &StateWrite,
) -> Result<std::result::Result<StateWritten, ConflictReason>> {
    if let StateScope::User(owner) = &write.key.space.scope {
        users::find_or_create(connection, owner)?;
    }
    let Some(space) = find_space(connection, &write.key.space)? else {
        return Ok(Err(ConflictReason::NoConversation));
    };
    let before = match write.quota {
        Some(_) => total(connection, &space)?,
        None => 0,
    };
    let result = match change_key(connection, &space, &write.key.key, &write.change)? {
        Ok(result) => result,
        Err(reason) => return Ok(Err(reason)),
    };
    let Some(quota) = write.quota else { return Ok(Ok(StateWritten { result, stored_bytes: None })) };
    let bytes = total(connection, &space)?;
    if bytes > quota && bytes > before {
        return Ok(Err(ConflictReason::QuotaExceeded { bytes, quota }));
    }
    Ok(Ok(StateWritten { result, stored_bytes: Some(bytes) }))
}

fn change_key(
    connection: &Connection,
    space: &SpaceColumns<'_>,
    key: &str,
    change: &StateChange,
) -> Result<std::result::Result<StateResult, ConflictReason>> {
    match change {
        StateChange::Set { value, if_version, ttl } => {
            if let Some(found) = other_version(connection, space, key, *if_version)? {
                return Ok(Err(ConflictReason::Version { found }));
            }
            let version = put(connection, space, key, value, Expiry::In(ttl.map(millis)))?;
            Ok(Ok(StateResult::Version(version)))
        }
        StateChange::Delete { if_version } => {
            if let Some(found) = other_version(connection, space, key, *if_version)? {
                return Ok(Err(ConflictReason::Version { found }));
            }
            remove(connection, space, key)?;
            Ok(Ok(StateResult::Deleted))
        }
        StateChange::Add { amount } => {
            let found = find(connection, space, key)?;
            let sum = match sum(found.value.as_deref(), *amount) {
                Ok(sum) => sum,
                Err(reason) => return Ok(Err(reason)),
            };
            put(connection, space, key, sum.to_string().as_bytes(), Expiry::Unchanged)?;
            Ok(Ok(StateResult::Sum(sum)))
        }
    }
}

/// The version that a key has, if it is not the wanted one.
fn other_version(
    connection: &Connection,
    space: &SpaceColumns<'_>,
    key: &str,
    wanted: Option<u64>,
) -> Result<Option<u64>> {
    let Some(wanted) = wanted else { return Ok(None) };
    let found = find(connection, space, key)?.version;
    Ok((found != wanted).then_some(found))
}

/// When a key expires after a write.
enum Expiry {
    /// In so many milliseconds, or never.
    In(Option<i64>),
    /// As before, unless that has passed.
    Unchanged,
}

fn put(
    connection: &Connection,
    space: &SpaceColumns<'_>,
    key: &str,
    value: &[u8],
    expiry: Expiry,
) -> Result<u64> {
    let now = now();
    let (is_unchanged, expires_at) = match expiry {
        Expiry::In(ttl) => (false, ttl.map(|ttl| now.saturating_add(ttl))),
        Expiry::Unchanged => (true, None),
    };
    let version = one_row(
        connection,
        "INSERT INTO state (owner, account, tenant, plugin, scope, key, value, version, expires_at)
         VALUES (?1, ?10, ?2, ?3, ?4, ?5, ?6, 1, ?7)
         ON CONFLICT (owner, tenant, plugin, scope, key) DO UPDATE
            SET value = excluded.value, version = version + 1,
                expires_at = iif(?8 AND value IS NOT NULL AND expires_at > ?9, expires_at, excluded.expires_at)
         RETURNING version",
        params![
            space.owner,
            space.tenant,
            space.plugin,
            space.scope,
            key,
            value,
            expires_at,
            is_unchanged,
            now,
            space.account,
        ],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    unsigned(version)
}

fn remove(connection: &Connection, space: &SpaceColumns<'_>, key: &str) -> Result<()> {
    execute(
        connection,
        "UPDATE state SET value = NULL, version = version + 1, expires_at = ?6
          WHERE owner = ?1 AND tenant = ?2 AND plugin = ?3 AND scope = ?4 AND key = ?5 AND value IS NOT NULL",
        params![space.owner, space.tenant, space.plugin, space.scope, key, now()],
    )?;
    Ok(())
}

/// Adds to a decimal integer, absent counting as 0.
fn sum(held: Option<&[u8]>, amount: i64) -> std::result::Result<i64, ConflictReason> {
    let held = match held {
        None => 0,
        Some(bytes) => str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(ConflictReason::NotAnInteger)?,
    };
    held.checked_add(amount).ok_or(ConflictReason::Overflow)
}

#[cfg(test)]
mod tests {
    use masque_store::ConflictReason;

    use super::sum;

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
