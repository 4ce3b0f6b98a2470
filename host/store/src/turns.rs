//! One exchange from its admission to its end. The store decides who may run a turn (leases and epochs) and what is
//! kept of it; the caller decides what is said.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{ConversationId, MessageId, MessageRecord, NewJob, NewMessage, Owner, StoreError, TurnId};

/// The life of a turn.
///
/// A conversation has one lease. Whoever takes it raises its epoch, and a turn can be ended only with the epoch it was
/// started with: of any number of attempts that think they run, one at most is kept.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Starts a turn, or says why not: finds or stores the idempotency record, takes the conversation's lease, stores
    /// the turn as running with the user's message and reads the newest messages, all in one transaction.
    ///
    /// Returns as soon as the outcome is known. [`Admitted::durable`] has to be awaited before anything is acknowledged
    /// to a client; if it fails, the turn was never admitted. Can be repeated with the same turn id: a turn that this
    /// host already started answers [`Outcome::Started`] again, with its epoch.
    ///
    /// A turn whose lease has run out is marked interrupted when another takes the lease.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an id is taken.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError>;

    /// Ends a turn with its whole reply: message, usage, jobs, the reply for replay, lease freed. Returns when the
    /// bytes are on disk. Can be repeated: a second commit of the same epoch answers as the first did.
    ///
    /// A turn that is run again after an interruption replaces what had been said, in its place in the conversation.
    async fn commit(&self, commit: Commit) -> Result<Ending, StoreError>;

    /// Ends a turn without its whole reply: what had been said is kept as a message marked interrupted, jobs are
    /// enqueued, the lease is freed. Repeatable as [`Turns::commit`] is.
    async fn interrupt(&self, interruption: Interruption) -> Result<Ending, StoreError>;

    /// Ends a turn that came to nothing: the problem is kept, the user's message stays and is marked failed, the lease
    /// is freed. Repeatable as [`Turns::commit`] is.
    async fn fail(&self, failure: Failed) -> Result<Ending, StoreError>;

    /// One turn of this owner.
    async fn turn(&self, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>, StoreError>;

    /// The turn that a request with this idempotency key began, while the key is remembered.
    async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError>;

    /// Makes the leases of these turns end `lease` from now and returns the turns that still have theirs from this host.
    /// The lease of one that is not named runs out: whoever no longer runs a turn must not keep its conversation.
    async fn renew(&self, host: Uuid, turns: &[TurnId], lease: Duration) -> Result<Vec<TurnId>, StoreError>;

    /// Marks turns interrupted that can no longer be ended by whoever started them (their lease has run out, or their
    /// host is gone), and puts jobs of hosts that are gone back in their line. Returns how many turns.
    ///
    /// Where one host alone can use the database, every other host is gone.
    async fn recover(&self, host: Uuid) -> Result<u64, StoreError>;

    /// Removes idempotency records and state that are past their time, a bounded number in one transaction. Returns how
    /// many rows; call again while it is not zero.
    async fn sweep(&self) -> Result<u64, StoreError>;
}

/// A turn that wants to start.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Whose turn.
    pub owner: Owner,
    /// The process that will run it.
    pub host: Uuid,
    /// How long the lease lasts unless renewed.
    pub lease: Duration,
    /// Its id, unless the idempotency record names an earlier one.
    pub turn: TurnId,
    /// In which conversation.
    pub target: Target,
    /// The companion the caller expects, if it named one.
    pub companion: Option<String>,
    /// All there are to talk to: a conversation with another gets no turn.
    pub companions: Arc<BTreeSet<String>>,
    /// What the user says. Not stored when an earlier turn is run again.
    pub message: NewMessage,
    /// How a repeated request is recognised.
    pub idempotency: Option<Idempotency>,
    /// What is done about a request that an earlier turn was for: that is replayed, joined or run again; else the answer is
    /// [`Outcome::Seen`] and nothing is done.
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
        /// With whom.
        companion: String,
        /// Its title.
        title: String,
    },
}

impl Target {
    /// Which one.
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

/// How much of the past; whichever is reached first. Messages come whole or not at all.
#[derive(Clone, Copy, Debug)]
pub struct TailLimit {
    /// How many messages.
    pub messages: u32,
    /// How many bytes of content.
    pub bytes: usize,
}

/// The answer to an admission, and the promise that it is kept.
#[derive(Debug)]
pub struct Admitted {
    /// What is known already.
    pub outcome: Outcome,
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

    pub(crate) fn pending(receiver: oneshot::Receiver<Result<(), StoreError>>) -> Self {
        Self(Some(receiver))
    }

    /// Waits until the write is on disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it did not get there: nothing may be acknowledged.
    pub async fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            None => Ok(()),
            Some(receiver) => receiver.await.unwrap_or_else(|_gone| {
                Err(StoreError::Unavailable("the store closed before the write reached the disk".into()))
            }),
        }
    }
}

/// What became of an admission.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
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
    /// The request was seen before, and was not to be resumed: [`Turns::keyed`] tells how it stands.
    Seen,
    /// The idempotency key belongs to another request.
    OtherBody,
    /// This owner has no such conversation.
    UnknownConversation,
    /// The conversation is with someone who is not there any more.
    CompanionGone {
        /// With whom.
        companion: String,
    },
    /// The conversation is with someone else.
    OtherCompanion {
        /// With whom.
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
    /// Proves the lease to [`Turns::commit`], [`Turns::interrupt`] and [`Turns::fail`].
    pub epoch: i64,
    /// Its conversation.
    pub conversation: ConversationId,
    /// With whom.
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

/// A turn's whole reply.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose turn.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`Started::epoch`].
    pub epoch: i64,
    /// The reply.
    pub reply: NewMessage,
    /// Why the model stopped.
    pub finish: String,
    /// What it cost.
    pub usage: UsageRecord,
    /// The reply as the client got it, to be given again.
    pub response: Value,
    /// Work for afterwards.
    pub jobs: Vec<NewJob>,
    /// What is counted, and to whom.
    pub charge: Charge,
}

/// Tokens that accounts have spent: see [`crate::Spending`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Each is charged once, however often it is named.
    pub accounts: Vec<String>,
    /// What a model reported, or where it reported nothing, what the caller takes it for.
    pub usage: UsageRecord,
}

/// The turn behind an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedTurn {
    /// Its id.
    pub turn: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Of the request that began it.
    pub digest: Vec<u8>,
    /// How it stands.
    pub status: TurnStatus,
}

/// How ending a turn went.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It ended as asked.
    Done {
        /// The message that is kept of the companion, if any.
        reply: Option<MessageRecord>,
    },
    /// Someone else has the lease, or the conversation is gone: nothing was kept.
    LeaseLost,
}

/// A turn that was cut short.
#[derive(Clone, Debug)]
pub struct Interruption {
    /// Whose turn.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`Started::epoch`].
    pub epoch: i64,
    /// What had been said; an empty content counts as nothing.
    pub reply: Option<NewMessage>,
    /// What it cost so far.
    pub usage: UsageRecord,
    /// Work for afterwards.
    pub jobs: Vec<NewJob>,
    /// What is counted, and to whom.
    pub charge: Charge,
}

/// A turn that came to nothing.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Whose turn.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`Started::epoch`].
    pub epoch: i64,
    /// What the client is told.
    pub problem: Value,
}

/// Tokens, as the model counted them. Past 2^63 − 1 they are stored as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageRecord {
    /// Read by the model.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Those of the input that it had seen before.
    pub cached_tokens: u64,
}

/// A turn as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRecord {
    /// Its id.
    pub id: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// With whom.
    pub companion: String,
    /// How it stands.
    pub status: TurnStatus,
    /// How often it was started.
    pub attempt: u32,
    /// The process that started it last.
    pub host: Uuid,
    /// What the companion said.
    pub reply: Option<MessageRecord>,
    /// Why the model stopped.
    pub finish: Option<String>,
    /// What it cost.
    pub usage: Option<UsageRecord>,
    /// The reply as the client got it.
    pub response: Option<Value>,
    /// What the client was told went wrong.
    pub problem: Option<Value>,
    /// When it was first admitted, in milliseconds.
    pub created_at: i64,
    /// When it ended, in milliseconds.
    pub ended_at: Option<i64>,
}

/// How a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnStatus {
    /// Someone holds its lease, or did and has not been missed yet.
    Running,
    /// Its reply is whole.
    Completed,
    /// It was cut short.
    Interrupted,
    /// It came to nothing.
    Failed,
}

impl TurnStatus {
    /// The word for it, as stored and as told to clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for TurnStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for TurnStatus {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "running" => Ok(Self::Running),
            "completed" => Ok(Self::Completed),
            "interrupted" => Ok(Self::Interrupted),
            "failed" => Ok(Self::Failed),
            other => Err(StoreError::Corrupt(format!("`{other}` is no status of a turn"))),
        }
    }
}
