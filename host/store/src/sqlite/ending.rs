//! Ending a turn: whole, cut short, or with nothing. One path for the three, since the rules are the same: the epoch
//! must be the turn's own, the lease is freed, a repetition is answered and not done again.

use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use super::fault::Fault;
use super::jobs::{enqueue, jobs_text};
use super::rows::{message, message_columns, now, signed};
use super::spending::charge;
use super::writer::{Operation, Session, Verdict};
use crate::{
    Charge, Commit, ConversationId, Ending, Failed, Interruption, NewJob, NewMessage, Owner, TurnId,
    TurnStatus, UsageRecord,
};

impl Operation for Commit {
    type Answer = Ending;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Ending>, Fault> {
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
        end.write(session).await
    }
}

impl Operation for Interruption {
    type Answer = Ending;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Ending>, Fault> {
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
        end.write(session).await
    }
}

impl Operation for Failed {
    type Answer = Ending;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Ending>, Fault> {
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
        end.write(session).await
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

/// Of the turn `t`, where it runs and the epoch is its own. A turn that runs under its own epoch holds the conversation's
/// lease: whoever takes that ends it first.
macro_rules! is_mine {
    () => {
        "t.id = $1 AND t.conversation = $2 AND t.tenant = $3 AND t.issuer = $4 AND t.subject = $5 AND t.epoch = $6"
    };
}

/// The array of this argument, if the turn is ended just now.
macro_rules! if_ended {
    ($array:literal) => {
        concat!(
            "iif(EXISTS (SELECT 1 FROM turns t WHERE ",
            is_mine!(),
            " AND t.status = 'running'), ",
            $array,
            ", '[]')"
        )
    };
}

/// When it ends: one time for all of it, as the conversation has it by then.
macro_rules! ended_at {
    () => {
        "(SELECT updated_at FROM conversations WHERE id = $2)"
    };
}

/// Frees the lease, stores everything and returns the turn with its reply as it is then, in one text: each of its
/// statements does something only while the turn runs under its own epoch, and the last of them ends it. So nothing is
/// written by one whose lease was lost, and a repetition finds what the first one wrote.
///
/// What an earlier attempt left of a reply is replaced where it stands: beside its question, also when the conversation
/// has gone on since. It keeps its id, which later messages may name as their parent. With a failed question goes its
/// fragment: the past of a failed turn is not told again.
const END: &str = concat!(
    "UPDATE conversations AS c
        SET lease_turn = NULL, lease_host = NULL, lease_ends = NULL, updated_at = ",
    now!(),
    ", last_sequence = c.last_sequence + (t.reply IS NULL AND $7 IS NOT NULL)
       FROM turns t WHERE c.id = $2 AND ",
    is_mine!(),
    " AND t.status = 'running';
     INSERT INTO messages (id, conversation, tenant, issuer, subject, turn, parent, sequence, role, content, status,
                           metadata, created_at)
     SELECT $7, $2, $3, $4, $5, $1, t.message, c.last_sequence, 'assistant', $8, $9, $10, c.updated_at
       FROM turns t JOIN conversations c ON c.id = t.conversation
      WHERE ",
    is_mine!(),
    " AND t.status = 'running' AND t.reply IS NULL AND $7 IS NOT NULL;
     UPDATE messages SET content = $8, metadata = $10, created_at = ",
    ended_at!(),
    " WHERE $7 IS NOT NULL AND id = (SELECT t.reply FROM turns t WHERE ",
    is_mine!(),
    " AND t.status = 'running');
     UPDATE messages SET status = $9
      WHERE status <> $9 AND id IN (SELECT t.message FROM turns t WHERE ",
    is_mine!(),
    " AND t.status = 'running' UNION ALL SELECT t.reply FROM turns t WHERE ",
    is_mine!(),
    " AND t.status = 'running');",
    enqueue!("$1", "$2", "$3", "$4", "$5", ended_at!(), if_ended!("$11")),
    charge!(if_ended!("$12"), ended_at!(), "$13", "$14"),
    "UPDATE turns AS t
        SET status = $15, reply = coalesce(t.reply, $7), finish = $16, input_tokens = $17, output_tokens = $18,
            cached_tokens = $19, response = $20, problem = $21, ended_at = ",
    ended_at!(),
    " WHERE ",
    is_mine!(),
    " AND t.status = 'running';
     SELECT ",
    message_columns!("m"),
    " FROM turns t LEFT JOIN messages m ON m.id = t.reply WHERE ",
    is_mine!(),
    " AND t.status = $15"
);

impl End<'_> {
    async fn write(&self, session: Session<'_>) -> Result<Verdict<Ending>, Fault> {
        let (end, connection) = session.open_with(END);
        let accounts = self.charge.map_or(&[][..], |charge| charge.accounts.as_slice());
        let rows = sqlx::query(end)
            .bind(self.turn.as_uuid())
            .bind(self.conversation.as_uuid())
            .bind(&self.owner.tenant)
            .bind(&self.owner.issuer)
            .bind(&self.owner.subject)
            .bind(self.epoch)
            .bind(self.reply.map(|reply| reply.id.as_uuid()))
            .bind(self.reply.map(|reply| &reply.content))
            .bind(self.messages)
            .bind(self.reply.map(|reply| reply.metadata.to_string()))
            .bind(jobs_text(self.jobs))
            .bind(Value::from(accounts).to_string())
            .bind(self.charge.map(|charge| signed(charge.usage.input_tokens)))
            .bind(self.charge.map(|charge| signed(charge.usage.output_tokens)))
            .bind(self.status.as_str())
            .bind(self.finish)
            .bind(self.usage.map(|usage| signed(usage.input_tokens)))
            .bind(self.usage.map(|usage| signed(usage.output_tokens)))
            .bind(self.usage.map(|usage| signed(usage.cached_tokens)))
            .bind(self.response.map(Value::to_string))
            .bind(self.problem.map(Value::to_string))
            .fetch_all(connection)
            .await?;
        let Some(turn) = rows.first() else { return Ok(Verdict::Keep(Ending::LeaseLost)) };
        let reply = match turn.try_get::<Option<Uuid>, _>(0)? {
            Some(_) => Some(message(turn)?),
            None => None,
        };
        Ok(Verdict::Keep(Ending::Done { reply }))
    }
}
