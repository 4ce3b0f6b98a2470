//! Admitting a turn: who may start, and what they start with.
//!
//! SQLite can't write within a common table expression, so what is one statement elsewhere is one that reads and one
//! text of statements that writes, in one savepoint: nothing comes between them, since there is one writer.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::fault::Fault;
use super::leases;
use super::rows::{attempt, message, message_columns, millis, now, remaining, signed};
use super::turns::load_turn;
use super::writer::{Operation, Verdict};
use crate::{
    Admission, ConversationId, MessageId, MessageRecord, Outcome, Started, StoreError, Target, TurnId,
    title_of,
};

/// The newest messages of a conversation before a sequence, newest first; [`within`] ends them where the bytes do. A
/// content that is too large by itself is not read, so what the limit lets through bounds what is read. (A window
/// function that sums the bytes would cut exactly, and took as long as all the rest of an admission.)
macro_rules! tail {
    ($conversation:literal, $before:literal, $messages:literal, $bytes:literal) => {
        concat!(
            "SELECT m.id, m.turn, m.parent, m.sequence, m.role, iif(octet_length(m.content) <= ",
            $bytes,
            ", m.content, NULL), m.status, m.created_at, m.metadata
               FROM messages m
              WHERE m.conversation = ",
            $conversation,
            " AND m.sequence < ",
            $before,
            " AND m.status <> 'failed'
              ORDER BY m.sequence DESC LIMIT ",
            $messages,
            " + 0"
        )
    };
}

impl Operation for Admission {
    type Answer = Outcome;

    async fn run(self, connection: &mut SqliteConnection) -> Result<Verdict<Outcome>, Fault> {
        let scene = Scene::look(&self, connection).await?;
        Ok(Verdict::Keep(match &scene.earlier {
            None => start(&self, &scene, connection).await?,
            Some(earlier) => resume(&self, &scene, earlier, connection).await?,
        }))
    }
}

/// All that an admission depends on.
struct Scene {
    now: i64,
    earlier: Option<Earlier>,
    /// The conversation of the earlier turn, or else the one that is asked for.
    place: Option<Place>,
}

/// The turn that an idempotency key stands for.
struct Earlier {
    digest: Vec<u8>,
    turn: TurnId,
    message: Uuid,
    status: String,
    host: Uuid,
    attempt: i64,
    kept: Option<Uuid>,
}

/// A conversation as it is found.
struct Place {
    id: ConversationId,
    mine: bool,
    companion: String,
    last_sequence: i64,
    epoch: i64,
    /// Whose lease it is, and how many milliseconds are left of it.
    lease: Option<(TurnId, i64)>,
    /// The newest message of those that are told of the past.
    newest: Option<Uuid>,
}

impl Scene {
    async fn look(admission: &Admission, connection: &mut SqliteConnection) -> Result<Self, Fault> {
        let key = admission.idempotency.as_ref();
        let row = sqlx::query(concat!(
            "SELECT n.now, i.digest, t.id, t.message, t.status, t.host, t.attempt,
                    c.id, c.tenant = $1 AND c.issuer = $2 AND c.subject = $3, c.companion, c.last_sequence, c.epoch,
                    c.lease_turn, c.lease_ends - n.now,
                    (SELECT m.id FROM messages m WHERE m.conversation = c.id AND m.status <> 'failed'
                      ORDER BY m.sequence DESC LIMIT 1),
                    t.reply
               FROM (SELECT ", now!(), " AS now) n
               LEFT JOIN idempotency i ON i.tenant = $1 AND i.issuer = $2 AND i.subject = $3 AND i.route = $4
                                      AND i.key = $5 AND i.expires_at > n.now
               LEFT JOIN turns t ON t.id = i.turn
               LEFT JOIN conversations c ON c.id = coalesce(t.conversation, $6)"
        ))
        .bind(&admission.owner.tenant)
        .bind(&admission.owner.issuer)
        .bind(&admission.owner.subject)
        .bind(key.map(|key| &key.route))
        .bind(key.map(|key| &key.key))
        .bind(asked(&admission.target).as_uuid())
        .fetch_one(connection)
        .await?;
        Ok(Self { now: row.try_get(0)?, earlier: Earlier::read(&row)?, place: Place::read(&row)? })
    }
}

fn asked(target: &Target) -> ConversationId {
    match target {
        Target::Existing(id) | Target::New { id, .. } => *id,
    }
}

impl Earlier {
    fn read(row: &SqliteRow) -> Result<Option<Self>, Fault> {
        let Some(turn) = row.try_get::<Option<Uuid>, _>(2)? else { return Ok(None) };
        Ok(Some(Self {
            digest: row.try_get(1)?,
            turn: TurnId::from(turn),
            message: row.try_get(3)?,
            status: row.try_get(4)?,
            host: row.try_get(5)?,
            attempt: row.try_get(6)?,
            kept: row.try_get(15)?,
        }))
    }
}

impl Place {
    fn read(row: &SqliteRow) -> Result<Option<Self>, Fault> {
        let Some(id) = row.try_get::<Option<Uuid>, _>(7)? else { return Ok(None) };
        let left: Option<i64> = row.try_get(13)?;
        Ok(Some(Self {
            id: ConversationId::from(id),
            mine: row.try_get(8)?,
            companion: row.try_get(9)?,
            last_sequence: row.try_get(10)?,
            epoch: row.try_get(11)?,
            lease: row.try_get::<Option<Uuid>, _>(12)?.map(TurnId::from).zip(left),
            newest: row.try_get(14)?,
        }))
    }

    fn holds(&self, turn: TurnId) -> bool {
        self.lease.is_some_and(|(holder, left)| holder == turn && left > 0)
    }

    /// Why the lease can't be had, if so.
    fn refuses(&self, admission: &Admission) -> Option<Outcome> {
        if !self.mine {
            return Some(Outcome::UnknownConversation);
        }
        if admission.companion.as_ref().is_some_and(|expected| *expected != self.companion) {
            return Some(Outcome::OtherCompanion { companion: self.companion.clone() });
        }
        if !admission.companions.contains(&self.companion) {
            return Some(Outcome::CompanionGone { companion: self.companion.clone() });
        }
        let (_, left) = self.lease?;
        (left > 0).then(|| Outcome::Busy { retry_after: remaining(left) })
    }
}

/// The request was seen before: replay it, join it, or run it again.
async fn resume(
    admission: &Admission,
    scene: &Scene,
    earlier: &Earlier,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    if admission.idempotency.as_ref().is_some_and(|key| key.digest != earlier.digest) {
        return Ok(Outcome::OtherBody);
    }
    let place = scene.place.as_ref();
    let live = place.is_some_and(|place| place.holds(earlier.turn));
    match (earlier.status.as_str(), place) {
        ("completed", _) => {
            let turn = load_turn(connection, &admission.owner, earlier.turn).await?;
            let gone = || StoreError::Corrupt(format!("the turn {} is not its owner's", earlier.turn));
            Ok(Outcome::Completed(turn.ok_or_else(gone)?))
        }
        ("running", Some(place)) if live && earlier.turn == admission.turn => {
            started_already(admission, place, connection).await
        }
        ("running", _) if live => Ok(Outcome::Running { turn: earlier.turn, host: earlier.host }),
        (_, Some(place)) => again(admission, scene.now, earlier, place, connection).await,
        (_, None) => Ok(Outcome::UnknownConversation),
    }
}

/// Another attempt at a turn that did not complete. Its message keeps its place.
async fn again(
    admission: &Admission,
    now: i64,
    earlier: &Earlier,
    place: &Place,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    if let Some(outcome) = place.refuses(admission) {
        return Ok(outcome);
    }
    take_over(place, earlier.turn, connection).await?;
    let epoch = place.epoch.saturating_add(1);
    let rows = sqlx::query(concat!(
        "UPDATE conversations
            SET epoch = $2, lease_turn = $3, lease_host = $4, lease_ends = $5 + $6, updated_at = $5 WHERE id = $1;
         UPDATE turns
            SET status = 'running', attempt = attempt + 1, epoch = $2, host = $4, finish = NULL, input_tokens = NULL,
                output_tokens = NULL, cached_tokens = NULL, problem = NULL, ended_at = NULL
          WHERE id = $3;
         UPDATE messages SET status = 'running' WHERE id = $7;",
        "SELECT ", message_columns!("m"), " FROM messages m WHERE m.id = $7;",
        tail!("$1", "(SELECT sequence FROM messages WHERE id = $7)", "$8", "$9")
    ))
    .bind(place.id.as_uuid())
    .bind(epoch)
    .bind(earlier.turn.as_uuid())
    .bind(admission.host)
    .bind(now)
    .bind(millis(admission.lease))
    .bind(earlier.message)
    .bind(i64::from(admission.tail.messages))
    .bind(signed(admission.tail.bytes as u64))
    .fetch_all(connection)
    .await?;
    let attempt = attempt(earlier.attempt.saturating_add(1))?;
    let again = Again { attempt, kept: earlier.kept };
    started(admission, &rows, place, earlier.turn, &again, epoch, false)
}

/// A turn that was not seen before.
async fn start(
    admission: &Admission,
    scene: &Scene,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    let id = asked(&admission.target);
    match (&admission.target, &scene.place) {
        (_, Some(place)) if place.mine && place.holds(admission.turn) => {
            started_already(admission, place, connection).await
        }
        (Target::New { .. }, Some(_)) => {
            Err(StoreError::Refused(format!("the conversation {id} exists already")).into())
        }
        (Target::New { companion, title, .. }, None) => {
            let place = Place {
                id,
                mine: true,
                companion: companion.clone(),
                last_sequence: 0,
                epoch: 0,
                lease: None,
                newest: None,
            };
            enter(admission, scene.now, &place, title, true, connection).await
        }
        (Target::Existing(_), None) => Ok(Outcome::UnknownConversation),
        (Target::Existing(_), Some(place)) => {
            if let Some(outcome) = place.refuses(admission) {
                return Ok(outcome);
            }
            take_over(place, admission.turn, connection).await?;
            enter(admission, scene.now, place, &title_of(&admission.message.content), false, connection).await
        }
    }
}

/// Ends the turn whose lease has run out, by the one who takes it over.
async fn take_over(place: &Place, turn: TurnId, connection: &mut SqliteConnection) -> Result<(), Fault> {
    match place.lease {
        Some((holder, _)) if holder != turn => leases::end(connection, holder).await,
        _ => Ok(()),
    }
}

/// Takes the lease of a conversation, made if it is not there, and stores the turn with all that belongs to it.
async fn enter(
    admission: &Admission,
    now: i64,
    place: &Place,
    title: &str,
    created: bool,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    let key = admission.idempotency.as_ref();
    let epoch = place.epoch.saturating_add(1);
    let rows = sqlx::query(concat!(
        "INSERT INTO conversations (id, tenant, issuer, subject, companion, title, last_sequence, epoch, lease_turn,
                                    lease_host, lease_ends, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 + $12, $11, $11)
         ON CONFLICT (id) DO UPDATE
            SET title = coalesce(title, excluded.title), last_sequence = excluded.last_sequence,
                epoch = excluded.epoch, lease_turn = excluded.lease_turn, lease_host = excluded.lease_host,
                lease_ends = excluded.lease_ends, updated_at = excluded.updated_at;
         INSERT INTO turns (id, conversation, tenant, issuer, subject, status, attempt, epoch, host, message, created_at)
         VALUES ($9, $1, $2, $3, $4, 'running', 1, $8, $10, $13, $11);
         INSERT INTO messages (id, conversation, tenant, issuer, subject, turn, parent, sequence, role, content, status,
                               metadata, created_at)
         VALUES ($13, $1, $2, $3, $4, $9, $14, $7, 'user', $15, 'running', $16, $11);
         INSERT OR REPLACE INTO idempotency
                (tenant, issuer, subject, route, key, digest, turn, conversation, expires_at)
         SELECT $2, $3, $4, $17, $18, $19, $9, $1, $11 + $20 WHERE $18 IS NOT NULL;",
        "SELECT ", message_columns!("m"), " FROM messages m WHERE m.id = $13;",
        tail!("$1", "$7", "$21", "$22")
    ))
    .bind(place.id.as_uuid())
    .bind(&admission.owner.tenant)
    .bind(&admission.owner.issuer)
    .bind(&admission.owner.subject)
    .bind(&place.companion)
    .bind(title)
    .bind(place.last_sequence.saturating_add(1))
    .bind(epoch)
    .bind(admission.turn.as_uuid())
    .bind(admission.host)
    .bind(now)
    .bind(millis(admission.lease))
    .bind(admission.message.id.as_uuid())
    .bind(place.newest)
    .bind(&admission.message.content)
    .bind(admission.message.metadata.to_string())
    .bind(key.map(|key| &key.route))
    .bind(key.map(|key| &key.key))
    .bind(key.map(|key| &key.digest))
    .bind(key.map(|key| millis(key.ttl)))
    .bind(i64::from(admission.tail.messages))
    .bind(signed(admission.tail.bytes as u64))
    .fetch_all(connection)
    .await?;
    started(admission, &rows, place, admission.turn, &Again { attempt: 1, kept: None }, epoch, created)
}

/// The admission is a repetition: its answer was lost, not its write.
async fn started_already(
    admission: &Admission,
    place: &Place,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    let turn = sqlx::query("SELECT message, attempt, host, reply FROM turns WHERE id = ?1")
        .bind(admission.turn.as_uuid())
        .fetch_one(&mut *connection)
        .await?;
    let host: Uuid = turn.try_get(2)?;
    if host != admission.host {
        return Ok(Outcome::Running { turn: admission.turn, host });
    }
    let rows = sqlx::query(concat!(
        "SELECT ",
        message_columns!("m"),
        " FROM messages m WHERE m.id = $2;",
        tail!("$1", "(SELECT sequence FROM messages WHERE id = $2)", "$3", "$4")
    ))
    .bind(place.id.as_uuid())
    .bind(turn.try_get::<Uuid, _>(0)?)
    .bind(i64::from(admission.tail.messages))
    .bind(signed(admission.tail.bytes as u64))
    .fetch_all(connection)
    .await?;
    let created = matches!(admission.target, Target::New { .. });
    let again = Again { attempt: attempt(turn.try_get(1)?)?, kept: turn.try_get(3)? };
    started(admission, &rows, place, admission.turn, &again, place.epoch, created)
}

/// Which attempt it is, and what an earlier one left.
struct Again {
    attempt: u32,
    kept: Option<Uuid>,
}

/// From the user's message and the tail, in this order.
fn started(
    admission: &Admission,
    rows: &[SqliteRow],
    place: &Place,
    turn: TurnId,
    again: &Again,
    epoch: i64,
    created: bool,
) -> Result<Outcome, Fault> {
    let Some((said, tail)) = rows.split_first() else {
        return Err(StoreError::Corrupt(format!("the turn {turn} has no message")).into());
    };
    let said = message(said)?;
    Ok(Outcome::Started(Started {
        turn,
        attempt: again.attempt,
        epoch,
        conversation: place.id,
        companion: place.companion.clone(),
        created,
        kept: again.kept.map(MessageId::from),
        last_sequence: said.sequence.saturating_sub(1),
        message: said,
        tail: within(tail, admission.tail.bytes)?,
    }))
}

/// As many whole messages, newest first, as the bytes let through; turned to oldest first.
fn within(newest: &[SqliteRow], bytes: usize) -> Result<Vec<MessageRecord>, Fault> {
    let mut left = bytes;
    let mut tail = Vec::with_capacity(newest.len());
    for row in newest {
        let size = row.try_get::<Option<&str>, _>(5)?.and_then(|content| left.checked_sub(content.len()));
        let Some(rest) = size else { break };
        left = rest;
        tail.push(message(row)?);
    }
    tail.reverse();
    Ok(tail)
}
