//! Erases again, in a database that was restored from a dump, the users whom the erasure list names.

use std::collections::HashSet;

use masque_store::{
    AuditEntry, Erasure, ErasureEntry, ErasureList, ErasureListError, ErasureReplay, ErasureRequest,
    StoreConnection as _, StoreError, UserData as _,
};
use uuid::Uuid;

use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Users that are read at a time.
const USERS: u32 = 1000;

/// Why the erasure list could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The list can't be read.
    #[error(transparent)]
    List(#[from] ErasureListError),
    /// The database can't be used.
    #[error(transparent)]
    Open(#[from] PostgresOpenError),
    /// Hosts use the database: they would show what is about to be erased.
    #[error("a host uses the database; stop all hosts before the erasure list is applied")]
    HostsRun,
    /// The database can't be read or written, or is of another installation.
    #[error("the erasure list can't be applied: {0}")]
    Database(#[from] StoreError),
}

/// Erases every user whom the list names and whose surrogate id is not newer than the erasure, and completes erasures that
/// the dump had begun, whose entries are appended to the list first. `entry` is stored with each. Returns how many users were erased. Can be repeated after an
/// interruption.
///
/// # Errors
/// See [`ReplayError`]. A list that is missing or damaged is an error: the database must not be served then.
pub async fn replay_erasures(
    options: &PostgresOptions,
    list: ErasureList,
    entry: impl Fn(&str) -> AuditEntry + Send + Sync,
) -> Result<u64, ReplayError> {
    let entries = with_list(&list, ErasureList::read).await?;
    let store = PostgresStore::open(options).await?;
    let replayed = async {
        if has_hosts(&store).await? {
            return Err(ReplayError::HostsRun);
        }
        let installation = store.installation().await?;
        let listed: HashSet<Uuid> = entries.iter().map(|entry| entry.receipt).collect();
        let replay = ErasureReplay::new(installation.clone(), entries)?;
        // An interrupted replay, or an erasure that ran when the dump was made: no host may have got as far as its entry.
        let begun = store.running_erasures().await?;
        for erasure in begun.iter().filter(|erasure| !listed.contains(&erasure.receipt)) {
            let entry = ErasureEntry::new(erasure, installation.id);
            with_list(&list, move |list| list.append(&entry)).await?;
        }
        Ok(erase_again(&store, &replay, begun, entry).await?)
    }
    .await;
    store.close().await;
    replayed
}

/// Reads or writes the list, which blocks.
async fn with_list<T: Send + 'static>(
    list: &ErasureList,
    work: impl FnOnce(&ErasureList) -> Result<T, ErasureListError> + Send + 'static,
) -> Result<T, ReplayError> {
    let list = list.clone();
    match tokio::task::spawn_blocking(move || work(&list)).await {
        Ok(done) => Ok(done?),
        Err(panic) => Err(StoreError::Internal(panic.to_string()).into()),
    }
}

async fn has_hosts(store: &PostgresStore) -> Result<bool, StoreError> {
    let statement = Statement::new("SELECT EXISTS (SELECT 1 FROM hosts WHERE alive_until > masque_now_v1())");
    Ok(store.read_first(statement, |row| get::<bool, _>(row, 0)).await?.unwrap_or_default())
}

async fn erase_again(
    store: &PostgresStore,
    replay: &ErasureReplay,
    begun: Vec<Erasure>,
    entry: impl Fn(&str) -> AuditEntry,
) -> Result<u64, StoreError> {
    let mut erased = 0;
    for erasure in begun {
        complete(store, erasure.receipt, entry(erasure.name.pseudonym())).await?;
        erased += 1;
    }
    let mut after = None;
    loop {
        let page = store.users(after, USERS).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (user, owner) in page {
            let Some(found) = replay.entry_of(user, &owner) else { continue };
            // The receipt is that of the list, unless it is of another id of the same person.
            let is_taken = store.erasure(found.receipt).await?.is_some();
            let receipt = if is_taken || found.user != user { Uuid::now_v7() } else { found.receipt };
            let (name, begun) = (found.name.clone(), entry(found.name.pseudonym()));
            let request = ErasureRequest { receipt, owner, name, entry: begun.clone() };
            let erasure = store.begin_erasure(request).await?;
            complete(store, erasure.receipt, begun).await?;
            erased += 1;
        }
    }
    Ok(erased)
}

async fn complete(store: &PostgresStore, receipt: Uuid, entry: AuditEntry) -> Result<(), StoreError> {
    while store.erase_some(receipt).await? {}
    store.finish_erasure(receipt, entry).await.map(drop)
}
