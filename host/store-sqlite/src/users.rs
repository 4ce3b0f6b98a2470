//! Users by their surrogate ids. The traits name an [`Owner`]; every table but this one names the id.

use masque_store::Owner;
use rusqlite::Connection;
use uuid::Uuid;

use crate::error::Result;
use crate::query::{all_rows, execute, first_row};

/// The id of a user, if anything was ever stored for them.
pub(crate) fn find(connection: &Connection, owner: &Owner) -> Result<Option<Uuid>> {
    first_row(
        connection,
        "SELECT id FROM users WHERE subject = ?1 AND issuer = ?2 AND tenant = ?3",
        (&owner.subject, &owner.issuer, &owner.tenant),
        |row| Ok(row.get(0)?),
    )
}

/// The id of a user, made if there is none.
pub(crate) fn find_or_create(connection: &Connection, owner: &Owner) -> Result<Uuid> {
    if let Some(id) = find(connection, owner)? {
        return Ok(id);
    }
    let id = Uuid::now_v7();
    execute(
        connection,
        "INSERT INTO users (id, tenant, issuer, subject) VALUES (?1, ?2, ?3, ?4)",
        (id, &owner.tenant, &owner.issuer, &owner.subject),
    )?;
    Ok(id)
}

/// The user with an id, unless they were erased.
pub(crate) fn load(connection: &Connection, id: Uuid) -> Result<Option<Owner>> {
    first_row(
        connection,
        "SELECT tenant, issuer, subject FROM users WHERE id = ?1 AND subject IS NOT NULL",
        [id],
        |row| Ok(Owner { tenant: row.get(0)?, issuer: row.get(1)?, subject: row.get(2)? }),
    )
}

/// Users by their ids, without those that are being erased.
pub(crate) fn list(connection: &Connection, after: Uuid, limit: u32) -> Result<Vec<(Uuid, Owner)>> {
    all_rows(
        connection,
        "SELECT id, tenant, issuer, subject FROM users WHERE id > ?1 AND subject IS NOT NULL ORDER BY id LIMIT ?2",
        (after, limit),
        |row| Ok((row.get(0)?, Owner { tenant: row.get(1)?, issuer: row.get(2)?, subject: row.get(3)? })),
    )
}

/// Takes the name from a user, so that nothing is found or written under the id any more. False if it has none.
pub(crate) fn remove_name(connection: &Connection, id: Uuid) -> Result<bool> {
    let changed = execute(
        connection,
        "UPDATE users SET tenant = NULL, issuer = NULL, subject = NULL WHERE id = ?1 AND subject IS NOT NULL",
        [id],
    )?;
    Ok(changed == 1)
}
