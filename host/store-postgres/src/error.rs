//! Converts errors of PostgreSQL and sqlx into [`StoreError`]. No other module sorts SQLSTATEs, except for those that opening
//! a database names.

use masque_store::{ConflictReason, StateConflict, StoreError};
use serde_json::Value;
use sqlx::postgres::PgDatabaseError;

/// The result of a function that talks to PostgreSQL.
pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// An error inside this crate: lets `?` take errors of sqlx and of the store, whose own error names no database.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// From PostgreSQL, from the way to it, or from reading a row.
    Sqlx(sqlx::Error),
    /// From the store's own rules.
    Store(StoreError),
    /// No answer in time. The connection is dropped; the server may still be at it.
    TimedOut,
}

/// A statement's condition was not met ([`ConflictReason`]); raised by the functions of the schema, as the next one is.
const CONFLICT: &str = "MQ001";
/// The turn or job on whose behalf was written has ended.
const FENCE_ENDED: &str = "MQ002";
/// The text has a character that PostgreSQL can't keep: U+0000.
const UNKEPT_CHARACTER: &str = "22021";
/// The server undid the statement because of others that ran at the same time: a deadlock, or a serialization failure.
const UNDONE_FOR_OTHERS: [&str; 2] = ["40P01", "40001"];
/// The server can't say whether the statement was done.
const COMPLETION_UNKNOWN: &str = "40003";

impl DatabaseError {
    /// Whether an argument has a character that no stored text has. A question with it finds nothing.
    pub(crate) fn is_of_unkept_character(&self) -> bool {
        matches!(self, Self::Sqlx(error) if reported(error).is_some_and(|error| error.code() == UNKEPT_CHARACTER))
    }

    /// Whether the server undid the statement because of others that ran at the same time. Nothing was written, and it may
    /// succeed when it runs again.
    pub(crate) fn is_undone_for_others(&self) -> bool {
        matches!(self, Self::Sqlx(error)
            if reported(error).is_some_and(|error| UNDONE_FOR_OTHERS.contains(&error.code())))
    }

    /// The error of a statement that only reads.
    pub(crate) fn of_read(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::TimedOut => StoreError::Unavailable("the database did not answer in time".into()),
            Self::Sqlx(error) => sort(&error),
        }
    }

    /// The error of a statement that writes, and that may have reached the server: where the answer was lost, nobody knows
    /// whether it was written.
    pub(crate) fn of_write(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::TimedOut => StoreError::OutcomeUnknown("the database did not answer in time".into()),
            Self::Sqlx(error) if is_answer_lost(&error) => StoreError::OutcomeUnknown(error.to_string()),
            Self::Sqlx(error) => sort(&error),
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

impl From<StoreError> for DatabaseError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The error of PostgreSQL itself, if it is one.
pub(crate) fn reported(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Whether the connection broke after the statement was sent, or the server or a pooler in between ended: a statement that
/// failed on its own is undone, but one that was cut off may have been committed.
fn is_answer_lost(error: &sqlx::Error) -> bool {
    match reported(error) {
        Some(reported) => is_cut_off(reported.code()),
        None => matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed
        ),
    }
}

/// SQLSTATEs (<https://www.postgresql.org/docs/current/errcodes-appendix.html>): broken connections, ended servers, failed
/// disks.
fn is_cut_off(code: &str) -> bool {
    code == COMPLETION_UNKNOWN || ["08", "57P", "58"].iter().any(|class| code.starts_with(class))
}

fn sort(error: &sqlx::Error) -> StoreError {
    if let Some(reported) = reported(error) {
        return sort_reported(reported.code(), reported.message(), reported.detail());
    }
    let text = error.to_string();
    match error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::RowNotFound
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => StoreError::Corrupt(text),
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => StoreError::Refused(text),
        sqlx::Error::PoolClosed => StoreError::Unavailable("the store is closed".into()),
        sqlx::Error::PoolTimedOut => {
            StoreError::Unavailable("no connection to the database became free in time".into())
        }
        _ => StoreError::Unavailable(text),
    }
}

fn sort_reported(code: &str, message: &str, detail: Option<&str>) -> StoreError {
    let text = format!("{message} (SQLSTATE {code})");
    match code {
        CONFLICT => conflict(detail).unwrap_or(StoreError::Corrupt(text)),
        FENCE_ENDED => StoreError::FenceEnded,
        UNKEPT_CHARACTER => StoreError::Refused("a text has the character U+0000".into()),
        // Program limits, such as a value that is too large for an index.
        _ if code.starts_with("23") || code.starts_with("54") || code.starts_with("22") => {
            StoreError::Refused(text)
        }
        _ if code.starts_with("XX001") || code.starts_with("XX002") => StoreError::Corrupt(text),
        // The functions and tables are those of this build, which was checked when the store was opened.
        _ if code.starts_with("42") && code != "42501" => StoreError::Internal(text),
        _ => StoreError::Unavailable(text),
    }
}

/// The conflict in the detail of an error. Its key and quota are those of the write, which the caller adds.
fn conflict(detail: Option<&str>) -> Option<StoreError> {
    let detail: Value = serde_json::from_str(detail?).ok()?;
    let index = usize::try_from(detail.get("index")?.as_u64()?).ok()?;
    let number = detail.get("number").and_then(Value::as_u64).unwrap_or_default();
    let reason = match detail.get("reason")?.as_str()? {
        "version" => ConflictReason::Version { found: number },
        "not_an_integer" => ConflictReason::NotAnInteger,
        "overflow" => ConflictReason::Overflow,
        "quota" => ConflictReason::QuotaExceeded { bytes: number, quota: 0 },
        "no_conversation" => ConflictReason::NoConversation,
        _ => return None,
    };
    Some(StoreError::Conflict(StateConflict { index, key: String::new(), reason }))
}

#[cfg(test)]
mod tests {
    use masque_store::{ConflictReason, StoreError};

    use super::{DatabaseError, is_cut_off, sort_reported};

    #[test]
    fn a_broken_rule_is_refused_and_an_overloaded_server_is_unavailable() {
        let cases = [
            ("23505", "refused"),
            ("23514", "refused"),
            ("22021", "refused"),
            ("53300", "unavailable"),
            ("53100", "unavailable"),
            ("40P01", "unavailable"),
            ("25006", "unavailable"),
            ("42501", "unavailable"),
            ("42883", "internal"),
            ("XX001", "corrupt"),
        ];
        for (code, expected) in cases {
            let word = match sort_reported(code, "x", None) {
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Refused(_) => "refused",
                StoreError::Corrupt(_) => "corrupt",
                StoreError::Internal(_) => "internal",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "code {code}");
        }
    }

    #[test]
    fn only_a_lost_answer_leaves_the_outcome_of_a_write_unknown() {
        for (code, expected) in [
            ("57P01", true),
            ("08006", true),
            ("58030", true),
            ("40003", true),
            ("57014", false),
            ("40P01", false),
            ("53300", false),
        ] {
            assert_eq!(is_cut_off(code), expected, "code {code}");
        }
        let lost = || DatabaseError::Sqlx(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert!(matches!(lost().of_write(), StoreError::OutcomeUnknown(_)));
        assert!(matches!(lost().of_read(), StoreError::Unavailable(_)));
        assert!(matches!(DatabaseError::TimedOut.of_write(), StoreError::OutcomeUnknown(_)));
        let closed = DatabaseError::Sqlx(sqlx::Error::PoolClosed);
        assert!(matches!(closed.of_write(), StoreError::Unavailable(_)));
    }

    #[test]
    fn a_conflict_is_read_from_the_detail() {
        let detail = r#"{"index" : 2, "reason" : "version", "number" : 7}"#;
        match sort_reported("MQ001", "x", Some(detail)) {
            StoreError::Conflict(conflict) => {
                assert_eq!((conflict.index, conflict.reason), (2, ConflictReason::Version { found: 7 }));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(sort_reported("MQ001", "x", Some("?")), StoreError::Corrupt(_)));
    }
}
