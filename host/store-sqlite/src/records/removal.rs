//! Removing records in batches: of a user, of a conversation, of nobody any more, and beyond the bounds of age and size.

use masque_store::RecordBounds;
use rusqlite::{Connection, Params};
use uuid::Uuid;

use crate::columns::{now, signed, unsigned};
use crate::deletion::RemovalBudget;
use crate::error::Result;
use crate::query::{all_rows, first_row, one_row};

/// Conversations that are compared with the database in one transaction.
const COMPARED: usize = 1024;

/// Pages that are given back to the disk in one transaction: 8 MiB.
const RETURNED_PAGES: i64 = 2048;

/// Removes records of a user. Returns whether there may be more.
pub(crate) fn remove_of_user(records: &Connection, user: Uuid) -> Result<bool> {
    let mut budget = RemovalBudget::of_one_transaction();
    let sql = "SELECT number, octet_length(body) FROM turn_records WHERE user = ?1 LIMIT ?2";
    remove(records, &mut budget, sql, (user, RemovalBudget::of_one_transaction().rows()))?;
    Ok(budget.is_spent())
}

/// Whether a user has any record.
pub(crate) fn is_any_of_user(records: &Connection, user: Uuid) -> Result<bool> {
    let found =
        first_row(records, "SELECT 1 FROM turn_records WHERE user = ?1 LIMIT 1", [user], |_row| Ok(()))?;
    Ok(found.is_some())
}

/// Removes records of a conversation. Returns whether there may be more.
pub(crate) fn remove_of_conversation(records: &Connection, conversation: Uuid) -> Result<bool> {
    let mut budget = RemovalBudget::of_one_transaction();
    remove_some_of_conversation(records, conversation, &mut budget)?;
    Ok(budget.is_spent())
}

fn remove_some_of_conversation(
    records: &Connection,
    conversation: Uuid,
    budget: &mut RemovalBudget,
) -> Result<u64> {
    let sql = "SELECT number, octet_length(body) FROM turn_records WHERE conversation = ?1 LIMIT ?2";
    let limit = budget.rows();
    remove(records, budget, sql, (conversation, limit))
}

/// What a batch of the comparison with the database did.
pub(crate) struct Compared {
    /// Records that belonged to nobody and are removed.
    pub(crate) removed: u64,
    /// Where the next batch begins. `None`: there is nothing left to compare.
    pub(crate) next: Option<Uuid>,
}

/// Removes records whose conversation or user is gone from the database: of the conversations after one. There are such
/// records after a crash between a deletion and its end here, and after one of the two files was replaced.
pub(crate) fn compare(records: &Connection, database: &Connection, after: Uuid) -> Result<Compared> {
    let mut budget = RemovalBudget::of_one_transaction();
    let (mut removed, mut last) = (0, after);
    for _ in 0..COMPARED {
        let next = first_row(
            records,
            "SELECT conversation FROM turn_records WHERE conversation > ?1 ORDER BY conversation LIMIT 1",
            [last],
            |row| Ok(row.get::<_, Uuid>(0)?),
        )?;
        let Some(conversation) = next else { return Ok(Compared { removed, next: None }) };
        if !is_anybodys(database, conversation)? {
            removed += remove_some_of_conversation(records, conversation, &mut budget)?;
            if budget.is_spent() {
                return Ok(Compared { removed, next: Some(last) });
            }
        }
        last = conversation;
    }
    Ok(Compared { removed, next: Some(last) })
}

/// Whether a conversation is there, and not deleted, and its user not erased.
pub(crate) fn is_anybodys(database: &Connection, conversation: Uuid) -> Result<bool> {
    let found = first_row(
        database,
        "SELECT 1 FROM conversations c JOIN users u ON u.id = c.user
          WHERE c.id = ?1 AND c.deleted_at IS NULL AND u.subject IS NOT NULL",
        [conversation],
        |_row| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Removes records beyond the bounds, and gives pages back to the disk. Returns how many records.
pub(crate) fn remove_beyond(records: &Connection, bounds: RecordBounds) -> Result<u64> {
    let mut budget = RemovalBudget::of_one_transaction();
    let limit = budget.rows();
    let aged = "SELECT number, octet_length(body) FROM turn_records WHERE stored_at < ?1 ORDER BY stored_at, number LIMIT ?2";
    let oldest = now().saturating_sub(signed(bounds.max_age_ms));
    // A record that is stored in this millisecond is past an age of zero, too.
    let oldest = if bounds.max_age_ms == 0 { i64::MAX } else { oldest };
    let mut removed = remove(records, &mut budget, aged, (oldest, limit))?;
    let mut pages = Pages::read(records)?;
    while pages.used_bytes()? > bounds.max_total_bytes && !budget.is_spent() {
        let first = "SELECT number, octet_length(body) FROM turn_records ORDER BY stored_at, number LIMIT 1";
        match remove(records, &mut budget, first, ())? {
            0 => break,
            more => removed += more,
        }
        pages = Pages::read(records)?;
    }
    if pages.file_bytes()? > bounds.max_total_bytes || pages.free > pages.all / 2 {
        // Each step returns one page.
        let returned = format!("PRAGMA incremental_vacuum({RETURNED_PAGES})");
        let mut statement = records.prepare(&returned)?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(removed)
}

/// How much of the file is in use. Unlike the sum of the records this is one look at the header, and it counts indexes and
/// half-filled pages.
struct Pages {
    bytes: i64,
    all: i64,
    free: i64,
}

impl Pages {
    fn read(records: &Connection) -> Result<Self> {
        let sql = "SELECT page_size, page_count, freelist_count
                     FROM pragma_page_size, pragma_page_count, pragma_freelist_count";
        one_row(records, sql, [], |row| Ok(Self { bytes: row.get(0)?, all: row.get(1)?, free: row.get(2)? }))
    }

    fn used_bytes(&self) -> Result<u64> {
        unsigned((self.all - self.free).saturating_mul(self.bytes))
    }

    fn file_bytes(&self) -> Result<u64> {
        unsigned(self.all.saturating_mul(self.bytes))
    }
}

/// Removes the records that a query names by number and size, as far as the budget reaches.
fn remove(
    records: &Connection,
    budget: &mut RemovalBudget,
    sql: &'static str,
    params: impl Params,
) -> Result<u64> {
    let found = all_rows(records, sql, params, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    Ok(budget.spend(records, "DELETE FROM turn_records WHERE number = ?1", found)? as u64)
}
