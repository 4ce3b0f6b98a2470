//! Deleting conversations: marked at once, removed in batches.

use masque_store::{ConversationId, Owner};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::now;
use crate::error::Result;
use crate::job_rows::{advance, remove_head};
use crate::operation::Operation;
use crate::query::{all_rows, execute, first_row};
use crate::users;

/// How many rows of one kind are removed in one transaction. It is bounded because turns wait for it.
pub(crate) const BATCH: usize = 256;

/// Marks a conversation deleted. Its lease goes with it, so that a running turn can't end, and so do its jobs at the
/// head of a queue, at most one for each plugin. The sweep removes the rest: readers and later operations check
/// `deleted_at`.
pub(crate) struct DeleteConversation {
    pub(crate) owner: Owner,
    pub(crate) id: ConversationId,
}

impl Operation for DeleteConversation {
    type Answer = bool;

    fn run(self, connection: &Connection) -> Result<bool> {
        let now = now();
        let Some(user) = users::find(connection, &self.owner)? else { return Ok(false) };
        let marked = execute(
            connection,
            "UPDATE conversations SET deleted_at = ?3 WHERE id = ?1 AND user = ?2 AND deleted_at IS NULL",
            (self.id.as_uuid(), user, now),
        )?;
        if marked == 0 {
            return Ok(false);
        }
        execute(connection, "DELETE FROM leases WHERE conversation = ?1", [self.id.as_uuid()])?;
        let heads = all_rows(
            connection,
            "SELECT number, queue FROM jobs WHERE conversation = ?1 AND due_at > 0",
            [self.id.as_uuid()],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
        )?;
        for (number, queue) in heads {
            remove_head(connection, number, &queue, now)?;
        }
        Ok(true)
    }
}

/// Removes rows of deleted conversations, those deleted first before others. Returns how many rows.
pub(crate) fn remove_some(connection: &Connection) -> Result<usize> {
    let mut removed = 0;
    while removed < BATCH {
        let next = first_row(
            connection,
            "SELECT id FROM conversations WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1",
            [],
            |row| Ok(row.get::<_, Uuid>(0)?),
        )?;
        let Some(conversation) = next else { break };
        removed += remove_batch(connection, conversation)?.rows;
    }
    Ok(removed)
}

/// Removes a deleted conversation whose id is needed again, for example by a restored backup. Returns whether it is
/// gone; a long one is left to the sweep.
pub(crate) fn finish_removal(connection: &Connection, id: ConversationId) -> Result<bool> {
    let is_deleted = first_row(
        connection,
        "SELECT 1 FROM conversations WHERE id = ?1 AND deleted_at IS NOT NULL",
        [id.as_uuid()],
        |_row| Ok(()),
    )?;
    Ok(is_deleted.is_some() && remove_batch(connection, id.as_uuid())?.is_finished)
}

/// The result of one batch.
struct RemovedBatch {
    rows: usize,
    /// Whether the conversation is gone.
    is_finished: bool,
}

fn remove_batch(connection: &Connection, conversation: Uuid) -> Result<RemovedBatch> {
    let messages = remove_messages(connection, conversation)?;
    let jobs = remove_jobs(connection, conversation)?;
    let values = execute(
        connection,
        "DELETE FROM state WHERE rowid IN
            (SELECT rowid FROM state WHERE owner = ?1 AND scope = 'conversation' LIMIT ?2)",
        (conversation, BATCH as i64),
    )?;
    let mut rows = messages + jobs + values;
    let is_finished = [messages, jobs, values].iter().all(|removed| *removed < BATCH);
    if is_finished {
        rows += execute(connection, "DELETE FROM conversations WHERE id = ?1", [conversation])?;
    }
    Ok(RemovedBatch { rows, is_finished })
}

/// Removes messages with their turns and the idempotency keys of these.
fn remove_messages(connection: &Connection, conversation: Uuid) -> Result<usize> {
    let messages = all_rows(
        connection,
        "SELECT sequence, turn FROM messages WHERE conversation = ?1 ORDER BY sequence LIMIT ?2",
        (conversation, BATCH as i64),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Uuid>>(1)?)),
    )?;
    for (sequence, turn) in &messages {
        if let Some(turn) = turn {
            let key_expires_at = first_row(
                connection,
                "DELETE FROM turns WHERE id = ?1 RETURNING key_expires_at",
                [turn],
                |row| Ok(row.get::<_, Option<i64>>(0)?),
            )?;
            if let Some(Some(expires_at)) = key_expires_at {
                execute(
                    connection,
                    "DELETE FROM idempotency_keys WHERE expires_at = ?1 AND turn = ?2",
                    (expires_at, turn),
                )?;
            }
        }
        execute(
            connection,
            "DELETE FROM messages WHERE conversation = ?1 AND sequence = ?2",
            (conversation, sequence),
        )?;
    }
    Ok(messages.len())
}

fn remove_jobs(connection: &Connection, conversation: Uuid) -> Result<usize> {
    let now = now();
    let jobs = all_rows(
        connection,
        "SELECT number, queue, due_at IS NOT NULL FROM jobs WHERE conversation = ?1 LIMIT ?2",
        (conversation, BATCH as i64),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?)),
    )?;
    for (number, _, _) in &jobs {
        execute(connection, "DELETE FROM jobs WHERE number = ?1", [number])?;
    }
    for (_, queue, is_head) in &jobs {
        if *is_head {
            advance(connection, queue, now)?;
        }
    }
    Ok(jobs.len())
}
