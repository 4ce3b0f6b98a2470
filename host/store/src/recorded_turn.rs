//! The record of a turn: what every component received and returned, what it asked the host for, and what it cost.
//!
//! The format is JSON with a number. Later programs read every number up to their own; a field that is unknown is ignored, and
//! a change that old readers would misread raises [`RECORD_FORMAT`]. `docs/turn-records.md` describes it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StoreError;
use crate::ids::{ConversationId, TurnId};
use crate::owner::Owner;

/// The number of the format that this program writes.
pub const RECORD_FORMAT: u32 = 1;

/// The record of one attempt of a turn.
///
/// `V` is how values without a fixed shape are held: as trees where records are read, as JSON text
/// ([`RawValue`](serde_json::value::RawValue)) where they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedTurn<V = Value> {
    /// [`RECORD_FORMAT`] of the program that wrote it.
    pub format: u32,
    /// The turn.
    pub turn_id: TurnId,
    /// From 1.
    pub attempt: u32,
    /// The conversation of the turn.
    pub conversation_id: ConversationId,
    /// The name of the companion.
    pub companion: String,
    /// The number of the active set that the turn used.
    pub generation: u64,
    /// The host's process, as in its log.
    pub host: String,
    /// The id of the request that began the turn.
    pub request_id: String,
    /// The id of the trace, 32 hexadecimal digits.
    pub trace_id: String,
    /// Milliseconds since 1970, by the host's clock.
    pub started_at: u64,
    /// Whether texts are in the record: `full` or `digests`.
    pub content: String,
    /// `completed`, `failed`, `interrupted` or `cancelled`.
    pub outcome: String,
    /// The type of the problem that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// As clients are told: `first_content_ms`, `total_ms`, `host_ms`.
    pub timing: V,
    /// As clients are told.
    pub usage: V,
    /// The message that the turn answers, by id and digest.
    pub message: V,
    /// The calls of plugins, in the order in which they began.
    pub steps: Vec<RecordedStep<V>>,
    /// Parts that were left out since the record would have been too large.
    #[serde(default)]
    pub truncated: bool,
}

impl RecordedTurn {
    /// Reads a record. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`] if its format is later than [`RECORD_FORMAT`], whatever else is in it;
    /// [`StoreError::Corrupt`] if it is no record.
    pub fn from_json(body: &[u8]) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Numbered {
            format: u32,
        }
        let corrupt =
            |error: serde_json::Error| StoreError::Corrupt(format!("a stored turn record: {error}"));
        let Numbered { format } = serde_json::from_slice(body).map_err(corrupt)?;
        if format > RECORD_FORMAT {
            return Err(StoreError::NewerFormat(format));
        }
        serde_json::from_slice(body).map_err(corrupt)
    }
}

/// One call of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedStep<V = Value> {
    /// The function: `recall`, `compose`, `generate`, ….
    pub function: String,
    /// The kind of the plugin.
    pub kind: String,
    /// The name in the configuration.
    pub plugin: String,
    /// The version that the component states.
    pub version: String,
    /// The digest of the component.
    pub digest: String,
    /// The digest of the plugin's settings. They are never in a record.
    pub settings_digest: String,
    /// What the plugin was granted, by the names in the configuration; values of credentials are not there.
    pub grants: Vec<String>,
    /// From the beginning of the turn.
    pub started_us: u64,
    /// Wall time.
    pub duration_us: u64,
    /// Time to make the instance.
    pub instantiation_us: u64,
    /// CPU time.
    pub cpu_us: u64,
    /// The most memory of the guest.
    pub peak_memory_bytes: u64,
    /// The limits of the call that its use can be compared with: `cpu_us`, `memory_bytes`, ….
    pub limits: V,
    /// `ok`, or the code of the failure.
    pub outcome: String,
    /// What the component was given. Messages and memories are given by id, digest and size.
    pub received: V,
    /// What the component returned.
    pub returned: V,
    /// What the component asked the host for, in order.
    pub host_calls: Vec<RecordedHostCall<V>>,
    /// Requests to the host that are not listed.
    #[serde(default)]
    pub host_calls_dropped: u64,
}

/// One request of a plugin to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedHostCall<V = Value> {
    /// `state`, `history`, `models` or `http`.
    pub interface: String,
    /// The function, or the method of an HTTP request.
    pub operation: String,
    /// From the beginning of the step.
    pub started_us: u64,
    /// Wall time.
    pub duration_us: u64,
    /// `ok`, or the code of the failure.
    pub outcome: String,
    /// What was asked and answered. Never credentials, header values or query strings.
    pub detail: V,
}

/// A record with whom it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedTurnRecord {
    /// The user of the turn.
    pub owner: Owner,
    /// The record.
    pub record: RecordedTurn,
}

/// A record as it is stored: as JSON, with the ids by which the store knows whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedTurnRecord {
    /// The user of the turn.
    pub owner: Owner,
    /// The turn.
    pub turn: TurnId,
    /// From 1.
    pub attempt: u32,
    /// The conversation of the turn.
    pub conversation: ConversationId,
    /// The [`RecordedTurn`] as JSON.
    pub body: Vec<u8>,
}

impl EncodedTurnRecord {
    /// The record of a turn of this user.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the record has no form as JSON.
    pub fn new<V: Serialize>(owner: &Owner, record: &RecordedTurn<V>) -> Result<Self, StoreError> {
        let body = serde_json::to_vec(record)
            .map_err(|error| StoreError::Refused(format!("a turn record: {error}")))?;
        Ok(Self {
            owner: owner.clone(),
            turn: record.turn_id,
            attempt: record.attempt,
            conversation: record.conversation_id,
            body,
        })
    }
}

impl OwnedTurnRecord {
    /// The record as it is stored.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the record has no form as JSON.
    pub fn encode(&self) -> Result<EncodedTurnRecord, StoreError> {
        EncodedTurnRecord::new(&self.owner, &self.record)
    }
}

/// What is kept of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBounds {
    /// Records that are older go, in milliseconds.
    pub max_age_ms: u64,
    /// The most bytes of all records; the oldest go first.
    pub max_total_bytes: u64,
}

/// The records of turns, which any host of the installation can read. Unlike everything else that is stored, they may be lost.
///
/// A record goes with its turn, its conversation and its user: those operations of the store delete it, and one that comes
/// later is left out. Turns go with their messages, and nothing deletes a single message today; an operation that does has to
/// delete the record of its turn, too.
#[async_trait]
pub trait TurnRecords: Send + Sync {
    /// Stores records and returns how many. One of the same turn and attempt is replaced. A record whose turn, conversation or
    /// user does not exist, or no longer, is left out. Whose turn it is decides the store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::OutcomeUnknown`]; repeating it stores nothing twice.
    async fn store_turn_records(&self, records: Vec<EncodedTurnRecord>) -> Result<u64, StoreError>;

    /// The record of a turn's last attempt, of whatever user.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] if it can't be parsed.
    async fn turn_record(&self, turn: TurnId) -> Result<Option<OwnedTurnRecord>, StoreError>;

    /// Deletes a bounded number of records beyond `bounds`, the oldest first, and returns how many; zero means that none is
    /// left to delete, or that another host is at it. A record's age counts from when it was stored, by the database's clock.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::OutcomeUnknown`].
    async fn sweep_turn_records(&self, bounds: RecordBounds) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Value {
        json!({
            "format": 1, "turn_id": TurnId::new(), "attempt": 1, "conversation_id": ConversationId::new(),
            "companion": "elara", "generation": 3, "host": "h", "request_id": "r", "trace_id": "t",
            "started_at": 5, "content": "digests", "outcome": "completed", "timing": {}, "usage": {}, "message": {},
            "steps": [],
        })
    }

    #[test]
    fn an_unknown_field_of_a_record_is_ignored() {
        let mut value = record();
        value["weather"] = json!({ "sunny": true });
        let read = RecordedTurn::from_json(value.to_string().as_bytes()).unwrap();
        assert_eq!((read.companion.as_str(), read.generation, read.truncated), ("elara", 3, false));
    }

    #[test]
    fn a_record_of_a_later_format_is_not_read_even_if_it_could_be() {
        let mut value = record();
        value["format"] = json!(RECORD_FORMAT + 1);
        for body in [value, json!({ "format": RECORD_FORMAT + 1 })] {
            let error = RecordedTurn::from_json(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(error, StoreError::NewerFormat(RECORD_FORMAT + 1));
        }
        for body in ["{}", "[]", "", "{\"format\": 1}"] {
            let error = RecordedTurn::from_json(body.as_bytes()).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt(_)), "{body}: {error}");
        }
    }
}
