//! Makes the arguments of a plugin's functions.

use super::host_state::with_host;
use crate::contract::TRIAL;
use crate::{Exchange, Message, Opening, Property, Turn, Usage, User};

/// Makes the first turn of a conversation, in which the user says `text`.
pub fn turn(text: &str) -> Turn {
    Turn {
        id: "turn-1".into(),
        attempt: 1,
        conversation: "conversation-1".into(),
        companion: "companion".into(),
        tenant: "default".into(),
        user: user(),
        message: Message::user(text),
        tail: Vec::new(),
        has_earlier: false,
        now: 1_790_000_000_000,
        deadline_ms: 60_000,
        metadata: Vec::new(),
    }
}

/// Makes the opening of a new conversation, for a [`Greeter`](crate::Greeter).
pub fn opening() -> Opening {
    Opening {
        conversation: "conversation-1".into(),
        companion: "companion".into(),
        tenant: "default".into(),
        user: user(),
        now: 1_790_000_000_000,
        metadata: Vec::new(),
    }
}

/// Makes a completed exchange for an [`Observer`](crate::Observer) or a [`Reflector`](crate::Reflector): the user said
/// `text`, the companion said `reply`.
///
/// ```
/// let mut exchange = masque_sdk::testing::exchange("Good morning", "Good mor");
/// exchange.interrupted = true;
/// assert_eq!(exchange.turn.message.text(), "Good morning");
/// ```
pub fn exchange(text: &str, reply: &str) -> Exchange {
    Exchange {
        turn: turn(text),
        reply: Message::assistant(reply),
        usage: Usage::new(0, 0),
        interrupted: false,
        attempt: 1,
        metadata: Vec::new(),
    }
}

/// Makes the turn a trial of the settings; see [`Turn::is_trial`].
pub fn trial(mut turn: Turn) -> Turn {
    turn.user.metadata.extend(Property::new(TRIAL, true));
    turn
}

fn user() -> User {
    let name = with_host(|host| host.user_name.clone());
    User { id: "user-1".into(), name, locale: None, timezone: None, metadata: Vec::new() }
}
