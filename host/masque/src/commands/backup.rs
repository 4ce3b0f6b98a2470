//! `masque backup` and `masque restore`: the SQLite database of a data folder, into one file or standard output, and back.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use masque_config::StateConfig;
use masque_store::{AuditEntry, AuditOutcome};
use masque_store_sqlite::Restore;
use serde_json::{Value, json};

use crate::store::{ensure_database, name_state};

/// The tenant whose audit log has the entries: a backup is of all tenants.
const TENANT: &str = "default";
/// Who acts, for the audit log.
const ACTOR: &str = "cli";

/// Writes a backup into a new file, also while a host runs. Returns the text for the terminal.
///
/// # Errors
/// The file exists, the disk is full, or the database can't be read. Then there is no file.
pub(crate) async fn back_up(state: &StateConfig, file: &Path) -> anyhow::Result<String> {
    refuse_postgres(state, "masque backup", "pg_dump --format=custom --file=FILE \"$DATABASE_DIRECT_URL\"")?;
    ensure_database(&state.folder)?;
    let entry = entry("backup", json!({ "file": file.display().to_string() }));
    let bytes = masque_store_sqlite::backup(&state.folder, file, entry).await?;
    name_state(state)?;
    Ok(format!("The backup is in {} ({bytes} bytes).", file.display()))
}

/// Writes a backup to standard output, for another program. Returns the text for standard error.
///
/// # Errors
/// Standard output is a terminal, or can't be written; the disk of the data folder is full; or the database can't be read. Then
/// what was written is no backup.
pub(crate) async fn back_up_to_output(state: &StateConfig) -> anyhow::Result<String> {
    refuse_postgres(state, "masque backup", "pg_dump --format=custom \"$DATABASE_DIRECT_URL\"")?;
    ensure_database(&state.folder)?;
    ensure!(
        !io::stdout().is_terminal(),
        "standard output is a terminal: write the backup to a program, such as `masque backup - | age …`, or to a file"
    );
    let entry = entry("backup", json!({ "file": "-" }));
    let bytes = masque_store_sqlite::backup_to(&state.folder, io::stdout(), entry).await?;
    name_state(state)?;
    Ok(format!("The backup is written ({bytes} bytes)."))
}

/// Puts a backup in the place of the database, after everyone whom the erasure list names was erased from it. A data folder
/// that does not exist is made, since a restore can be on a new machine. Returns the text for the terminal.
///
/// # Errors
/// A host has the data folder, the file is no backup that this version can use, or the erasure list can't be read. Then
/// the database is as it was.
pub(crate) async fn restore(
    state: &StateConfig,
    file: &Path,
    erasures: Option<PathBuf>,
) -> anyhow::Result<String> {
    refuse_postgres(state, "masque restore", "pg_restore --dbname=\"$DATABASE_DIRECT_URL\" FILE")?;
    let list = erasures.unwrap_or_else(|| state.erasures.clone());
    ensure!(
        list.is_file(),
        "there is no erasure list {}: a backup may hold users who were erased after it was made; name the list with \
         --erasures, or make an empty file if nobody was ever erased",
        list.display()
    );
    let restore = Restore::prepare(&state.folder, file).await?;
    let database = restore.database().to_owned();
    let applied = {
        let list = list.clone();
        tokio::task::spawn_blocking(move || masque_store_sqlite::replay_erasures(&database, &list)).await?
    };
    let erased = applied.with_context(|| format!("the erasure list {} can't be applied", list.display()))?;
    let detail = json!({ "file": file.display().to_string(), "erased": erased });
    let kept = restore.install(entry("restore", detail)).await?;
    name_state(state)?;
    let before = match kept {
        Some(path) => format!("The database from before is kept in {}.", path.display()),
        None => "There was no database before.".to_owned(),
    };
    Ok(format!("{} is restored; users erased again: {erased}. {before}", file.display()))
}

/// With PostgreSQL, its own tools make and restore dumps.
fn refuse_postgres(state: &StateConfig, command: &str, instead: &str) -> anyhow::Result<()> {
    if state.database.is_some() {
        bail!(
            "state is kept in PostgreSQL (DATABASE_URL is set), and `{command}` is for SQLite; use `{instead}`, as \
             docs/operators.md describes"
        );
    }
    Ok(())
}

fn entry(action: &str, detail: Value) -> AuditEntry {
    AuditEntry {
        tenant: TENANT.into(),
        actor: ACTOR.into(),
        action: action.into(),
        target: Some("database".into()),
        outcome: AuditOutcome::Ok,
        request_id: None,
        address: None,
        detail,
    }
}
