//! Erases again, in a database that was restored from a backup, the users whom the erasure list names. Nobody else uses the
//! database meanwhile: the caller holds its folder, or has just written the file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use masque_store::{
    Erasure, ErasureEntry, ErasureList, ErasureListError, ErasureReplay, OpenError, StoreError,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::connection::open_writer;
use crate::erasure::{EraseSome, fence, finish};
use crate::erasure_rows::{installation, load, of_user, running};
use crate::error::{DatabaseError, Result};
use crate::operation::Operation;
use crate::schema;
use crate::{users, wal};

/// Users that are read at a time.
const USERS: u32 = 1000;
/// How long emptying the log waits. Nobody reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the erasure list could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The list can't be read.
    #[error(transparent)]
    List(#[from] ErasureListError),
    /// The database has another schema.
    #[error(transparent)]
    Schema(#[from] OpenError),
    /// The database can't be read or written, or is of another installation.
    #[error("the erasure list can't be applied to {database}: {source}")]
    Database {
        /// The file.
        database: PathBuf,
        /// The cause.
        source: StoreError,
    },
}

/// Erases every user whom the list names and whose surrogate id is not newer than the erasure, and completes erasures that
/// the backup had begun, whose entries are appended to the list first. `database` is the file itself, and nobody else may have it open. Returns how many users were erased.
/// Can be repeated after an interruption. Blocks.
///
/// # Errors
/// See [`ReplayError`]. A list that is missing or damaged is an error: the database must not be served then.
pub fn replay_erasures(database: &Path, list: &Path) -> std::result::Result<u64, ReplayError> {
    let list = ErasureList::at(list);
    let entries = list.read()?;
    let failed =
        |error: DatabaseError| ReplayError::Database { database: database.to_owned(), source: error.into() };
    let connection = open_writer(database).map_err(failed)?;
    let found = schema::inspect(&connection, schema::MIGRATIONS).map_err(failed)?;
    found.ensure_usable(database.parent().unwrap_or(database))?;
    let installation = installation(&connection).map_err(failed)?;
    let listed: HashSet<Uuid> = entries.iter().map(|entry| entry.receipt).collect();
    let replay = ErasureReplay::new(installation.clone(), entries).map_err(|error| failed(error.into()))?;
    // An interrupted replay, or an erasure that ran when the backup was made: no host may have got as far as its entry.
    let begun = running(&connection).map_err(failed)?;
    for erasure in begun.iter().filter(|erasure| !listed.contains(&erasure.receipt)) {
        list.append(&ErasureEntry::new(erasure, installation.id))?;
    }
    erase_again(&connection, &replay, begun).map_err(failed)
}

fn erase_again(connection: &Connection, replay: &ErasureReplay, begun: Vec<Erasure>) -> Result<u64> {
    let mut erased = 0;
    for erasure in begun {
        complete(connection, erasure.receipt)?;
        erased += 1;
    }
    let mut after = Uuid::nil();
    loop {
        let page = users::list(connection, after, USERS)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (user, owner) in &page {
            let Some(entry) = replay.entry_of(*user, owner) else { continue };
            let receipt = in_transaction(connection, || {
                // The receipt is that of the list, unless it is of another id of the same person.
                let is_taken = load(connection, entry.receipt)?.is_some();
                let receipt = if is_taken || entry.user != *user { Uuid::now_v7() } else { entry.receipt };
                let erasure = match of_user(connection, *user)? {
                    Some(erasure) => erasure,
                    None => fence(connection, receipt, *user, owner, entry.name.clone())?,
                };
                Ok(erasure.receipt)
            })?;
            complete(connection, receipt)?;
            erased += 1;
        }
    }
    if !wal::empty(connection, PATIENCE)? {
        return Err(StoreError::Unavailable("another process reads the database".into()).into());
    }
    Ok(erased)
}

fn complete(connection: &Connection, receipt: Uuid) -> Result<()> {
    while in_transaction(connection, || EraseSome(receipt).run(connection))?.has_more {}
    in_transaction(connection, || match load(connection, receipt)? {
        Some(erasure) if erasure.done_at.is_none() => finish(connection, erasure).map(drop),
        _ => Ok(()),
    })
}

fn in_transaction<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let result = work()?;
    transaction.commit()?;
    Ok(result)
}
