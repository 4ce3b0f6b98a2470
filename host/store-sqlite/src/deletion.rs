//! Deleting conversations: marked at once, removed in batches.

use masque_store::{ConversationId, ErasedRows, Owner, StoreError};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::{lease_clock, now};
use crate::error::Result;
use crate::job_rows::{advance, remove_head};
use crate::operation::{Operation, without_panic};
use crate::query::{all_rows, execute, first_row};
use crate::users;

/// What one transaction may remove. It is bounded because turns wait for it.
#[derive(Debug)]
pub(crate) struct RemovalBudget {
    rows: usize,
    bytes: usize,
}

impl RemovalBudget {
    /// The budget of one transaction. A row takes some 20 µs. Of bytes each page is overwritten and logged
    /// (`secure_delete`), which takes longer than removing the row.
    pub(crate) fn of_one_transaction() -> Self {
        Self { rows: 256, bytes: 1 << 20 }
    }

    /// How many rows may still be removed, as the limit of a query.
    pub(crate) fn rows(&self) -> i64 {
        i64::try_from(self.rows).unwrap_or(i64::MAX)
    }

    /// Whether a row of this size may be removed now. A row that is larger than a whole budget is removed by itself.
    fn take(&mut self, bytes: i64) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(0);
        let fits = self.rows > 0 && self.bytes > 0;
        if fits {
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        fits
    }

    /// Takes rows that one statement has removed together.
    pub(crate) fn take_rows(&mut self, rows: usize) {
        self.rows = self.rows.saturating_sub(rows);
    }

    /// Runs `statement` for each row, named by its id and size, until the budget is spent. Returns how many rows it changed.
    pub(crate) fn spend(
        &mut self,
        connection: &Connection,
        statement: &'static str,
        rows: Vec<(i64, i64)>,
    ) -> Result<usize> {
        let mut changed = 0;
        for (row, bytes) in rows {
            if !self.take(bytes) {
                break;
            }
            changed += execute(connection, statement, [row])?;
        }
        Ok(changed)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}

/// Marks a conversation deleted.
pub(crate) struct DeleteConversation {
    pub(crate) owner: Owner,
    pub(crate) id: ConversationId,
}

impl Operation for DeleteConversation {
    type Answer = bool;

    fn run(self, connection: &Connection) -> Result<bool> {
        let Some(user) = users::find(connection, &self.owner)? else { return Ok(false) };
        mark_deleted(connection, self.id.as_uuid(), user, now())
    }
}

/// Marks a conversation of a user deleted; false if there is none. Its lease goes with it, so that a running turn can't end,
/// and so do its jobs at the head of a queue, at most one for each plugin. The sweep removes the rest: readers and later
/// operations check `deleted_at`.
pub(crate) fn mark_deleted(connection: &Connection, id: Uuid, user: Uuid, now: i64) -> Result<bool> {
    let marked = execute(
        connection,
        "UPDATE conversations SET deleted_at = ?3 WHERE id = ?1 AND user = ?2 AND deleted_at IS NULL",
        (id, user, now),
    )?;
    if marked == 0 {
        return Ok(false);
    }
    execute(connection, "DELETE FROM leases WHERE conversation = ?1", [id])?;
    let heads = all_rows(
        connection,
        "SELECT number, queue FROM jobs WHERE conversation = ?1 AND due_at > 0",
        [id],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )?;
    for (number, queue) in heads {
        remove_head(connection, number, &queue, lease_clock())?;
    }
    Ok(true)
}

/// Removes rows of deleted conversations, those deleted first before others. Returns how many rows.
///
/// A conversation that can't be removed keeps no other from being removed: what was done of it is undone, and it is tried
/// again after all others.
pub(crate) fn remove_some(connection: &Connection, budget: &mut RemovalBudget) -> Result<usize> {
    let (mut removed, mut failed) = (0, Vec::new());
    while !budget.is_spent() {
        let next = first_row(
            connection,
            "SELECT id FROM conversations WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1",
            [],
            |row| Ok(row.get::<_, Uuid>(0)?),
        )?;
        // Only conversations that failed are left once one of them comes first again.
        let Some(conversation) = next.filter(|next| !failed.contains(next)) else { break };
        match in_savepoint(connection, || remove_batch(connection, conversation, budget))? {
            Ok(batch) => removed += batch.total(),
            Err(error) => {
                tracing::error!(%conversation, %error, "a deleted conversation can't be removed; it is tried again later");
                put_last(connection, conversation)?;
                // A failure before the first row counts too, so that failures are bounded as rows are.
                budget.take(0);
                failed.push(conversation);
            }
        }
    }
    Ok(removed)
}

/// Runs `work` in a savepoint. The inner error is one that concerns the rows of this conversation alone (a rule that is
/// broken, a row that can't be read, a panic); what the work wrote is undone.
///
/// # Errors
/// The outer error concerns the whole database, such as a full disk. Trying other conversations would fail too.
fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce() -> Result<T>,
) -> Result<std::result::Result<T, StoreError>> {
    execute(connection, "SAVEPOINT conversation", [])?;
    let result = without_panic(work).map_err(StoreError::from);
    if let Err(error) = &result {
        let is_of_rows =
            matches!(error, StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::Internal(_));
        if !is_of_rows || connection.is_autocommit() {
            return Err(error.clone().into());
        }
        execute(connection, "ROLLBACK TO conversation", [])?;
    }
    execute(connection, "RELEASE conversation", [])?;
    Ok(result)
}

/// Puts a deleted conversation behind all others that are to be removed, whatever the clock says.
fn put_last(connection: &Connection, conversation: Uuid) -> Result<()> {
    execute(
        connection,
        "UPDATE conversations
            SET deleted_at = 1 + (SELECT max(deleted_at) FROM conversations WHERE deleted_at IS NOT NULL)
          WHERE id = ?1",
        [conversation],
    )?;
    Ok(())
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
    let mut budget = RemovalBudget::of_one_transaction();
    Ok(is_deleted.is_some() && remove_batch(connection, id.as_uuid(), &mut budget)?.is_finished)
}

/// The result of one batch.
pub(crate) struct RemovedBatch {
    pub(crate) rows: ErasedRows,
    /// Whether the conversation is gone.
    is_finished: bool,
}

impl RemovedBatch {
    /// The rows that count against a budget: turns and idempotency keys go with their messages.
    fn total(&self) -> usize {
        let ErasedRows { conversations, messages, jobs, state_values, .. } = self.rows;
        usize::try_from(conversations + messages + jobs + state_values).unwrap_or(usize::MAX)
    }
}

/// Removes rows of a conversation that is marked deleted, and the conversation itself if they were the last.
pub(crate) fn remove_batch(
    connection: &Connection,
    conversation: Uuid,
    budget: &mut RemovalBudget,
) -> Result<RemovedBatch> {
    let mut rows = remove_messages(connection, conversation, budget)?;
    rows.jobs = remove_jobs(connection, conversation, budget)? as u64;
    rows.state_values = remove_state(connection, conversation, budget)? as u64;
    // A budget that is not spent ran out of rows to remove.
    let is_finished = !budget.is_spent();
    if is_finished {
        rows.conversations =
            execute(connection, "DELETE FROM conversations WHERE id = ?1", [conversation])? as u64;
        budget.take(0);
    }
    Ok(RemovedBatch { rows, is_finished })
}

/// Removes messages with their turns and the idempotency keys of these.
fn remove_messages(
    connection: &Connection,
    conversation: Uuid,
    budget: &mut RemovalBudget,
) -> Result<ErasedRows> {
    let messages = all_rows(
        connection,
        "SELECT sequence, turn, octet_length(text) + coalesce(octet_length(content), 0) + octet_length(metadata)
           FROM messages WHERE conversation = ?1 ORDER BY sequence LIMIT ?2",
        (conversation, budget.rows()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Uuid>>(1)?, row.get::<_, i64>(2)?)),
    )?;
    let mut removed = ErasedRows::default();
    for (sequence, turn, bytes) in messages {
        if !budget.take(bytes) {
            break;
        }
        if let Some(turn) = turn {
            remove_turn(connection, turn, &mut removed)?;
        }
        removed.messages += execute(
            connection,
            "DELETE FROM messages WHERE conversation = ?1 AND sequence = ?2",
            (conversation, sequence),
        )? as u64;
    }
    Ok(removed)
}

fn remove_turn(connection: &Connection, turn: Uuid, removed: &mut ErasedRows) -> Result<()> {
    let key_expires_at =
        first_row(connection, "DELETE FROM turns WHERE id = ?1 RETURNING key_expires_at", [turn], |row| {
            Ok(row.get::<_, Option<i64>>(0)?)
        })?;
    removed.turns += u64::from(key_expires_at.is_some());
    if let Some(Some(expires_at)) = key_expires_at {
        removed.idempotency_keys += execute(
            connection,
            "DELETE FROM idempotency_keys WHERE expires_at = ?1 AND turn = ?2",
            (expires_at, turn),
        )? as u64;
    }
    Ok(())
}

fn remove_jobs(connection: &Connection, conversation: Uuid, budget: &mut RemovalBudget) -> Result<usize> {
    let now = lease_clock();
    let jobs = all_rows(
        connection,
        "SELECT number, queue, due_at IS NOT NULL, octet_length(payload) FROM jobs WHERE conversation = ?1 LIMIT ?2",
        (conversation, budget.rows()),
        |row| {
            let (number, queue) = (row.get::<_, i64>(0)?, row.get::<_, String>(1)?);
            Ok((number, queue, row.get::<_, bool>(2)?, row.get::<_, i64>(3)?))
        },
    )?;
    let (mut removed, mut without_head) = (0, Vec::new());
    for (number, queue, is_head, bytes) in jobs {
        if !budget.take(bytes) {
            break;
        }
        removed += execute(connection, "DELETE FROM jobs WHERE number = ?1", [number])?;
        without_head.extend(is_head.then_some(queue));
    }
    // Only now, so that no job that is removed here becomes the head.
    for queue in without_head {
        advance(connection, &queue, now)?;
    }
    Ok(removed)
}

fn remove_state(connection: &Connection, conversation: Uuid, budget: &mut RemovalBudget) -> Result<usize> {
    let values = all_rows(
        connection,
        "SELECT rowid, coalesce(octet_length(value), 0) FROM state
          WHERE owner = ?1 AND scope = 'conversation' LIMIT ?2",
        (conversation, budget.rows()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    budget.spend(connection, "DELETE FROM state WHERE rowid = ?1", values)
}
