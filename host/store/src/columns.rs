//! Values as columns of a database and back: times, durations, counts, JSON. For the implementations of
//! [`Store`](crate::Store).

use std::time::Duration;

use serde_json::Value;

use crate::error::StoreError;

/// A duration in milliseconds, to be added to the database's clock. Very long ones are cut, so that the sum does not
/// overflow.
pub fn millis(duration: Duration) -> i64 {
    const LONGEST: i64 = i64::MAX / 4;
    i64::try_from(duration.as_millis()).unwrap_or(LONGEST).min(LONGEST)
}

/// A time span from milliseconds; zero if they are negative.
pub fn remaining(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A count as a column value. Counts over 2^63 − 1 are stored as that.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column value that is never negative in a sound database.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is.
pub fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_negative| StoreError::Corrupt(format!("{number} is negative")))
}

/// The number of an attempt from its column.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is none.
pub fn attempt(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_wide| StoreError::Corrupt(format!("{number} is no attempt")))
}

/// A stored JSON text.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is none.
pub fn json(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("stored JSON: {error}")))
}

/// The least text greater than all that start with `prefix`; `None` if there is none. UTF-8 sorts as its characters do.
pub fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_past_every_text_that_starts_with_it() {
        let cases = [
            ("", None),
            ("a", Some("b")),
            ("ab\u{10ffff}", Some("ac")),
            ("\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
        ];
        for (prefix, expected) in cases {
            assert_eq!(end_of_prefix(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn a_column_that_no_host_wrote_is_damage_and_a_long_time_is_cut() {
        assert!(
            unsigned(-1).is_err() && attempt(-1).is_err() && attempt(1 << 32).is_err() && json("{").is_err()
        );
        assert_eq!((remaining(-5), signed(u64::MAX)), (Duration::ZERO, i64::MAX));
        assert!(millis(Duration::MAX).checked_add(i64::MAX / 2).is_some());
    }
}
