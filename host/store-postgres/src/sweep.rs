//! Removes expired rows, and the rows of deleted conversations. Several hosts may sweep at the same time: each passes over
//! what another one removes.

use masque_store::StoreError;

use crate::columns::unsigned;
use crate::deletion::{RemovalBudget, remove_some};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// How long a deleted or expired key of a plugin keeps its version, in milliseconds: longer than any call that could
/// have read it.
const VERSION_KEPT: i64 = 24 * 60 * 60 * 1000;

/// How long a ticket is kept after it has ended, in milliseconds. Only conversations that nobody writes to have such tickets.
const TICKET_KEPT: i64 = 60 * 1000;

/// Days that the newest report of a host is kept: longer than any report is repeated.
const REPORT_DAYS: i64 = 7;

/// Removes what is past its time, of each kind in a transaction of its own, so that rows of one kind that can't be removed
/// keep no others. Returns how many rows.
pub(crate) async fn sweep(store: &PostgresStore) -> Result<u64, StoreError> {
    let budget = RemovalBudget::of_one_sweep();
    let state = |is_absent: bool, kept: i64| {
        Statement::new("SELECT masque_sweep_state_v1($1, $2, $3, $4)")
            .bind(is_absent)
            .bind(kept)
            .bind(budget.rows)
            .bind(budget.bytes)
    };
    let keys = Statement::new(
        "WITH gone AS (
            DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM idempotency_keys WHERE expires_at <= (SELECT masque_now_v1())
                 ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING 1)
         SELECT count(*) FROM gone",
    )
    .bind(budget.rows);
    let tickets = Statement::new(
        "WITH gone AS (
            DELETE FROM tickets WHERE turn = ANY (ARRAY(
                SELECT turn FROM tickets WHERE ends_at <= (SELECT masque_now_v1()) - $1
                 LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING 1)
         SELECT count(*) FROM gone",
    )
    .bind(TICKET_KEPT)
    .bind(budget.rows);
    let blocks = Statement::new(
        "WITH gone AS (
            DELETE FROM spending_blocks WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM spending_blocks WHERE day < (SELECT masque_now_v1()) / 86400000
                 ORDER BY day LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING 1)
         SELECT count(*) FROM gone",
    )
    .bind(budget.rows);
    let reports = Statement::new(
        "WITH gone AS (
            DELETE FROM spending_reports WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM spending_reports WHERE reported_at < (SELECT masque_now_v1()) - $1 * 86400000
                 LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING 1)
         SELECT count(*) FROM gone",
    )
    .bind(REPORT_DAYS)
    .bind(budget.rows);

    let mut removed = 0;
    let mut failure = None;
    for statement in [keys, tickets, state(false, 0), state(true, VERSION_KEPT), blocks, reports] {
        match store.write_first(statement, |row| unsigned(get(row, 0)?)).await {
            Ok(rows) => removed += rows.unwrap_or_default(),
            Err(error) => failure = Some(error),
        }
    }
    match remove_some(store).await {
        Ok(rows) => removed += rows,
        Err(error) => failure = Some(error),
    }
    match failure {
        Some(error) if removed == 0 => Err(error),
        // The failure shows again when nothing else is left to remove.
        _ => Ok(removed),
    }
}
