//! `POST /chat`: one turn. Reads and checks the request; the crate `turns` runs the turn.

use std::fmt;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, header};
use masque_http::{JsonBody, RequestId};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::reply::ChatReply;
use super::schema::ServerSentEvent;
use super::state::{App, Caller};
use super::user::UserBody;
use super::visible_text::has_visible_character;
use super::{idempotency, sse, user};
use masque_problem::{Kind, Problem};
use masque_telemetry::metrics::turns::REFUSED;
use masque_telemetry::trace::TraceContext;
use masque_turns::{ChatRequest, EventKind, EventReader, IdempotencyKey, ReservedPlace};

/// A JSON Schema pattern: at least one character that is not white space. A message of other invisible characters matches
/// and is refused nevertheless.
const SAYS_SOMETHING: &str = r"\S";
/// The maximum number of parts in one message.
const PARTS: usize = 256;
/// The maximum size of `metadata`, written as JSON.
const METADATA_BYTES: usize = 16 * 1024;
/// The maximum nesting of `metadata`.
const METADATA_DEPTH: usize = 16;

/// One message to a companion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatBody {
    message: UserMessage,
    /// The companion to talk to. Required to begin a conversation where the host has more than one companion.
    #[schema(example = "elara")]
    companion: Option<String>,
    /// The conversation to continue. Without it, a new one begins.
    conversation_id: Option<Uuid>,
    /// Whether to stream the reply as events. By default, `Accept: text/event-stream` decides.
    stream: Option<bool>,
    /// One of the companion's models. By default its first.
    model: Option<String>,
    user: Option<UserBody>,
    /// Stored with the message and passed to the companion's plugins. At most 16 KiB.
    metadata: Option<Map<String, Value>>,
}

/// The text of a message, given as a string or in parts.
#[derive(Debug)]
struct UserMessage(String);

/// One part of a message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Part {
    Text { text: String },
}

impl<'de> Deserialize<'de> for UserMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrParts).map(Self)
    }
}

struct TextOrParts;

impl<'de> Visitor<'de> for TextOrParts {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list of parts")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<String, A::Error> {
        let mut texts = Vec::new();
        while let Some(Part::Text { text }) = parts.next_element()? {
            if texts.len() == PARTS {
                return Err(A::Error::custom(format_args!("a message has at most {PARTS} parts")));
            }
            texts.push(text);
        }
        Ok(texts.join("\n"))
    }
}

impl PartialSchema for UserMessage {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .pattern(Some(SAYS_SOMETHING))
            .description(Some("Its text."));
        let parts = ArrayBuilder::new()
            .items(Part::schema())
            .max_items(Some(PARTS))
            .description(Some("Its text in parts, joined by line breaks."));
        OneOfBuilder::new()
            .item(text)
            .item(parts)
            .description(Some("What you say: a string, or parts of type `text`."))
            .examples([serde_json::json!("Hello! Who are you?")])
            .into()
    }
}

impl ToSchema for UserMessage {}

/// Runs one turn: sends a message to a companion and returns its reply.
///
/// With `stream: true`, or with `Accept: text/event-stream` and no `stream`, the reply is a stream of server-sent events:
/// `turn.created`, any number of `reply.delta`, then `turn.completed` or `turn.failed`. Ignore unknown events and fields.
/// A failure before the model's first output is an error status; a later one is the event `turn.failed`.
///
/// No line of a stream is longer than 64 KiB. Long data has several `data` lines, which a client joins with line breaks as
/// the HTML standard says, and a long text comes in several `reply.delta`. Where the whole text of the reply does not fit
/// into one line, `reply.content` of `turn.completed` is a list of parts `{"type": "text", "text": …}`, whose texts follow
/// one another with nothing in between. `GET /turns/{id}` and replies that are not streamed always have one string.
#[utoipa::path(
    post, path = "/chat", tag = "chat",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Makes a retry safe for 24 hours: 1 to 255 visible ASCII characters, such as a UUID.")),
    request_body = ChatBody,
    responses(
        (status = 200, description = "The reply, or its events.",
            content((ChatReply = "application/json"), (ServerSentEvent = "text/event-stream"))),
        (status = 400, description = "The body is not JSON."),
        (status = 404, description = "No such companion or conversation."),
        (status = 409, description = "The conversation is busy."),
        (status = 429, description = "The user or the API key has asked too often, or has used the tokens of the day."),
        (status = 413, description = "The message or the body is too large."),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
        (status = 502, description = "The model failed."),
        (status = 503, description = "The host or the model can't take the turn."),
        (status = 504, description = "The model or the turn took too long."),
    ),
)]
pub(crate) async fn chat(
    State(app): State<App>,
    Caller(principal): Caller,
    Extension(request): Extension<RequestId>,
    trace: Option<Extension<TraceContext>>,
    place: Option<Extension<ReservedPlace>>,
    headers: HeaderMap,
    body: Result<JsonBody<ChatBody>, Problem>,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let JsonBody { data, raw } = body.map_err(user::place_hint)?;
    // The parsed tree of a large body takes many times its size, so it is dropped before the turn runs.
    let idempotency = match key {
        Some(key) => Some(IdempotencyKey { key, digest: idempotency::digest(raw) }),
        None => {
            drop(raw);
            None
        }
    };
    let ChatBody { message, companion, conversation_id, stream, model, user, metadata } = data;
    let message = spoken(message, app.options.max_message_bytes)?;
    let metadata = bounded(metadata.unwrap_or_default())?;
    let profile = user::profile(user, principal.profile.clone())?;
    let streamed = stream.unwrap_or_else(|| accepts_events(&headers));
    if let Err(spent) = app.limits.check_budgets(&app.turns.budgets(), &principal).await {
        // A reply that was already paid for can be fetched again.
        let key = idempotency.as_ref().map(|idempotency| idempotency.key.as_str());
        let answered = match key {
            Some(key) => app.turns.is_answered(&principal.owner, key).await?,
            None => false,
        };
        if !answered {
            REFUSED.increment(&[if spent.kind == Kind::BudgetSpent { "budget" } else { "store" }]);
            return Err(spent);
        }
    }
    let accounts = app.limits.budget_accounts(&principal);
    let allowed_companions = principal.allowed_companions().cloned();
    let reader = app
        .turns
        .chat(ChatRequest {
            owner: principal.owner,
            profile,
            message,
            companion,
            conversation: conversation_id.map(Into::into),
            model,
            metadata,
            idempotency,
            request_id: request.as_str().to_owned(),
            trace: trace.map_or_else(TraceContext::root, |Extension(trace)| trace),
            allowed_companions,
            accounts,
            place: place.map(|Extension(place)| place),
        })
        .await?;
    if streamed { Ok(sse::response(reader, app.options.keepalive, &request)) } else { whole(reader).await }
}

/// Waits for the end of the turn and returns its reply as JSON.
async fn whole(mut reader: EventReader) -> Result<Response, Problem> {
    while let Some(events) = reader.next().await {
        for event in events {
            match &event.kind {
                EventKind::Created { .. } | EventKind::Delta { .. } => {}
                EventKind::Completed(reply) => return Ok(Json(&**reply).into_response()),
                EventKind::Failed(problem) => return Err((**problem).clone()),
            }
        }
    }
    tracing::error!(turn = %reader.turn(), "the log of a turn ended without its last event");
    Err(Kind::Internal.into())
}

fn spoken(message: UserMessage, limit: usize) -> Result<String, Problem> {
    let UserMessage(text) = message;
    if !has_visible_character(&text) {
        return Err(Kind::MessageEmpty.into());
    }
    if text.len() > limit {
        let detail = format!("The message has {} bytes; send at most {limit}.", text.len());
        return Err(Problem::new(Kind::MessageTooLarge, detail));
    }
    Ok(text)
}

/// Returns `metadata` if it is within the limits. Nesting is limited because the value is stored inside other JSON, which
/// `serde_json` parses to 128 levels at most.
fn bounded(metadata: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let value = Value::Object(metadata);
    let bytes = value.to_string().len();
    let refused = |detail| Err(Problem::new(Kind::InvalidRequest, detail).with("field", "metadata"));
    if is_deeper(&value, METADATA_DEPTH) {
        return refused(format!("`metadata` is nested too deeply; nest {METADATA_DEPTH} levels at most."));
    }
    match value {
        Value::Object(metadata) if bytes <= METADATA_BYTES => Ok(metadata),
        _ => refused(format!("`metadata` takes {bytes} bytes as JSON; send at most {METADATA_BYTES}.")),
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(fields) => levels == 0 || fields.values().any(|field| is_deeper(field, levels - 1)),
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        _ => false,
    }
}

/// Whether `Accept` names the media type of events. Wildcards don't count: most clients send one.
fn accepts_events(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|range| {
            let mut pieces = range.split(';').map(str::trim);
            let named = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case(sse::MEDIA_TYPE));
            let refused = pieces.any(|piece| {
                let weight = piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q="));
                weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
            });
            named && !refused
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(value: Value) -> Result<String, String> {
        serde_json::from_value::<UserMessage>(value)
            .map(|message| message.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn metadata_is_nested_to_a_depth_that_every_reader_takes() {
        let nested = |levels| (1..levels).fold(json!({}), |inner, _| json!({ "deeper": inner }));
        let field = |levels| nested(levels).as_object().cloned().unwrap();
        assert!(bounded(field(METADATA_DEPTH)).is_ok());
        let problem = bounded(field(METADATA_DEPTH + 1)).unwrap_err();
        assert_eq!(problem.kind, Kind::InvalidRequest);
    }

    #[test]
    fn a_message_is_a_string_or_parts_of_text() {
        assert_eq!(message(json!("hi")).unwrap(), "hi");
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        assert_eq!(message(parts).unwrap(), "a\nb");
    }

    #[test]
    fn a_message_has_a_bounded_number_of_parts() {
        let parts = |count| Value::from(vec![json!({ "type": "text", "text": "a" }); count]);
        assert_eq!(message(parts(PARTS)).unwrap().len(), 2 * PARTS - 1);
        assert_eq!(message(parts(PARTS + 1)).unwrap_err(), "a message has at most 256 parts");
    }

    #[test]
    fn a_message_of_another_kind_is_told_what_is_taken() {
        for (value, says) in [
            (json!(5), "a string or a list of parts"),
            (json!({ "text": "hi" }), "a string or a list of parts"),
            (json!([{ "type": "image", "uri": "x" }]), "unknown variant `image`, expected `text`"),
            (json!([{ "text": "x" }]), "missing field `type`"),
            (json!([{ "type": "text" }]), "missing field `text`"),
            (json!([{ "type": "text", "text": "x", "txt": "y" }]), "unknown field `txt`, expected `text`"),
            (json!(["hi"]), "expected internally tagged enum"),
        ] {
            let error = message(value.clone()).unwrap_err();
            assert!(error.contains(says), "{value}: {error}");
        }
    }

    #[test]
    fn a_message_without_a_visible_character_is_empty() {
        for text in ["", " ", "\n\t\u{2003}", "\u{200b}\u{feff}"] {
            assert_eq!(
                spoken(UserMessage(text.into()), 10).unwrap_err().kind,
                Kind::MessageEmpty,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_limit_counts_bytes_and_includes_itself() {
        assert!(spoken(UserMessage("éé".into()), 4).is_ok());
        assert_eq!(spoken(UserMessage("ééa".into()), 4).unwrap_err().kind, Kind::MessageTooLarge);
    }

    #[test]
    fn metadata_has_a_bound() {
        let large = Map::from_iter([("a".to_owned(), Value::from("x".repeat(METADATA_BYTES)))]);
        assert_eq!(bounded(large).unwrap_err().kind, Kind::InvalidRequest);
        assert!(bounded(Map::new()).is_ok());
    }

    #[test]
    fn events_are_asked_for_by_name() {
        for (accept, asked) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream;q=0", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(accepts_events(&headers), asked, "{accept}");
        }
    }
}
