//! A turn as plugins see it, before and after its reply.

use std::sync::Arc;

use super::message::{Message, Property};
use super::reply::Usage;

/// The user who writes to the companion.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Opaque and stable. It says nothing about who the user is.
    pub id: Arc<str>,
    /// What the user wants to be called.
    pub name: Option<Arc<str>>,
    /// A BCP 47 tag.
    pub locale: Option<Arc<str>>,
    /// An IANA time zone name.
    pub timezone: Option<Arc<str>>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// A message of a user that needs a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The host's id, the same for every attempt.
    pub id: Arc<str>,
    /// From 1; higher when an interrupted or failed turn runs again under its id.
    pub attempt: u32,
    /// The conversation's id.
    pub conversation: Arc<str>,
    /// The companion's name in the configuration.
    pub companion: Arc<str>,
    /// The tenant of the user.
    pub tenant: Arc<str>,
    /// The user who sent the message.
    pub user: User,
    /// The message to answer. It is not in `tail`.
    pub message: Message,
    /// The newest messages before `message`, oldest first and without a gap.
    pub tail: Vec<Message>,
    /// Whether there may be messages before `tail`.
    pub has_earlier: bool,
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    /// Milliseconds that are left for the whole turn when the call begins.
    pub deadline_ms: u64,
    /// What the client sent as `metadata` with the message.
    pub metadata: Vec<Property>,
}

/// A new conversation without any message.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// The conversation's id.
    pub conversation: Arc<str>,
    /// The companion's name in the configuration.
    pub companion: Arc<str>,
    /// The tenant of the user.
    pub tenant: Arc<str>,
    /// The user who starts the conversation.
    pub user: User,
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// A turn that has ended, for background work.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The turn; its `tail` ends before its own message. `deadline_ms` belongs to this delivery.
    pub turn: Turn,
    /// The companion's reply.
    pub reply: Message,
    /// The tokens that the reply used.
    pub usage: Usage,
    /// Whether the reply was interrupted.
    pub interrupted: bool,
    /// From 1; higher when an earlier delivery of this exchange failed.
    pub attempt: u32,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}
