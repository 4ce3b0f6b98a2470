//! Ends a turn as completed, interrupted or failed: one call of `masque_end_v1`.

use masque_store::{
    Commit, ConversationId, Ending, Failed, Interruption, MessageRecord, NewJob, NewMessage, Owner,
    StoreError, StoredResponse, TurnId, TurnStatus, UsageRecord, Waiter,
};
use serde_json::Value;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::signed;
use crate::error::{DatabaseError, Result};
use crate::job_rows::kind;
use crate::messages::message_saying;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// The end of a turn, for all three statuses.
pub(crate) struct End {
    owner: Owner,
    conversation: ConversationId,
    turn: TurnId,
    epoch: i64,
    status: TurnStatus,
    reply: Option<NewMessage>,
    finish: Option<String>,
    usage: Option<UsageRecord>,
    response: Option<StoredResponse>,
    problem: Option<Value>,
    jobs: Vec<NewJob>,
}

impl From<Commit> for End {
    fn from(commit: Commit) -> Self {
        let response = StoredResponse::without_text(commit.response, &commit.reply.content);
        Self {
            owner: commit.owner,
            conversation: commit.conversation,
            turn: commit.turn,
            epoch: commit.epoch,
            status: TurnStatus::Completed,
            reply: Some(commit.reply),
            finish: Some(commit.finish),
            usage: Some(commit.usage),
            response: Some(response),
            problem: None,
            jobs: commit.jobs,
        }
    }
}

impl From<Interruption> for End {
    fn from(interruption: Interruption) -> Self {
        Self {
            owner: interruption.owner,
            conversation: interruption.conversation,
            turn: interruption.turn,
            epoch: interruption.epoch,
            status: TurnStatus::Interrupted,
            reply: interruption.reply.filter(|reply| !reply.content.is_empty()),
            finish: Some("interrupted".into()),
            usage: Some(interruption.usage),
            response: None,
            problem: None,
            jobs: interruption.jobs,
        }
    }
}

impl From<Failed> for End {
    fn from(failed: Failed) -> Self {
        Self {
            owner: failed.owner,
            conversation: failed.conversation,
            turn: failed.turn,
            epoch: failed.epoch,
            status: TurnStatus::Failed,
            reply: None,
            finish: None,
            usage: None,
            response: None,
            problem: Some(failed.problem),
            jobs: Vec::new(),
        }
    }
}

impl End {
    /// Writes the end. The answer is on disk.
    pub(crate) async fn write(self, store: &PostgresStore) -> std::result::Result<Ending, StoreError> {
        let ended = store.write(self.statement()).await?;
        match ended.first() {
            None => Ok(Ending::LeaseLost),
            Some(row) => self.done(row).map_err(DatabaseError::of_read),
        }
    }

    fn done(&self, row: &PgRow) -> Result<Ending> {
        let host = get::<Option<Uuid>, _>(row, "next_host")?;
        let turn = get::<Option<Uuid>, _>(row, "next_turn")?.map(TurnId::from);
        let next = host.zip(turn).map(|(host, turn)| Waiter { host, turn });
        Ok(Ending::Done { reply: self.kept_reply(row)?, next })
    }

    fn statement(&self) -> Statement {
        let usage = |count: fn(&UsageRecord) -> u64| self.usage.as_ref().map(|usage| signed(count(usage)));
        let response = self.response.as_ref();
        Statement::new(
            "SELECT * FROM masque_end_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                                         $19, $20, $21, $22)",
        )
        .bind(&*self.owner.tenant)
        .bind(&*self.owner.issuer)
        .bind(&*self.owner.subject)
        .bind(self.conversation.as_uuid())
        .bind(self.turn.as_uuid())
        .bind(self.epoch)
        .bind(self.status.as_str())
        .bind(self.reply.as_ref().map(|reply| reply.id.as_uuid()))
        .bind(self.reply.as_ref().map(|reply| &*reply.content))
        .bind(self.reply.as_ref().map(|reply| reply.metadata.to_string()))
        .bind(self.finish.as_deref())
        .bind(usage(|usage| usage.input_tokens))
        .bind(usage(|usage| usage.output_tokens))
        .bind(usage(|usage| usage.cached_tokens))
        .bind(self.usage.map(|usage| usage.estimated))
        .bind(response.map(|stored| stored.response.to_string()))
        .bind(response.and_then(|stored| stored.text_at.as_deref()))
        .bind(self.problem.as_ref().map(Value::to_string))
        .bind(self.jobs.iter().map(|job| job.id.as_uuid()).collect::<Vec<Uuid>>())
        .bind(self.jobs.iter().map(|job| &*job.plugin).collect::<Vec<&str>>())
        .bind(self.jobs.iter().map(|job| kind(job.ability)).collect::<Vec<&str>>())
        .bind(self.jobs.iter().map(|job| &*job.payload).collect::<Vec<&str>>())
    }

    /// The reply that is kept. What was sent now is not sent back.
    fn kept_reply(&self, row: &PgRow) -> Result<Option<MessageRecord>> {
        if get::<Option<Uuid>, _>(row, "id")?.is_none() {
            return Ok(None);
        }
        let stored: Option<String> = get(row, "text")?;
        let metadata: Option<&str> = get(row, "metadata")?;
        match (stored, metadata, &self.reply) {
            (Some(text), Some(metadata), _) => message_saying(row, text, metadata).map(Some),
            (_, _, Some(sent)) => {
                let reply = message_saying(row, sent.content.clone(), "null")?;
                Ok(Some(MessageRecord { metadata: sent.metadata.clone(), ..reply }))
            }
            _ => Err(StoreError::Corrupt("a reply that is kept has no text".into()).into()),
        }
    }
}
