//! Why a database could not be opened or migrated. Each says what to do, and in each case nothing was changed.

use std::path::PathBuf;

use masque_store::StoreError;

/// Why a database could not be opened or migrated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresOpenError {
    /// It is no URL of PostgreSQL.
    #[error(
        "the URL of the database can't be used: {reason}; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the password can't be used.
    #[error("the file {path} with the password of the database can't be used: {reason}")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing answers there, or not in time, or it does not speak PostgreSQL's protocol.
    #[error(
        "the database {target} can't be reached: {reason}; check that the server runs and that its address is right"
    )]
    Unreachable {
        /// Its host, port and name.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// TLS failed, or one side insists on it and the other has none.
    #[error(
        "no TLS connection to the database {target}: {reason}; check `sslmode` and `sslrootcert` in its URL"
    )]
    Tls {
        /// Its host, port and name.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The server does not let the user in.
    #[error("the server of {target} does not let the user in: {reason}; check the user and the password")]
    NotAuthenticated {
        /// Its host, port and name.
        target: String,
        /// What the server said.
        reason: String,
    },
    /// There is no such database.
    #[error(
        "there is no database `{database}`; make it with `createdb --encoding=UTF8 {database}`, then run `masque migrate`"
    )]
    NoDatabase {
        /// Its name.
        database: String,
    },
    /// All connections of the server are taken.
    #[error(
        "the server of {target} has no free connection; raise its `max_connections`, lower those of each host, or put \
         PgBouncer in between"
    )]
    TooManyConnections {
        /// Its host, port and name.
        target: String,
    },
    /// The server is too old.
    #[error("the server of {target} is PostgreSQL {found}; version 14 or newer is needed")]
    OldServer {
        /// Its host, port and name.
        target: String,
        /// The version.
        found: String,
    },
    /// The database keeps text in another encoding.
    #[error(
        "the database {target} has the encoding {found}; make one with `createdb --encoding=UTF8 --template=template0`"
    )]
    Encoding {
        /// Its host, port and name.
        target: String,
        /// The encoding.
        found: String,
    },
    /// A replica, or a database that is set to be read only.
    #[error("the database {target} only reads, as a replica does; name the primary server")]
    ReadOnly {
        /// Its host, port and name.
        target: String,
    },
    /// The user may not do what a host does.
    #[error("the database user `{user}` has too few rights in {target}: {reason}")]
    MissingRights {
        /// The user.
        user: String,
        /// Its host, port and name.
        target: String,
        /// What it may not do, and what to grant.
        reason: String,
    },
    /// The database is that of the earlier service, written in Python.
    #[error(
        "the database {target} is that of the earlier service (it has the table `alembic_version`) and is left as it is; \
         make another database for this one"
    )]
    EarlierService {
        /// Its host, port and name.
        target: String,
    },
    /// The database has tables, but none of them is of Masque.
    #[error(
        "the database {target} has tables of another program and is left as it is; make a database for this one alone"
    )]
    Foreign {
        /// Its host, port and name.
        target: String,
    },
    /// The database has no tables yet.
    #[error("the database {target} is empty; run `masque migrate`")]
    NotMigrated {
        /// Its host, port and name.
        target: String,
    },
    /// Rows are being copied into it from another database.
    #[error(
        "rows are being copied into the database {target} by `masque migrate --from`; start once that has ended"
    )]
    ImportRuns {
        /// Its host, port and name.
        target: String,
    },
    /// The database was last migrated by an older version.
    #[error(
        "the database {target} has the schema of an older version; run `masque migrate`, then start again"
    )]
    OlderSchema {
        /// Its host, port and name.
        target: String,
    },
    /// The database was migrated by a newer version, which this one can't work with.
    #[error(
        "the database {target} was migrated by a newer version that this one can't work with; run that version"
    )]
    NewerSchema {
        /// Its host, port and name.
        target: String,
    },
    /// A migration was applied with another text.
    #[error(
        "the database {target} was migrated by another build of this version; run the build that did it, or begin anew with \
         an empty database"
    )]
    OtherBuild {
        /// Its host, port and name.
        target: String,
    },
    /// A pooler forgets prepared statements between transactions.
    #[error(
        "the pooler in front of {target} loses prepared statements between transactions; use PgBouncer 1.21 or newer and set \
         `max_prepared_statements` to 100 or more"
    )]
    PreparedStatements {
        /// Its host, port and name.
        target: String,
    },
    /// Something else failed.
    #[error("the database {target} can't be opened: {source}")]
    Database {
        /// Its host, port and name.
        target: String,
        /// What went wrong.
        source: StoreError,
    },
}

impl PostgresOpenError {
    /// Whether waiting can help, without anybody changing the configuration or the schema.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TooManyConnections { .. }
                | Self::ReadOnly { .. }
                | Self::ImportRuns { .. }
        )
    }
}
