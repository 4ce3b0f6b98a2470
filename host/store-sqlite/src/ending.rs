//! Ends a turn as completed, interrupted or failed. The rules are the same for all three: the epoch must be that of the
//! turn, whose lease has not expired; the lease is freed; and a repetition gets the same answer and writes nothing. The
//! caller adds who waits next.

use masque_store::{
    CheckTexts as _, Commit, ConversationId, Ending, Failed, Interruption, MessageId, MessageRecord, NewJob,
    NewMessage, Owner, StoreError, StoredResponse, TurnId, TurnStatus, UsageRecord,
};
use rusqlite::{Connection, params};
use serde_json::Value;
use uuid::Uuid;

use crate::columns::{lease_clock, now, signed};
use crate::error::Result;
use crate::job_rows::{JobOrigin, enqueue};
use crate::messages;
use crate::operation::Operation;
use crate::query::{execute, first_row};
use crate::users;

impl Operation for Commit {
    type Answer = Ending;

    fn run(self, connection: &Connection) -> Result<Ending> {
        self.check_texts()?;
        let response = StoredResponse::without_text(self.response, &self.reply.content);
        End {
            owner: &self.owner,
            conversation: self.conversation,
            turn: self.turn,
            epoch: self.epoch,
            status: TurnStatus::Completed,
            reply: Some(self.reply),
            finish: Some(&self.finish),
            usage: Some(self.usage),
            response: Some(response),
            problem: None,
            jobs: &self.jobs,
        }
        .write(connection)
    }
}

impl Operation for Interruption {
    type Answer = Ending;

    fn run(self, connection: &Connection) -> Result<Ending> {
        self.check_texts()?;
        End {
            owner: &self.owner,
            conversation: self.conversation,
            turn: self.turn,
            epoch: self.epoch,
            status: TurnStatus::Interrupted,
            reply: self.reply.filter(|reply| !reply.content.is_empty()),
            finish: Some("interrupted"),
            usage: Some(self.usage),
            response: None,
            problem: None,
            jobs: &self.jobs,
        }
        .write(connection)
    }
}

impl Operation for Failed {
    type Answer = Ending;

    fn run(self, connection: &Connection) -> Result<Ending> {
        self.check_texts()?;
        End {
            owner: &self.owner,
            conversation: self.conversation,
            turn: self.turn,
            epoch: self.epoch,
            status: TurnStatus::Failed,
            reply: None,
            finish: None,
            usage: None,
            response: None,
            problem: Some(&self.problem),
            jobs: &[],
        }
        .write(connection)
    }
}

/// The end of a turn, for all three statuses.
struct End<'a> {
    owner: &'a Owner,
    conversation: ConversationId,
    turn: TurnId,
    epoch: i64,
    status: TurnStatus,
    reply: Option<NewMessage>,
    finish: Option<&'a str>,
    usage: Option<UsageRecord>,
    response: Option<StoredResponse>,
    problem: Option<&'a Value>,
    jobs: &'a [NewJob],
}

/// The turn as stored under the epoch of its end.
struct FoundTurn {
    user: Uuid,
    status: TurnStatus,
    message: MessageId,
    /// The part of a reply that an earlier attempt left.
    reply: Option<MessageId>,
    last_sequence: i64,
    /// The end of the lease, if it is held.
    lease_ends_at: Option<i64>,
}

impl End<'_> {
    /// A running turn with this epoch holds the conversation's lease, since an operation that takes the lease ends the
    /// turn first. So a turn that lost its lease writes nothing, and a repetition finds what the first end wrote. Neither
    /// does one whose lease has expired: its host was paused, and by now the turn may be taken over at any moment.
    fn write(mut self, connection: &Connection) -> Result<Ending> {
        let Some(found) = self.find(connection)? else { return Ok(Ending::LeaseLost) };
        if found.status == self.status {
            let reply = found.reply.map(|reply| messages::load(connection, reply)).transpose()?;
            return Ok(Ending::Done { reply: reply.flatten(), next: None });
        }
        if found.status != TurnStatus::Running || found.lease_ends_at <= Some(lease_clock()) {
            return Ok(Ending::LeaseLost);
        }
        let now = now();
        let reply = self.write_reply(connection, &found, now)?;
        let last_sequence = match &reply {
            Some(reply) => reply.sequence.max(found.last_sequence),
            None => found.last_sequence,
        };
        execute(
            connection,
            "UPDATE leases SET turn = NULL, host = NULL, ends_at = NULL, last_sequence = ?2, updated_at = ?3
              WHERE conversation = ?1",
            (self.conversation.as_uuid(), last_sequence, now),
        )?;
        let origin = JobOrigin { user: found.user, conversation: self.conversation, turn: self.turn };
        enqueue(connection, &origin, self.jobs, now)?;
        self.write_turn(connection, reply.as_ref().map(|reply| reply.id), now)?;
        Ok(Ending::Done { reply, next: None })
    }

    fn find(&self, connection: &Connection) -> Result<Option<FoundTurn>> {
        let Some(user) = users::find(connection, self.owner)? else { return Ok(None) };
        first_row(
            connection,
            "SELECT t.status, t.message, t.reply, l.last_sequence, l.ends_at
               FROM turns t JOIN conversations c ON c.id = t.conversation JOIN leases l ON l.conversation = c.id
              WHERE t.id = ?1 AND t.conversation = ?2 AND t.epoch = ?3 AND c.user = ?4 AND c.deleted_at IS NULL",
            (self.turn.as_uuid(), self.conversation.as_uuid(), self.epoch, user),
            |row| {
                Ok(FoundTurn {
                    user,
                    status: row.get_ref(0)?.as_str()?.parse::<TurnStatus>()?,
                    message: MessageId::from(row.get::<_, Uuid>(1)?),
                    reply: row.get::<_, Option<Uuid>>(2)?.map(MessageId::from),
                    last_sequence: row.get(3)?,
                    lease_ends_at: row.get(4)?,
                })
            },
        )
    }

    /// Writes the reply, or the part of it that is kept, and returns it.
    ///
    /// The part of a reply that an earlier attempt left is replaced at its place, also if later messages follow. It
    /// keeps its id, which later messages may name as their parent. A failed turn leaves the tail with its user's
    /// message and that part.
    fn write_reply(
        &mut self,
        connection: &Connection,
        found: &FoundTurn,
        now: i64,
    ) -> Result<Option<MessageRecord>> {
        let is_told = self.status != TurnStatus::Failed;
        if !is_told {
            messages::set_in_tail(connection, found.message, false)?;
        }
        match (self.reply.take(), found.reply) {
            (None, None) => Ok(None),
            (Some(new), None) => self.insert_reply(connection, new, found, now).map(Some),
            (new, Some(kept)) => {
                if let Some(new) = new {
                    execute(
                        connection,
                        "UPDATE messages SET text = ?2, content = NULL, metadata = ?3, created_at = ?4 WHERE id = ?1",
                        (kept.as_uuid(), &new.content, new.metadata.to_string(), now),
                    )?;
                }
                messages::set_in_tail(connection, kept, is_told)?;
                let kept = messages::load(connection, kept)?;
                let mut kept = kept.ok_or_else(|| StoreError::Corrupt("a kept reply is gone".into()))?;
                // The turn still runs.
                kept.status = self.message_status().to_owned();
                Ok(Some(kept))
            }
        }
    }

    fn insert_reply(
        &self,
        connection: &Connection,
        new: NewMessage,
        found: &FoundTurn,
        now: i64,
    ) -> Result<MessageRecord> {
        let reply = MessageRecord {
            id: new.id,
            turn: Some(self.turn),
            parent: Some(found.message),
            sequence: found.last_sequence.saturating_add(1),
            role: "assistant".into(),
            content: new.content,
            status: self.message_status().to_owned(),
            created_at: now,
            metadata: new.metadata,
        };
        messages::insert(connection, self.conversation.as_uuid(), &reply)?;
        Ok(reply)
    }

    /// The status of the turn's messages from now on.
    fn message_status(&self) -> &'static str {
        match self.status {
            TurnStatus::Completed => "complete",
            other => other.as_str(),
        }
    }

    fn write_turn(&self, connection: &Connection, reply: Option<MessageId>, now: i64) -> Result<()> {
        let response = self.response.as_ref();
        execute(
            connection,
            "UPDATE turns
                SET status = ?2, reply = ?3, finish = ?4, input_tokens = ?5, output_tokens = ?6, cached_tokens = ?7,
                    response = ?8, response_text = ?9, problem = ?10, ended_at = ?11, usage_estimated = ?12
              WHERE id = ?1",
            params![
                self.turn.as_uuid(),
                self.status.as_str(),
                reply.map(Uuid::from),
                self.finish,
                self.usage.map(|usage| signed(usage.input_tokens)),
                self.usage.map(|usage| signed(usage.output_tokens)),
                self.usage.map(|usage| signed(usage.cached_tokens)),
                response.map(|stored| stored.response.to_string()),
                response.and_then(|stored| stored.text_at.as_deref()),
                self.problem.map(Value::to_string),
                now,
                self.usage.map(|usage| usage.estimated),
            ],
        )?;
        Ok(())
    }
}
