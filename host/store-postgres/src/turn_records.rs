//! [`TurnRecords`].

use async_trait::async_trait;
use masque_store::{
    EncodedTurnRecord, ExportItem, OwnedTurnRecord, Owner, RecordBounds, RecordedTurn, StoreError, TurnId,
    TurnRecords,
};
use uuid::Uuid;

use crate::columns::unsigned;
use crate::export_page::{Page, of, place, read};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Records that one transaction removes, and about how many bytes of them. They are a bound on the locks and the log of one
/// statement; no turn needs these rows.
const REMOVED_ROWS: i64 = 256;
const REMOVED_BYTES: i64 = 8 << 20;

/// The records of a page of an export, of at most 256 KiB each unless the operator allows more.
const EXPORTED: i64 = 4;

#[async_trait]
impl TurnRecords for PostgresStore {
    async fn store_turn_records(&self, records: Vec<EncodedTurnRecord>) -> Result<u64, StoreError> {
        if records.is_empty() {
            return Ok(0);
        }
        let of_record =
            |value: fn(&EncodedTurnRecord) -> Uuid| -> Vec<Uuid> { records.iter().map(value).collect() };
        let of_owner = |value: fn(&Owner) -> &String| -> Vec<String> {
            records.iter().map(|record| value(&record.owner).clone()).collect()
        };
        let attempts: Vec<i64> = records.iter().map(|record| record.attempt.into()).collect();
        let statement = Statement::new("SELECT masque_store_records_v1($1, $2, $3, $4, $5, $6, $7)")
            .bind(of_record(|record| record.turn.as_uuid()))
            .bind(attempts)
            .bind(of_record(|record| record.conversation.as_uuid()))
            .bind(of_owner(|owner| &owner.tenant))
            .bind(of_owner(|owner| &owner.issuer))
            .bind(of_owner(|owner| &owner.subject))
            .bind(records.into_iter().map(|record| record.body).collect::<Vec<_>>());
        Ok(u64::try_from(self.write_value::<i64>(statement).await?).unwrap_or_default())
    }

    async fn turn_record(&self, turn: TurnId) -> Result<Option<OwnedTurnRecord>, StoreError> {
        let statement = Statement::new(
            "SELECT u.tenant, u.issuer, u.subject, r.body
               FROM turn_records r JOIN turns t ON t.id = r.turn AND t.conversation = r.conversation
               JOIN conversations c ON c.id = r.conversation JOIN users u ON u.id = c.user_id
              WHERE r.turn = $1 AND c.deleted_at IS NULL AND u.subject IS NOT NULL
              ORDER BY r.attempt DESC LIMIT 1",
        )
        .bind(turn.as_uuid());
        self.read_first(statement, |row| {
            let owner = Owner { tenant: get(row, 0)?, issuer: get(row, 1)?, subject: get(row, 2)? };
            Ok(OwnedTurnRecord { owner, record: RecordedTurn::from_json(get(row, 3)?)? })
        })
        .await
    }

    async fn sweep_turn_records(&self, bounds: RecordBounds) -> Result<u64, StoreError> {
        // Far beyond any date and any disk, and no sum with it overflows.
        let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).min(i64::MAX / 4);
        let statement = Statement::new("SELECT masque_sweep_records_v1($1, $2, $3, $4)")
            .bind(bound(bounds.max_age_ms))
            .bind(bound(bounds.max_total_bytes))
            .bind(REMOVED_ROWS)
            .bind(REMOVED_BYTES);
        let removed = self.write_first(statement, |row| unsigned(get(row, 0)?)).await?;
        Ok(removed.unwrap_or_default())
    }
}

/// A page of a user's records.
pub(crate) async fn page(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let (conversation, turn, attempt) = place(after, (Uuid::nil(), Uuid::nil(), 0_i64))?;
    let statement = of(
        "SELECT r.body, r.conversation, r.turn, r.attempt
           FROM conversations c CROSS JOIN LATERAL (
                SELECT * FROM turn_records r
                 WHERE r.conversation = c.id AND (r.conversation, r.turn, r.attempt) > ($4, $5, $6)
                 ORDER BY r.conversation, r.turn, r.attempt LIMIT $7) r
          WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
            AND c.deleted_at IS NULL AND c.id >= $4 ORDER BY c.id, r.turn, r.attempt LIMIT $7",
        owner,
    );
    read(store, statement.bind(conversation).bind(turn).bind(attempt), EXPORTED, |row| {
        let place: (Uuid, Uuid, i64) = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
        let (conversation, turn, attempt) = place;
        let item = ExportItem::turn_record(get(row, 0)?, turn.into(), attempt, conversation.into());
        Ok((item, place))
    })
    .await
}
