//! `[retention]`: how long the host keeps what grows with time.

use std::time::Duration;

use serde::Serialize;

use crate::section::Section;
use crate::units::DAY;

/// The longest time that can be set.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// How long the host keeps what grows with time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Retention {
    /// How long a conversation is kept in which nothing happens. `None`: for ever.
    pub conversations: Option<Duration>,
    /// How long an entry of the audit log is kept.
    pub audit: Duration,
    /// How long a day of spending is kept, from its end.
    pub spending: Duration,
}

pub(crate) fn read(mut section: Section<'_, '_>) -> Retention {
    let retention = Retention {
        conversations: section.optional_duration("conversations", DAY..=LONGEST),
        // A yearly review finds all entries since the last one.
        audit: section.duration("audit", 400 * DAY, DAY..=LONGEST),
        // A year can be reported.
        spending: section.duration("spending", 400 * DAY, DAY..=LONGEST),
    };
    section.finish();
    retention
}
