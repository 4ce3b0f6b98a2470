//! Values as columns and back: times, durations, counts, JSON.

use std::time::Duration;

use masque_store::StoreError;
use serde_json::Value;

use crate::error::Result;

/// A duration in milliseconds, to be added to the database's clock. Very long ones are cut, so that the sum does not
/// overflow.
pub(crate) fn millis(duration: Duration) -> i64 {
    const LONGEST: i64 = i64::MAX / 4;
    i64::try_from(duration.as_millis()).unwrap_or(LONGEST).min(LONGEST)
}

/// A time span from milliseconds; zero if they are negative.
pub(crate) fn remaining(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A count as a column value. Counts over 2^63 − 1 are stored as that.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column value that is never negative in a sound database.
pub(crate) fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_negative| StoreError::Corrupt(format!("{number} is negative")).into())
}

/// The number of an attempt from its column.
pub(crate) fn attempt(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_wide| StoreError::Corrupt(format!("{number} is no attempt")).into())
}

/// A stored JSON text.
pub(crate) fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("stored JSON: {error}")).into())
}
