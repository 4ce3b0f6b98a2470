//! Values of columns with the errors of this database, and its clocks.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use masque_store::columns;
pub(crate) use masque_store::columns::{millis, remaining, signed};
use rusqlite::Row;
use serde_json::Value;

use crate::error::Result;

/// The database's clock in milliseconds since the Unix epoch. SQLite runs in this process, so its clock is the
/// system's.
///
/// It may be set forward or back at any time. It says when something happened and when something that outlives the
/// process expires; nothing that a turn waits for is measured by it (see [`lease_clock`]), and nothing is ordered by it.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    #[cfg(test)]
    let now = now.saturating_add(tests::STEP.get());
    now
}

/// The clock of leases, and of when jobs are due: the time of day at the first call, and from then on the time that has
/// passed. By the time of day, a clock that is set back would keep a conversation busy for as long as it was set back,
/// and one that is set forward would give away the leases of what runs.
///
/// Leases end with the process, which alone has the database. For what jobs keep across a restart see
/// [`bring_jobs_forward`](crate::job_rows::bring_jobs_forward).
pub(crate) fn lease_clock() -> i64 {
    static START: LazyLock<(i64, Instant)> = LazyLock::new(|| (now(), Instant::now()));
    let (start, instant) = *START;
    start.saturating_add(i64::try_from(instant.elapsed().as_millis()).unwrap_or(i64::MAX))
}

/// The end of a lease, or of a wait, that begins now.
pub(crate) fn lease_end(length: Duration) -> i64 {
    lease_clock().saturating_add(millis(length))
}

/// A column value that is never negative in a sound database.
pub(crate) fn unsigned(number: i64) -> Result<u64> {
    Ok(columns::unsigned(number)?)
}

/// The number of an attempt from its column.
pub(crate) fn attempt(number: i64) -> Result<u32> {
    Ok(columns::attempt(number)?)
}

/// A stored JSON text.
pub(crate) fn json(row: &Row<'_>, column: usize) -> Result<Value> {
    Ok(columns::json(row.get_ref(column)?.as_str()?)?)
}

/// A stored JSON text, or NULL.
pub(crate) fn optional_json(row: &Row<'_>, column: usize) -> Result<Option<Value>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(columns::json).transpose()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    thread_local! {
        /// By how many milliseconds the time of day is set forward, or back, on this thread.
        pub(crate) static STEP: Cell<i64> = const { Cell::new(0) };
    }
}
