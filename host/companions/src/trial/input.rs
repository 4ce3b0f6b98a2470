//! What a plugin is called with in a trial: the first turn of a new conversation, made up, with `trial` in the metadata of
//! its user.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_runtime::contract::{
    Exchange, Message, Opening, Part, Prompt, Property, Recollection, Turn, Usage, User,
};
use serde_json::Value;

/// Metadata of the user in a trial. Only the host writes metadata of a user.
const TRIAL: &str = "trial";
/// The id of the turn, of its conversation and of its message.
const ID: &str = "00000000-0000-0000-0000-000000000000";

pub(super) fn turn(time_limit: Duration) -> Turn {
    Turn {
        id: ID.into(),
        attempt: 1,
        conversation: ID.into(),
        companion: "trial".into(),
        tenant: "default".into(),
        user: user(),
        message: message("user", "Hello!"),
        tail: Vec::new(),
        has_earlier: false,
        now: now(),
        deadline_ms: u64::try_from(time_limit.as_millis()).unwrap_or(u64::MAX),
        metadata: Vec::new(),
    }
}

pub(super) fn recollection() -> Recollection {
    Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() }
}

pub(super) fn opening() -> Opening {
    Opening {
        conversation: ID.into(),
        companion: "trial".into(),
        tenant: "default".into(),
        user: user(),
        now: now(),
        metadata: Vec::new(),
    }
}

pub(super) fn exchange(time_limit: Duration) -> Exchange {
    Exchange {
        turn: turn(time_limit),
        reply: message("assistant", "Hello, what can I do for you?"),
        usage: Usage::default(),
        interrupted: false,
        attempt: 1,
        metadata: Vec::new(),
    }
}

pub(super) fn prompt() -> Prompt {
    Prompt {
        messages: vec![message("user", "Hello!")],
        tools: Vec::new(),
        options: Vec::new(),
        metadata: Vec::new(),
    }
}

fn user() -> User {
    let trial = Property { name: TRIAL.into(), json: Value::Bool(true).to_string().into() };
    User { id: "trial".into(), name: None, locale: None, timezone: None, metadata: vec![trial] }
}

fn message(role: &str, text: &str) -> Message {
    Message {
        id: Some(ID.into()),
        role: role.into(),
        parts: vec![Part::Text(text.into())],
        at: Some(now()),
        source: None,
        cache: false,
        metadata: Vec::new(),
    }
}

/// In milliseconds since the Unix epoch, as in a turn: a plugin may subtract from it.
fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
