//! Admitting a turn: who may start, and what they start with.
//!
//! SQLite can't write within a common table expression, so what is one statement elsewhere is a handful of prepared ones
//! here, in one savepoint: nothing comes between them, since there is one writer.

use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::fault::Fault;
use super::leases;
use super::rows::{attempt, message, message_columns, millis, now, remaining, signed};
use super::turns::load_turn;
use super::writer::{Operation, Verdict};
use crate::{
    Admission, ConversationId, Idempotency, MessageId, MessageRecord, Outcome, Owner, Started, StoreError,
    TailLimit, Target, TurnId, title_of,
};

impl Operation for Admission {
    type Answer = Outcome;

    async fn run(self, connection: &mut SqliteConnection) -> Result<Verdict<Outcome>, Fault> {
        let outcome = match &self.idempotency {
            None => start(&self, connection).await?,
            Some(key) => match recall(connection, &self.owner, key).await? {
                None => start(&self, connection).await?,
                Some(earlier) => resume(&self, key, earlier, connection).await?,
            },
        };
        Ok(Verdict::Keep(outcome))
    }
}

/// The turn that an idempotency key stands for.
struct Earlier {
    digest: Vec<u8>,
    turn: TurnId,
    conversation: ConversationId,
    message: MessageId,
    status: String,
    host: Uuid,
    live: bool,
}

async fn recall(
    connection: &mut SqliteConnection,
    owner: &Owner,
    key: &Idempotency,
) -> Result<Option<Earlier>, Fault> {
    let row = sqlx::query(concat!(
        "SELECT i.digest, t.id, t.conversation, t.message, t.status, t.host,
                coalesce(c.lease_turn = t.id AND c.lease_ends > ",
        now!(),
        ", FALSE)
           FROM idempotency i JOIN turns t ON t.id = i.turn JOIN conversations c ON c.id = t.conversation
          WHERE i.tenant = ?1 AND i.issuer = ?2 AND i.subject = ?3 AND i.route = ?4 AND i.key = ?5
            AND i.expires_at > ",
        now!()
    ))
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(&key.route)
    .bind(&key.key)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Earlier {
        digest: row.try_get(0)?,
        turn: TurnId::from(row.try_get::<Uuid, _>(1)?),
        conversation: ConversationId::from(row.try_get::<Uuid, _>(2)?),
        message: MessageId::from(row.try_get::<Uuid, _>(3)?),
        status: row.try_get(4)?,
        host: row.try_get(5)?,
        live: row.try_get(6)?,
    }))
}

/// The request was seen before: replay it, join it, or run it again.
async fn resume(
    admission: &Admission,
    key: &Idempotency,
    earlier: Earlier,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    if earlier.digest != key.digest {
        return Ok(Outcome::OtherBody);
    }
    match earlier.status.as_str() {
        "completed" => {
            let turn = load_turn(connection, &admission.owner, earlier.turn).await?;
            let gone = || StoreError::Corrupt(format!("the turn {} is not its owner's", earlier.turn));
            Ok(Outcome::Completed(turn.ok_or_else(gone)?))
        }
        "running" if earlier.live && earlier.turn == admission.turn => {
            started_already(admission, earlier.conversation, connection).await
        }
        "running" if earlier.live => Ok(Outcome::Running { turn: earlier.turn, host: earlier.host }),
        _ => again(admission, earlier, connection).await,
    }
}

/// Another attempt at a turn that did not complete. Its message keeps its place.
async fn again(
    admission: &Admission,
    earlier: Earlier,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    let place = match approach(admission, earlier.conversation, earlier.turn, connection).await? {
        Approach::Refused(outcome) => return Ok(*outcome),
        Approach::Held => return Ok(Outcome::Running { turn: earlier.turn, host: earlier.host }),
        Approach::Free(place) => place,
    };
    let lease = sqlx::query(concat!(
        "UPDATE conversations
            SET epoch = epoch + 1, lease_turn = ?2, lease_host = ?3, lease_ends = ",
        now!(),
        " + ?4,
                updated_at = ",
        now!(),
        "
          WHERE id = ?1 RETURNING epoch"
    ))
    .bind(earlier.conversation.as_uuid())
    .bind(earlier.turn.as_uuid())
    .bind(admission.host)
    .bind(millis(admission.lease))
    .fetch_one(&mut *connection)
    .await?;
    let epoch: i64 = lease.try_get(0)?;
    let turn = sqlx::query(
        "UPDATE turns
            SET status = 'running', attempt = attempt + 1, epoch = ?2, host = ?3, finish = NULL, input_tokens = NULL,
                output_tokens = NULL, cached_tokens = NULL, problem = NULL, ended_at = NULL
          WHERE id = ?1 RETURNING attempt",
    )
    .bind(earlier.turn.as_uuid())
    .bind(epoch)
    .bind(admission.host)
    .fetch_one(&mut *connection)
    .await?;
    let said = sqlx::query(
        "UPDATE messages SET status = 'running' WHERE id = ?1
         RETURNING id, turn, parent, sequence, role, content, status, created_at, metadata",
    )
    .bind(earlier.message.as_uuid())
    .fetch_one(&mut *connection)
    .await?;
    let said = message(&said)?;
    Ok(Outcome::Started(Started {
        turn: earlier.turn,
        attempt: attempt(turn.try_get(0)?)?,
        epoch,
        conversation: earlier.conversation,
        companion: place.companion,
        created: false,
        last_sequence: place.last_sequence,
        tail: tail(connection, earlier.conversation, said.sequence, admission.tail).await?,
        message: said,
    }))
}

/// A turn that was not seen before.
async fn start(admission: &Admission, connection: &mut SqliteConnection) -> Result<Outcome, Fault> {
    let place = match &admission.target {
        Target::New { id, companion, title } => match found(admission, *id, companion, title, connection)
            .await?
        {
            Some(place) => place,
            // Taken: by this very admission, when it is repeated, or by someone it is refused to.
            None => match approach(admission, *id, admission.turn, connection).await? {
                Approach::Held => return started_already(admission, *id, connection).await,
                _ => return Err(StoreError::Refused(format!("the conversation {id} exists already")).into()),
            },
        },
        Target::Existing(id) => match approach(admission, *id, admission.turn, connection).await? {
            Approach::Refused(outcome) => return Ok(*outcome),
            Approach::Held => return started_already(admission, *id, connection).await,
            Approach::Free(place) => enter(admission, place, connection).await?,
        },
    };
    let said = store(admission, &place, connection).await?;
    let tail = match place.created {
        true => Vec::new(),
        false => tail(connection, place.id, said.sequence, admission.tail).await?,
    };
    Ok(Outcome::Started(Started {
        turn: admission.turn,
        attempt: 1,
        epoch: place.epoch,
        conversation: place.id,
        companion: place.companion,
        created: place.created,
        message: said,
        last_sequence: place.last_sequence,
        tail,
    }))
}

/// A conversation, as a turn finds it.
struct Place {
    id: ConversationId,
    companion: String,
    created: bool,
    epoch: i64,
    last_sequence: i64,
    parent: Option<Uuid>,
    now: i64,
}

enum Approach {
    Free(Place),
    /// The turn that asks holds the lease already.
    Held,
    Refused(Box<Outcome>),
}

impl Approach {
    fn refused(outcome: Outcome) -> Self {
        Self::Refused(Box::new(outcome))
    }
}

/// Makes the conversation with its lease taken; `None` if the id is taken.
async fn found(
    admission: &Admission,
    id: ConversationId,
    companion: &str,
    title: &str,
    connection: &mut SqliteConnection,
) -> Result<Option<Place>, Fault> {
    let row = sqlx::query(concat!(
        "INSERT INTO conversations (id, tenant, issuer, subject, companion, title, last_sequence, epoch, lease_turn,
                                    lease_host, lease_ends, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 1, ?7, ?8, ", now!(), " + ?9, ", now!(), ", ", now!(), ")
         ON CONFLICT (id) DO NOTHING RETURNING created_at"
    ))
    .bind(id.as_uuid())
    .bind(&admission.owner.tenant)
    .bind(&admission.owner.issuer)
    .bind(&admission.owner.subject)
    .bind(companion)
    .bind(title)
    .bind(admission.turn.as_uuid())
    .bind(admission.host)
    .bind(millis(admission.lease))
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Place {
        id,
        companion: companion.to_owned(),
        created: true,
        epoch: 1,
        last_sequence: 0,
        parent: None,
        now: row.try_get(0)?,
    }))
}

/// Finds a conversation and whether its lease can be had. A turn whose lease has run out is ended here, by the one who
/// takes it over.
async fn approach(
    admission: &Admission,
    id: ConversationId,
    turn: TurnId,
    connection: &mut SqliteConnection,
) -> Result<Approach, Fault> {
    let owner = &admission.owner;
    let row = sqlx::query(concat!(
        "SELECT c.companion, c.last_sequence, c.epoch, c.lease_turn, c.lease_ends - ",
        now!(),
        ", ",
        now!(),
        ",
                (SELECT m.id FROM messages m WHERE m.conversation = c.id AND m.status <> 'failed'
                  ORDER BY m.sequence DESC LIMIT 1)
           FROM conversations c WHERE c.id = ?1 AND c.tenant = ?2 AND c.issuer = ?3 AND c.subject = ?4"
    ))
    .bind(id.as_uuid())
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(Approach::refused(Outcome::UnknownConversation)) };
    let companion: String = row.try_get(0)?;
    if admission.companion.as_ref().is_some_and(|expected| *expected != companion) {
        return Ok(Approach::refused(Outcome::OtherCompanion { companion }));
    }
    let left = row.try_get::<Option<i64>, _>(4)?.unwrap_or(0);
    match row.try_get::<Option<Uuid>, _>(3)?.map(TurnId::from) {
        Some(holder) if holder == turn && left > 0 => return Ok(Approach::Held),
        Some(_) if left > 0 => {
            return Ok(Approach::refused(Outcome::Busy { retry_after: remaining(left) }));
        }
        Some(holder) if holder != turn => leases::end(connection, holder).await?,
        _ => {}
    }
    Ok(Approach::Free(Place {
        id,
        companion,
        created: false,
        epoch: row.try_get(2)?,
        last_sequence: row.try_get(1)?,
        parent: row.try_get(6)?,
        now: row.try_get(5)?,
    }))
}

/// Takes the lease of a conversation that exists, and the next sequence.
async fn enter(
    admission: &Admission,
    place: Place,
    connection: &mut SqliteConnection,
) -> Result<Place, Fault> {
    let epoch = place.epoch.saturating_add(1);
    sqlx::query(
        "UPDATE conversations
            SET epoch = ?2, lease_turn = ?3, lease_host = ?4, lease_ends = ?5, last_sequence = last_sequence + 1,
                title = coalesce(title, ?6), updated_at = ?7
          WHERE id = ?1",
    )
    .bind(place.id.as_uuid())
    .bind(epoch)
    .bind(admission.turn.as_uuid())
    .bind(admission.host)
    .bind(place.now.saturating_add(millis(admission.lease)))
    .bind(title_of(&admission.message.content))
    .bind(place.now)
    .execute(connection)
    .await?;
    Ok(Place { epoch, ..place })
}

/// Stores the turn, the user's message and the idempotency record.
async fn store(
    admission: &Admission,
    place: &Place,
    connection: &mut SqliteConnection,
) -> Result<MessageRecord, Fault> {
    let owner = &admission.owner;
    sqlx::query(
        "INSERT INTO turns (id, conversation, tenant, issuer, subject, status, attempt, epoch, host, message, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'running', 1, ?6, ?7, ?8, ?9)",
    )
    .bind(admission.turn.as_uuid())
    .bind(place.id.as_uuid())
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(place.epoch)
    .bind(admission.host)
    .bind(admission.message.id.as_uuid())
    .bind(place.now)
    .execute(&mut *connection)
    .await?;
    let said = MessageRecord {
        id: admission.message.id,
        turn: Some(admission.turn),
        parent: place.parent.map(MessageId::from),
        sequence: place.last_sequence.saturating_add(1),
        role: "user".to_owned(),
        content: admission.message.content.clone(),
        status: "running".to_owned(),
        created_at: place.now,
        metadata: admission.message.metadata.clone(),
    };
    insert_message(connection, owner, place.id, &said).await?;
    if let Some(key) = &admission.idempotency {
        // One that is there is past its time: a live one was found before.
        sqlx::query(
            "INSERT OR REPLACE INTO idempotency
                    (tenant, issuer, subject, route, key, digest, turn, conversation, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(&owner.tenant)
        .bind(&owner.issuer)
        .bind(&owner.subject)
        .bind(&key.route)
        .bind(&key.key)
        .bind(&key.digest)
        .bind(admission.turn.as_uuid())
        .bind(place.id.as_uuid())
        .bind(place.now.saturating_add(millis(key.ttl)))
        .execute(connection)
        .await?;
    }
    Ok(said)
}

/// The admission is a repetition: its answer was lost, not its write.
async fn started_already(
    admission: &Admission,
    id: ConversationId,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    let row = sqlx::query(concat!(
        "SELECT ",
        message_columns!("m"),
        ", t.attempt, t.epoch, t.host, c.companion
           FROM turns t JOIN messages m ON m.id = t.message JOIN conversations c ON c.id = t.conversation
          WHERE t.id = ?1 AND t.conversation = ?2 AND t.status = 'running'"
    ))
    .bind(admission.turn.as_uuid())
    .bind(id.as_uuid())
    .fetch_one(&mut *connection)
    .await?;
    let host: Uuid = row.try_get(11)?;
    if host != admission.host {
        return Ok(Outcome::Running { turn: admission.turn, host });
    }
    let said = message(&row)?;
    Ok(Outcome::Started(Started {
        turn: admission.turn,
        attempt: attempt(row.try_get(9)?)?,
        epoch: row.try_get(10)?,
        conversation: id,
        companion: row.try_get(12)?,
        created: matches!(admission.target, Target::New { .. }),
        last_sequence: said.sequence.saturating_sub(1),
        tail: tail(connection, id, said.sequence, admission.tail).await?,
        message: said,
    }))
}

/// The newest messages before `sequence`, as many whole ones as the limit lets through. The inner query reads no
/// content, so a long conversation or a large message past the limit costs nothing.
async fn tail(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    sequence: i64,
    limit: TailLimit,
) -> Result<Vec<MessageRecord>, Fault> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        message_columns!("m"),
        "
           FROM (SELECT id, sum(bytes) OVER (ORDER BY sequence DESC) AS total
                   FROM (SELECT id, sequence, octet_length(content) AS bytes FROM messages
                          WHERE conversation = ?1 AND sequence < ?2 AND status <> 'failed'
                          ORDER BY sequence DESC LIMIT ?3)) AS newest
           JOIN messages m ON m.id = newest.id
          WHERE newest.total <= ?4
          ORDER BY m.sequence"
    ))
    .bind(conversation.as_uuid())
    .bind(sequence)
    .bind(i64::from(limit.messages))
    .bind(signed(limit.bytes as u64))
    .fetch_all(connection)
    .await?;
    rows.iter().map(message).collect()
}

/// Stores a message as it stands.
pub(super) async fn insert_message(
    connection: &mut SqliteConnection,
    owner: &Owner,
    conversation: ConversationId,
    message: &MessageRecord,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO messages (id, conversation, tenant, issuer, subject, turn, parent, sequence, role, content, status,
                               metadata, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )
    .bind(message.id.as_uuid())
    .bind(conversation.as_uuid())
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(message.turn.map(|turn| turn.as_uuid()))
    .bind(message.parent.map(|parent| parent.as_uuid()))
    .bind(message.sequence)
    .bind(&message.role)
    .bind(&message.content)
    .bind(&message.status)
    .bind(message.metadata.to_string())
    .bind(message.created_at)
    .execute(connection)
    .await?;
    Ok(())
}
