//! Admitting a turn: who may start, and what they start with.
//!
//! SQLite can't write within a common table expression, so what is one statement elsewhere is one text of statements here:
//! the first takes the lease if everything allows it, and each of the others does something only if the one before it did.
//! Where the lease was not taken, a second look says why. Nothing comes between, since there is one writer.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use uuid::Uuid;

use super::fault::Fault;
use super::leases;
use super::rows::{MESSAGE_COLUMNS, attempt, message, message_columns, millis, now, remaining, signed};
use super::turns::load_turn;
use super::writer::{Operation, Session, Verdict};
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

    async fn run(self, session: Session<'_>) -> Result<Verdict<Outcome>, Fault> {
        let (text, connection) = session.open_with(entry(&self.target));
        if let Some(outcome) = enter(&self, text, connection).await? {
            return Ok(Verdict::Keep(outcome));
        }
        let scene = Scene::look(&self, connection).await?;
        Ok(Verdict::Keep(match &scene.earlier {
            None => start(&self, &scene, connection).await?,
            Some(earlier) if !self.resume && earlier.turn != self.turn => Outcome::Seen,
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
    epoch: i64,
    /// Whose lease it is, and how many milliseconds are left of it.
    lease: Option<(TurnId, i64)>,
}

impl Scene {
    async fn look(admission: &Admission, connection: &mut SqliteConnection) -> Result<Self, Fault> {
        let key = admission.idempotency.as_ref();
        let row = sqlx::query(concat!(
            "SELECT n.now, i.digest, t.id, t.message, t.status, t.host, t.attempt,
                    c.id, c.tenant = $1 AND c.issuer = $2 AND c.subject = $3, c.companion, c.epoch,
                    c.lease_turn, c.lease_ends - n.now, t.reply
               FROM (SELECT ",
            now!(),
            " AS now) n
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
        .bind(admission.target.conversation().as_uuid())
        .fetch_one(connection)
        .await?;
        Ok(Self { now: row.try_get(0)?, earlier: Earlier::read(&row)?, place: Place::read(&row)? })
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
            kept: row.try_get(13)?,
        }))
    }
}

impl Place {
    fn read(row: &SqliteRow) -> Result<Option<Self>, Fault> {
        let Some(id) = row.try_get::<Option<Uuid>, _>(7)? else { return Ok(None) };
        let left: Option<i64> = row.try_get(12)?;
        Ok(Some(Self {
            id: ConversationId::from(id),
            mine: row.try_get(8)?,
            companion: row.try_get(9)?,
            epoch: row.try_get(10)?,
            lease: row.try_get::<Option<Uuid>, _>(11)?.map(TurnId::from).zip(left),
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

/// A turn that was not seen before and did not get the lease at once.
async fn start(
    admission: &Admission,
    scene: &Scene,
    connection: &mut SqliteConnection,
) -> Result<Outcome, Fault> {
    let id = admission.target.conversation();
    match (&admission.target, &scene.place) {
        (_, Some(place)) if place.mine && place.holds(admission.turn) => {
            started_already(admission, place, connection).await
        }
        (Target::New { .. }, Some(_)) => {
            Err(StoreError::Refused(format!("the conversation {id} exists already")).into())
        }
        (Target::Existing(_), None) => Ok(Outcome::UnknownConversation),
        (Target::Existing(_), Some(place)) => {
            if let Some(outcome) = place.refuses(admission) {
                return Ok(outcome);
            }
            take_over(place, admission.turn, connection).await?;
            sqlx::query(
                "UPDATE conversations SET lease_turn = NULL, lease_host = NULL, lease_ends = NULL WHERE id = ?1",
            )
            .bind(id.as_uuid())
            .execute(&mut *connection)
            .await?;
            enter_after_all(admission, connection).await
        }
        // The key was past its time at the second look.
        (Target::New { .. }, None) => enter_after_all(admission, connection).await,
    }
}

async fn enter_after_all(admission: &Admission, connection: &mut SqliteConnection) -> Result<Outcome, Fault> {
    let text = AssertSqlSafe(entry(&admission.target).to_owned());
    let entered = enter(admission, text, connection).await?;
    entered.ok_or_else(|| unexplained(admission.target.conversation()))
}

/// The two texts disagree about who may enter.
fn unexplained(conversation: ConversationId) -> Fault {
    StoreError::Corrupt(format!("the lease of the conversation {conversation} is free and can't be taken"))
        .into()
}

/// Ends the turn whose lease has run out, by the one who takes it over.
async fn take_over(place: &Place, turn: TurnId, connection: &mut SqliteConnection) -> Result<(), Fault> {
    match place.lease {
        Some((holder, _)) if holder != turn => leases::end(connection, holder).await,
        _ => Ok(()),
    }
}

/// Whether the request's idempotency key stands for no turn yet.
macro_rules! unseen {
    () => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM idempotency i
                          WHERE i.tenant = $2 AND i.issuer = $3 AND i.subject = $4 AND i.route = $14 AND i.key = $15
                            AND i.expires_at > ",
            now!(),
            ")"
        )
    };
}

/// Stores the turn with all that belongs to it, if the statement in `$lease` took the lease of the conversation. Each of
/// the others asks whether the one before it wrote a row (`changes()`). Returns the user's message, with the
/// conversation's epoch and companion behind it, and the tail; nothing, if the lease was not taken.
macro_rules! entry {
    ($($lease:expr),+) => {
        concat!(
            $($lease,)+
            "INSERT INTO turns (id, conversation, tenant, issuer, subject, status, attempt, epoch, host, message, created_at)
             SELECT $5, c.id, $2, $3, $4, 'running', 1, c.epoch, $6, $8, c.updated_at
               FROM conversations c WHERE c.id = $1 AND changes() = 1;
             INSERT INTO messages (id, conversation, tenant, issuer, subject, turn, parent, sequence, role, content, status,
                                   metadata, created_at)
             SELECT $8, c.id, $2, $3, $4, $5,
                    (SELECT m.id FROM messages m WHERE m.conversation = c.id AND m.status <> 'failed'
                      ORDER BY m.sequence DESC LIMIT 1),
                    c.last_sequence, 'user', $9, 'running', $10, c.updated_at
               FROM conversations c WHERE c.id = $1 AND changes() = 1;
             SELECT ", message_columns!("m"), ", c.epoch, c.companion
               FROM messages m JOIN conversations c ON c.id = m.conversation WHERE m.id = $8 AND changes() = 1;",
            tail!("$1", "iif(changes() = 1, (SELECT last_sequence FROM conversations WHERE id = $1), 0)", "$11", "$12"),
            ";
             INSERT OR REPLACE INTO idempotency
                    (tenant, issuer, subject, route, key, digest, turn, conversation, expires_at)
             SELECT $2, $3, $4, $14, $15, $16, $5, c.id, c.updated_at + $17
               FROM conversations c WHERE c.id = $1 AND $15 IS NOT NULL AND changes() = 1"
        )
    };
}

/// A conversation that this turn makes; `$18` is its companion.
const ENTER_NEW: &str = entry!(
    "INSERT INTO conversations (id, tenant, issuer, subject, companion, title, last_sequence, epoch, lease_turn,
                                lease_host, lease_ends, created_at, updated_at)
     SELECT $1, $2, $3, $4, $18, $13, 1, 1, $5, $6, n.now + $7, n.now, n.now
       FROM (SELECT ",
    now!(),
    " AS now) n WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = $1) AND ",
    unseen!(),
    ";"
);

/// One that is there; `$18` is the companion that is expected, `$19` all that there are.
const ENTER_EXISTING: &str = entry!(
    "UPDATE conversations AS c
        SET title = coalesce(c.title, $13), last_sequence = c.last_sequence + 1, epoch = c.epoch + 1, lease_turn = $5,
            lease_host = $6, lease_ends = n.now + $7, updated_at = n.now
       FROM (SELECT ",
    now!(),
    " AS now) n
      WHERE c.id = $1 AND c.tenant = $2 AND c.issuer = $3 AND c.subject = $4 AND c.lease_turn IS NULL
        AND c.companion = coalesce($18, c.companion) AND c.companion IN (SELECT value FROM json_each($19)) AND ",
    unseen!(),
    ";"
);

fn entry(target: &Target) -> &'static str {
    match target {
        Target::New { .. } => ENTER_NEW,
        Target::Existing(_) => ENTER_EXISTING,
    }
}

/// Takes the lease of the conversation, made if it is to be, and stores the turn; `None` if the lease can't be had, or the
/// request was seen before.
async fn enter(
    admission: &Admission,
    text: AssertSqlSafe<String>,
    connection: &mut SqliteConnection,
) -> Result<Option<Outcome>, Fault> {
    let key = admission.idempotency.as_ref();
    let (title, companion, created) = match &admission.target {
        Target::New { companion, title, .. } => (title.clone(), Some(companion), true),
        Target::Existing(_) => (title_of(&admission.message.content), admission.companion.as_ref(), false),
    };
    let query = sqlx::query(text)
        .bind(admission.target.conversation().as_uuid())
        .bind(&admission.owner.tenant)
        .bind(&admission.owner.issuer)
        .bind(&admission.owner.subject)
        .bind(admission.turn.as_uuid())
        .bind(admission.host)
        .bind(millis(admission.lease))
        .bind(admission.message.id.as_uuid())
        .bind(&admission.message.content)
        .bind(admission.message.metadata.to_string())
        .bind(i64::from(admission.tail.messages))
        .bind(signed(admission.tail.bytes as u64))
        .bind(title)
        .bind(key.map(|key| &key.route))
        .bind(key.map(|key| &key.key))
        .bind(key.map(|key| &key.digest))
        .bind(key.map(|key| millis(key.ttl)))
        .bind(companion);
    let query = match created {
        true => query,
        // Few, or a request for one of few: a list costs less than a question for each.
        false => query.bind(Value::from_iter(admission.companions.iter().map(String::as_str)).to_string()),
    };
    let rows = query.fetch_all(connection).await?;
    let Some(said) = rows.first() else { return Ok(None) };
    let place = Place {
        id: admission.target.conversation(),
        mine: true,
        companion: said.try_get(MESSAGE_COLUMNS + 1)?,
        epoch: said.try_get(MESSAGE_COLUMNS)?,
        lease: None,
    };
    let first = Again { attempt: 1, kept: None };
    started(admission, &rows, &place, admission.turn, &first, place.epoch, created).map(Some)
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
