//! Pages of a user's export, each one statement. What belongs to conversations is found through them, so a page costs what
//! its rows cost.

use masque_store::{
    ConversationId, ExportItem, ExportSection, ExportedJob, ExportedKey, ExportedSpending, JobId, Owner,
    Paged, TurnId, encode_cursor, user_account,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::audit_rows;
use crate::columns::unsigned;
use crate::conversation_reads;
use crate::export_page::{LONG_ITEMS, Page, of, place, read};
use crate::export_state::{of_conversations, of_user};
use crate::messages::{message, message_columns};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;
use crate::{turn_records, turn_rows};

/// The most items of a page of short items.
const ITEMS: i64 = 200;
/// Entries of the audit log that a page looks through, since there is no index by actor.
const AUDIT_WINDOW: i64 = 20_000;

/// A page of one section.
pub(crate) async fn page(
    store: &PostgresStore,
    owner: &Owner,
    section: ExportSection,
    after: Option<&str>,
) -> Page {
    match section {
        ExportSection::Conversations => conversations(store, owner, after).await,
        ExportSection::Messages => messages(store, owner, after).await,
        ExportSection::Turns => turns(store, owner, after).await,
        ExportSection::UserState => of_user(store, owner, after).await,
        ExportSection::ConversationState => of_conversations(store, owner, after).await,
        ExportSection::Jobs => jobs(store, owner, after).await,
        ExportSection::IdempotencyKeys => keys(store, owner, after).await,
        ExportSection::Spending => spending(store, owner, after).await,
        ExportSection::Audit => audit(store, owner, after).await,
        ExportSection::TurnRecords => turn_records::page(store, owner, after).await,
    }
}

async fn conversations(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let statement = of(
        "SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
           FROM conversations c JOIN leases l ON l.conversation = c.id
          WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
            AND c.id > $4 AND c.deleted_at IS NULL ORDER BY c.id LIMIT $5",
        owner,
    );
    read(store, statement.bind(place(after, Uuid::nil())?), ITEMS, |row| {
        let record = conversation_reads::record(row)?;
        let id = record.id.as_uuid();
        Ok((ExportItem::Conversation(record), id))
    })
    .await
}

async fn messages(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let (conversation, sequence) = place(after, (Uuid::nil(), 0_i64))?;
    let statement = of(
        concat!(
            "SELECT ",
            message_columns!(),
            ", c.id AS conversation FROM conversations c CROSS JOIN LATERAL (
                SELECT * FROM messages m
                 WHERE m.conversation = c.id AND m.sequence > CASE WHEN c.id = $4 THEN $5 ELSE 0 END
                 ORDER BY m.sequence LIMIT $6) m LEFT JOIN turns t ON t.id = m.turn
              WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
                AND c.deleted_at IS NULL AND c.id >= $4 ORDER BY c.id, m.sequence LIMIT $6"
        ),
        owner,
    );
    read(store, statement.bind(conversation).bind(sequence), LONG_ITEMS, |row| {
        let message = message(row)?;
        let id: Uuid = get(row, "conversation")?;
        let place = (id, message.sequence);
        Ok((ExportItem::Message { conversation: ConversationId::from(id), message }, place))
    })
    .await
}

/// Turns are found through the user's messages, which name them.
async fn turns(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let (conversation, sequence) = place(after, (Uuid::nil(), 0_i64))?;
    let statement = of(
        "SELECT NULL::uuid AS id, t.conversation, c.companion, t.status AS turn_status, t.attempt, t.host, t.finish,
                t.input_tokens, t.output_tokens, t.cached_tokens, t.usage_estimated, NULL::text AS response,
                NULL::text AS response_text, t.problem, t.created_at AS began_at, t.ended_at, t.id AS turn, m.sequence
           FROM conversations c CROSS JOIN LATERAL (
                SELECT m.turn, m.sequence FROM messages m
                 WHERE m.conversation = c.id AND m.role = 'user' AND m.turn IS NOT NULL
                   AND m.sequence > CASE WHEN c.id = $4 THEN $5 ELSE 0 END
                 ORDER BY m.sequence LIMIT $6) m JOIN turns t ON t.id = m.turn
          WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
            AND c.deleted_at IS NULL AND c.id >= $4 ORDER BY c.id, m.sequence LIMIT $6",
        owner,
    );
    read(store, statement.bind(conversation).bind(sequence), ITEMS, |row| {
        let turn = turn_rows::record(row, TurnId::from(get::<Uuid, _>(row, "turn")?))?;
        let place = (turn.conversation.as_uuid(), get::<i64, _>(row, "sequence")?);
        Ok((ExportItem::Turn(turn), place))
    })
    .await
}

/// Jobs that are done are removed, so the whole table is short.
async fn jobs(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let statement = of(
        "SELECT j.number, j.id, j.conversation, j.turn, j.plugin, j.kind, j.payload, j.status, j.error, j.created_at
           FROM jobs j LEFT JOIN conversations c ON c.id = j.conversation
          WHERE j.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
            AND j.number > $4 AND c.deleted_at IS NULL ORDER BY j.number LIMIT $5",
        owner,
    );
    read(store, statement.bind(place(after, 0_i64)?), LONG_ITEMS, |row| {
        let job = ExportedJob {
            id: JobId::from(get::<Uuid, _>(row, 1)?),
            conversation: get::<Option<Uuid>, _>(row, 2)?.map(ConversationId::from),
            turn: get::<Option<Uuid>, _>(row, 3)?.map(TurnId::from),
            plugin: get(row, 4)?,
            kind: get(row, 5)?,
            payload: get(row, 6)?,
            status: get(row, 7)?,
            error: get(row, 8)?,
            created_at: get(row, 9)?,
        };
        Ok((ExportItem::Job(job), get::<i64, _>(row, 0)?))
    })
    .await
}

async fn keys(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let (route, key) = place(after, (String::new(), String::new()))?;
    let statement = of(
        "SELECT i.route, i.key, i.turn, i.expires_at
           FROM idempotency_keys i JOIN turns t ON t.id = i.turn JOIN conversations c ON c.id = t.conversation
          WHERE i.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
            AND (i.route, i.key) > ($4, $5) AND i.expires_at > masque_now_v1() AND c.deleted_at IS NULL
          ORDER BY i.route, i.key LIMIT $6",
        owner,
    );
    read(store, statement.bind(route).bind(key), ITEMS, |row| {
        let key = ExportedKey {
            route: get(row, 0)?,
            key: get(row, 1)?,
            turn: TurnId::from(get::<Uuid, _>(row, 2)?),
            expires_at: get(row, 3)?,
        };
        let place = (key.route.clone(), key.key.clone());
        Ok((ExportItem::IdempotencyKey(key), place))
    })
    .await
}

async fn spending(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let statement = Statement::new(
        "SELECT day, input_tokens, output_tokens FROM spending
          WHERE account = $1 AND day > $2 AND (input_tokens > 0 OR output_tokens > 0) ORDER BY day LIMIT $3",
    )
    .bind(user_account(owner))
    .bind(place(after, -1_i64)?);
    read(store, statement, ITEMS, |row| {
        let day = get(row, 0)?;
        let (input_tokens, output_tokens) = (unsigned(get(row, 1)?)?, unsigned(get(row, 2)?)?);
        Ok((ExportItem::Spending(ExportedSpending { day, input_tokens, output_tokens }), day))
    })
    .await
}

/// A page looks through a window of the log and may be empty. The cursor is the end of the window.
async fn audit(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let after = place(after, 0_i64)?;
    let end = after.saturating_add(AUDIT_WINDOW);
    let statement = Statement::new(
        "SELECT id, at, tenant, actor, action, target, outcome, request_id, address, detail, number FROM audit
          WHERE number > $1 AND number <= $2 AND tenant = $3 AND actor = $4 ORDER BY number LIMIT $5",
    )
    .bind(after)
    .bind(end)
    .bind(&*owner.tenant)
    .bind(format!("user:{}|{}", owner.issuer, owner.subject));
    let entry = |row: &PgRow| Ok((ExportItem::Audit(audit_rows::record(row)?), get::<i64, _>(row, 10)?));
    let page = read(store, statement, ITEMS, entry).await?;
    if page.next.is_some() {
        return Ok(page);
    }
    let statement = Statement::new("SELECT coalesce(max(number), 0) FROM audit");
    let last = store.read_first(statement, |row| get::<i64, _>(row, 0)).await?.unwrap_or_default();
    Ok(Paged { next: (end < last).then(|| encode_cursor(&end)), ..page })
}
