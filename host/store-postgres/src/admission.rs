//! Admits a turn: one call of `masque_admit_v1`, which decides and writes. This module gives it the request and reads the
//! answer.

use masque_store::{
    Admission, AdmissionOutcome, CheckTexts as _, ConversationId, MessageId, MessageRecord, Started,
    StoreError, Target, TurnId, title_of,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::{attempt, millis, remaining};
use crate::deletion::finish_removal;
use crate::error::{DatabaseError, Result};
use crate::messages::message;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;
use crate::turn_rows::find_turn;

/// What the function answered.
enum Answer {
    Outcome(Box<AdmissionOutcome>),
    /// The turn was completed before, and is to be read.
    Completed(TurnId),
    /// The id of the new conversation is taken.
    Taken(ConversationId),
}

/// Admits a turn. The answer is on disk.
pub(crate) async fn admit(
    store: &PostgresStore,
    admission: &Admission,
) -> std::result::Result<AdmissionOutcome, StoreError> {
    admission.check_texts()?;
    let mut answer = ask(store, admission).await?;
    if let Answer::Taken(id) = answer
        && finish_removal(store, id).await?
    {
        answer = ask(store, admission).await?;
    }
    match answer {
        Answer::Outcome(outcome) => Ok(*outcome),
        Answer::Taken(id) => Err(is_taken(id)),
        Answer::Completed(turn) => Ok(match find_turn(store, &admission.owner, turn).await? {
            Some(turn) => AdmissionOutcome::Completed(turn),
            // Deleted in between.
            None => AdmissionOutcome::UnknownConversation,
        }),
    }
}

/// The error for an id that is taken.
pub(crate) fn is_taken(id: ConversationId) -> StoreError {
    StoreError::Refused(format!("the conversation {id} exists already, or is still being removed"))
}

async fn ask(store: &PostgresStore, admission: &Admission) -> std::result::Result<Answer, StoreError> {
    let rows = store.write(statement(admission)).await?;
    read(admission, &rows).map_err(DatabaseError::of_read)
}

fn statement(admission: &Admission) -> Statement {
    let (new_companion, new_title) = match &admission.target {
        Target::New { companion, title, .. } => (Some(companion.as_str()), Some(title.as_str())),
        Target::Existing(_) => (None, None),
    };
    let companions: Vec<&str> = admission.companions.iter().map(String::as_str).collect();
    let key = admission.idempotency.as_ref();
    Statement::new(
        "SELECT * FROM masque_admit_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                                       $19, $20, $21, $22, $23, $24, $25, $26)",
    )
    .bind(&*admission.owner.tenant)
    .bind(&*admission.owner.issuer)
    .bind(&*admission.owner.subject)
    .bind(Uuid::now_v7())
    .bind(admission.host)
    .bind(millis(admission.lease))
    .bind(admission.turn.as_uuid())
    .bind(admission.target.conversation().as_uuid())
    .bind(new_companion.is_some())
    .bind(new_companion)
    .bind(new_title)
    .bind(admission.companion.as_deref())
    .bind(companions)
    .bind(admission.message.id.as_uuid())
    .bind(&*admission.message.content)
    .bind(admission.message.metadata.to_string())
    .bind(title_of(&admission.message.content))
    .bind(key.map(|key| &*key.route))
    .bind(key.map(|key| &*key.key))
    .bind(key.map(|key| &*key.digest))
    .bind(key.map(|key| millis(key.ttl)))
    .bind(admission.resume)
    .bind(i64::from(admission.tail.messages))
    .bind(i64::try_from(admission.tail.bytes).unwrap_or(i64::MAX))
    .bind(admission.waiting.map(|waiting| i64::from(waiting.max)))
    .bind(admission.waiting.map(|waiting| millis(waiting.ttl)))
}

fn read(admission: &Admission, rows: &[PgRow]) -> Result<Answer> {
    let (row, rest) = rows.split_first().ok_or_else(|| corrupt("it has no outcome"))?;
    let turn = || Ok::<_, DatabaseError>(TurnId::from(get::<Uuid, _>(row, "turn")?));
    let companion = || get::<String, _>(row, "companion");
    Ok(Answer::Outcome(Box::new(match get::<&str, _>(row, "outcome")? {
        "started" => {
            AdmissionOutcome::Started(started(admission, row, first_message(admission, row)?, rest)?)
        }
        "again" => {
            let (stored, tail) = rest.split_first().ok_or_else(|| corrupt("the turn has no message"))?;
            AdmissionOutcome::Started(started(admission, row, message(stored)?, tail)?)
        }
        "busy" => AdmissionOutcome::Busy {
            retry_after: remaining(get(row, "retry_after")?),
            is_waiting: get(row, "is_waiting")?,
        },
        "running" => {
            AdmissionOutcome::Running { turn: turn()?, host: get(row, "host")?, companion: companion()? }
        }
        "seen" => AdmissionOutcome::Seen,
        "other_body" => AdmissionOutcome::OtherBody { companion: companion()? },
        "unknown" => AdmissionOutcome::UnknownConversation,
        "companion_gone" => AdmissionOutcome::CompanionGone { companion: companion()? },
        "other_companion" => AdmissionOutcome::OtherCompanion { companion: companion()? },
        "completed" => return Ok(Answer::Completed(turn()?)),
        "taken" => return Ok(Answer::Taken(admission.target.conversation())),
        other => return Err(corrupt(&format!("`{other}` is no outcome")).into()),
    })))
}

fn started(
    admission: &Admission,
    row: &PgRow,
    message_of_turn: MessageRecord,
    tail: &[PgRow],
) -> Result<Started> {
    let turn = TurnId::from(get::<Uuid, _>(row, "turn")?);
    let conversation = ConversationId::from(get::<Uuid, _>(row, "conversation")?);
    let attempt = attempt(get(row, "attempt")?)?;
    let mut messages = tail.iter().map(message).collect::<Result<Vec<_>>>()?;
    messages.reverse();
    Ok(Started {
        turn,
        attempt,
        epoch: get(row, "epoch")?,
        conversation,
        companion: get(row, "companion")?,
        // A repetition of an admission that nobody answered is still the one that made the conversation.
        created: attempt == 1
            && matches!(admission.target, Target::New { id, .. } if id == conversation && turn == admission.turn),
        last_sequence: message_of_turn.sequence.saturating_sub(1),
        message: message_of_turn,
        kept: get::<Option<Uuid>, _>(row, "kept")?.map(MessageId::from),
        tail: messages,
    })
}

/// The user's message of a new turn. Its text is not sent back.
fn first_message(admission: &Admission, row: &PgRow) -> Result<MessageRecord> {
    Ok(MessageRecord {
        id: admission.message.id,
        turn: Some(admission.turn),
        parent: get::<Option<Uuid>, _>(row, "parent")?.map(MessageId::from),
        sequence: get(row, "sequence")?,
        role: "user".into(),
        content: admission.message.content.clone(),
        status: "running".into(),
        created_at: get(row, "created_at")?,
        metadata: admission.message.metadata.clone(),
    })
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the answer to an admission can't be read: {what}"))
}
