//! Erasing a user: fenced at once, removed in batches.

use masque_store::{
    AuditEntry, CheckTexts as _, ConversationId, ErasedName, ErasedRows, Erasure, ErasureRequest, Owner,
    StoreError, TurnId, user_account,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::audit_rows::insert_entry;
use crate::columns::now;
use crate::deletion::{RemovalBudget, remove_batch};
use crate::erasure_rows::{account, add_rows, forget_account, insert, load};
use crate::error::Result;
use crate::job_rows::queues_of;
use crate::leases::interrupt;
use crate::operation::Operation;
use crate::query::{all_rows, execute, first_row};
use crate::users;

/// Begins to erase a user.
pub(crate) struct BeginErasure(pub(crate) ErasureRequest);

impl Operation for BeginErasure {
    type Answer = Erasure;

    fn run(self, connection: &Connection) -> Result<Erasure> {
        let request = self.0;
        request.check_texts()?;
        let user = users::find_or_create(connection, &request.owner)?;
        insert_entry(connection, &request.entry)?;
        fence(connection, request.receipt, user, &request.owner, request.name)
    }
}

/// Fences a surrogate id: it loses its name, its running turns their leases, and the heads of its queues are removed, so
/// that no host runs a job of it. Days of spending, which are named by the identity, go at once. What is left is named by
/// the id alone. Grows with the turns and jobs of the user that run, and with the days of spending, which are all bounded.
pub(crate) fn fence(
    connection: &Connection,
    receipt: Uuid,
    user: Uuid,
    owner: &Owner,
    name: ErasedName,
) -> Result<Erasure> {
    let (now, account) = (now(), user_account(owner));
    let mut erasure =
        Erasure { receipt, user, name, begun_at: now, done_at: None, rows: ErasedRows::default() };
    users::remove_name(connection, user)?;
    insert(connection, &erasure, &account)?;
    let running = all_rows(
        connection,
        "SELECT l.conversation, l.turn FROM leases l INDEXED BY leases_held JOIN conversations c ON c.id = l.conversation
          WHERE l.turn IS NOT NULL AND c.user = ?1",
        [user],
        |row| Ok((row.get::<_, Uuid>(0)?, TurnId::from(row.get::<_, Uuid>(1)?))),
    )?;
    for (conversation, turn) in running {
        interrupt(connection, turn, now)?;
        execute(
            connection,
            "UPDATE leases SET turn = NULL, host = NULL, ends_at = NULL WHERE conversation = ?1",
            [conversation],
        )?;
    }
    let (first, end) = queues_of(user);
    erasure.rows.jobs = execute(
        connection,
        "DELETE FROM jobs WHERE due_at IS NOT NULL AND queue >= ?1 AND queue < ?2",
        (first, end),
    )? as u64;
    erasure.rows.spending_days = remove_spending(connection, &account)?;
    add_rows(connection, receipt, &erasure.rows)?;
    Ok(erasure)
}

/// Removes an account's days of spending and the blocks that hosts hold of it. Returns how many days had tokens: a day whose
/// tokens were all taken back has a row, too.
fn remove_spending(connection: &Connection, account: &str) -> Result<u64> {
    let spent = "DELETE FROM spending WHERE account = ?1 AND (input_tokens > 0 OR output_tokens > 0)";
    let days = execute(connection, spent, [account])?;
    execute(connection, "DELETE FROM spending WHERE account = ?1", [account])?;
    execute(connection, "DELETE FROM spending_blocks WHERE account = ?1", [account])?;
    Ok(days as u64)
}

/// Removes rows of an erasure.
pub(crate) struct EraseSome(pub(crate) Uuid);

/// What a step of an erasure did.
#[derive(Default)]
pub(crate) struct Erased {
    /// Whether there may be more.
    pub(crate) has_more: bool,
    /// Conversations that are gone since.
    pub(crate) conversations: Vec<ConversationId>,
}

impl Operation for EraseSome {
    type Answer = Erased;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> Result<Erased> {
        let Some(erasure) = load(connection, self.0)?.filter(|erasure| erasure.done_at.is_none()) else {
            return Ok(Erased::default());
        };
        let mut erased = Erased::default();
        let mut budget = RemovalBudget::of_one_transaction();
        let mut rows =
            remove_conversations(connection, erasure.user, &mut budget, &mut erased.conversations)?;
        rows.jobs += remove_jobs(connection, erasure.user, &mut budget)?;
        rows.state_values += remove_state(connection, erasure.user, &mut budget)?;
        rows.idempotency_keys += remove_keys(connection, erasure.user, &mut budget)?;
        add_rows(connection, erasure.receipt, &rows)?;
        // A budget that is not spent ran out of rows to remove.
        erased.has_more = budget.is_spent();
        if erased.has_more {
            return Ok(erased);
        }
        // What hosts have reported since the beginning goes, and with it what the receipt knows of the name.
        if let Some(account) = account(connection, erasure.receipt)? {
            remove_spending(connection, &account)?;
            forget_account(connection, erasure.receipt)?;
        }
        Ok(erased)
    }
}

/// Removes conversations with all that belongs to them. Those that the user had deleted are among them. Adds the others to
/// `gone`.
fn remove_conversations(
    connection: &Connection,
    user: Uuid,
    budget: &mut RemovalBudget,
    gone: &mut Vec<ConversationId>,
) -> Result<ErasedRows> {
    let mut rows = ErasedRows::default();
    while !budget.is_spent() {
        let deleted = first_row(
            connection,
            "SELECT id FROM conversations INDEXED BY conversations_deleted_of_user
              WHERE user = ?1 AND deleted_at > 0 LIMIT 1",
            [user],
            |row| Ok(row.get::<_, Uuid>(0)?),
        )?;
        let next = match deleted {
            Some(deleted) => Some(deleted),
            None => {
                let marked = mark_one(connection, user)?;
                gone.extend(marked.map(ConversationId::from));
                marked
            }
        };
        let Some(conversation) = next else { break };
        let batch = remove_batch(connection, conversation, budget)?.rows;
        rows.conversations += batch.conversations;
        rows.messages += batch.messages;
        rows.turns += batch.turns;
        rows.idempotency_keys += batch.idempotency_keys;
        rows.jobs += batch.jobs;
        rows.state_values += batch.state_values;
    }
    Ok(rows)
}

/// Marks one conversation deleted, as its deletion by the user does.
fn mark_one(connection: &Connection, user: Uuid) -> Result<Option<Uuid>> {
    let next = first_row(
        connection,
        "SELECT id FROM conversations INDEXED BY conversations_of_user WHERE user = ?1 AND deleted_at IS NULL LIMIT 1",
        [user],
        |row| Ok(row.get::<_, Uuid>(0)?),
    )?;
    if let Some(conversation) = next {
        execute(connection, "UPDATE conversations SET deleted_at = ?2 WHERE id = ?1", (conversation, now()))?;
        execute(connection, "DELETE FROM leases WHERE conversation = ?1", [conversation])?;
    }
    Ok(next)
}

/// Removes jobs that belong to no conversation any more.
fn remove_jobs(connection: &Connection, user: Uuid, budget: &mut RemovalBudget) -> Result<u64> {
    let (first, end) = queues_of(user);
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let mut jobs = all_rows(
        connection,
        "SELECT number, octet_length(payload) FROM jobs
          WHERE queue >= ?1 AND queue < ?2 AND status <> 'parked' LIMIT ?3",
        (first, end, budget.rows()),
        row,
    )?;
    // Parked jobs are kept for a bounded time, so they are few.
    jobs.extend(all_rows(
        connection,
        "SELECT number, octet_length(payload) FROM jobs WHERE status = 'parked' AND user = ?1 LIMIT ?2",
        (user, budget.rows()),
        row,
    )?);
    Ok(budget.spend(connection, "DELETE FROM jobs WHERE number = ?1", jobs)? as u64)
}

/// Removes what plugins keep for the user.
fn remove_state(connection: &Connection, user: Uuid, budget: &mut RemovalBudget) -> Result<u64> {
    let values = all_rows(
        connection,
        "SELECT rowid, coalesce(octet_length(value), 0) FROM state WHERE owner = ?1 AND scope = 'user' LIMIT ?2",
        (user, budget.rows()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    Ok(budget.spend(connection, "DELETE FROM state WHERE rowid = ?1", values)? as u64)
}

/// Removes idempotency keys that were left by other turns.
fn remove_keys(connection: &Connection, user: Uuid, budget: &mut RemovalBudget) -> Result<u64> {
    if budget.is_spent() {
        return Ok(0);
    }
    let removed = execute(
        connection,
        "DELETE FROM idempotency_keys WHERE (expires_at, turn) IN
            (SELECT expires_at, turn FROM idempotency_keys WHERE user = ?1 LIMIT ?2)",
        (user, budget.rows()),
    )?;
    budget.take_rows(removed);
    Ok(removed as u64)
}

/// Completes an erasure whose rows are removed.
pub(crate) struct FinishErasure {
    pub(crate) receipt: Uuid,
    pub(crate) entry: AuditEntry,
}

impl Operation for FinishErasure {
    type Answer = Option<Erasure>;

    fn run(self, connection: &Connection) -> Result<Option<Erasure>> {
        let Some(erasure) = load(connection, self.receipt)?.filter(|erasure| erasure.done_at.is_none())
        else {
            return Ok(None);
        };
        insert_entry(connection, &self.entry)?;
        finish(connection, erasure).map(Some)
    }
}

/// Removes the user's own row and completes the receipt.
pub(crate) fn finish(connection: &Connection, erasure: Erasure) -> Result<Erasure> {
    let left = first_row(
        connection,
        "SELECT 1 FROM conversations WHERE user = ?1
          UNION ALL SELECT 1 FROM state WHERE owner = ?1
          UNION ALL SELECT 1 FROM idempotency_keys WHERE user = ?1
          UNION ALL SELECT 1 FROM erasures WHERE user = ?1 AND account IS NOT NULL LIMIT 1",
        [erasure.user],
        |_row| Ok(()),
    )?;
    if left.is_some() {
        return Err(StoreError::Refused("the erasure has rows left to remove".into()).into());
    }
    execute(connection, "DELETE FROM users WHERE id = ?1", [erasure.user])?;
    let done_at = now();
    execute(connection, "UPDATE erasures SET done_at = ?2 WHERE id = ?1", (erasure.receipt, done_at))?;
    Ok(Erasure { done_at: Some(done_at), ..erasure })
}
