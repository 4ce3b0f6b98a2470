//! Erases again, in a database that was restored from a dump, the users whom the erasure list names.

use masque_store::{
    AuditEntry, ErasureList, ErasureListError, ErasureReplay, ErasureRequest, StoreConnection as _,
    StoreError, UserData as _,
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
/// the dump had begun. `entry` is stored with each. Returns how many users were erased. Can be repeated after an
/// interruption.
///
/// # Errors
/// See [`ReplayError`]. A list that is missing or damaged is an error: the database must not be served then.
pub async fn replay_erasures(
    options: &PostgresOptions,
    list: ErasureList,
    entry: impl Fn(&str) -> AuditEntry + Send + Sync,
) -> Result<u64, ReplayError> {
    let entries = match tokio::task::spawn_blocking(move || list.read()).await {
        Ok(entries) => entries?,
        Err(panic) => return Err(StoreError::Internal(panic.to_string()).into()),
    };
    let store = PostgresStore::open(options).await?;
    let replayed = async {
        if has_hosts(&store).await? {
            return Err(ReplayError::HostsRun);
        }
        let replay = ErasureReplay::new(store.installation().await?, entries)?;
        Ok(replay_on(&store, &replay, entry).await?)
    }
    .await;
    store.close().await;
    replayed
}

async fn has_hosts(store: &PostgresStore) -> Result<bool, StoreError> {
    let statement = Statement::new("SELECT EXISTS (SELECT 1 FROM hosts WHERE alive_until > masque_now_v1())");
    Ok(store.read_first(statement, |row| get::<bool, _>(row, 0)).await?.unwrap_or_default())
}

async fn replay_on(
    store: &PostgresStore,
    replay: &ErasureReplay,
    entry: impl Fn(&str) -> AuditEntry,
) -> Result<u64, StoreError> {
    let mut erased = 0;
    for erasure in store.running_erasures().await? {
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
