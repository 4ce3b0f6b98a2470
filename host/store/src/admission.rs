//! Asking for a turn, and the answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::error::StoreError;
use crate::ids::{ConversationId, MessageId, TurnId};
use crate::message::{MessageRecord, NewMessage, TailLimit};
use crate::owner::Owner;
use crate::turn::TurnRecord;

/// A request to start a turn.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Whose turn.
    pub owner: Owner,
    /// The process that will run it.
    pub host: Uuid,
    /// How long the lease lasts unless it is renewed.
    pub lease: Duration,
    /// Its id, unless the idempotency record names an earlier one.
    pub turn: TurnId,
    /// The conversation.
    pub target: Target,
    /// The companion the caller expects, if it named one.
    pub companion: Option<String>,
    /// The companions that exist: a conversation with any other gets no turn.
    pub companions: Arc<BTreeSet<String>>,
    /// What the user says. Not stored when an earlier turn is run again.
    pub message: NewMessage,
    /// How a repeated request is recognised.
    pub idempotency: Option<Idempotency>,
    /// Whether an earlier turn of the same request is replayed, joined or run again. If not, the answer is
    /// [`AdmissionOutcome::Seen`] and nothing is done.
    pub resume: bool,
    /// How much of the past to return.
    pub tail: TailLimit,
}

/// The conversation of a turn.
#[derive(Clone, Debug)]
pub enum Target {
    /// One that exists.
    Existing(ConversationId),
    /// One that this turn makes.
    New {
        /// Its id.
        id: ConversationId,
        /// The companion that it is with.
        companion: String,
        /// Its title.
        title: String,
    },
}

impl Target {
    /// The id of the conversation.
    pub fn conversation(&self) -> ConversationId {
        match self {
            Self::Existing(id) | Self::New { id, .. } => *id,
        }
    }
}

/// A key by which a client names one request, however often it sends it. It is the owner's alone, and one route's.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The route it was sent to.
    pub route: String,
    /// The key.
    pub key: String,
    /// A digest of what was asked for.
    pub digest: Vec<u8>,
    /// How long the key is remembered.
    pub ttl: Duration,
}

/// The answer to an admission, given before it is on disk.
#[derive(Debug)]
pub struct Admitted {
    /// The answer.
    pub outcome: AdmissionOutcome,
    /// Resolves when what the outcome says is on disk.
    pub durable: Durable,
}

/// A write on its way to the disk.
#[derive(Debug)]
pub struct Durable(Option<oneshot::Receiver<Result<(), StoreError>>>);

impl Durable {
    /// Something that is on disk already.
    pub fn ready() -> Self {
        Self(None)
    }

    /// Something whose fate `receiver` tells. A sender that is dropped leaves it unknown.
    pub fn pending(receiver: oneshot::Receiver<Result<(), StoreError>>) -> Self {
        Self(Some(receiver))
    }

    /// Waits until the write is on disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it did not get there, [`StoreError::OutcomeUnknown`] if it may have. In both cases
    /// nothing may be acknowledged.
    pub async fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            None => Ok(()),
            Some(receiver) => receiver.await.unwrap_or_else(|_gone| {
                Err(StoreError::OutcomeUnknown("the store ended before it told".into()))
            }),
        }
    }
}

/// The answer to an admission.
#[derive(Clone, Debug, PartialEq)]
pub enum AdmissionOutcome {
    /// The turn runs, and the caller runs it.
    Started(Started),
    /// Another turn holds the conversation's lease.
    Busy {
        /// When that lease ends, unless it is renewed or freed before.
        retry_after: Duration,
    },
    /// The same request was answered before: replay it.
    Completed(TurnRecord),
    /// The same request is being answered: join it.
    Running {
        /// The turn.
        turn: TurnId,
        /// The process that runs it.
        host: Uuid,
    },
    /// The request was seen before, and was not to be resumed: [`crate::Turns::keyed`] tells how it stands.
    Seen,
    /// The idempotency key belongs to another request.
    OtherBody,
    /// This owner has no such conversation.
    UnknownConversation,
    /// The conversation is with someone who is not there any more.
    CompanionGone {
        /// The companion that it is with.
        companion: String,
    },
    /// The conversation is with someone else.
    OtherCompanion {
        /// The companion that it is with.
        companion: String,
    },
}

/// A turn that was started.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// Its id.
    pub turn: TurnId,
    /// From 1; higher when an earlier attempt of the same request did not complete.
    pub attempt: u32,
    /// Proves the lease to [`crate::Turns::commit`], [`crate::Turns::interrupt`] and [`crate::Turns::fail`].
    pub epoch: i64,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The companion that it is with.
    pub companion: String,
    /// Whether this admission made the conversation; false for a later attempt.
    pub created: bool,
    /// The user's message; that of the first attempt when the turn is run again.
    pub message: MessageRecord,
    /// The reply of an earlier attempt that is kept in the conversation: the next one takes its place and its id.
    pub kept: Option<MessageId>,
    /// The sequence before the user's message, 0 if there was none: a copy of the past that ends with it is current.
    pub last_sequence: i64,
    /// The newest messages before the user's, oldest first, without those of failed turns.
    pub tail: Vec<MessageRecord>,
}
