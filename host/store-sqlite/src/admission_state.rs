//! What an admission depends on: the turn that its idempotency key stands for, and its conversation as stored.

use masque_store::{
    Admission, AdmissionOutcome, ConversationId, Idempotency, MessageId, StoreError, TurnId, TurnStatus,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::lease_clock;
use crate::error::Result;
use crate::query::first_row;
use crate::tickets::Tickets;

/// The turn that an idempotency key stands for, as stored.
pub(crate) struct KeyedTurnRow {
    pub(crate) id: TurnId,
    pub(crate) conversation: ConversationId,
    pub(crate) companion: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) status: TurnStatus,
    pub(crate) host: Uuid,
    pub(crate) attempt: i64,
    pub(crate) message: MessageId,
    /// The part of a reply that an earlier attempt left.
    pub(crate) reply: Option<MessageId>,
}

impl KeyedTurnRow {
    /// The turn of a key that has not expired. The keys of a deleted conversation are not found.
    pub(crate) fn find(
        connection: &Connection,
        user: Uuid,
        key: &Idempotency,
        now: i64,
    ) -> Result<Option<Self>> {
        first_row(
            connection,
            "SELECT i.digest, t.id, t.conversation, t.status, t.host, t.attempt, t.message, t.reply, c.companion
               FROM idempotency_keys i JOIN turns t ON t.id = i.turn JOIN conversations c ON c.id = t.conversation
              WHERE i.user = ?1 AND i.route = ?2 AND i.key = ?3 AND i.expires_at > ?4 AND c.deleted_at IS NULL",
            (user, &key.route, &key.key, now),
            |row| {
                Ok(Self {
                    digest: row.get(0)?,
                    id: TurnId::from(row.get::<_, Uuid>(1)?),
                    conversation: ConversationId::from(row.get::<_, Uuid>(2)?),
                    status: row.get_ref(3)?.as_str()?.parse::<TurnStatus>()?,
                    host: row.get(4)?,
                    attempt: row.get(5)?,
                    message: MessageId::from(row.get::<_, Uuid>(6)?),
                    reply: row.get::<_, Option<Uuid>>(7)?.map(MessageId::from),
                    companion: row.get(8)?,
                })
            },
        )
    }
}

/// A conversation as stored.
pub(crate) struct ConversationRow {
    pub(crate) id: ConversationId,
    pub(crate) user: Uuid,
    pub(crate) companion: String,
    pub(crate) has_title: bool,
    pub(crate) epoch: i64,
    pub(crate) last_sequence: i64,
    pub(crate) lease: Option<HeldLease>,
}

/// The lease of a conversation while a turn holds it.
pub(crate) struct HeldLease {
    pub(crate) turn: TurnId,
    pub(crate) ends_at: i64,
}

impl ConversationRow {
    /// A conversation of any user that is not deleted.
    pub(crate) fn find(connection: &Connection, id: ConversationId) -> Result<Option<Self>> {
        first_row(
            connection,
            "SELECT c.user, c.companion, c.title IS NOT NULL, l.epoch, l.last_sequence, l.turn, l.ends_at
               FROM conversations c JOIN leases l ON l.conversation = c.id
              WHERE c.id = ?1 AND c.deleted_at IS NULL",
            [id.as_uuid()],
            |row| {
                let lease = row.get::<_, Option<Uuid>>(5)?.zip(row.get::<_, Option<i64>>(6)?);
                Ok(Self {
                    id,
                    user: row.get(0)?,
                    companion: row.get(1)?,
                    has_title: row.get(2)?,
                    epoch: row.get(3)?,
                    last_sequence: row.get(4)?,
                    lease: lease.map(|(turn, ends_at)| HeldLease { turn: TurnId::from(turn), ends_at }),
                })
            },
        )
    }

    /// Whether the turn holds the lease and the lease has not expired.
    pub(crate) fn is_held_by(&self, turn: TurnId) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.turn == turn && lease.ends_at > lease_clock())
    }

    /// Why the turn can't take the lease; `None` if it can.
    pub(crate) fn refusal(
        &self,
        admission: &Admission,
        tickets: &Tickets,
        user: Uuid,
    ) -> Option<AdmissionOutcome> {
        if self.user != user {
            return Some(AdmissionOutcome::UnknownConversation);
        }
        if admission.companion.as_ref().is_some_and(|expected| *expected != self.companion) {
            return Some(AdmissionOutcome::OtherCompanion { companion: self.companion.clone() });
        }
        if !admission.companions.contains(&self.companion) {
            return Some(AdmissionOutcome::CompanionGone { companion: self.companion.clone() });
        }
        tickets.wait(self.id, admission, self.lease.as_ref().map(|lease| lease.ends_at))
    }

    /// The turn that held an expired lease, unless `next` is the same turn.
    pub(crate) fn outlived_turn(&self, next: TurnId) -> Option<TurnId> {
        self.lease.as_ref().map(|lease| lease.turn).filter(|turn| *turn != next)
    }
}

/// The error for a turn without a message. No operation leaves one behind.
pub(crate) fn without_message(turn: TurnId) -> StoreError {
    StoreError::Corrupt(format!("the turn {turn} has no message"))
}
