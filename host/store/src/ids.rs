//! Ids: UUIDv7 made by the host. Each kind has a type of its own, so that the id of a turn can't stand for a
//! conversation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        // A default would be another id each time.
        #[allow(clippy::new_without_default)]
        impl $name {
            /// A new id, greater than those this process made before.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
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
