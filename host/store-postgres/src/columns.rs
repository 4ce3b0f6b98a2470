//! Values of columns, with the errors of this database.

use masque_store::columns;
pub(crate) use masque_store::columns::{millis, remaining, signed};
use serde_json::Value;

use crate::error::Result;

/// A column value that is never negative in a sound database.
pub(crate) fn unsigned(number: i64) -> Result<u64> {
    Ok(columns::unsigned(number)?)
}

/// The number of an attempt from its column.
pub(crate) fn attempt(number: i64) -> Result<u32> {
    Ok(columns::attempt(number)?)
}

/// A stored JSON text.
pub(crate) fn json(text: &str) -> Result<Value> {
    Ok(columns::json(text)?)
}
