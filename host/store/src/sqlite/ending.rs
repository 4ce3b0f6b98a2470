//! Ending a turn: whole, cut short, or with nothing. One path for the three, since the rules are the same: the epoch
//! must be the turn's own, the lease is freed, a repetition is answered and not done again.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::fault::Fault;
use super::jobs::{enqueue, jobs_text};
use super::rows::{message, message_columns, now, signed};
use super::spending::charge;
use super::writer::{Operation, Verdict};
use crate::{
    Charge, Commit, ConversationId, Ending, Failed, Interruption, NewJob, NewMessage, Owner, TurnId,
    TurnStatus, UsageRecord,
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
            charge: Some(&self.charge),
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
            charge: Some(&self.charge),
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
            charge: None,
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
    charge: Option<&'a Charge>,
}

/// The turn as its end finds it.
struct Scene {
    now: i64,
    status: String,
    said: Uuid,
    kept: Option<Uuid>,
    last_sequence: i64,
}

impl End<'_> {
    async fn write(&self, connection: &mut SqliteConnection) -> Result<Verdict<Ending>, Fault> {
        let Some(scene) = self.look(connection).await? else { return Ok(Verdict::Keep(Ending::LeaseLost)) };
        let rows = match scene.status.as_str() {
            "running" => self.store(&scene, connection).await?,
            ended if ended == self.status.as_str() => {
                sqlx::query(concat!("SELECT ", message_columns!("m"), " FROM messages m WHERE m.id = $1"))
                    .bind(scene.kept)
                    .fetch_all(connection)
                    .await?
            }
            _ => return Ok(Verdict::Keep(Ending::LeaseLost)),
        };
        Ok(Verdict::Keep(Ending::Done { reply: rows.first().map(message).transpose()? }))
    }

    /// `None` unless the epoch is the turn's own. A turn that runs under its own epoch holds the conversation's lease:
    /// whoever takes that ends it first.
    async fn look(&self, connection: &mut SqliteConnection) -> Result<Option<Scene>, Fault> {
        let row = sqlx::query(concat!(
            "SELECT ",
            now!(),
            ", t.status, t.message, t.reply, c.last_sequence
               FROM turns t JOIN conversations c ON c.id = t.conversation
              WHERE t.id = $1 AND t.conversation = $2 AND t.tenant = $3 AND t.issuer = $4 AND t.subject = $5
                AND t.epoch = $6"
        ))
        .bind(self.turn.as_uuid())
        .bind(self.conversation.as_uuid())
        .bind(&self.owner.tenant)
        .bind(&self.owner.issuer)
        .bind(&self.owner.subject)
        .bind(self.epoch)
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Scene {
            now: row.try_get(0)?,
            status: row.try_get(1)?,
            said: row.try_get(2)?,
            kept: row.try_get(3)?,
            last_sequence: row.try_get(4)?,
        }))
    }

    /// Frees the lease and stores everything; the reply as it is then.
    ///
    /// What an earlier attempt left of a reply is replaced where it stands: beside its question, also when the
    /// conversation has gone on since. It keeps its id, which later messages may name as their parent. With a failed
    /// question goes its fragment: the past of a failed turn is not told again.
    async fn store(&self, scene: &Scene, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>, Fault> {
        let append = self.reply.is_some() && scene.kept.is_none();
        let reply = scene.kept.or(self.reply.map(|reply| reply.id.as_uuid()));
        let rows = sqlx::query(concat!(
            "UPDATE conversations
                SET lease_turn = NULL, lease_host = NULL, lease_ends = NULL, last_sequence = $7, updated_at = $6
              WHERE id = $2;
             INSERT INTO messages (id, conversation, tenant, issuer, subject, turn, parent, sequence, role, content,
                                   status, metadata, created_at)
             SELECT $8, $2, $3, $4, $5, $1, $9, $7, 'assistant', $10, $11, $12, $6 WHERE $13;
             UPDATE messages SET content = $10, metadata = $12, created_at = $6
              WHERE id = $8 AND NOT $13 AND $10 IS NOT NULL;
             UPDATE messages SET status = $11 WHERE id IN ($8, $9) AND status <> $11;
             UPDATE turns SET status = $14, reply = $8, finish = $15, input_tokens = $16, output_tokens = $17,
                    cached_tokens = $18, response = $19, problem = $20, ended_at = $6
              WHERE id = $1;",
            enqueue!("$1", "$2", "$3", "$4", "$5", "$6", "$21"),
            charge!("$22", "$6", "$23", "$24"),
            "SELECT ", message_columns!("m"), " FROM messages m WHERE m.id = $8"
        ))
        .bind(self.turn.as_uuid())
        .bind(self.conversation.as_uuid())
        .bind(&self.owner.tenant)
        .bind(&self.owner.issuer)
        .bind(&self.owner.subject)
        .bind(scene.now)
        .bind(scene.last_sequence.saturating_add(i64::from(append)))
        .bind(reply)
        .bind(scene.said)
        .bind(self.reply.map(|reply| &reply.content))
        .bind(self.messages)
        .bind(self.reply.map(|reply| reply.metadata.to_string()))
        .bind(append)
        .bind(self.status.as_str())
        .bind(self.finish)
        .bind(self.usage.map(|usage| signed(usage.input_tokens)))
        .bind(self.usage.map(|usage| signed(usage.output_tokens)))
        .bind(self.usage.map(|usage| signed(usage.cached_tokens)))
        .bind(self.response.map(Value::to_string))
        .bind(self.problem.map(Value::to_string))
        .bind(jobs_text(self.jobs))
        .bind(self.charge.map_or(Value::Array(Vec::new()), |charge| charge.accounts.as_slice().into()).to_string())
        .bind(self.charge.map(|charge| signed(charge.usage.input_tokens)))
        .bind(self.charge.map(|charge| signed(charge.usage.output_tokens)))
        .fetch_all(connection)
        .await?;
        Ok(rows)
    }
}
