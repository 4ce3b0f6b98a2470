//! Begins the metrics of the process.

use std::sync::Once;

use super::catalogue::families;
use super::process;

/// Registers all families, so that they are listed before they have values, and observes the asynchronous runtime that this
/// is called on. Only the first call has an effect.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        for family in families() {
            family.register();
        }
        process::begin();
    });
}
