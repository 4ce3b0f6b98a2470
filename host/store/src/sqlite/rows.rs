//! Rows into records and values into columns: the one place that knows in which order a message's columns are read.
//!
//! Where one operation needs several statements they are joined into one text and share its arguments, numbered `$1`
//! and on: each trip to the connection's thread and back costs 30 to 80 µs, more than most statements. (Not `?1`: sqlx
//! counts the numbers that a statement leaves out as arguments of their own.) Such a text is run by `fetch_all`, since a
//! fetch of one row would end with the first.
//!
//! `LIMIT ? + 0` is no slip: SQLite plans a bare `LIMIT ?` for the number it has, and compiles the statement again for
//! each execution, which took longer than reading the rows.

use std::time::Duration;

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::fault::Fault;
use crate::{MessageId, MessageRecord, StoreError, TurnId};

/// SQLite's clock in whole milliseconds.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}
pub(super) use now;

/// The columns that [`message`] reads, of a table or alias named before each.
macro_rules! message_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".id, ",
            $table,
            ".turn, ",
            $table,
            ".parent, ",
            $table,
            ".sequence, ",
            $table,
            ".role, ",
            $table,
            ".content, ",
            $table,
            ".status, ",
            $table,
            ".created_at, ",
            $table,
            ".metadata"
        )
    };
}
pub(super) use message_columns;

/// How many columns [`message`] reads.
pub(super) const MESSAGE_COLUMNS: usize = 9;

/// A message from the first columns of a row.
pub(super) fn message(row: &SqliteRow) -> Result<MessageRecord, Fault> {
    Ok(MessageRecord {
        id: MessageId::from(row.try_get::<Uuid, _>(0)?),
        turn: row.try_get::<Option<Uuid>, _>(1)?.map(TurnId::from),
        parent: row.try_get::<Option<Uuid>, _>(2)?.map(MessageId::from),
        sequence: row.try_get(3)?,
        role: row.try_get(4)?,
        content: row.try_get(5)?,
        status: row.try_get(6)?,
        created_at: row.try_get(7)?,
        metadata: parse(row.try_get::<&str, _>(8)?)?,
    })
}

/// A stored JSON text.
pub(super) fn parse(text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("stored JSON: {error}")).into())
}

/// Ids as one argument of a statement, which takes them apart by `unhex(value)` over `json_each`.
pub(super) fn ids_text(ids: impl Iterator<Item = Uuid>) -> String {
    Value::from_iter(ids.map(|id| id.simple().to_string())).to_string()
}

/// A number that no one but the store wrote and that can't be negative.
pub(super) fn unsigned(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_negative| StoreError::Corrupt(format!("{number} is negative")).into())
}

/// An attempt's number.
pub(super) fn attempt(number: i64) -> Result<u32, Fault> {
    u32::try_from(number).map_err(|_wide| StoreError::Corrupt(format!("{number} is no attempt")).into())
}

/// A count from outside, as far as it fits a column.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A duration for adding to the clock; long enough ones are as good as for ever and must not overflow the sum.
pub(super) fn millis(duration: Duration) -> i64 {
    const FOR_EVER: i64 = i64::MAX / 4;
    i64::try_from(duration.as_millis()).unwrap_or(FOR_EVER).min(FOR_EVER)
}

/// A time to go; none left is zero.
pub(super) fn remaining(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
