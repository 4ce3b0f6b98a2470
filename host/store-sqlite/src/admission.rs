//! Admits a turn: decides whether it may start, takes the lease and stores the turn. Repeated requests are in
//! [`resume`].

use masque_store::{
    Admission, AdmissionOutcome, CheckTexts as _, ConversationId, MessageRecord, Started, Target, title_of,
};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::admission_state::{ConversationRow, KeyedTurnRow};
use crate::columns::{lease_end, millis, now};
use crate::conversation_rows::{insert_conversation, is_taken};
use crate::deletion::finish_removal;
use crate::error::Result;
use crate::leases;
use crate::messages::{self, Tail};
use crate::operation::Operation;
use crate::query::execute;
use crate::repetition::leave_out_repeated;
use crate::resume::{repeat, resume};
use crate::tickets::Tickets;
use crate::users;

/// Admits a turn.
pub(crate) struct Admit {
    pub(crate) admission: Admission,
    pub(crate) tickets: Tickets,
}

impl Operation for Admit {
    type Answer = AdmissionOutcome;

    fn run(self, connection: &Connection) -> Result<AdmissionOutcome> {
        self.admission.check_texts()?;
        let outcome = admit(connection, &self.admission, &self.tickets)?;
        if !matches!(outcome, AdmissionOutcome::Busy { .. }) {
            self.tickets.remove(self.admission.turn);
        }
        Ok(outcome)
    }
}

fn admit(connection: &Connection, admission: &Admission, tickets: &Tickets) -> Result<AdmissionOutcome> {
    let now = now();
    let user = match (users::find(connection, &admission.owner)?, &admission.target) {
        (Some(user), _) => user,
        (None, Target::Existing(_)) => return Ok(AdmissionOutcome::UnknownConversation),
        (None, Target::New { .. }) => users::find_or_create(connection, &admission.owner)?,
    };
    if let Some(key) = &admission.idempotency
        && let Some(earlier) = KeyedTurnRow::find(connection, user, key, now)?
    {
        return if admission.resume || earlier.id == admission.turn {
            resume(connection, admission, tickets, user, &earlier, now)
        } else {
            Ok(AdmissionOutcome::Seen)
        };
    }
    match &admission.target {
        Target::New { id, companion, title } => {
            start_conversation(connection, admission, user, *id, companion, title, now)
        }
        Target::Existing(id) => start_in_conversation(connection, admission, tickets, user, *id, now),
    }
}

/// Starts a turn in a new conversation.
fn start_conversation(
    connection: &Connection,
    admission: &Admission,
    user: Uuid,
    id: ConversationId,
    companion: &str,
    title: &str,
    now: i64,
) -> Result<AdmissionOutcome> {
    if !insert_conversation(connection, user, id, companion, Some(title), now)? {
        match ConversationRow::find(connection, id)? {
            Some(row) if row.user == user && row.is_held_by(admission.turn) => {
                return repeat(connection, admission, &row);
            }
            None if finish_removal(connection, id)? => {
                insert_conversation(connection, user, id, companion, Some(title), now)?;
            }
            Some(_) | None => return Err(is_taken(id).into()),
        }
    }
    execute(
        connection,
        "INSERT INTO leases (conversation, epoch, turn, host, ends_at, last_sequence, updated_at)
         VALUES (?1, 1, ?2, ?3, ?4, 1, ?5)",
        (id.as_uuid(), admission.turn.as_uuid(), admission.host, lease_end(admission.lease), now),
    )?;
    let new =
        NewTurn { conversation: id, companion: companion.to_owned(), created: true, epoch: 1, sequence: 1 };
    let tail = Tail::default();
    store(connection, admission, user, new, tail, now)
}

/// Starts a turn in a conversation that exists.
fn start_in_conversation(
    connection: &Connection,
    admission: &Admission,
    tickets: &Tickets,
    user: Uuid,
    id: ConversationId,
    now: i64,
) -> Result<AdmissionOutcome> {
    let Some(row) = ConversationRow::find(connection, id)? else {
        return Ok(AdmissionOutcome::UnknownConversation);
    };
    if row.user == user && row.is_held_by(admission.turn) {
        return repeat(connection, admission, &row);
    }
    if let Some(outcome) = row.refusal(admission, tickets, user) {
        return Ok(outcome);
    }
    if let Some(outlived) = row.outlived_turn(admission.turn) {
        leases::interrupt(connection, outlived, now)?;
    }
    let (epoch, sequence) = (row.epoch.saturating_add(1), row.last_sequence.saturating_add(1));
    execute(
        connection,
        "UPDATE leases SET epoch = ?2, turn = ?3, host = ?4, ends_at = ?5, last_sequence = ?6, updated_at = ?7,
                is_cancelled = 0
          WHERE conversation = ?1",
        params![
            id.as_uuid(),
            epoch,
            admission.turn.as_uuid(),
            admission.host,
            lease_end(admission.lease),
            sequence,
            now
        ],
    )?;
    if !row.has_title {
        execute(
            connection,
            "UPDATE conversations SET title = ?2 WHERE id = ?1",
            (id.as_uuid(), title_of(&admission.message.content)),
        )?;
    }
    let mut tail = messages::tail(connection, id.as_uuid(), sequence, admission.tail)?;
    if tail.is_newest_interrupted
        && leave_out_repeated(connection, id.as_uuid(), sequence, &admission.message.content)?
    {
        tail = messages::tail(connection, id.as_uuid(), sequence, admission.tail)?;
    }
    let new = NewTurn { conversation: id, companion: row.companion, created: false, epoch, sequence };
    store(connection, admission, user, new, tail, now)
}

/// A turn that has taken the lease and is to be stored.
struct NewTurn {
    conversation: ConversationId,
    companion: String,
    created: bool,
    epoch: i64,
    sequence: i64,
}

/// Stores the turn, the user's message and the idempotency key.
fn store(
    connection: &Connection,
    admission: &Admission,
    user: Uuid,
    new: NewTurn,
    tail: Tail,
    now: i64,
) -> Result<AdmissionOutcome> {
    let conversation = new.conversation.as_uuid();
    let key = admission.idempotency.as_ref();
    let key_expires_at = key.map(|key| now.saturating_add(millis(key.ttl)));
    execute(
        connection,
        "INSERT INTO turns (id, conversation, status, attempt, epoch, host, message, key_expires_at, created_at)
         VALUES (?1, ?2, 'running', 1, ?3, ?4, ?5, ?6, ?7)",
        params![
            admission.turn.as_uuid(),
            conversation,
            new.epoch,
            admission.host,
            admission.message.id.as_uuid(),
            key_expires_at,
            now
        ],
    )?;
    let message = MessageRecord {
        id: admission.message.id,
        turn: Some(admission.turn),
        parent: tail.newest,
        sequence: new.sequence,
        role: "user".into(),
        content: admission.message.content.clone(),
        status: "running".into(),
        created_at: now,
        metadata: admission.message.metadata.clone(),
    };
    messages::insert(connection, conversation, &message)?;
    if let Some((key, expires_at)) = key.zip(key_expires_at) {
        // Replaces a key that has expired or whose conversation was deleted.
        execute(
            connection,
            "INSERT OR REPLACE INTO idempotency_keys (expires_at, turn, user, route, key, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![expires_at, admission.turn.as_uuid(), user, key.route, key.key, key.digest],
        )?;
    }
    Ok(AdmissionOutcome::Started(Started {
        turn: admission.turn,
        attempt: 1,
        epoch: new.epoch,
        conversation: new.conversation,
        companion: new.companion,
        created: new.created,
        last_sequence: new.sequence.saturating_sub(1),
        message,
        kept: None,
        tail: tail.messages,
    }))
}
