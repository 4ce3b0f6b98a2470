//! `masque erase` and `masque erasures`: erases a user, applies the erasure list to a database that was restored, and prints
//! the list.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail, ensure};
use masque_config::StateConfig;
use masque_store::{Erasure, ErasureEntry, ErasureList, ErasureRequest, UserData, UserRecords};
use masque_store_sqlite::Folder;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::erasure::{complete, entry_of, left_to_settle};
use crate::output::print_error;
use crate::store::{
    absolute, ensure_data_folder, ensure_database, name_state, open_user_records, postgres_options,
};

/// Who acts, for the audit log.
const ACTOR: &str = "cli";
/// How long an erasure is tried again that can't be completed at the moment.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is tried again. Writes of a host wait for half a second at each attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// Erases the user with this id, also while a host runs, and returns what was done.
///
/// # Errors
/// The id is unknown, the store or the list can't be written, or something holds the database open for longer than
/// [`PATIENCE`], so that the erasure is not complete.
pub(crate) async fn erase(state: &StateConfig, user: &str) -> anyhow::Result<String> {
    let id = Uuid::try_parse(user).map_err(|_| {
        anyhow!(
            "`{}` is no id of a user; `masque users id NAME` prints the id of a name",
            user.escape_debug()
        )
    })?;
    let list = ErasureList::at(state.erasures.clone());
    let store = open_user_records(state).await?;
    let report = erase_in(&*store, &list, id).await;
    store.close().await;
    report
}

async fn erase_in(store: &dyn UserRecords, list: &ErasureList, id: Uuid) -> anyhow::Result<String> {
    ensure_folder_of(list)?;
    let erasure = match (store.user(id).await?, store.erasure_of_user(id).await?) {
        (_, Some(erasure)) => erasure,
        (Some(owner), None) => {
            let name = store.installation().await?.erased_name(&owner);
            let receipt = Uuid::now_v7();
            let mut entry = entry_of("user.erase", name.pseudonym(), ACTOR);
            entry.detail = json!({ "receipt": receipt });
            store.begin_erasure(ErasureRequest { receipt, owner, name, entry }).await?
        }
        (None, None) => bail!("no user has the id {id}"),
    };
    let erasure = match erasure.done_at {
        Some(_) => erasure,
        None => complete_patiently(store, list, erasure).await?,
    };
    let Erasure { receipt, name, .. } = &erasure;
    Ok(format!("Erased. The receipt is {receipt}, the pseudonym {}.", name.pseudonym()))
}

/// Completes an erasure, and says for what it waits. A running host may complete it meanwhile.
///
/// # Errors
/// Those of [`complete`], or the erasure is not complete after [`PATIENCE`].
async fn complete_patiently<S>(store: &S, list: &ErasureList, erasure: Erasure) -> anyhow::Result<Erasure>
where
    S: UserData + ?Sized,
{
    let left = left_to_settle(&erasure, SystemTime::now());
    if !left.is_zero() {
        let seconds = left.as_millis().div_ceil(1000);
        print_error(&format_args!(
            "Nothing of the user is found any more. The rows are removed when running hosts have reported what turns of the user \
             have used: waiting for {seconds} s."
        ));
    }
    let mut erasure = complete(store, list, erasure, ACTOR).await?;
    let begun = Instant::now();
    if erasure.done_at.is_none() {
        let seconds = PATIENCE.as_secs();
        print_error(&format_args!(
            "The erasure can't be completed yet: something holds the database open, such as a backup. Trying again for {seconds} s."
        ));
    }
    while erasure.done_at.is_none() {
        let (receipt, pseudonym) = (erasure.receipt, erasure.name.pseudonym());
        ensure!(
            begun.elapsed() < PATIENCE,
            "nothing of the user is found any more, but the erasure is not complete: something holds the database open, such as a \
             backup. A running host tries again every 10 seconds; without a host, run this command again when the backup has ended. \
             The receipt is {receipt}, the pseudonym {pseudonym}."
        );
        tokio::time::sleep(RETRY_INTERVAL).await;
        erasure = match store.erasure(receipt).await? {
            Some(done) if done.done_at.is_some() => done,
            _ => complete(store, list, erasure, ACTOR).await?,
        };
    }
    Ok(erasure)
}

/// The list is written last: without its folder, an erasure would begin and could not end.
fn ensure_folder_of(list: &ErasureList) -> anyhow::Result<()> {
    let list = absolute(list.path());
    let Some(folder) = list.parent() else { return Ok(()) };
    ensure!(
        folder.is_dir(),
        "there is no folder {} for the erasure list; name the data folder of your host with --data or --config",
        folder.display()
    );
    Ok(())
}

/// Erases again whom the list names, in a database that was restored from a backup or dump. No host may run.
///
/// # Errors
/// A host uses the database, the list is missing, damaged or of another installation, or the database can't be written. The
/// database must not be served then.
pub(crate) async fn replay(state: &StateConfig, list: &Path) -> anyhow::Result<String> {
    let erased = match &state.database {
        Some(database) => {
            let entry = |pseudonym: &str| entry_of("user.erased", pseudonym, ACTOR);
            let options = postgres_options(database, false)?;
            masque_store_postgres::replay_erasures(&options, ErasureList::at(list), entry).await?
        }
        None => {
            let (folder, list) = (state.folder.clone(), list.to_owned());
            let replayed = tokio::task::spawn_blocking(move || replay_in(&folder, &list)).await;
            replayed.context("the erasure list can't be applied")??
        }
    };
    name_state(state)?;
    Ok(match erased {
        0 => "No user of this database was erased before.".to_owned(),
        1 => "1 user was erased again.".to_owned(),
        users => format!("{users} users were erased again."),
    })
}

fn replay_in(folder: &Path, list: &Path) -> anyhow::Result<u64> {
    ensure_database(folder)?;
    let claimed = Folder::lock(folder)?;
    let erased = masque_store_sqlite::replay_erasures(&Folder::database_in(folder), list)?;
    drop(claimed);
    Ok(erased)
}

/// The erasure list as text: time, pseudonym and receipt of each erasure.
///
/// # Errors
/// The list can't be read, or neither it nor the data folder exists.
pub(crate) fn list(state: &StateConfig) -> anyhow::Result<String> {
    let list = ErasureList::at(state.erasures.clone());
    let path = list.path();
    if path.try_exists().with_context(|| format!("the erasure list {} can't be read", path.display()))? {
        print_error(&format_args!("erasure list: {}", absolute(path).display()));
        return Ok(list_text(&list.read()?));
    }
    ensure_data_folder(&state.folder)?;
    Ok(format!("No user was erased: there is no erasure list {}.", absolute(path).display()))
}

fn list_text(entries: &[ErasureEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(entry.erased_at).unwrap_or(0));
        let separator = if text.is_empty() { "" } else { "\n" };
        let (at, pseudonym) = (humantime::format_rfc3339_seconds(at), entry.name.pseudonym());
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{at}  {pseudonym}  {}", entry.receipt);
    }
    if text.is_empty() { "No user was erased.".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use masque_store::{
        AuditEntry, ErasedRows, ExportItem, ExportSection, Installation, Owner, Paged, StoreError,
    };

    use super::*;

    /// A database with one erasure, whose rows are removed and whose traces can't be cleared for some attempts.
    struct HeldOpen {
        attempts: AtomicU32,
        is_completed_by_host: bool,
    }

    impl HeldOpen {
        fn for_attempts(attempts: u32) -> Self {
            Self { attempts: AtomicU32::new(attempts), is_completed_by_host: false }
        }

        async fn complete(&self, list: &ErasureList) -> anyhow::Result<Erasure> {
            complete_patiently(self, list, erasure(None)).await
        }
    }

    fn erasure(done_at: Option<i64>) -> Erasure {
        Erasure {
            receipt: Uuid::from_u128(1),
            user: Uuid::from_u128(2),
            name: "ab".repeat(32).parse().unwrap(),
            begun_at: 0,
            done_at,
            rows: ErasedRows::default(),
        }
    }

    fn not_asked<T>() -> Result<T, StoreError> {
        Err(StoreError::Internal("nobody asks for this".into()))
    }

    #[async_trait]
    impl UserData for HeldOpen {
        async fn installation(&self) -> Result<Installation, StoreError> {
            Installation::new(Uuid::from_u128(3), &[7; 32])
        }

        async fn user_id(&self, _owner: &Owner) -> Result<Option<Uuid>, StoreError> {
            not_asked()
        }

        async fn user(&self, _id: Uuid) -> Result<Option<Owner>, StoreError> {
            not_asked()
        }

        async fn users(&self, _after: Option<Uuid>, _limit: u32) -> Result<Vec<(Uuid, Owner)>, StoreError> {
            not_asked()
        }

        async fn export(
            &self,
            _owner: &Owner,
            _section: ExportSection,
            _after: Option<&str>,
        ) -> Result<Paged<ExportItem>, StoreError> {
            not_asked()
        }

        async fn begin_erasure(&self, _request: ErasureRequest) -> Result<Erasure, StoreError> {
            not_asked()
        }

        async fn erase_some(&self, _receipt: Uuid) -> Result<bool, StoreError> {
            Ok(false)
        }

        async fn clear_traces(&self) -> Result<bool, StoreError> {
            let left = self.attempts.load(Ordering::Relaxed);
            self.attempts.store(left.saturating_sub(1), Ordering::Relaxed);
            Ok(left == 0)
        }

        async fn finish_erasure(
            &self,
            _receipt: Uuid,
            _entry: AuditEntry,
        ) -> Result<Option<Erasure>, StoreError> {
            Ok(Some(erasure(Some(1))))
        }

        async fn erasure(&self, _receipt: Uuid) -> Result<Option<Erasure>, StoreError> {
            Ok(Some(erasure(self.is_completed_by_host.then_some(2))))
        }

        async fn erasure_of_user(&self, _user: Uuid) -> Result<Option<Erasure>, StoreError> {
            not_asked()
        }

        async fn running_erasures(&self) -> Result<Vec<Erasure>, StoreError> {
            not_asked()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_erasure_is_tried_again_until_it_is_complete_or_a_host_has_completed_it() {
        let folder = tempfile::tempdir().unwrap();
        let list = ErasureList::at(folder.path().join("erasures.jsonl"));
        let by_host = HeldOpen { is_completed_by_host: true, ..HeldOpen::for_attempts(u32::MAX) };
        assert_eq!(by_host.complete(&list).await.unwrap().done_at, Some(2));
        assert!(!list.path().exists(), "the host has its own list");
        let held_for_a_moment = HeldOpen::for_attempts(2);
        assert_eq!(held_for_a_moment.complete(&list).await.unwrap().done_at, Some(1));
        assert_eq!(list.read().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_erasure_that_stays_incomplete_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let list = ErasureList::at(folder.path().join("erasures.jsonl"));
        let begun = Instant::now();
        let error = HeldOpen::for_attempts(u32::MAX).complete(&list).await.unwrap_err().to_string();
        assert!(begun.elapsed() >= PATIENCE);
        for part in ["not complete", "run this command again", &Uuid::from_u128(1).to_string()] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!list.path().exists(), "only what is removed is on the list");
    }

    #[test]
    fn the_list_has_time_pseudonym_and_receipt_of_each_erasure() {
        let entry = ErasureEntry {
            receipt: Uuid::from_u128(1),
            name: "ab".repeat(32).parse().unwrap(),
            user: Uuid::from_u128(2),
            erased_at: 1_764_000_000_123,
            installation: Uuid::from_u128(3),
        };
        let line = "2025-11-24T16:00:00Z  abababababababab  00000000-0000-0000-0000-000000000001";
        assert_eq!(list_text(std::slice::from_ref(&entry)), line);
        assert_eq!(list_text(&[entry.clone(), entry]), format!("{line}\n{line}"));
        assert_eq!(list_text(&[]), "No user was erased.");
    }
}
