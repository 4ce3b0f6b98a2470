//! `[jobs]`: the background work after turns.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use crate::section::Section;
use crate::units::{DAY, HOUR, MILLISECOND, SECOND};

/// Background jobs of one host: `observe` and `reflect`.
#[derive(Clone, Debug, Serialize)]
pub struct Jobs {
    /// Jobs that run at the same time. A user and a plugin have at most half of them each.
    pub max_concurrent: NonZeroU32,
    /// The longest time for one attempt.
    pub timeout: Duration,
    /// How long a parked job is kept.
    pub parked_ttl: Duration,
}

pub(crate) fn read(mut section: Section<'_, '_>) -> Jobs {
    let max_concurrent = section.count("max_concurrent", 4, 1..=1000);
    let jobs = Jobs {
        max_concurrent: u32::try_from(max_concurrent)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN),
        timeout: section.duration("timeout", 60 * SECOND, 100 * MILLISECOND..=HOUR),
        parked_ttl: section.duration("parked_ttl", 30 * DAY, HOUR..=3650 * DAY),
    };
    section.finish();
    jobs
}
