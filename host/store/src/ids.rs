//! Ids: UUIDv7 made by the host. Each kind has a type of its own, so that the id of a turn can't stand for a
//! conversation.
//!
//! Lists are ordered by id, so a new id has to be greater than all before it, also after the clock was set back. Within
//! a process the generator sees to that; across processes the store tells it the newest id that it has
//! ([`make_ids_after`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Timestamp, Uuid};

/// Remembers the latest time that an id was made with. An id made at an earlier time gets that time and the next count.
static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// The last time that ids may be made after, in milliseconds since the Unix epoch: the year 10000. A later one is
/// nonsense, and ids after it would soon overflow their 48 bits.
const LATEST_MS: u64 = 253_402_300_800_000;

fn next_id() -> Uuid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(&CONTEXT, now.as_secs(), now.subsec_nanos()))
}

/// Makes every later id of this process greater than `newest`, whatever the clock says. A store calls it with its newest
/// ids when it is opened. An id that is no UUIDv7 has no effect.
pub fn make_ids_after(newest: Uuid) {
    let Some(timestamp) = newest.get_timestamp().filter(|_| newest.get_version_num() == 7) else { return };
    let (seconds, nanoseconds) = timestamp.to_unix();
    let after =
        seconds.saturating_mul(1000).saturating_add(u64::from(nanoseconds / 1_000_000)).saturating_add(1);
    if after <= LATEST_MS {
        let nanoseconds = u32::try_from(after % 1000).unwrap_or_default() * 1_000_000;
        // The context keeps the time of this id; the id itself is not used.
        let _unused = Uuid::new_v7(Timestamp::from_unix(&CONTEXT, after / 1000, nanoseconds));
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        // A default would be another id each time.
        #[allow(clippy::new_without_default)]
        impl $name {
            /// A new id, greater than those this process made before and those that [`make_ids_after`] was told of.
            pub fn new() -> Self {
                Self(next_id())
            }

            /// The id without its kind.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    };
}

id!(
    /// A conversation: one user, one companion, messages in order.
    ConversationId
);
id!(
    /// One exchange, through all its attempts.
    TurnId
);
id!(
    /// One message, of either side.
    MessageId
);
id!(
    /// One piece of background work.
    JobId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_made_after_the_clock_was_set_back_is_still_the_greatest() {
        let before = ConversationId::new();
        let tomorrow = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 24 * 3600;
        let newest = Uuid::new_v7(Timestamp::from_unix(Mutex::new(ContextV7::new()), tomorrow, 999_999_999));
        make_ids_after(newest);
        let first = ConversationId::new();
        assert!(first.as_uuid() > newest && first > before, "{first} after {newest}");
        assert!(MessageId::new().as_uuid() > first.as_uuid());
        // Neither an id of the far future nor one that is no UUIDv7 moves the clock.
        make_ids_after(Uuid::max());
        make_ids_after(Uuid::from_u128(0xffff_ffff_ffff_7000_8000_0000_0000_0000));
        let (seconds, _) = ConversationId::new().as_uuid().get_timestamp().unwrap().to_unix();
        assert!(seconds <= tomorrow + 1, "{seconds}");
    }
}
