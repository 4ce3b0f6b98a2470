//! Turns from admission to end. The store decides who may run a turn (leases and epochs); the caller makes the reply.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::admission::{Admission, Admitted};
use crate::ending::{Commit, Ending, Failed, Interruption};
use crate::error::StoreError;
use crate::heartbeat::Heartbeat;
use crate::ids::{ConversationId, TurnId};
use crate::owner::Owner;
use crate::turn::{KeyedTurn, TurnRecord};

/// Starts, ends and finds turns.
///
/// A conversation has one lease. Taking it raises its epoch, and a turn can be ended only with the epoch it was started
/// with. So if several hosts run attempts of one turn, at most one of them can end it. Once its lease has expired a turn
/// writes nothing, whether or not another turn has taken the lease: a host that was paused can't tell.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Starts a turn, or returns why it can't: finds or stores the idempotency record, takes the conversation's lease,
    /// stores the turn as running with the user's message and reads the newest messages, all in one transaction.
    ///
    /// Returns as soon as the outcome is known. [`Admitted::durable`] has to be awaited before anything is acknowledged
    /// to a client; if it fails, the turn was not admitted, unless the error is [`StoreError::OutcomeUnknown`]: then
    /// the caller repeats the admission, with the same ids of turn and message: a turn that this host
    /// already started answers [`crate::AdmissionOutcome::Started`] again, with its epoch.
    ///
    /// A turn that may [wait](Admission::waiting) and finds its conversation busy gets a ticket, unless enough others
    /// wait. It begins only if the lease is free and no older ticket of another turn lives; one that may not wait begins
    /// only if no other ticket lives. A ticket ends with its turn's start, with any other answer than
    /// [`crate::AdmissionOutcome::Busy`], with [`Turns::stop_waiting`], with the conversation, and when the admission has
    /// not been repeated in time.
    ///
    /// A turn whose lease has expired is marked interrupted when another turn takes the lease.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an id is taken.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError>;

    /// Gives the place in the queue back. Does nothing if there is none. `conversation` is that of the admission's target;
    /// a request that is run again waits for the conversation of its earlier turn, and its ticket is found too.
    async fn stop_waiting(&self, conversation: ConversationId, turn: TurnId) -> Result<(), StoreError>;

    /// Ends a turn with its complete reply: message, usage, jobs, the reply for replay, lease freed. Returns when the
    /// bytes are on disk. Can be repeated: a second commit of the same epoch answers as the first did, and names who waits
    /// by then. After [`StoreError::OutcomeUnknown`] it may have happened; [`Turns::turn`] tells.
    ///
    /// A turn that is run again after an interruption replaces the reply of the earlier attempt, at the same place in
    /// the conversation.
    async fn commit(&self, commit: Commit) -> Result<Ending, StoreError>;

    /// Ends a turn without its complete reply: the part that was sent is kept as a message marked interrupted, jobs are
    /// enqueued, the lease is freed. Repeatable as [`Turns::commit`] is.
    async fn interrupt(&self, interruption: Interruption) -> Result<Ending, StoreError>;

    /// Ends a turn without a reply: the problem is kept, the user's message stays and is marked failed, the lease
    /// is freed. Repeatable as [`Turns::commit`] is.
    async fn fail(&self, failure: Failed) -> Result<Ending, StoreError>;

    /// One turn of this owner.
    async fn turn(&self, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>, StoreError>;

    /// The turn that a request with this idempotency key started, until the key expires.
    async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError>;

    /// Says that the host lives for another `lease`, makes the leases of these turns end `lease` from now, and returns the
    /// turns that still had theirs from this host. A lease that has expired is not renewed. The lease of a turn that is not
    /// named expires: a host that no longer runs a turn must not keep its conversation busy.
    ///
    /// A host calls it before its first turn and every few seconds from then on, also without turns. With a `lease` of zero
    /// it says that it is gone.
    async fn heartbeat(&self, host: Uuid, turns: &[TurnId], lease: Duration)
    -> Result<Heartbeat, StoreError>;

    /// Asks for the end of a running turn of this owner, whichever host runs it. Returns that host; `None` if the turn does
    /// not run, or its lease has expired. The next heartbeat of the host names the turn, until it has ended.
    async fn request_cancel(&self, owner: &Owner, turn: TurnId) -> Result<Option<Uuid>, StoreError>;

    /// Marks turns interrupted whose lease has expired or whose host said that it is gone, and puts such jobs of other hosts
    /// back in their queue. A host that was only not heard of for a while keeps what it has a lease for. Returns how many
    /// turns.
    ///
    /// In a database that only one host can use, every other host counts as gone.
    async fn recover(&self, host: Uuid) -> Result<u64, StoreError>;

    /// Removes a bounded number of rows in one transaction: expired idempotency records and state, blocks of
    /// earlier days, and rows of deleted conversations. Returns how many rows; call again while it is not zero. A conversation
    /// that can't be removed is logged and tried again by a later call, and keeps no other from being removed.
    async fn sweep(&self) -> Result<u64, StoreError>;
}
