//! Values of the configuration, as the store takes them.

use masque_store::Quota;

use masque_config as config;

/// The quota of a token bucket.
pub(crate) fn quota(quota: config::Quota) -> Quota {
    let config::Quota { per_minute, burst } = quota;
    Quota { per_minute, burst }
}
