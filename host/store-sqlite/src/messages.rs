//! Rows of messages. Only this module knows the order in which their columns are read, and how the status that clients
//! see follows from the turn.

use masque_store::{MessageId, MessageRecord, TailLimit, TurnId, TurnStatus};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::columns::json;
use crate::error::Result;
use crate::query::{execute, first_row};

/// The columns that [`message`] reads, of a message `m` and its turn `t`, which may be absent.
macro_rules! message_columns {
    () => {
        message_columns!("m.text")
    };
    ($text:literal) => {
        concat!(
            "m.id, m.turn, m.parent, m.sequence, m.role, ",
            $text,
            ", m.in_tail, t.status, m.created_at, m.metadata"
        )
    };
}
pub(crate) use message_columns;

/// How many columns [`message`] reads.
pub(crate) const MESSAGE_COLUMNS: usize = 10;

/// A message from the first columns of a row.
pub(crate) fn message(row: &Row<'_>) -> Result<MessageRecord> {
    let role: String = row.get(4)?;
    let turn_status = row.get_ref(7)?.as_str_or_null()?.map(str::parse::<TurnStatus>).transpose()?;
    let status = TurnStatus::of_message(row.get(6)?, turn_status, role == "user");
    Ok(MessageRecord {
        id: MessageId::from(row.get::<_, Uuid>(0)?),
        turn: row.get::<_, Option<Uuid>>(1)?.map(TurnId::from),
        parent: row.get::<_, Option<Uuid>>(2)?.map(MessageId::from),
        sequence: row.get(3)?,
        role,
        content: row.get(5)?,
        status: status.to_owned(),
        created_at: row.get(8)?,
        metadata: json(row, 9)?,
    })
}

/// The message of a left join, if it found one.
pub(crate) fn optional_message(row: &Row<'_>) -> Result<Option<MessageRecord>> {
    match row.get_ref(0)? {
        ValueRef::Null => Ok(None),
        _ => message(row).map(Some),
    }
}

/// Stores a new message of a conversation, in its tail. Its texts are checked.
pub(crate) fn insert(connection: &Connection, conversation: Uuid, message: &MessageRecord) -> Result<()> {
    execute(
        connection,
        "INSERT INTO messages (conversation, sequence, id, turn, parent, role, in_tail, text, metadata, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9)",
        params![
            conversation,
            message.sequence,
            message.id.as_uuid(),
            message.turn.map(Uuid::from),
            message.parent.map(Uuid::from),
            message.role,
            message.content,
            message.metadata.to_string(),
            message.created_at,
        ],
    )?;
    Ok(())
}

/// One message by its id.
pub(crate) fn load(connection: &Connection, id: MessageId) -> Result<Option<MessageRecord>> {
    first_row(
        connection,
        concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m LEFT JOIN turns t ON t.id = m.turn WHERE m.id = ?1"
        ),
        [id.as_uuid()],
        message,
    )
}

/// Adds a message to the tail of its conversation, or removes it from the tail.
pub(crate) fn set_in_tail(connection: &Connection, id: MessageId, in_tail: bool) -> Result<()> {
    execute(
        connection,
        "UPDATE messages SET in_tail = ?2 WHERE id = ?1 AND in_tail <> ?2",
        (id.as_uuid(), in_tail),
    )?;
    Ok(())
}

/// The newest messages of a conversation before a sequence.
#[derive(Default)]
pub(crate) struct Tail {
    /// The newest message, also if it is over the limit. The next message names it as its parent.
    pub(crate) newest: Option<MessageId>,
    /// Whether the newest message is of a turn that was interrupted.
    pub(crate) is_newest_interrupted: bool,
    /// Those within the limit, oldest first.
    pub(crate) messages: Vec<MessageRecord>,
}

/// Reads the tail before a sequence. A text that is too large by itself is not read, so the limit bounds what is read.
pub(crate) fn tail(
    connection: &Connection,
    conversation: Uuid,
    before: i64,
    limit: TailLimit,
) -> Result<Tail> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!("iif(octet_length(m.text) <= ?4, m.text, NULL)"),
        "  FROM messages m INDEXED BY messages_in_tail LEFT JOIN turns t ON t.id = m.turn
          WHERE m.conversation = ?1 AND m.sequence < ?2 AND m.in_tail = 1
          ORDER BY m.sequence DESC LIMIT ?3"
    ))?;
    let bytes = i64::try_from(limit.bytes).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![conversation, before, limit.messages.max(1), bytes])?;
    let mut tail = Tail::default();
    let mut left = limit.bytes;
    while let Some(row) = rows.next()? {
        if tail.newest.is_none() {
            tail.newest = Some(MessageId::from(row.get::<_, Uuid>(0)?));
            tail.is_newest_interrupted = row.get_ref(7)?.as_str_or_null()? == Some("interrupted");
        }
        let size = row.get_ref(5)?.as_str_or_null()?.and_then(|text| left.checked_sub(text.len()));
        let Some(rest) = size.filter(|_| limit.messages > 0) else { break };
        left = rest;
        tail.messages.push(message(row)?);
    }
    tail.messages.reverse();
    Ok(tail)
}
