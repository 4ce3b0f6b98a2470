//! Rows of messages, and the status that clients see, which follows from the turn.

use masque_store::{MessageId, MessageRecord, TurnId, TurnStatus};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::json;
use crate::error::Result;
use crate::statement::get;

/// The columns that [`message`] reads, of a message `m` and its turn `t`, which may be absent.
macro_rules! message_columns {
    () => {
        message_columns!("m.text")
    };
    ($text:literal) => {
        concat!(
            "m.id, m.turn AS message_turn, m.parent, m.sequence, m.role, ",
            $text,
            " AS text, m.in_tail, t.status AS turn_status, m.created_at, m.metadata"
        )
    };
}
pub(crate) use message_columns;

/// A message from the columns of a row.
pub(crate) fn message(row: &PgRow) -> Result<MessageRecord> {
    message_saying(row, get(row, "text")?, get(row, "metadata")?)
}

/// The message of a left join, if it found one.
pub(crate) fn optional_message(row: &PgRow) -> Result<Option<MessageRecord>> {
    match get::<Option<Uuid>, _>(row, "id")? {
        None => Ok(None),
        Some(_) => message(row).map(Some),
    }
}

/// A message from the columns of a row, with this text and metadata.
pub(crate) fn message_saying(row: &PgRow, content: String, metadata: &str) -> Result<MessageRecord> {
    let role: String = get(row, "role")?;
    let turn_status: Option<&str> = get(row, "turn_status")?;
    let turn_status = turn_status.map(str::parse::<TurnStatus>).transpose()?;
    let status = TurnStatus::of_message(get(row, "in_tail")?, turn_status, role == "user");
    Ok(MessageRecord {
        id: MessageId::from(get::<Uuid, _>(row, "id")?),
        turn: get::<Option<Uuid>, _>(row, "message_turn")?.map(TurnId::from),
        parent: get::<Option<Uuid>, _>(row, "parent")?.map(MessageId::from),
        sequence: get(row, "sequence")?,
        role,
        content,
        status: status.to_owned(),
        created_at: get(row, "created_at")?,
        metadata: json(metadata)?,
    })
}
