//! Removes the rows of deleted conversations in batches, one conversation in a transaction.

use masque_store::{ConversationId, StoreError};
use uuid::Uuid;

use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// What one transaction may remove. It is bounded because it holds locks and connections that turns need, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemovalBudget {
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

impl RemovalBudget {
    /// The budget of one sweep.
    pub(crate) fn of_one_sweep() -> Self {
        Self { rows: 256, bytes: 1 << 20 }
    }

    fn is_spent(&self) -> bool {
        self.rows <= 0 || self.bytes <= 0
    }
}

/// The result of one batch.
struct RemovedBatch {
    rows: i64,
    left: RemovalBudget,
    /// Whether the conversation is gone.
    is_finished: bool,
}

/// Removes rows of deleted conversations, those deleted first before others. Returns how many rows.
pub(crate) async fn remove_some(store: &PostgresStore) -> Result<u64, StoreError> {
    let (mut removed, mut budget) = (0, RemovalBudget::of_one_sweep());
    while !budget.is_spent()
        && let Some(batch) = remove_batch(store, None, budget).await?
    {
        removed += u64::try_from(batch.rows).unwrap_or_default();
        budget = batch.left;
    }
    Ok(removed)
}

/// Removes a deleted conversation whose id is needed again, for example by a restored backup. Returns whether it is gone; a
/// long one is left to the sweep.
pub(crate) async fn finish_removal(store: &PostgresStore, id: ConversationId) -> Result<bool, StoreError> {
    let batch = remove_batch(store, Some(id.as_uuid()), RemovalBudget::of_one_sweep()).await?;
    Ok(batch.is_some_and(|batch| batch.is_finished))
}

async fn remove_batch(
    store: &PostgresStore,
    conversation: Option<Uuid>,
    budget: RemovalBudget,
) -> Result<Option<RemovedBatch>, StoreError> {
    let statement = Statement::new("SELECT * FROM masque_remove_conversation_v1($1, $2, $3)")
        .bind(conversation)
        .bind(budget.rows)
        .bind(budget.bytes);
    store
        .write_first(statement, |row| {
            Ok(RemovedBatch {
                rows: get(row, 0)?,
                left: RemovalBudget { rows: get(row, 1)?, bytes: get(row, 2)? },
                is_finished: get(row, 3)?,
            })
        })
        .await
}
