//! A question that is sent again after its turn was interrupted.
//!
//! A client that gives up and sends the same text again without an idempotency key begins another turn. The interrupted
//! question, and the part of a reply that it got, leave the tail then, so that the model is asked once. Both stay in the
//! conversation's history. An interrupted question that is followed by another one stays in the tail: the user may refer
//! to it.

use masque_store::MessageId;
use rusqlite::Connection;
use uuid::Uuid;

use crate::error::Result;
use crate::messages::set_in_tail;
use crate::query::all_rows;

/// How many messages before the new one are looked at. A client that gives up again and again leaves one or two for each
/// time.
const MAX_MESSAGES: i64 = 64;

/// One message before the new one.
struct Earlier {
    id: MessageId,
    turn: Option<Uuid>,
    is_interrupted: bool,
    is_same_question: bool,
}

/// Takes the turns out of the tail that asked the same as `question` and were interrupted, as far as no complete turn and
/// no greeting came after them. Returns whether there were any.
pub(crate) fn leave_out_repeated(
    connection: &Connection,
    conversation: Uuid,
    before: i64,
    question: &str,
) -> Result<bool> {
    let newest = all_rows(
        connection,
        "SELECT m.id, m.turn, t.status = 'interrupted', m.role = 'user' AND trim(m.text, ?4) = trim(?3, ?4)
           FROM messages m INDEXED BY messages_in_tail LEFT JOIN turns t ON t.id = m.turn
          WHERE m.conversation = ?1 AND m.sequence < ?2 AND m.in_tail = 1
          ORDER BY m.sequence DESC LIMIT ?5",
        (conversation, before, question, " \t\r\n", MAX_MESSAGES),
        |row| {
            Ok(Earlier {
                id: MessageId::from(row.get::<_, Uuid>(0)?),
                turn: row.get(1)?,
                is_interrupted: row.get::<_, Option<bool>>(2)?.unwrap_or_default(),
                is_same_question: row.get(3)?,
            })
        },
    )?;
    let interrupted: Vec<_> = newest.into_iter().take_while(|message| message.is_interrupted).collect();
    let asked_the_same: Vec<_> = interrupted
        .iter()
        .filter(|message| message.is_same_question)
        .filter_map(|message| message.turn)
        .collect();
    for message in &interrupted {
        if message.turn.is_some_and(|turn| asked_the_same.contains(&turn)) {
            set_in_tail(connection, message.id, false)?;
        }
    }
    Ok(!asked_the_same.is_empty())
}
