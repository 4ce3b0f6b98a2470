//! Values of the configuration, as the store takes them.

use masque_store::{Quota, RecordBounds};

use masque_config as config;

/// The quota of a token bucket.
pub(crate) fn quota(quota: config::Quota) -> Quota {
    let config::Quota { per_minute, burst } = quota;
    Quota { per_minute, burst }
}

/// What is kept of the records of turns.
pub(crate) fn record_bounds(records: &config::Records) -> RecordBounds {
    RecordBounds {
        max_age_ms: u64::try_from(records.max_age.as_millis()).unwrap_or(u64::MAX),
        max_total_bytes: records.max_total_bytes as u64,
    }
}
