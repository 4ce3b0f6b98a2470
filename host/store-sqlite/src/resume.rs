//! Repeated requests: the turn is replayed, joined, or run again. A turn that is run again keeps its id and the user's
//! message.

use masque_store::{Admission, AdmissionOutcome, MessageId, Started, StoreError, Target, TurnId, TurnStatus};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::admission_state::{ConversationRow, KeyedTurnRow, without_message};
use crate::columns::{attempt, lease_end};
use crate::error::Result;
use crate::leases;
use crate::messages::{self, tail};
use crate::query::{execute, one_row};
use crate::tickets::Tickets;
use crate::turn_rows::load_turn;

/// Answers a request whose key stands for an earlier turn.
pub(crate) fn resume(
    connection: &Connection,
    admission: &Admission,
    tickets: &Tickets,
    user: Uuid,
    earlier: &KeyedTurnRow,
    now: i64,
) -> Result<AdmissionOutcome> {
    if admission.idempotency.as_ref().is_some_and(|key| key.digest != earlier.digest) {
        return Ok(AdmissionOutcome::OtherBody { companion: earlier.companion.clone() });
    }
    if earlier.status == TurnStatus::Completed {
        let turn = load_turn(connection, &admission.owner, earlier.id)?;
        let gone = || StoreError::Corrupt(format!("the turn {} is not its owner's", earlier.id));
        return Ok(AdmissionOutcome::Completed(turn.ok_or_else(gone)?));
    }
    let Some(conversation) = ConversationRow::find(connection, earlier.conversation)? else {
        return Ok(AdmissionOutcome::UnknownConversation);
    };
    if earlier.status == TurnStatus::Running && conversation.is_held_by(earlier.id) {
        return if earlier.id == admission.turn {
            repeat(connection, admission, &conversation)
        } else {
            let companion = earlier.companion.clone();
            Ok(AdmissionOutcome::Running { turn: earlier.id, host: earlier.host, companion })
        };
    }
    if let Some(outcome) = conversation.refusal(admission, tickets, user) {
        return Ok(outcome);
    }
    run_again(connection, admission, earlier, &conversation, now)
}

/// Starts another attempt of a turn that did not complete.
fn run_again(
    connection: &Connection,
    admission: &Admission,
    earlier: &KeyedTurnRow,
    conversation: &ConversationRow,
    now: i64,
) -> Result<AdmissionOutcome> {
    if let Some(outlived) = conversation.outlived_turn(earlier.id) {
        leases::interrupt(connection, outlived, now)?;
    }
    let epoch = conversation.epoch.saturating_add(1);
    execute(
        connection,
        "UPDATE leases SET epoch = ?2, turn = ?3, host = ?4, ends_at = ?5, updated_at = ?6, is_cancelled = 0
          WHERE conversation = ?1",
        params![
            conversation.id.as_uuid(),
            epoch,
            earlier.id.as_uuid(),
            admission.host,
            lease_end(admission.lease),
            now
        ],
    )?;
    let attempt_number = earlier.attempt.saturating_add(1);
    execute(
        connection,
        "UPDATE turns
            SET status = 'running', attempt = ?2, epoch = ?3, host = ?4, finish = NULL, input_tokens = NULL,
                output_tokens = NULL, cached_tokens = NULL, usage_estimated = NULL, problem = NULL, ended_at = NULL
          WHERE id = ?1",
        params![earlier.id.as_uuid(), attempt_number, epoch, admission.host],
    )?;
    messages::set_in_tail(connection, earlier.message, true)?;
    let attempt =
        Attempt { number: attempt(attempt_number)?, epoch, message: earlier.message, kept: earlier.reply };
    started(connection, admission, conversation, earlier.id, attempt, false)
}

/// Answers an admission that was stored before. The caller repeats it because it got no answer.
pub(crate) fn repeat(
    connection: &Connection,
    admission: &Admission,
    conversation: &ConversationRow,
) -> Result<AdmissionOutcome> {
    let (host, found) = one_row(
        connection,
        "SELECT host, attempt, message, reply FROM turns WHERE id = ?1",
        [admission.turn.as_uuid()],
        |row| {
            let attempt = Attempt {
                number: attempt(row.get(1)?)?,
                epoch: conversation.epoch,
                message: MessageId::from(row.get::<_, Uuid>(2)?),
                kept: row.get::<_, Option<Uuid>>(3)?.map(MessageId::from),
            };
            Ok((row.get::<_, Uuid>(0)?, attempt))
        },
    )?;
    if host != admission.host {
        let companion = conversation.companion.clone();
        return Ok(AdmissionOutcome::Running { turn: admission.turn, host, companion });
    }
    let created = matches!(admission.target, Target::New { .. });
    started(connection, admission, conversation, admission.turn, found, created)
}

/// The attempt that runs, and the reply that an earlier attempt left.
struct Attempt {
    number: u32,
    epoch: i64,
    message: MessageId,
    kept: Option<MessageId>,
}

fn started(
    connection: &Connection,
    admission: &Admission,
    conversation: &ConversationRow,
    turn: TurnId,
    attempt: Attempt,
    created: bool,
) -> Result<AdmissionOutcome> {
    let message = messages::load(connection, attempt.message)?.ok_or_else(|| without_message(turn))?;
    let tail = tail(connection, conversation.id.as_uuid(), message.sequence, admission.tail)?;
    Ok(AdmissionOutcome::Started(Started {
        turn,
        attempt: attempt.number,
        epoch: attempt.epoch,
        conversation: conversation.id,
        companion: conversation.companion.clone(),
        created,
        last_sequence: message.sequence.saturating_sub(1),
        message,
        kept: attempt.kept,
        tail: tail.messages,
    }))
}
