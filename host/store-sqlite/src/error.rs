//! Converts errors of SQLite and rusqlite into [`StoreError`]. No other module knows result codes.

use masque_store::StoreError;
use rusqlite::types::FromSqlError;

/// The result of a function that talks to SQLite.
pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// An error inside this crate: lets `?` take errors of rusqlite and of the store, whose own error names no database.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// From SQLite, or from reading a row.
    Sqlite(rusqlite::Error),
    /// From the store's own rules.
    Store(StoreError),
}

/// Primary result codes (<https://www.sqlite.org/rescode.html>).
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const IO_ERROR: i32 = 10;
const CORRUPT: i32 = 11;
const CAN_NOT_OPEN: i32 = 14;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;

impl DatabaseError {
    /// Whether another process held the database for longer than this one waits.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(error) if primary_code(error) == Some(BUSY))
    }

    /// Whether a file could not be opened as it was asked for.
    pub(crate) fn is_refused_access(&self) -> bool {
        matches!(self, Self::Sqlite(error) if matches!(primary_code(error), Some(READ_ONLY | CAN_NOT_OPEN)))
    }

    /// Whether one row holds something that this version can't read, or that it panics at, in a database that can be read
    /// otherwise.
    pub(crate) fn is_unreadable_row(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error().is_none() && is_conversion(error),
            Self::Store(error) => matches!(error, StoreError::Corrupt(_) | StoreError::Internal(_)),
        }
    }

    /// The error of a COMMIT. An I/O error may have come after the commit record was written: then the next start can
    /// find the transaction in the log. Other errors come before.
    pub(crate) fn of_commit(self) -> StoreError {
        match &self {
            Self::Sqlite(error) if primary_code(error) == Some(IO_ERROR) => {
                StoreError::OutcomeUnknown(error.to_string())
            }
            _ => self.into(),
        }
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<FromSqlError> for DatabaseError {
    fn from(error: FromSqlError) -> Self {
        Self::Store(StoreError::Corrupt(error.to_string()))
    }
}

impl From<StoreError> for DatabaseError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Store(error) => error,
            DatabaseError::Sqlite(error) => {
                sort(primary_code(&error), is_conversion(&error), error.to_string())
            }
        }
    }
}

/// The low byte of the extended result code.
fn primary_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|reported| reported.extended_code & 0xff)
}

/// Whether a column holds a value of another type, or an expected row is missing.
fn is_conversion(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows, Utf8Error,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | QueryReturnedNoRows
            | Utf8Error(..)
    )
}

fn sort(code: Option<i32>, is_conversion: bool, text: String) -> StoreError {
    match code {
        Some(CONSTRAINT | TOO_BIG) => StoreError::Refused(text),
        Some(CORRUPT | NOT_A_DATABASE) => StoreError::Corrupt(text),
        None if is_conversion => StoreError::Corrupt(text),
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use masque_store::StoreError;
    use rusqlite::ffi;

    use super::DatabaseError;

    fn error(code: i32) -> DatabaseError {
        DatabaseError::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("x".into())))
    }

    #[test]
    fn a_full_disk_is_unavailable_and_a_broken_rule_is_refused() {
        let cases = [
            (13, "unavailable"),
            (778, "unavailable"),
            (5, "unavailable"),
            (2067, "refused"),
            (275, "refused"),
            (267, "corrupt"),
            (26, "corrupt"),
        ];
        for (code, expected) in cases {
            let word = match StoreError::from(error(code)) {
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Refused(_) => "refused",
                StoreError::Corrupt(_) => "corrupt",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "code {code}");
        }
        let conversion = DatabaseError::Sqlite(rusqlite::Error::IntegralValueOutOfRange(0, -1));
        assert!(matches!(StoreError::from(conversion), StoreError::Corrupt(_)));
    }

    #[test]
    fn only_an_io_error_of_a_commit_leaves_the_outcome_unknown() {
        for (code, is_unknown) in [(1034, true), (10, true), (13, false), (5, false)] {
            let is = matches!(error(code).of_commit(), StoreError::OutcomeUnknown(_));
            assert_eq!(is, is_unknown, "code {code}");
        }
    }
}
