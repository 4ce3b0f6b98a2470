//! Spaces of plugin state as columns, and the bytes that are stored for their accounts.

use masque_store::{StateScope, StateSpace, StoreError};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::columns::unsigned;
use crate::error::Result;
use crate::query::first_row;
use crate::users;

/// A space as columns.
pub(crate) struct SpaceColumns<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) plugin: &'a str,
    pub(crate) scope: &'static str,
    /// The user or conversation; empty if the scope is shared.
    pub(crate) owner: Vec<u8>,
    /// The user that its values count for; empty if the scope is shared.
    pub(crate) account: Vec<u8>,
}

/// Refuses a space of a tenant that its user does not belong to.
pub(crate) fn check_tenant(space: &StateSpace) -> Result<()> {
    match &space.scope {
        StateScope::User(owner) if owner.tenant != space.tenant => {
            let text = format!("a user of the tenant {} has no state in {}", owner.tenant, space.tenant);
            Err(StoreError::Refused(text).into())
        }
        _ => Ok(()),
    }
}

/// The columns of a space. `None` for a conversation that does not exist, so that the state of a deleted one does not
/// come back, and for a user without any stored data.
pub(crate) fn find_space<'a>(
    connection: &Connection,
    space: &'a StateSpace,
) -> Result<Option<SpaceColumns<'a>>> {
    check_tenant(space)?;
    let found = match &space.scope {
        StateScope::Shared => Some(("shared", Vec::new(), Vec::new())),
        StateScope::User(owner) => {
            let user = users::find(connection, owner)?.map(|user| user.as_bytes().to_vec());
            user.map(|user| ("user", user.clone(), user))
        }
        StateScope::Conversation(id) => first_row(
            connection,
            "SELECT c.id, c.user FROM conversations c JOIN users u ON u.id = c.user
              WHERE c.id = ?1 AND u.tenant = ?2 AND c.deleted_at IS NULL",
            (id.as_uuid(), &space.tenant),
            |row| {
                let (id, user): (Uuid, Uuid) = (row.get(0)?, row.get(1)?);
                Ok(("conversation", id.as_bytes().to_vec(), user.as_bytes().to_vec()))
            },
        )?,
    };
    Ok(found.map(|(scope, owner, account)| SpaceColumns {
        tenant: &space.tenant,
        plugin: &space.plugin,
        scope,
        owner,
        account,
    }))
}

/// The bytes that the plugin holds for the space's account. Triggers keep this total (see the schema), so it is one row.
pub(crate) fn total(connection: &Connection, space: &SpaceColumns<'_>) -> Result<u64> {
    let bytes = first_row(
        connection,
        "SELECT bytes FROM state_totals WHERE account = ?1 AND tenant = ?2 AND plugin = ?3",
        params![space.account, space.tenant, space.plugin],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    unsigned(bytes.unwrap_or(0))
}
