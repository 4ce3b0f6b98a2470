//! Writes of plugin state as arguments: an array for each part of a write.

use masque_store::{
    CheckTexts as _, ConflictReason, Owner, StateChange, StateConflict, StateScope, StateWrite, StoreError,
};
use uuid::Uuid;

use crate::columns::{millis, signed};
use crate::statement::Statement;

/// Refuses a space of a tenant that its user does not belong to.
pub(crate) fn check_tenant(tenant: &str, scope: &StateScope) -> Result<(), StoreError> {
    match scope {
        StateScope::User(owner) if owner.tenant != tenant => Err(StoreError::Refused(format!(
            "a user of the tenant {} has no state in {tenant}",
            owner.tenant
        ))),
        _ => Ok(()),
    }
}

/// The word for a scope.
pub(crate) fn scope_word(scope: &StateScope) -> &'static str {
    match scope {
        StateScope::Conversation(_) => "conversation",
        StateScope::User(_) => "user",
        StateScope::Shared => "shared",
    }
}

/// The user of a scope.
pub(crate) fn scope_user(scope: &StateScope) -> Option<&Owner> {
    match scope {
        StateScope::User(owner) => Some(owner),
        _ => None,
    }
}

/// The conversation of a scope.
pub(crate) fn scope_conversation(scope: &StateScope) -> Option<Uuid> {
    match scope {
        StateScope::Conversation(id) => Some(id.as_uuid()),
        _ => None,
    }
}

/// Adds the arguments of writes: a new id for a user without one, and then the arrays.
///
/// # Errors
/// [`StoreError::Refused`] if a key or a space can't be stored.
pub(crate) fn bind_writes(statement: Statement, writes: &[StateWrite]) -> Result<Statement, StoreError> {
    for write in writes {
        write.check_texts()?;
        check_tenant(&write.key.space.tenant, &write.key.space.scope)?;
    }
    let scopes = || writes.iter().map(|write| &write.key.space.scope);
    let users = || scopes().map(scope_user);
    Ok(statement
        .bind(Uuid::now_v7())
        .bind(scopes().map(scope_word).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| &*write.key.space.tenant).collect::<Vec<&str>>())
        .bind(writes.iter().map(|write| &*write.key.space.plugin).collect::<Vec<&str>>())
        .bind(users().map(|user| user.map(|user| &*user.issuer)).collect::<Vec<Option<&str>>>())
        .bind(users().map(|user| user.map(|user| &*user.subject)).collect::<Vec<Option<&str>>>())
        .bind(scopes().map(scope_conversation).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| &*write.key.key).collect::<Vec<&str>>())
        .bind(writes.iter().map(|write| change_word(&write.change)).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| value(&write.change)).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| if_version(&write.change)).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| ttl(&write.change)).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| amount(&write.change)).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.quota.map(signed)).collect::<Vec<_>>()))
}

/// A conflict with the key and the quota of its write; other errors as they are.
pub(crate) fn named(error: StoreError, writes: &[StateWrite]) -> StoreError {
    let StoreError::Conflict(conflict) = error else { return error };
    let write = writes.get(conflict.index);
    let reason = match conflict.reason {
        ConflictReason::QuotaExceeded { bytes, .. } => {
            let quota = write.and_then(|write| write.quota).unwrap_or_default();
            ConflictReason::QuotaExceeded { bytes, quota }
        }
        reason => reason,
    };
    let key = write.map(|write| write.key.key.clone()).unwrap_or_default();
    StoreError::Conflict(StateConflict { index: conflict.index, key, reason })
}

fn change_word(change: &StateChange) -> &'static str {
    match change {
        StateChange::Set { .. } => "set",
        StateChange::Delete { .. } => "delete",
        StateChange::Add { .. } => "add",
    }
}

fn value(change: &StateChange) -> Option<&[u8]> {
    match change {
        StateChange::Set { value, .. } => Some(value),
        _ => None,
    }
}

fn if_version(change: &StateChange) -> Option<i64> {
    match change {
        StateChange::Set { if_version, .. } | StateChange::Delete { if_version } => if_version.map(signed),
        StateChange::Add { .. } => None,
    }
}

fn ttl(change: &StateChange) -> Option<i64> {
    match change {
        StateChange::Set { ttl, .. } => ttl.map(millis),
        _ => None,
    }
}

fn amount(change: &StateChange) -> Option<i64> {
    match change {
        StateChange::Add { amount } => Some(*amount),
        _ => None,
    }
}
