//! Users by their surrogate ids. The traits name an [`Owner`]; every table but this one names the id.

use masque_store::Owner;
use rusqlite::Connection;
use uuid::Uuid;

use crate::error::Result;
use crate::query::{execute, first_row};

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
