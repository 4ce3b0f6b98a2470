//! `DATABASE_URL` and `[database]`: the PostgreSQL database that several hosts can share. Without the variable, state is kept
//! in SQLite in the data folder, and the section has no effect.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use masque_grants::Secret;

use crate::environment::{DATABASE_DIRECT_URL, DATABASE_URL, Environment};
use crate::secret_text::trimmed;
use crate::section::Section;
use crate::units::{MILLISECOND, MINUTE, SECOND};

/// A PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Database {
    /// `DATABASE_URL`: where the host connects, directly or through a pooler. Without the white space around it.
    pub url: Secret,
    /// `DATABASE_DIRECT_URL`: the same database without a pooler, for migrations.
    pub direct_url: Option<Secret>,
    /// A file with the password. It takes the place of a password in the URLs.
    pub password_file: Option<PathBuf>,
    /// The most connections of this host.
    pub max_connections: NonZeroU32,
    /// The longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// The longest time for a statement.
    pub statement_timeout: Duration,
}

/// Reads the variables and the section. Returns `None` where no database is named.
pub(crate) fn read(mut section: Section<'_, '_>, environment: &Environment, base: &Path) -> Option<Database> {
    let password_file =
        section.path("password_file", "\"/run/secrets/database\"", base).map(|found| found.value);
    let max_connections = section.count("max_connections", 16, 2..=1000);
    let acquire_timeout = section.duration("acquire_timeout", 5 * SECOND, 100 * MILLISECOND..=MINUTE);
    let statement_timeout =
        section.duration("statement_timeout", 10 * SECOND, 100 * MILLISECOND..=10 * MINUTE);
    section.finish();
    let url = |name| environment.get(name).map(|text| Secret::from(trimmed(text).to_owned()));
    Some(Database {
        url: url(DATABASE_URL)?,
        direct_url: url(DATABASE_DIRECT_URL),
        password_file,
        max_connections: u32::try_from(max_connections)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN),
        acquire_timeout,
        statement_timeout,
    })
}
