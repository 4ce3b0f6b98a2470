//! The request to start a turn, and its outcome.

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
    /// The user.
    pub owner: Owner,
    /// The process that will run it.
    pub host: Uuid,
    /// How long the lease lasts unless it is renewed.
    pub lease: Duration,
    /// The id of the turn, unless the idempotency record names an earlier turn.
    pub turn: TurnId,
    /// The conversation.
    pub target: Target,
    /// The companion the caller expects, if it named one.
    pub companion: Option<String>,
    /// The companions that may answer. A conversation with another companion gets no turn.
    pub companions: Arc<BTreeSet<String>>,
    /// The user's message. Not stored when an earlier turn is run again.
    pub message: NewMessage,
    /// The key that repeated requests carry.
    pub idempotency: Option<Idempotency>,
    /// Whether an earlier turn of the same request is replayed, joined or run again. If false, the answer for such a
    /// request is [`AdmissionOutcome::Seen`] and nothing is written.
    pub resume: bool,
    /// How many of the earlier messages to return.
    pub tail: TailLimit,
    /// How the turn waits if it finds its conversation busy; `None` to be refused at once.
    pub waiting: Option<Waiting>,
}

/// How a turn waits for its conversation, over all hosts.
///
/// A turn that waits has a ticket: a place in the conversation's queue, in order of arrival. The lease goes to the oldest
/// ticket that lives, when its admission is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many turns may wait for one conversation.
    pub max: u32,
    /// How long the place in the queue is kept unless the admission is repeated.
    pub ttl: Duration,
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

/// A key that a client sends with every repetition of one request. It belongs to one owner and one route.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The route it was sent to.
    pub route: String,
    /// The key.
    pub key: String,
    /// A digest of the request.
    pub digest: Vec<u8>,
    /// How long the key is remembered.
    pub ttl: Duration,
}

/// The answer to an admission, given before it is on disk.
#[derive(Debug)]
pub struct Admitted {
    /// The answer.
    pub outcome: AdmissionOutcome,
    /// Resolves when everything that the outcome says is on disk.
    pub durable: Durable,
}

/// A write that may not be on disk yet.
#[derive(Debug)]
pub struct Durable(Option<oneshot::Receiver<Result<(), StoreError>>>);

impl Durable {
    /// A write that is on disk already.
    pub fn ready() -> Self {
        Self(None)
    }

    /// A write whose result arrives through `receiver`. If the sender is dropped, the outcome is unknown.
    pub fn pending(receiver: oneshot::Receiver<Result<(), StoreError>>) -> Self {
        Self(Some(receiver))
    }

    /// Waits until the write is on disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the write was lost, [`StoreError::OutcomeUnknown`] if it may be on disk or not.
    /// In both cases nothing may be acknowledged to a client.
    pub async fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            None => Ok(()),
            Some(receiver) => receiver.await.unwrap_or_else(|_gone| {
                Err(StoreError::OutcomeUnknown("the store ended before it reported the result".into()))
            }),
        }
    }
}

/// The answer to an admission.
#[derive(Clone, Debug, PartialEq)]
pub enum AdmissionOutcome {
    /// The turn has started, and the caller runs it.
    Started(Started),
    /// Another turn holds the conversation's lease, or waits before this one.
    Busy {
        /// Time until that lease expires, or if the lease is free, the ticket of the turn that waits first. Both may be
        /// renewed, or end earlier.
        retry_after: Duration,
        /// Whether this turn has a ticket. The caller repeats the admission, with the same turn id, to keep the ticket and
        /// to begin once it is first and the lease is free. If false, the queue is full or [`Admission::waiting`] was
        /// `None`.
        is_waiting: bool,
    },
    /// The same request was answered before: replay its response.
    Completed(TurnRecord),
    /// The same request is being answered: join it.
    Running {
        /// The turn.
        turn: TurnId,
        /// The process that runs it.
        host: Uuid,
        /// The companion that it is with.
        companion: String,
    },
    /// The request was seen before, and `resume` is false. Read its state with [`Turns::keyed`](crate::Turns::keyed).
    Seen,
    /// The idempotency key belongs to another request. Whoever may not talk to the companion of that request must not
    /// learn this: the key may have been used with other credentials of the same owner.
    OtherBody {
        /// The companion of the turn that the key stands for.
        companion: String,
    },
    /// This owner has no such conversation.
    UnknownConversation,
    /// The conversation is with a companion that does not exist any more.
    CompanionGone {
        /// The companion that it is with.
        companion: String,
    },
    /// The conversation is with another companion than the request names.
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
    /// Counts from 1. Higher if an earlier attempt of the same request did not complete.
    pub attempt: u32,
    /// Proves the lease to [`crate::Turns::commit`], [`crate::Turns::interrupt`] and [`crate::Turns::fail`].
    pub epoch: i64,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The companion that it is with.
    pub companion: String,
    /// Whether this admission made the conversation; false for a later attempt.
    pub created: bool,
    /// The user's message. If the turn is run again, the message of the first attempt.
    pub message: MessageRecord,
    /// The reply that an earlier attempt left in the conversation. The next reply replaces it and keeps its id.
    pub kept: Option<MessageId>,
    /// The sequence before the user's message, 0 if there is none. A cached history that ends with it is current.
    pub last_sequence: i64,
    /// The newest messages before the user's, oldest first, without those of failed turns.
    pub tail: Vec<MessageRecord>,
}
