//! The command `masque migrate --from sqlite:PATH`: copies everything from a data folder into an empty PostgreSQL database.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use masque_config::StateConfig;
use masque_store_postgres::{Imported, PostgresOptions, import, migrate};
use masque_store_sqlite::SqliteRows;

use crate::output::print_error;
use crate::store::postgres_options;

/// How often a long table says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Makes the tables in the database `to` (or that of `DATABASE_URL`) and copies all rows of the data folder `from` into
/// them. Returns the text for the terminal.
///
/// # Errors
/// A host runs on either side, the database is not empty, or a row can't be read or written. Then the database is as empty
/// as before.
pub(crate) async fn run(state: &StateConfig, from: &str, to: Option<&str>) -> anyhow::Result<String> {
    let folder = data_folder(from)?;
    let options = match (to, &state.database) {
        (Some(url), _) => PostgresOptions::from_url(url).context("--to")?,
        (None, Some(database)) => postgres_options(database, true)?,
        (None, None) => bail!("no database is named; set DATABASE_URL, or name it with --to"),
    };
    let rows = SqliteRows::open(&folder).await?;
    migrate(&options).await?;
    let progress = Progress::default();
    let imported = import(&options, Box::new(rows), |table, rows| progress.tell(table, rows)).await?;
    Ok(report(&folder, &options.target(), &imported))
}

/// The data folder in `sqlite:PATH`. The path may be that of the database in it, and begin with two slashes more.
fn data_folder(from: &str) -> anyhow::Result<PathBuf> {
    let Some(path) = from.strip_prefix("sqlite:") else {
        bail!(
            "`{}` can't be copied from; write --from sqlite:FOLDER, with the data folder",
            from.escape_debug()
        );
    };
    let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
    match path.parent() {
        Some(folder) if path.file_name() == Some(OsStr::new("masque.db")) => {
            Ok(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
        }
        _ => Ok(path),
    }
}

/// Says on standard error how far the copy is.
#[derive(Default)]
struct Progress {
    said: Mutex<Option<(String, Instant)>>,
}

impl Progress {
    fn tell(&self, table: &str, rows: u64) {
        let Ok(mut said) = self.said.lock() else { return };
        let is_due =
            said.as_ref().is_none_or(|(last, at)| last != table || at.elapsed() >= PROGRESS_INTERVAL);
        if is_due {
            print_error(&format_args!("copying {table}: {rows} rows so far"));
            *said = Some((table.to_owned(), Instant::now()));
        }
    }
}

fn report(folder: &std::path::Path, target: &str, imported: &Imported) -> String {
    let mut text = String::new();
    for (table, rows, digest) in &imported.tables {
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{table:<18} {rows:>10} rows  {digest}");
    }
    let done = if imported.was_complete { "was copied before, and is" } else { "is copied, and is" };
    let folder = folder.display();
    // It cannot fail here either.
    let _ = write!(
        text,
        "Everything in {folder} {done} the same in {target}. Hosts with that DATABASE_URL use the copy. Keep the old database \
         as a backup, or remove it; do not start a host on it again."
    );
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_source_is_a_data_folder_or_the_database_in_it() {
        for (from, folder) in [
            ("sqlite:data", "data"),
            ("sqlite:/srv/data", "/srv/data"),
            ("sqlite:///srv/data", "/srv/data"),
            ("sqlite:/srv/data/masque.db", "/srv/data"),
            ("sqlite:masque.db", "."),
        ] {
            assert_eq!(data_folder(from).unwrap(), Path::new(folder), "{from}");
        }
        let refused = data_folder("postgres://db/masque").unwrap_err().to_string();
        assert!(refused.contains("--from sqlite:FOLDER"), "{refused}");
    }
}
