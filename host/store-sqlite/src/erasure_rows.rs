//! Rows of erasures, and the installation's own row.

use masque_store::{ErasedName, ErasedRows, Erasure, Installation};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::columns::{now, signed, unsigned};
use crate::error::Result;
use crate::query::{all_rows, execute, first_row, one_row};

/// The columns that [`erasure`] reads.
macro_rules! erasure_columns {
    () => {
        "id, user, name, begun_at, done_at, conversations, messages, turns, idempotency_keys, jobs, state_values,
         spending_days"
    };
}

fn erasure(row: &Row<'_>) -> Result<Erasure> {
    Ok(Erasure {
        receipt: row.get(0)?,
        user: row.get(1)?,
        name: row.get_ref(2)?.as_str()?.parse::<ErasedName>()?,
        begun_at: row.get(3)?,
        done_at: row.get(4)?,
        rows: ErasedRows::from_columns(|column| unsigned(row.get(column)?))?,
    })
}

/// The identity of this installation.
pub(crate) fn installation(connection: &Connection) -> Result<Installation> {
    one_row(connection, "SELECT installation, erasure_key FROM masque", [], |row| {
        Ok(Installation::new(row.get(0)?, row.get_ref(1)?.as_blob()?)?)
    })
}

/// An erasure by its receipt.
pub(crate) fn load(connection: &Connection, receipt: Uuid) -> Result<Option<Erasure>> {
    first_row(
        connection,
        concat!("SELECT ", erasure_columns!(), " FROM erasures WHERE id = ?1"),
        [receipt],
        erasure,
    )
}

/// The erasure of a surrogate id.
pub(crate) fn of_user(connection: &Connection, user: Uuid) -> Result<Option<Erasure>> {
    first_row(
        connection,
        concat!("SELECT ", erasure_columns!(), " FROM erasures WHERE user = ?1"),
        [user],
        erasure,
    )
}

/// Erasures that are not complete, those that began first before others.
pub(crate) fn running(connection: &Connection) -> Result<Vec<Erasure>> {
    all_rows(
        connection,
        concat!("SELECT ", erasure_columns!(), " FROM erasures WHERE done_at IS NULL ORDER BY begun_at"),
        [],
        erasure,
    )
}

/// Stores an erasure that begins, with the user's account of spending.
pub(crate) fn insert(connection: &Connection, erasure: &Erasure, account: &str) -> Result<()> {
    let spending_name = installation(connection)?.spending_name(account);
    execute(
        connection,
        "INSERT INTO erasures (id, user, name, begun_at, account, spending_name) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            erasure.receipt,
            erasure.user,
            erasure.name.as_str(),
            erasure.begun_at,
            account,
            spending_name.as_str(),
        ),
    )?;
    Ok(())
}

/// The account of spending of an erasure. `None` when its rows are removed for good.
pub(crate) fn account(connection: &Connection, receipt: Uuid) -> Result<Option<String>> {
    first_row(
        connection,
        "SELECT account FROM erasures WHERE id = ?1 AND account IS NOT NULL",
        [receipt],
        |row| Ok(row.get(0)?),
    )
}

/// Forgets the account of spending of an erasure, whose rows are removed: what was spent until now is not written again.
pub(crate) fn forget_account(connection: &Connection, receipt: Uuid) -> Result<()> {
    execute(
        connection,
        "UPDATE erasures SET account = NULL, spending_removed_at = ?2 WHERE id = ?1",
        (receipt, now()),
    )?;
    Ok(())
}

/// Whether the user of an account was erased, and the rows of the account were removed for good at this time or later.
pub(crate) fn is_spending_removed(
    connection: &Connection,
    installation: &Installation,
    account: &str,
    since: i64,
) -> Result<bool> {
    let removed = first_row(
        connection,
        "SELECT 1 FROM erasures WHERE spending_name = ?1 AND spending_removed_at >= ?2",
        (installation.spending_name(account).as_str(), since),
        |_row| Ok(()),
    )?;
    Ok(removed.is_some())
}

/// Adds to what an erasure has removed.
pub(crate) fn add_rows(connection: &Connection, receipt: Uuid, rows: &ErasedRows) -> Result<()> {
    execute(
        connection,
        "UPDATE erasures
            SET conversations = conversations + ?2, messages = messages + ?3, turns = turns + ?4,
                idempotency_keys = idempotency_keys + ?5, jobs = jobs + ?6, state_values = state_values + ?7,
                spending_days = spending_days + ?8
          WHERE id = ?1",
        params![
            receipt,
            signed(rows.conversations),
            signed(rows.messages),
            signed(rows.turns),
            signed(rows.idempotency_keys),
            signed(rows.jobs),
            signed(rows.state_values),
            signed(rows.spending_days),
        ],
    )?;
    Ok(())
}
