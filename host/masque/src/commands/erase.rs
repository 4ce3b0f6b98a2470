//! `masque erase` and `masque erasures`: erases a user, applies the erasure list to a database that was restored, and prints
//! the list.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail, ensure};
use masque_config::StateConfig;
use masque_store::{Erasure, ErasureEntry, ErasureList, ErasureRequest, UserRecords};
use masque_store_sqlite::Folder;
use serde_json::json;
use uuid::Uuid;

use crate::erasure::{complete, entry_of};
use crate::output::print_error;
use crate::store::{
    absolute, ensure_data_folder, ensure_database, name_state, open_user_records, postgres_options,
};

/// Who acts, for the audit log.
const ACTOR: &str = "cli";

/// Erases the user with this id, also while a host runs, and returns what was done.
///
/// # Errors
/// The id is unknown, or the store or the list can't be written.
pub(crate) async fn erase(state: &StateConfig, user: &str) -> anyhow::Result<String> {
    let id = Uuid::try_parse(user).map_err(|_| {
        anyhow!("`{}` is no id of a user; POST /auth/validate gives it as `user_id`", user.escape_debug())
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
        None => complete(store, list, erasure, ACTOR).await?,
    };
    Ok(report(&erasure))
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

fn report(erasure: &Erasure) -> String {
    let Erasure { receipt, name, done_at, .. } = erasure;
    let pseudonym = name.pseudonym();
    match done_at {
        Some(_) => format!("Erased. The receipt is {receipt}, the pseudonym {pseudonym}."),
        None => format!(
            "Nothing of the user is found any more, but the erasure is not complete: something holds the database open. \
             A running host completes it; the receipt is {receipt}, the pseudonym {pseudonym}."
        ),
    }
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
    use super::*;

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
