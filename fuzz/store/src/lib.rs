//! Stands in for the store, of which the configuration names one type: the real one would bring SQLite along.

use std::num::NonZeroU32;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Quota {
    pub per_minute: NonZeroU32,
    pub burst: NonZeroU32,
}
