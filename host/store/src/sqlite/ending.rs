//! Ending a turn: whole, cut short, or with nothing. One path for the three, since the rules are the same: the epoch
//! must be the turn's own, the lease is freed, a repetition is answered and not done again.

use serde_json::Value;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::admission::insert_message;
use super::fault::Fault;
use super::jobs::enqueue;
use super::rows::{message, message_columns, now, signed};
use super::writer::{Operation, Verdict};
use crate::{
    Commit, ConversationId, Ending, Failed, Interruption, MessageId, MessageRecord, NewJob, NewMessage,
    Owner, TurnId, TurnStatus, UsageRecord,
};

impl Operation for Commit {
    type Answer = Ending;

    async fn run(self, connection: &mut SqliteConnection) -> Result<Verdict<Ending>, Fault> {
        let end = End {
            owner: &self.owner,
            conversation: self.conversation,
            turn: self.turn,
            epoch: self.epoch,
            status: TurnStatus::Completed,
            messages: "complete",
            reply: Some(&self.reply),
            finish: Some(&self.finish),
            usage: Some(self.usage),
            response: Some(&self.response),
            problem: None,
            jobs: &self.jobs,
        };
        end.write(connection).await
    }
}

impl Operation for Interruption {
    type Answer = Ending;

    async fn run(self, connection: &mut SqliteConnection) -> Result<Verdict<Ending>, Fault> {
        let end = End {
            owner: &self.owner,
            conversation: self.conversation,
            turn: self.turn,
            epoch: self.epoch,
            status: TurnStatus::Interrupted,
            messages: "interrupted",
            reply: self.reply.as_ref().filter(|reply| !reply.content.is_empty()),
            finish: Some("interrupted"),
            usage: Some(self.usage),
            response: None,
            problem: None,
            jobs: &self.jobs,
        };
        end.write(connection).await
    }
}

impl Operation for Failed {
    type Answer = Ending;

    async fn run(self, connection: &mut SqliteConnection) -> Result<Verdict<Ending>, Fault> {
        let end = End {
            owner: &self.owner,
            conversation: self.conversation,
            turn: self.turn,
            epoch: self.epoch,
            status: TurnStatus::Failed,
            messages: "failed",
            reply: None,
            finish: None,
            usage: None,
            response: None,
            problem: Some(&self.problem),
            jobs: &[],
        };
        end.write(connection).await
    }
}

/// The end of a turn, of any kind.
struct End<'a> {
    owner: &'a Owner,
    conversation: ConversationId,
    turn: TurnId,
    epoch: i64,
    status: TurnStatus,
    /// What becomes of its messages' status.
    messages: &'static str,
    reply: Option<&'a NewMessage>,
    finish: Option<&'a str>,
    usage: Option<UsageRecord>,
    response: Option<&'a Value>,
    problem: Option<&'a Value>,
    jobs: &'a [NewJob],
}

impl End<'_> {
    async fn write(&self, connection: &mut SqliteConnection) -> Result<Verdict<Ending>, Fault> {
        let row = sqlx::query(
            "SELECT status, message, reply FROM turns
              WHERE id = ?1 AND conversation = ?2 AND tenant = ?3 AND issuer = ?4 AND subject = ?5 AND epoch = ?6",
        )
        .bind(self.turn.as_uuid())
        .bind(self.conversation.as_uuid())
        .bind(&self.owner.tenant)
        .bind(&self.owner.issuer)
        .bind(&self.owner.subject)
        .bind(self.epoch)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(Verdict::Keep(Ending::LeaseLost)) };
        let said: Uuid = row.try_get(1)?;
        let kept: Option<Uuid> = row.try_get(2)?;
        match row.try_get::<&str, _>(0)? {
            "running" => {}
            ended if ended == self.status.as_str() => {
                return Ok(Verdict::Keep(Ending::Done { reply: load(connection, kept).await? }));
            }
            _ => return Ok(Verdict::Keep(Ending::LeaseLost)),
        }

        let fresh = self.reply.is_some() && kept.is_none();
        let Some((sequence, now)) = self.leave(connection, fresh).await? else {
            return Ok(Verdict::Undo(Ending::LeaseLost));
        };
        let reply = match (self.reply, kept) {
            (None, kept) => load(connection, kept).await?,
            (Some(reply), Some(kept)) => Some(self.replace(connection, reply, kept, now).await?),
            (Some(reply), None) => Some(self.append(connection, reply, said, sequence, now).await?),
        };
        self.mark(connection, said, reply.as_ref(), now).await?;
        for job in self.jobs {
            enqueue(connection, self.owner, self.conversation, self.turn, job).await?;
        }
        Ok(Verdict::Keep(Ending::Done { reply }))
    }

    /// Frees the lease; the next sequence is taken if a message is to be added. `None` if the lease is another's.
    async fn leave(
        &self,
        connection: &mut SqliteConnection,
        adds: bool,
    ) -> Result<Option<(i64, i64)>, Fault> {
        let row = sqlx::query(concat!(
            "UPDATE conversations
                SET lease_turn = NULL, lease_host = NULL, lease_ends = NULL, last_sequence = last_sequence + ?4,
                    updated_at = ", now!(), "
              WHERE id = ?1 AND lease_turn = ?2 AND epoch = ?3 RETURNING last_sequence, updated_at"
        ))
        .bind(self.conversation.as_uuid())
        .bind(self.turn.as_uuid())
        .bind(self.epoch)
        .bind(i64::from(adds))
        .fetch_optional(connection)
        .await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    async fn append(
        &self,
        connection: &mut SqliteConnection,
        reply: &NewMessage,
        said: Uuid,
        sequence: i64,
        now: i64,
    ) -> Result<MessageRecord, Fault> {
        let record = MessageRecord {
            id: reply.id,
            turn: Some(self.turn),
            parent: Some(MessageId::from(said)),
            sequence,
            role: "assistant".to_owned(),
            content: reply.content.clone(),
            status: self.messages.to_owned(),
            created_at: now,
            metadata: reply.metadata.clone(),
        };
        insert_message(connection, self.owner, self.conversation, &record).await?;
        Ok(record)
    }

    /// Puts the reply where an earlier attempt's fragment stood: beside its question, also when the conversation has
    /// gone on since. The message keeps its id, which later ones may name as their parent.
    async fn replace(
        &self,
        connection: &mut SqliteConnection,
        reply: &NewMessage,
        kept: Uuid,
        now: i64,
    ) -> Result<MessageRecord, Fault> {
        let row = sqlx::query(
            "UPDATE messages SET content = ?2, metadata = ?3, status = ?4, created_at = ?5 WHERE id = ?1
             RETURNING id, turn, parent, sequence, role, content, status, created_at, metadata",
        )
        .bind(kept)
        .bind(&reply.content)
        .bind(reply.metadata.to_string())
        .bind(self.messages)
        .bind(now)
        .fetch_one(connection)
        .await?;
        message(&row)
    }

    async fn mark(
        &self,
        connection: &mut SqliteConnection,
        said: Uuid,
        reply: Option<&MessageRecord>,
        now: i64,
    ) -> Result<(), Fault> {
        let reply = reply.map(|reply| reply.id.as_uuid());
        sqlx::query(
            "UPDATE turns SET status = ?2, reply = ?3, finish = ?4, input_tokens = ?5, output_tokens = ?6,
                    cached_tokens = ?7, response = ?8, problem = ?9, ended_at = ?10
              WHERE id = ?1",
        )
        .bind(self.turn.as_uuid())
        .bind(self.status.as_str())
        .bind(reply)
        .bind(self.finish)
        .bind(self.usage.map(|usage| signed(usage.input_tokens)))
        .bind(self.usage.map(|usage| signed(usage.output_tokens)))
        .bind(self.usage.map(|usage| signed(usage.cached_tokens)))
        .bind(self.response.map(Value::to_string))
        .bind(self.problem.map(Value::to_string))
        .bind(now)
        .execute(&mut *connection)
        .await?;
        // With the question goes a fragment that an earlier attempt left: the past of a failed turn is not told again.
        sqlx::query("UPDATE messages SET status = ?3 WHERE id IN (?1, ?2) AND status <> ?3")
            .bind(said)
            .bind(reply)
            .bind(self.messages)
            .execute(connection)
            .await?;
        Ok(())
    }
}

async fn load(connection: &mut SqliteConnection, id: Option<Uuid>) -> Result<Option<MessageRecord>, Fault> {
    let Some(id) = id else { return Ok(None) };
    let row = sqlx::query(concat!("SELECT ", message_columns!("m"), " FROM messages m WHERE m.id = ?1"))
        .bind(id)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(message).transpose()
}
